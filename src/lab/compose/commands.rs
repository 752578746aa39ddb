//! Test commands in containers: what lies in the template folders, the call that runs one, and its end. What runs
//! when is decided elsewhere.

use std::{
    fs::{File, Permissions},
    io,
    os::unix::{fs::PermissionsExt as _, process::ExitStatusExt as _},
    process::ExitStatus,
};

use crate::lab::{
    compose::{
        ComposeCluster, ComposeError,
        overrides::{COMMANDS_MOUNT, SDK_MOUNT},
        runner::{self, Runner},
    },
    docker::{self, DockerError},
    template::{Entry, EntryKind, TestCommand},
};

/// Where templates lie in a container.
const TEMPLATES: &str = "/opt/antithesis/test/v1";
/// What a shell can't do is start a program, or find it; the shell's own codes for that.
const NO_SHELL: [i32; 2] = [126, 127];

impl ComposeCluster {
    /// What lies in the template folders of all containers that have a shell to list them.
    pub fn entries(&self) -> Result<Vec<Entry>, ComposeError> {
        let script = format!(
            "for f in {TEMPLATES}/*/*; do \
             if [ -d \"$f\" ]; then echo \"d $f\"; elif [ -x \"$f\" ]; then echo \"x $f\"; \
             elif [ -e \"$f\" ]; then echo \"f $f\"; fi; done"
        );
        let services = self.present();
        let calls: Vec<_> =
            services.iter().map(|service| vec!["docker", "exec", service, "sh", "-c", &script]).collect();
        let mut entries = Vec::new();
        for (service, listing) in services.iter().zip(docker::run_all(&calls)) {
            match listing {
                Ok(listing) => entries.extend(listing.lines().filter_map(|line| entry(service, line))),
                Err(DockerError::Failed { status, .. })
                    if status.code().is_some_and(|c| NO_SHELL.contains(&c)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(entries)
    }

    /// Starts `command`; its SDK lines go to the file `name`.jsonl of the SDK folder, and what it prints to those
    /// of `printed`, which the container opens by its own path. How it ends comes later.
    pub fn start(
        &self,
        command: &TestCommand,
        name: &str,
        printed: &[File; 2],
    ) -> io::Result<impl Future<Output = io::Result<ExitStatus>> + use<>> {
        for file in printed {
            // Containers may run as any user.
            file.set_permissions(Permissions::from_mode(0o666))?;
        }
        let mut live = self.live.borrow_mut();
        let container = &command.container;
        if !live.runners.get(container).is_some_and(Runner::is_alive) {
            let words = ["docker", "exec", "--interactive", container, "sh", "-c", runner::SCRIPT];
            let call = docker::tied_call(&[&words[..], &[SDK_MOUNT, COMMANDS_MOUNT]].concat());
            live.runners.insert(container.clone(), Runner::start(call.into())?);
        }
        let end = live.runners[container].run(name, &format!("{TEMPLATES}/{}", command.path()));
        Ok(async move {
            let code = end.await.map_err(|_| "the shell that runs it has ended".to_owned()).flatten();
            code.map(|code| ExitStatus::from_raw(code << 8)).map_err(io::Error::other)
        })
    }

    /// Kills a command that has noted its process id, with all processes of its session.
    pub fn kill(&self, container: &str, name: &str) {
        if let Some(runner) = self.live.borrow().runners.get(container) {
            runner.kill(name);
        }
    }
}

fn entry(service: &str, line: &str) -> Option<Entry> {
    let (kind, path) = line.split_once(' ')?;
    let (template, name) = path.strip_prefix(TEMPLATES)?.strip_prefix('/')?.split_once('/')?;
    let kind = match kind {
        "d" => EntryKind::Folder,
        "x" => EntryKind::Executable,
        _ => EntryKind::NotExecutable,
    };
    Some(Entry { container: service.to_owned(), template: template.to_owned(), name: name.to_owned(), kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listings_become_entries() {
        let kinds = ["x", "f", "d"].map(|kind| {
            let line = format!("{kind} /opt/antithesis/test/v1/main/first_a b");
            let entry = entry("client1", &line).unwrap();
            assert_eq!((entry.template.as_str(), entry.name.as_str()), ("main", "first_a b"));
            entry.kind
        });
        assert_eq!(kinds, [EntryKind::Executable, EntryKind::NotExecutable, EntryKind::Folder]);
        assert_eq!(entry("client1", "x /elsewhere/main/first_a"), None);
    }
}
