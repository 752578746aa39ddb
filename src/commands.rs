//! The test commands of template `main`, by name. In comes a name, out comes an exit status; what a command finds
//! is asserted on the way. A command ends by itself, and a cluster that can't be reached while faults are on is
//! weather, not a failure.

mod anytime_check_members;
mod collect;
mod eventually_cluster_recovers;
mod finally_check_history;
mod first_record_baseline;
mod parallel_driver_generate_traffic;
mod parallel_driver_kubernetes;
mod parallel_driver_leases;
mod parallel_driver_locks;
mod parallel_driver_permissions;
mod parallel_driver_transactions;
mod parallel_driver_watches;
mod serial_driver_compact_and_defragment;
mod serial_driver_delete_keys;
mod singleton_driver_mixed_traffic;
mod whole_store;

use std::{future::Future, path::Path, pin::Pin, sync::Arc};

use crate::{
    exit::ExitStatus,
    settings::mix::Sort,
    traffic::session::{Session, SessionError},
};

type Run = fn(Arc<Session>) -> Pin<Box<dyn Future<Output = Result<ExitStatus, SessionError>>>>;

/// A test command.
pub struct Command {
    /// The file name under which the platform finds it; its prefix says when it runs.
    pub name: &'static str,
    run: Run,
}

macro_rules! commands {
    ($($name:ident),+ $(,)?) => {
        /// All commands of the template.
        pub const COMMANDS: &[Command] =
            &[$(Command { name: stringify!($name), run: |session| Box::pin($name::run(session)) }),+];
    };
}

commands! {
    first_record_baseline,
    parallel_driver_generate_traffic,
    parallel_driver_watches,
    parallel_driver_transactions,
    parallel_driver_kubernetes,
    parallel_driver_leases,
    parallel_driver_locks,
    parallel_driver_permissions,
    serial_driver_compact_and_defragment,
    serial_driver_delete_keys,
    singleton_driver_mixed_traffic,
    anytime_check_members,
    eventually_cluster_recovers,
    finally_check_history,
}

/// The command that a program called by this path is, if it is one.
pub fn by_path(path: &Path) -> Option<&'static Command> {
    let name = path.file_name()?.to_str()?;
    COMMANDS.iter().find(|command| command.name == name)
}

impl Command {
    /// Runs the command with the environment's settings to its end.
    pub async fn run(&self) -> Result<ExitStatus, SessionError> {
        let session = Session::open(self.name)?;
        if let Some(lacking) = self.sort().and_then(|sort| sort.lacking(session.lacks())) {
            println!("left out, since the server lacks {}: {}", lacking.name(), lacking.words());
            return Ok(ExitStatus::Holds);
        }
        let status = (self.run)(Arc::clone(&session)).await?;
        // A broken revision is a bug that was found, whatever the command itself was about.
        Ok(if session.broken() > 0 { ExitStatus::Broken } else { status })
    }
}

impl Command {
    /// The sort of traffic that it makes, if it makes one alone.
    fn sort(&self) -> Option<Sort> {
        Some(match self.name {
            "parallel_driver_generate_traffic" => Sort::OwnKeys,
            "parallel_driver_watches" => Sort::Watches,
            "parallel_driver_transactions" => Sort::Transactions,
            "parallel_driver_kubernetes" => Sort::Kubernetes,
            "parallel_driver_leases" => Sort::Leases,
            "parallel_driver_locks" => Sort::Locks,
            "serial_driver_compact_and_defragment" => Sort::Maintenance,
            "serial_driver_delete_keys" => Sort::Deletes,
            _ => return None,
        })
    }
}

/// Broken if there is any evidence, which is printed.
fn verdict(evidence: &[String]) -> ExitStatus {
    for sentence in evidence {
        eprintln!("broken: {sentence}");
    }
    if evidence.is_empty() { ExitStatus::Holds } else { ExitStatus::Broken }
}
