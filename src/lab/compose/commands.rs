//! Test commands in containers: what lies in the template folders, the call that runs one, and its end. What runs
//! when is decided elsewhere.

use std::fs;

use crate::lab::{
    compose::{ComposeCluster, ComposeError, overrides::SDK_MOUNT},
    docker::{self, DockerError},
    template::{Entry, EntryKind, TestCommand},
    workspace::TimelineFolder,
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
        let calls: Vec<_> = self
            .services
            .iter()
            .map(|service| vec!["docker", "exec", service, "sh", "-c", &script])
            .collect();
        let mut entries = Vec::new();
        for (service, listing) in self.services.iter().zip(docker::run_all(&calls)) {
            match listing {
                Ok(listing) => entries.extend(listing.lines().filter_map(|line| entry(service, line))),
                Err(DockerError::Failed { status, .. })
                    if status.code().is_some_and(|c| NO_SHELL.contains(&c)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(entries)
    }

    /// The call that runs `command`; its SDK lines go to the file `name`.jsonl of the SDK folder. A shell
    /// notes its process id, which the command then takes over, so that [`Self::kill`] can find it.
    pub fn command(&self, command: &TestCommand, name: &str) -> tokio::process::Command {
        let output = format!("ANTITHESIS_SDK_LOCAL_OUTPUT={SDK_MOUNT}/{name}.jsonl");
        let note = format!("echo $$ >{SDK_MOUNT}/{name}.pid; exec \"$0\"");
        let path = format!("{TEMPLATES}/{}", command.path());
        docker::call(&["docker", "exec", "-e", &output, &command.container, "sh", "-c", &note, &path]).into()
    }

    /// Kills the commands of `running` (container and name) that have noted their process id, each with all
    /// processes of its session.
    pub fn kill(&self, running: &[(String, String)], folder: &TimelineFolder) -> Result<(), ComposeError> {
        for container in &self.services {
            let groups: Vec<String> = running
                .iter()
                .filter(|(at, _)| at == container)
                .filter_map(|(_, name)| fs::read_to_string(folder.sdk().join(format!("{name}.pid"))).ok())
                .filter_map(|text| text.trim().parse::<u32>().ok())
                .map(|pid| format!("-{pid}"))
                .collect();
            if !groups.is_empty() {
                // No `--` before the groups: dash does not know it.
                let script = format!("kill -KILL {} 2>/dev/null; true", groups.join(" "));
                docker::run(&["docker", "exec", container, "sh", "-c", &script])?;
            }
        }
        Ok(())
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
