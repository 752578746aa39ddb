//! A member that comes back without its data: its container is made anew, alone, with its volume emptied and told
//! to join the cluster that is there. What the old container printed is saved first. No other service is touched.

use std::{fs, time::Duration};

use crate::lab::{
    compose::{
        ComposeCluster, PROJECT,
        act::{docker, said},
        helper, overrides, save_log,
    },
    docker,
    workspace::TimelineFolder,
};

/// How long Compose may take for one container, on a busy machine.
const UP_LIMIT: Duration = Duration::from_mins(1);

impl ComposeCluster {
    /// Each step may have been done before by a call that failed half way.
    pub(super) async fn start_empty(&self, member: &str) -> Result<(), String> {
        let folder = self.live.borrow().folder.clone().ok_or("it is not known where its cluster writes")?;
        self.end_disk_fault(member).await;
        if let Some(container) = self.inspect(member).await? {
            if container.running {
                return Err("it is running".to_owned());
            }
            empty(member, &container.volumes).await?;
            save_log(member, &folder)
                .map_err(|error| error.to_string())?
                .wait()
                .map_err(|error| format!("its log can't be saved: {error}"))?;
            docker(&["rm", "--force", member]).await?;
        }
        self.make_joining(member, &folder).await?;
        self.after_start(member).await
    }

    async fn make_joining(&self, member: &str, folder: &TimelineFolder) -> Result<(), String> {
        let joining = folder.path().join(format!("compose-joining-{member}.json"));
        fs::write(&joining, overrides::for_joining(member).to_string())
            .map_err(|error| format!("failed to write {}: {error}", joining.display()))?;
        let (file, overrides) = (self.file(), Self::override_path(folder).display().to_string());
        let joining = joining.display().to_string();
        let files = ["-p", PROJECT, "-f", &file, "-f", &overrides, "-f", &joining];
        let arguments = ["up", "-d", "--no-deps", "--no-build", member];
        let words = [&self.words[..], &files, &arguments].concat();
        said(docker::run_within(&words, UP_LIMIT).await)
    }
}

/// Removes what lies in the volumes of a container that doesn't run. Its image may have no shell.
async fn empty(member: &str, volumes: &[String]) -> Result<(), String> {
    if volumes.is_empty() {
        return Ok(());
    }
    let mut arguments = vec!["run", "--rm", "--network", "none", "--volumes-from", member];
    arguments.extend(["--label", helper::LABEL, helper::IMAGE, "find"]);
    arguments.extend(volumes.iter().map(String::as_str));
    arguments.extend(["-mindepth", "1", "-delete"]);
    docker(&arguments).await
}
