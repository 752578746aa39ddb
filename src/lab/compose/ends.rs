//! Which containers ended, and whether a fault ended them: the engine's events and what the lab did go in, ends
//! come out once each. A pure machine; it knows a service by its name and asks nobody.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value;

use crate::lab::cluster::Ended;

/// The exit code of a process that SIGKILL ended.
const KILLED: i32 = 137;
/// Of one that ended in good order on SIGTERM, which etcd sends to itself again at the end.
const TERMINATED: [i32; 3] = [0, 143, KILLED];
/// Beyond it, an exit code tells of a signal.
const SIGNAL_BASE: i32 = 128;

/// Something that happened to a service's container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ContainerEvent {
    pub(super) service: String,
    pub(super) what: What,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Started,
    OutOfMemory,
    Died { code: i32 },
}

impl ContainerEvent {
    /// Reads a line of `docker events --format '{{json .}}'`.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let event: Value = serde_json::from_str(line).ok()?;
        let attributes = &event["Actor"]["Attributes"];
        let service = attributes["com.docker.compose.service"].as_str()?.to_owned();
        let what = match event["Action"].as_str()? {
            "start" => What::Started,
            "oom" => What::OutOfMemory,
            "die" => What::Died { code: attributes["exitCode"].as_str()?.parse().ok()? },
            _ => return None,
        };
        Some(Self { service, what })
    }
}

/// An end that the lab brings about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    Kill,
    Stop,
    /// At some time, and with whatever code etcd chooses.
    DiskFailure,
}

impl Expected {
    /// A panic while it shuts down is the member's own, though it was asked to end.
    fn explains(self, code: i32) -> bool {
        match self {
            Self::Kill => code == KILLED,
            Self::Stop => TERMINATED.contains(&code),
            Self::DiskFailure => true,
        }
    }
}

/// What is known of the containers' ends.
#[derive(Debug, Default)]
pub(super) struct Ends {
    /// Services with an action at work. Whose end it was is known when the action has ended.
    busy: BTreeMap<String, usize>,
    expected: BTreeMap<String, Expected>,
    held: VecDeque<ContainerEvent>,
    out_of_memory: BTreeSet<String>,
    down_by_fault: BTreeSet<String>,
}

impl Ends {
    /// An action on `service` begins.
    pub(super) fn begin(&mut self, service: &str) {
        *self.busy.entry(service.to_owned()).or_default() += 1;
    }

    /// It has ended, and brought `expected` about.
    pub(super) fn finish(&mut self, service: &str, expected: Option<Expected>) {
        if let Some(count) = self.busy.get_mut(service) {
            *count -= 1;
        }
        self.busy.retain(|_, count| *count > 0);
        let Some(expected) = expected else { return };
        if expected != Expected::DiskFailure {
            self.down_by_fault.insert(service.to_owned());
        }
        // A disk that fails just before the member is killed explains more.
        let known = self.expected.entry(service.to_owned()).or_insert(expected);
        if *known != Expected::DiskFailure {
            *known = expected;
        }
    }

    /// An end that was told turns out to be a fault's.
    pub(super) fn explain(&mut self, service: &str) {
        self.down_by_fault.insert(service.to_owned());
    }

    /// `service` was started by the lab: nothing that it does from now on is an earlier fault's.
    pub(super) fn started(&mut self, service: &str) {
        self.down_by_fault.remove(service);
        self.expected.retain(|name, expected| name != service || *expected != Expected::DiskFailure);
    }

    /// Whether a fault ended it and nothing has started it since.
    pub(super) fn is_down_by_fault(&self, service: &str) -> bool {
        self.down_by_fault.contains(service)
    }

    /// Takes what happened, in order.
    pub(super) fn add(&mut self, event: ContainerEvent) {
        self.held.push_back(event);
    }

    /// The ends that are settled and were not told yet.
    pub(super) fn take(&mut self) -> Vec<Ended> {
        let (held, ready): (VecDeque<_>, _) =
            self.held.drain(..).partition(|event| self.busy.contains_key(&event.service));
        self.held = held;
        ready.into_iter().filter_map(|event| self.settle(event)).collect()
    }

