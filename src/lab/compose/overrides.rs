//! The files that are laid over `docker-compose.yaml`: services, volumes and places of the host in, Compose's
//! JSON out (which is YAML too, so no writer of YAML is needed). The project's own file stays as it is.

use std::{env, path::Path};

use serde_json::{Map, Value, json};

use crate::{
    lab::{fault::quiet, workspace::TimelineFolder},
    settings::CLASSES_VARIABLE,
};

/// Where a container sees the timeline's SDK folder; the same place as `snouty` uses.
pub(super) const SDK_MOUNT: &str = "/tmp/antithesis";
/// Where a container sees the folder of what commands print.
pub(super) const COMMANDS_MOUNT: &str = "/tmp/antithesis-commands";
/// Where a container sees the script that asks for quiet periods.
const QUIET_MOUNT: &str = "/tmp/antithesis-quiet";
/// The named volume that histories lie on.
const HISTORY_VOLUME: &str = "history";

/// Longer than any timeline. Compose 1.29 can't take a health check away that the project's file has.
const NEVER: &str = "24h";

/// Lets the host see what SDK and test commands write. The members' own health checks come too late to run, since
/// nothing waits for them, and three `etcdctl` every two seconds take more of a small machine than the lab does.
pub(super) fn for_timeline(
    services: &[String],
    members: &[String],
    volumes: &[String],
    folder: &TimelineFolder,
) -> Value {
    let mounts =
        [(folder.sdk(), SDK_MOUNT), (folder.commands(), COMMANDS_MOUNT), (folder.quiet(), QUIET_MOUNT)];
    let mounts = mounts.map(|(path, mount)| format!("{}:{mount}", escaped(&path)));
    let service = |name: &String| {
        let mut service = json!({
            "volumes": &mounts,
            "environment": {
                "ANTITHESIS_SDK_LOCAL_OUTPUT": format!("{SDK_MOUNT}/sdk.jsonl"),
                quiet::VARIABLE: format!("{QUIET_MOUNT}/{}", quiet::SCRIPT),
            },
        });
        if let Ok(classes) = env::var(CLASSES_VARIABLE) {
            service["environment"][CLASSES_VARIABLE] = json!(classes);
        }
        if members.contains(name) {
            service["healthcheck"] = json!({"interval": NEVER});
        }
        (name.clone(), service)
    };
    let services: Map<String, Value> = services.iter().map(service).collect();
    let mut whole = json!({ "services": services });
    if volumes.iter().any(|volume| volume == HISTORY_VOLUME) {
        let device = escaped(&folder.history());
        whole["volumes"] =
            json!({HISTORY_VOLUME: {"driver_opts": {"type": "none", "o": "bind", "device": device}}});
    }
    whole
}

/// Lets a member without data join the cluster that is there.
pub(super) fn for_joining(member: &str) -> Value {
    json!({"services": {member: {"environment": {"ETCD_INITIAL_CLUSTER_STATE": "existing"}}}})
}

/// Compose takes a `$` for the start of a variable.
fn escaped(path: &Path) -> String {
    path.display().to_string().replace('$', "$$")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::workspace::Workspace;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_override_shows_the_host_every_service_and_the_histories() {
        let root = tempfile::tempdir().unwrap();
        let folder = Workspace::open(root.path()).unwrap().new_run().unwrap().timeline(1).unwrap();
        let (services, volumes) = (names(&["etcd0", "client1"]), names(&["history", "data"]));
        let value = for_timeline(&services, &services[..1], &volumes, &folder);
        for service in ["etcd0", "client1"] {
            let environment = &value["services"][service]["environment"];
            assert_eq!(environment["ANTITHESIS_SDK_LOCAL_OUTPUT"], "/tmp/antithesis/sdk.jsonl");
            let mount = value["services"][service]["volumes"][0].as_str().unwrap();
            assert!(mount.ends_with("/timeline-1/sdk:/tmp/antithesis"), "{mount}");
            let is_member = service == "etcd0";
            assert_eq!(value["services"][service]["healthcheck"]["interval"] == NEVER, is_member);
        }
        let device = value["volumes"]["history"]["driver_opts"]["device"].as_str().unwrap();
        assert!(device.ends_with("/timeline-1/history"), "{device}");
        assert_eq!(value["volumes"].as_object().unwrap().len(), 1);
    }
}
