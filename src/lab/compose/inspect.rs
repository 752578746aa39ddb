//! Single containers as the engine sees them: whether one runs, where it is reached, which process it is on this
//! machine. It asks and remembers; it changes nothing.

use std::{fs, net::Ipv4Addr};

use serde_json::Value;

use crate::lab::{
    compose::{ComposeCluster, act::CALL_LIMIT},
    docker::{self, DockerError},
};

/// Where members listen to clients.
const CLIENT_PORT: u16 = 2379;
/// What Docker starts before a container's own program, if asked to.
const INIT: &str = "docker-init";

/// What is asked about a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Container {
    pub(super) id: String,
    /// Paused or not.
    pub(super) running: bool,
    /// Of its first process, on the engine's machine.
    pub(super) pid: u32,
    pub(super) address: Option<Ipv4Addr>,
    /// Where volumes are mounted in it.
    pub(super) volumes: Vec<String>,
}

impl Container {
    fn parse(value: &Value) -> Option<Self> {
        let networks = value["NetworkSettings"]["Networks"].as_object()?;
        let mounts = value["Mounts"].as_array()?;
        Some(Self {
            id: value["Id"].as_str()?.to_owned(),
            running: value["State"]["Running"].as_bool()?,
            pid: value["State"]["Pid"].as_u64()?.try_into().ok()?,
            address: networks.values().find_map(|network| network["IPAddress"].as_str()?.parse().ok()),
            volumes: mounts
                .iter()
                .filter(|mount| mount["Type"] == "volume")
                .filter_map(|mount| Some(mount["Destination"].as_str()?.to_owned()))
                .collect(),
        })
    }
}

/// A container's own program, as a process of this machine.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) id: u32,
}

impl Process {
    /// Fails if the engine's processes aren't this machine's.
    pub(super) fn of(container: &Container) -> Result<Self, String> {
        if !container.running {
            return Err("it is not running".to_owned());
        }
        let read = |id: u32, file: &str| fs::read_to_string(format!("/proc/{id}/{file}")).unwrap_or_default();
        if !read(container.pid, "cgroup").contains(&container.id) {
            return Err("the engine's processes are not this machine's".to_owned());
        }
        let first = container.pid;
        if read(first, "comm").trim() != INIT {
            return Ok(Self { id: first });
        }
        let children = read(first, &format!("task/{first}/children"));
        let child = children.split_whitespace().next().and_then(|id| id.parse().ok());
        child.map(|id| Self { id }).ok_or_else(|| "it is just starting or ending".to_owned())
    }
}

impl ComposeCluster {
    /// Asks for a service's container; none if there is none.
    pub(super) async fn inspect(&self, service: &str) -> Result<Option<Container>, String> {
        let words = ["docker", "inspect", "--type", "container", service];
        let text = match docker::run_within(&words, CALL_LIMIT).await {
            Ok(text) => text,
            Err(DockerError::Failed { message, .. }) if message.contains("No such container") => {
                return Ok(None);
            }
            Err(error) => return Err(error.to_string()),
        };
        let all: Vec<Value> = serde_json::from_str(&text).unwrap_or_default();
        all.first()
            .and_then(Container::parse)
            .map(Some)
            .ok_or_else(|| format!("Docker tells nothing of {service} that this lab understands"))
    }

    /// Where packets of a service come from now. Asked for once after each start.
    pub(super) async fn address(&self, service: &str) -> Option<Ipv4Addr> {
        let known = {
            let mut live = self.live.borrow_mut();
            live.catch_up();
            live.addresses.get(service).copied()
        };
        if let Some(address) = known {
            return address;
        }
        let address = self.inspect(service).await.ok()??.address;
        self.live.borrow_mut().addresses.insert(service.to_owned(), address);
        address
    }

    /// Where the lab itself reaches a member now.
    pub async fn member_url(&self, member: &str) -> Option<String> {
        Some(format!("http://{}:{CLIENT_PORT}", self.address(member).await?))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_inspection_tells_address_process_and_volumes() {
        let value = json!({
            "Id": "9a", "State": {"Running": true, "Pid": 7},
            "NetworkSettings": {"Networks": {"a": {"IPAddress": ""}, "b": {"IPAddress": "172.18.0.2"}}},
            "Mounts": [
                {"Type": "bind", "Destination": "/tmp/antithesis"},
                {"Type": "volume", "Destination": "/var/lib/etcd"},
            ],
        });
        let container = Container::parse(&value).unwrap();
        assert_eq!(container.address, Some(Ipv4Addr::new(172, 18, 0, 2)));
        assert_eq!((container.pid, container.volumes), (7, vec!["/var/lib/etcd".to_owned()]));
    }

    #[test]
    fn a_process_of_another_machine_is_not_taken_for_the_members() {
        let container = Container {
            id: "no such container".to_owned(),
            running: true,
            pid: std::process::id(),
            address: None,
            volumes: Vec::new(),
        };
        assert!(Process::of(&container).unwrap_err().contains("not this machine's"));
    }
}