    fn settle(&mut self, ContainerEvent { service, what }: ContainerEvent) -> Option<Ended> {
        match what {
            What::Started => {
                self.out_of_memory.remove(&service);
                None
            }
            What::OutOfMemory => {
                self.out_of_memory.insert(service);
                None
            }
            What::Died { code } => {
                let by_fault = self.expected.remove(&service).is_some_and(|expected| expected.explains(code));
                if by_fault {
                    self.down_by_fault.insert(service.clone());
                } else {
                    self.down_by_fault.remove(&service);
                }
                let out_of_memory = !by_fault && self.out_of_memory.contains(&service);
                Some(Ended { service, status: words(code, by_fault, out_of_memory), by_fault })
            }
        }
    }
}

fn words(code: i32, by_fault: bool, out_of_memory: bool) -> String {
    match code {
        _ if out_of_memory => format!("was out of memory and ended with exit code {code}"),
        KILLED if !by_fault => {
            "was killed, though not by the lab; the kernel does so when memory is short".to_owned()
        }
        _ if code > SIGNAL_BASE => format!("was ended by signal {}", code - SIGNAL_BASE),
        _ => format!("ended with exit code {code}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(what: What) -> ContainerEvent {
        ContainerEvent { service: "etcd0".to_owned(), what }
    }

    fn died(code: i32) -> ContainerEvent {
        event(What::Died { code })
    }

    /// What is told of one end with `code`, when the lab did `expected` first.
    fn told(expected: Option<Expected>, code: i32) -> Ended {
        let mut ends = Ends::default();
        ends.begin("etcd0");
        ends.finish("etcd0", expected);
        ends.add(died(code));
        let told = ends.take();
        assert_eq!(ends.take(), []);
        assert_eq!(ends.is_down_by_fault("etcd0"), told[0].by_fault);
        told[0].clone()
    }

    #[test]
    fn an_end_is_a_faults_only_if_the_fault_explains_it() {
        let by_fault = |expected, code| told(expected, code).by_fault;
        assert!(by_fault(Some(Expected::Kill), 137));
        assert!(by_fault(Some(Expected::Stop), 143));
        assert!(by_fault(Some(Expected::DiskFailure), 2));
        assert!(!by_fault(Some(Expected::Stop), 2), "a panic at the end is the member's own");
        assert!(!by_fault(None, 137));
        assert!(!by_fault(None, 0));
    }

    #[test]
    fn an_end_during_an_action_is_told_after_it() {
        let mut ends = Ends::default();
        ends.begin("etcd0");
        ends.add(died(137));
        assert_eq!(ends.take(), []);
        ends.finish("etcd0", Some(Expected::Kill));
        assert!(ends.take()[0].by_fault);
        assert!(ends.is_down_by_fault("etcd0"));
        ends.started("etcd0");
        assert!(!ends.is_down_by_fault("etcd0"));
    }

    #[test]
    fn a_crash_before_a_kill_that_found_nothing_is_its_own() {
        let mut ends = Ends::default();
        ends.begin("etcd0");
        ends.add(died(2));
        ends.finish("etcd0", None);
        assert_eq!(ends.take()[0].status, "ended with exit code 2");
    }

    #[test]
    fn a_disk_failure_explains_an_end_while_the_member_is_killed() {
        let mut ends = Ends::default();
        ends.finish("etcd0", Some(Expected::DiskFailure));
        ends.finish("etcd0", Some(Expected::Kill));
        ends.add(died(1));
        assert!(ends.take()[0].by_fault);
    }

    #[test]
    fn a_disk_failure_explains_no_end_after_the_next_start() {
        let mut ends = Ends::default();
        ends.finish("etcd0", Some(Expected::DiskFailure));
        ends.started("etcd0");
        ends.add(died(2));
        assert!(!ends.take()[0].by_fault);
    }

    #[test]
    fn want_of_memory_is_told_as_such() {
        let mut ends = Ends::default();
        ends.add(event(What::OutOfMemory));
        ends.add(died(137));
        assert!(ends.take()[0].status.contains("out of memory"));
        assert!(told(None, 137).status.contains("memory is short"));
        assert_eq!(told(None, 139).status, "was ended by signal 11");
    }

    #[test]
    fn lines_of_the_engine_become_events() {
        let line = r#"{"Type":"container","Action":"die","Actor":{"ID":"9a","Attributes":{"com.docker.compose.service":"etcd0","exitCode":"143","name":"etcd0"}},"timeNano":1}"#;
        assert_eq!(ContainerEvent::parse(line), Some(died(143)));
        assert_eq!(ContainerEvent::parse(&line.replace("die", "start")), Some(event(What::Started)));
        assert_eq!(ContainerEvent::parse(&line.replace("compose.service", "other")), None);
        assert_eq!(ContainerEvent::parse("{"), None);
    }
}
