//! The files that are laid over `docker-compose.yaml`: services, volumes and places of the host in, Compose's
//! JSON out (which is YAML too, so no writer of YAML is needed). The project's own file stays as it is.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::lab::{
    fault::quiet,
    setup::{Setup, USUAL_MEMBERS},
    workspace::TimelineFolder,
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

/// What the project's file says, as far as it is needed here.
pub(super) struct Declared<'a> {
    /// The file.
    pub file: &'a str,
    /// All services.
    pub services: &'a [String],
    /// The named volumes.
    pub volumes: &'a [String],
}

/// Lets the host see what SDK and test commands write, and makes the cluster what `setup` says. The members' own health
/// checks come too late to run, since nothing waits for them, and three `etcdctl` every two seconds take more of a small
/// machine than the lab does.
pub(super) fn for_timeline(declared: &Declared<'_>, setup: &Setup, folder: &TimelineFolder) -> Value {
    let members = setup.member_names();
    let further: Vec<_> = members.iter().filter(|name| !declared.services.contains(name)).collect();
    let mounts =
        [(folder.sdk(), SDK_MOUNT), (folder.commands(), COMMANDS_MOUNT), (folder.quiet(), QUIET_MOUNT)];
    let mounts: Vec<String> =
        mounts.into_iter().map(|(path, mount)| format!("{}:{mount}", escaped(&path))).collect();
    let service = |name: &String| {
        let mut service = Map::new();
        let (mut environment, mut mounts) = (environment(setup), mounts.clone());
        if members.contains(name) {
            environment.extend(of_member(setup));
            service.insert("healthcheck".to_owned(), json!({"interval": NEVER}));
        }
        if further.contains(&name) {
            mounts.push(format!("{name}-data:/var/lib/etcd"));
            environment.extend(named(name));
            service.insert("extends".to_owned(), json!({"file": declared.file, "service": members[0]}));
            service.insert("container_name".to_owned(), json!(name));
            service.insert("hostname".to_owned(), json!(name));
        }
        service.insert("environment".to_owned(), Value::Object(environment));
        service.insert("volumes".to_owned(), json!(mounts));
        (name.clone(), Value::Object(service))
    };
    let services: Map<String, Value> =
        declared.services.iter().chain(further.iter().copied()).map(service).collect();
    let mut volumes: Map<String, Value> =
        further.iter().map(|name| (format!("{name}-data"), json!({}))).collect();
    if declared.volumes.iter().any(|volume| volume == HISTORY_VOLUME) {
        let device = escaped(&folder.history());
        let bound = json!({"driver_opts": {"type": "none", "o": "bind", "device": device}});
        volumes.insert(HISTORY_VOLUME.to_owned(), bound);
    }
    if volumes.is_empty() {
        json!({"services": services})
    } else {
        json!({"services": services, "volumes": volumes})
    }
}

/// Of every service.
fn environment(setup: &Setup) -> Map<String, Value> {
    let fixed = [
        ("ANTITHESIS_SDK_LOCAL_OUTPUT", format!("{SDK_MOUNT}/sdk.jsonl")),
        (quiet::VARIABLE, format!("{QUIET_MOUNT}/{}", quiet::SCRIPT)),
    ];
    let of_setup = setup.environment.iter().map(|(name, value)| (*name, value.replace('$', "$$")));
    let endpoints = (setup.members != USUAL_MEMBERS)
        .then(|| ("ETCDCTL_ENDPOINTS", list(setup, |name| format!("http://{name}:2379"))));
    let all = fixed.into_iter().chain(of_setup).chain(endpoints);
    all.map(|(name, value)| (name.to_owned(), json!(value))).collect()
}

/// What members have beside that. A flag is two variables: a version that knows only one of them ignores the other.
fn of_member(setup: &Setup) -> Map<String, Value> {
    let variables = |(flag, value): (&String, &String)| {
        let name = flag.replace('-', "_").to_uppercase();
        [format!("ETCD_{name}"), format!("ETCD_EXPERIMENTAL_{name}")].map(|name| (name, json!(value)))
    };
    let mut all: Map<String, Value> = setup.flags.iter().flat_map(variables).collect();
    if setup.members != USUAL_MEMBERS {
        let members = list(setup, |name| format!("{name}=http://{name}:2380"));
        all.insert("ETCD_INITIAL_CLUSTER".to_owned(), json!(members));
    }
    all
}

fn list(setup: &Setup, entry: impl Fn(&String) -> String) -> String {
    setup.member_names().iter().map(entry).collect::<Vec<_>>().join(",")
}

/// Where a member says that it is.
fn named(name: &str) -> Map<String, Value> {
    let variables = [
        ("ETCD_NAME", name.to_owned()),
        ("ETCD_ADVERTISE_CLIENT_URLS", format!("http://{name}:2379")),
        ("ETCD_INITIAL_ADVERTISE_PEER_URLS", format!("http://{name}:2380")),
    ];
    variables.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect()
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
        let (services, volumes) =
            (names(&["etcd0", "etcd1", "etcd2", "client1"]), names(&["history", "data"]));
        let declared = Declared { file: "docker-compose.yaml", services: &services, volumes: &volumes };
        let value = for_timeline(&declared, &Setup::default(), &folder);
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
    #[test]
    fn further_members_are_made_after_the_first() {
        let root = tempfile::tempdir().unwrap();
        let folder = Workspace::open(root.path()).unwrap().new_run().unwrap().timeline(1).unwrap();
        let services = names(&["etcd0", "etcd1", "etcd2", "client1"]);
        let declared = Declared { file: "docker-compose.yaml", services: &services, volumes: &[] };
        let flags = [("snapshot-count".to_owned(), "7".to_owned())].into();
        let setup = Setup { members: 5, flags, ..Setup::default() };
        let value = for_timeline(&declared, &setup, &folder);
        let member = &value["services"]["etcd4"];
        assert_eq!(member["extends"]["service"], "etcd0");
        assert_eq!(member["environment"]["ETCD_NAME"], "etcd4");
        assert_eq!(member["environment"]["ETCD_SNAPSHOT_COUNT"], "7");
        let endpoints = value["services"]["client1"]["environment"]["ETCDCTL_ENDPOINTS"].as_str().unwrap();
        assert_eq!(endpoints.split(',').count(), 5);
        assert!(value["volumes"]["etcd3-data"].is_object());
    }
}
