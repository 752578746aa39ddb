//! What faults leave on containers when the lab is killed in the middle of one: frozen containers go on and the
//! helpers are removed, so that everything can be taken down. Both are found by the project's own labels.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::lab::{
    compose::{PROJECT_FILTER, helper},
    docker::{self, DockerError},
};

/// How long helpers that are just starting or ending may take to be gone.
const GONE_LIMIT: Duration = Duration::from_secs(10);
const GONE_POLL: Duration = Duration::from_millis(100);

/// Undoes both.
pub(super) fn clear() -> Result<(), DockerError> {
    let paused = ids(&["--filter", PROJECT_FILTER, "--filter", "status=paused"])?;
    for id in &paused {
        // One that has ended meanwhile needs no more.
        let _ = docker::run(&["docker", "unpause", id]);
    }
    remove_helpers()
}

fn remove_helpers() -> Result<(), DockerError> {
    let label = format!("label={}", helper::LABEL);
    let deadline = Instant::now() + GONE_LIMIT;
    loop {
        let helpers = ids(&["--filter", &label])?;
        if helpers.is_empty() {
            return Ok(());
        }
        let helpers: Vec<&str> = helpers.iter().map(String::as_str).collect();
        // It fails for those that the engine is removing already, since their shell has ended.
        let removed = docker::run(&[&["docker", "rm", "--force"], &helpers[..]].concat());
        if Instant::now() >= deadline {
            return removed.map(drop);
        }
        thread::sleep(GONE_POLL);
    }
}

fn ids(filters: &[&str]) -> Result<Vec<String>, DockerError> {
    let listing = docker::run(&[&["docker", "ps", "--all", "--quiet", "--no-trunc"], filters].concat())?;
    Ok(listing.lines().map(str::to_owned).collect())
}
