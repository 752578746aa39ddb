//! All test commands of template `main` in one program: the one is run that the program is called as, by the name
//! of its file or else by its first argument. What a command needs comes from the environment. `--list` prints the
//! names instead, for whoever makes the links.

use std::{env, path::PathBuf};

use etcd_antithesis::{
    commands::{self, COMMANDS},
    exit::ExitStatus,
    properties,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitStatus {
    if let Err(error) = properties::begin() {
        eprintln!("error: {error}");
        return ExitStatus::Surroundings;
    }
    if env::args_os().nth(1).is_some_and(|argument| argument == "--list") {
        for command in COMMANDS {
            println!("{}", command.name);
        }
        return ExitStatus::Holds;
    }
    let named = env::args_os().take(2).map(PathBuf::from);
    let Some(command) = named.into_iter().find_map(|path| commands::by_path(&path)) else {
        let known: Vec<&str> = COMMANDS.iter().map(|command| command.name).collect();
        eprintln!("error: call this program by the name of a test command: {}", known.join(", "));
        return ExitStatus::Usage;
    };
    match command.run().await {
        Ok(status) => status,
        Err(error) => {
            eprintln!("error: {error}");
            error.exit_status()
        }
    }
}
