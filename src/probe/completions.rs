//! Scripts that complete this program's words in a shell. In goes the shell, out comes the script: clap's own, with
//! what it leaves out, so that files are offered where files are meant and nowhere else.

use clap::{Arg, Command, CommandFactory as _, ValueHint, builder::PossibleValue};
use clap_complete::Shell;

use super::arguments::Arguments;

const PROGRAM: &str = "etcd-probe";
/// A function of fish's script that asks whether its arguments are the command so far.
const FISH_USES: &str = "__fish_etcd_probe_using_subcommand";

/// The script.
pub fn script(shell: Shell) -> String {
    let mut command = hinted(Arguments::command());
    let mut script = vec![];
    clap_complete::generate(shell, &mut command, PROGRAM, &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    match shell {
        Shell::Bash => bash(&script, &command),
        Shell::Fish => fish(&script, &command),
        _ => script,
    }
}

/// A value is no file unless it is said to be one.
fn hinted(command: Command) -> Command {
    let hint = |arg: Arg| {
        let is_open = arg.get_action().takes_values() && arg.get_value_hint() == ValueHint::Unknown;
        if is_open { arg.value_hint(ValueHint::Other) } else { arg }
    };
    command.mut_args(hint).mut_subcommands(hinted)
}

fn is_file(arg: &Arg) -> bool {
    matches!(arg.get_value_hint(), ValueHint::AnyPath | ValueHint::FilePath | ValueHint::DirPath)
}

/// In clap's script the hyphen of the program's name has two spellings, so that no command below would be found; and
/// files are offered wherever there is nothing else.
fn bash(script: &str, command: &Command) -> String {
    let mut script = script.replace("etcd__subcmd__probe", "etcd__probe");
    for path in paths(command, &[]).iter().filter(|path| !path.command.get_positionals().any(is_file)) {
        let names = path.names.iter().map(|name| format!("__subcmd__{}", name.replace('-', "__subcmd__")));
        let head = format!("        etcd__probe{})\n", names.collect::<String>());
        let no_files = "            compopt +o bashdefault +o default 2>/dev/null\n";
        script = script
            .replace(&format!("{head}            opts="), &format!("{head}{no_files}            opts="));
    }
    script
}

/// Clap's script lacks the values of arguments that are no flags, and knows no flag whose value is just being typed.
fn fish(script: &str, command: &Command) -> String {
    const OPTIONS: &str = "argparse -s (__fish_etcd_probe_global_optspecs)";
    let begun = format!("{OPTIONS} -- $cmd 2>/dev/null\n");
    let without_last = format!(
        "{begun}    or begin\n        set -e cmd[-1]\n        {OPTIONS} -- $cmd 2>/dev/null\n    end\n"
    );
    let script = script.replace(&begun, &without_last);
    let mut lines: Vec<String> = script.lines().map(fish_help).collect();
    for path in paths(command, &[]) {
        lines.extend(fish_arguments(&path));
    }
    lines.join("\n") + "\n"
}

/// After `help`, clap's script offers commands only where none of them was seen, and counts `help` itself.
fn fish_help(line: &str) -> String {
    let is_of_help = line.contains(&format!("{FISH_USES} help; and not __fish_seen_subcommand_from "));
    if is_of_help { line.replacen(" help\" ", "\" ", 1) } else { line.to_owned() }
}

/// The values of a command's arguments, one after the other, and no files if none is one.
fn fish_arguments(path: &Path<'_>) -> Vec<String> {
    let mut seen = match &path.names[..] {
        [] => return vec![],
        [name] => format!("{FISH_USES} {name}"),
        [name, below @ ..] => {
            format!("{FISH_USES} {name}; and __fish_seen_subcommand_from {}", below.join(" "))
        }
    };
    let mut lines = vec![];
    if !path.command.get_positionals().any(is_file) {
        lines.push(format!("complete -c {PROGRAM} -n \"{seen}\" -f"));
    }
    for arg in path.command.get_positionals() {
        let values = arg.get_possible_values();
        let names: Vec<&str> = values.iter().map(PossibleValue::get_name).collect();
        if names.is_empty() {
            break;
        }
        let names = names.join(" ");
        let yet = format!("{seen}; and not __fish_seen_subcommand_from {names}");
        lines.push(format!("complete -c {PROGRAM} -n \"{yet}\" -f -a \"{names}\""));
        seen = format!("{seen}; and __fish_seen_subcommand_from {names}");
    }
    lines
}

/// A command, and the words that lead to it.
struct Path<'a> {
    names: Vec<&'a str>,
    command: &'a Command,
}

/// The command and all below it.
fn paths<'a>(command: &'a Command, names: &[&'a str]) -> Vec<Path<'a>> {
    let below = command.get_subcommands().flat_map(|below| {
        let names: Vec<&str> = names.iter().copied().chain([below.get_name()]).collect();
        paths(below, &names)
    });
    let mut all = vec![Path { names: names.to_vec(), command }];
    all.extend(below);
    all
}
