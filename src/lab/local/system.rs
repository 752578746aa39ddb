//! The processes of one timeline, with the network they may have of their own, and what faults do to them.
//! Actions go in and are carried out by the caller's thread, which may take seconds. All of it is undone, and
//! all processes are ended, when the value is retired or dropped.

use std::{
    collections::BTreeMap,
    process::Child,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{HEALTH_CHECKER, clients::Clients};
use crate::lab::{
    cluster::Ended,
    fault::{
        action::{Ability, Action, Effect, PeerDelay, Rule, Traffic},
        disk::{self, DiskFault},
        network,
    },
    processes::{
        Cluster, Member,
        forwarder::{Delay, Forwarder},
        namespaces::Network,
    },
};

/// Why an action was not carried out, for people.
type Reason = String;

/// A fault at work in a member's disk.
enum Disk {
    Slow(#[expect(dead_code, reason = "it works as long as it is held")] DiskFault),
    Failing(#[expect(dead_code, reason = "it works as long as it is held")] DiskFault),
}

/// Everything that was started for a timeline, but for the test commands.
pub(super) struct System {
    checker: Mutex<Child>,
    is_checker_told: AtomicBool,
    disks: Mutex<BTreeMap<String, Disk>>,
    /// What delays traffic to members.
    forwarders: Mutex<BTreeMap<String, Forwarder>>,
    members: Cluster,
    clients: Clients,
    /// Or why there is none. After the members, which are in it and dropped before.
    network: Result<Network, Reason>,
}

impl System {
    pub(super) fn new(
        members: Cluster,
        checker: Child,
        clients: Clients,
        network: Result<Network, Reason>,
    ) -> Self {
        let (checker, is_checker_told) = (Mutex::new(checker), AtomicBool::new(false));
        let (disks, forwarders) = Default::default();
        Self { checker, is_checker_told, disks, forwarders, members, clients, network }
    }

    pub(super) fn members(&self) -> &[Member] {
        self.members.members()
    }

    /// Carries out one step of a fault.
    pub(super) fn act(&self, action: &Action) -> Result<(), Reason> {
        match action {
            Action::Kill { member } => {
                self.member(member)?.kill();
                self.heal_disk(member);
                Ok(())
            }
            Action::Stop { member } => {
                let stopped = self.member(member)?.stop().map_err(|error| error.to_string());
                self.heal_disk(member);
                stopped
            }
            Action::Start { member } => {
                let process = self.member(member)?;
                self.prepare_start(process)?;
                process.spawn().map_err(|error| error.to_string())
            }
            Action::StartEmpty { member } => {
                let process = self.member(member)?;
                self.prepare_start(process)?;
                process.spawn_empty().map_err(|error| error.to_string())
            }
            Action::Pause { node } => match self.member(node) {
                Ok(member) => member.pause().map_err(|error| error.to_string()),
                Err(_) => self.clients.pause(node),
            },
            Action::Resume { node } => match self.member(node) {
                Ok(member) => member.resume().map_err(|error| error.to_string()),
                Err(_) => self.clients.resume(node),
            },
            Action::Network { node, rules } => self.set_rules(node, rules),
            Action::DelayPeers { member, delays } => self.delay_peers(member, delays),
            Action::SlowDisk { member, delay_ms } => self.slow_disk(member, Duration::from_millis(*delay_ms)),
            Action::FailDisk { member } => self.fail_disk(member),
        }
    }

    fn member(&self, name: &str) -> Result<&Member, Reason> {
        self.members()
            .iter()
            .find(|member| member.name() == name)
            .ok_or_else(|| format!("{name} is no member"))
    }

    /// A new process has no rules, and no failing disk. One that runs goes on, but for a failure to come.
    fn prepare_start(&self, member: &Member) -> Result<(), Reason> {
        if member.pid().is_none() {
            self.heal_disk(member.name());
            return self.set_rules(member.name(), &[]);
        }
        let mut disks = lock(&self.disks);
        if matches!(disks.get(member.name()), Some(Disk::Failing(_))) {
            disks.remove(member.name());
        }
        Ok(())
    }

    fn set_rules(&self, node: &str, rules: &[Rule]) -> Result<(), Reason> {
        let network = match &self.network {
            Ok(network) => network,
            Err(_) if rules.is_empty() => return Ok(()),
            Err(reason) => return Err(reason.clone()),
        };
        let text = self.filter(network, rules)?;
        network.set_filter(node, &text).map_err(|error| error.to_string())
    }

    /// Connections that are led to the forwarder end with it, and those that are made then are led nowhere.
    fn delay_peers(&self, name: &str, delays: &[PeerDelay]) -> Result<(), Reason> {
        let network = self.network.as_ref().map_err(Clone::clone)?;
        let peer_port = self.member(name)?.peer_port();
        let address = |node: &str| network.address(node).ok_or_else(|| format!("{node} has no address"));
        let addresses: Vec<_> = delays.iter().map(|delay| address(&delay.from)).collect::<Result<_, _>>()?;
        let mut forwarders = lock(&self.forwarders);
        let text = network::redirection(&[], peer_port);
        network.set_filter(name, &text).map_err(|error| error.to_string())?;
        forwarders.remove(name);
        if delays.is_empty() {
            return Ok(());
        }
        let place = network.place(name).ok_or_else(|| format!("{name} has no place"))?;
        let of = |delay: &PeerDelay| Delay {
            arriving: Duration::from_millis(delay.arriving_ms),
            leaving: Duration::from_millis(delay.leaving_ms),
        };
        let delays = addresses.iter().copied().zip(delays.iter().map(of)).collect();
        let ports = (network::FORWARDER_PORT, peer_port);
        let forwarder = Forwarder::start(&place, ports, delays)
            .map_err(|error| format!("failed to start a forwarder before {name}: {error}"))?;
        forwarders.insert(name.to_owned(), forwarder);
        let text = network::redirection(&addresses, peer_port);
        network.set_filter(name, &text).map_err(|error| error.to_string())
    }

    fn filter(&self, network: &Network, rules: &[Rule]) -> Result<String, Reason> {
        let peer_port = self.members().first().map_or(0, Member::peer_port);
        network::filter(rules, |node| network.address(node), peer_port).map_err(|error| error.to_string())
    }

    fn heal_disk(&self, member: &str) {
        lock(&self.disks).remove(member);
    }

    fn slow_disk(&self, name: &str, delay: Duration) -> Result<(), Reason> {
        let mut disks = lock(&self.disks);
        disks.remove(name);
        if !delay.is_zero() {
            let pid = running(self.member(name)?)?;
            let fault = DiskFault::slow(pid, delay).map_err(|error| error.to_string())?;
            disks.insert(name.to_owned(), Disk::Slow(fault));
        }
        Ok(())
    }

    fn fail_disk(&self, name: &str) -> Result<(), Reason> {
        let mut disks = lock(&self.disks);
        disks.remove(name);
        let member = self.member(name)?;
        let pid = running(member)?;
        // Before it can happen.
        member.expect_end();
        let fault = DiskFault::fail(pid).map_err(|error| error.to_string())?;
        disks.insert(name.to_owned(), Disk::Failing(fault));
        Ok(())
    }

    /// What can't be done here, and why.
    pub(super) fn lacks(&self) -> Vec<(Ability, Reason)> {
        let mut lacks = vec![(Ability::Clock, "processes of one machine share its clock".to_owned())];
        let effects = [
            (Ability::Network, Effect::Drop),
            (Ability::PacketLoss, Effect::Lose(0.5)),
            (Ability::ConnectionReset, Effect::Reset),
        ];
        lacks.extend(
            effects.into_iter().filter_map(|(ability, effect)| Some((ability, self.refusal(effect)?))),
        );
        lacks.extend(self.no_redirection().map(|reason| (Ability::PeerDelay, reason)));
        if let Some(reason) = disk::lacking() {
            lacks.extend([Ability::SlowDisk, Ability::FailDisk].map(|ability| (ability, reason.clone())));
        }
        lacks
    }

    fn refusal(&self, effect: Effect) -> Option<Reason> {
        let network = match &self.network {
            Ok(network) => network,
            Err(reason) => return Some(reason.clone()),
        };
        let from = self.members().first()?.name().to_owned();
        let rule = Rule { from, traffic: Traffic::Peers, effect };
        self.filter(network, &[rule]).map_or_else(Some, |text| network.refusal(&text))
    }

    fn no_redirection(&self) -> Option<Reason> {
        let network = match &self.network {
            Ok(network) => network,
            Err(reason) => return Some(reason.clone()),
        };
        let address = network.address(self.members().first()?.name())?;
        network.refusal(&network::redirection(&[address], 1))
    }

    /// All ends that no fault led to, each with what is known of it.
    pub(super) fn stopped(&self) -> Vec<(String, String)> {
        let of = |member: &Member| {
            let name = member.name().to_owned();
            let ends = member.ends().into_iter().filter(|end| !end.by_fault);
            ends.map(move |end| (name.clone(), end.words))
        };
        let checker = self.checker_end().map(|words| (HEALTH_CHECKER.to_owned(), words));
        self.members().iter().flat_map(of).chain(checker).collect()
    }

    /// All ends since this was last asked.
    pub(super) fn ended(&self) -> Vec<Ended> {
        let of = |member: &Member| {
            let service = member.name().to_owned();
            member.new_ends().into_iter().map(move |end| Ended {
                service: service.clone(),
                status: end.words,
                by_fault: end.by_fault,
            })
        };
        let mut ended: Vec<_> = self.members().iter().flat_map(of).collect();
        if let Some(status) = self.checker_end()
            && !self.is_checker_told.swap(true, Ordering::Relaxed)
        {
            ended.push(Ended { service: HEALTH_CHECKER.to_owned(), status, by_fault: false });
        }
        ended
    }

    fn checker_end(&self) -> Option<String> {
        let status = lock(&self.checker).try_wait().ok()??;
        Some(format!("ended by itself with {status}"))
    }

    /// Undoes all faults and ends everything for good, also while an action is under way.
    pub(super) fn retire(&self) {
        self.members().iter().for_each(Member::retire);
        let mut checker = lock(&self.checker);
        // The errors that these can have mean that it is gone already.
        let _ = checker.kill();
        let _ = checker.wait();
        lock(&self.disks).clear();
        lock(&self.forwarders).clear();
        self.clients.forget();
        if let Ok(network) = &self.network {
            network.remove();
        }
    }
}

impl Drop for System {
    fn drop(&mut self) {
        self.retire();
    }
}

fn running(member: &Member) -> Result<u32, Reason> {
    member.pid().ok_or_else(|| format!("{} is not running", member.name()))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
