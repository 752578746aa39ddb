//! Proves that each action of a fault does to a cluster of local processes what it says and is undone by its
//! opposite: on real etcds, seen through the project's own client. Needs root, as CI is.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;
#[path = "common/local.rs"]
mod local;

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::{Duration, Instant},
};

use common::{HEALTHY_LIMIT, settings};
use etcd_antithesis::{
    client::{CallError, Client, channel::Channel},
    history::reader::{self, Message},
    lab::{
        cluster::Ended,
        fault::{
            action::{Ability, Action, Effect, PeerDelay, Rule, Traffic},
            journal::Journal,
        },
        local::LocalCluster,
        template::{Role, TestCommand},
        workspace::TimelineFolder,
    },
    operation::{
        Compact, Put, Request,
        stream::{News, Received},
    },
    proto::etcdserverpb::{self as pb, cluster_client::ClusterClient},
    settings::Settings,
    types::Revision,
};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const MEMBERS: [&str; 3] = ["etcd0", "etcd1", "etcd2"];

/// A cluster that is up and healthy.
struct System {
    cluster: LocalCluster,
    folder: TimelineFolder,
    place: TempDir,
}

impl System {
    async fn new() -> Self {
        let (cluster, folder, place) = local::cluster_in(common::temporary_folder()).await;
        let system = Self { cluster, folder, place };
        system.agrees().await;
        system
    }

    async fn act(&self, action: Action) {
        self.cluster.act(&action).await.unwrap();
    }

    fn client(&self, member: &str) -> Client {
        let url = self.cluster.member_url(member).unwrap();
        let settings = Settings { command_timeout: Duration::from_secs(2), ..settings(&url) };
        Client::of_each(&settings).unwrap().remove(0)
    }

    /// Whom a member takes for the leader; 0 for nobody.
    async fn leader(&self, member: &str) -> Option<u64> {
        Some(self.client(member).status().await.ok()?.message.leader)
    }

    async fn wait_for_leader(&self, member: &str, is_right: impl Fn(Option<u64>) -> bool) {
        let deadline = Instant::now() + HEALTHY_LIMIT;
        loop {
            let leader = self.leader(member).await;
            if is_right(leader) {
                return;
            }
            assert!(Instant::now() < deadline, "{member} still takes {leader:?} for the leader");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until all members have the same leader and a write succeeds.
    async fn agrees(&self) {
        let deadline = Instant::now() + HEALTHY_LIMIT;
        loop {
            let mut leaders = Vec::new();
            for member in MEMBERS {
                leaders.push(self.leader(member).await.unwrap_or(0));
            }
            if leaders[0] != 0
                && leaders.iter().all(|leader| *leader == leaders[0])
                && self.put().await.is_ok()
            {
                return;
            }
            assert!(Instant::now() < deadline, "the members' leaders are {leaders:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a write succeeds, since one that begins without a leader may fail.
    async fn writes(&self) {
        let deadline = Instant::now() + HEALTHY_LIMIT;
        while let Err(error) = self.put().await {
            assert!(Instant::now() < deadline, "no write succeeds: {error:?}");
        }
    }

    /// Waits until a write takes as long as it should.
    async fn wait_for_put(&self, is_right: impl Fn(Duration) -> bool) {
        let deadline = Instant::now() + HEALTHY_LIMIT;
        loop {
            let took = self.put().await;
            if took.as_ref().is_ok_and(|took| is_right(*took)) {
                return;
            }
            assert!(Instant::now() < deadline, "the last write gave {took:?}");
        }
    }

    /// How long a write takes.
    async fn put(&self) -> Result<Duration, CallError> {
        let client = self.client("etcd1");
        client.status().await?;
        let start = Instant::now();
        let put = Put { key: "key".into(), value: "value".into(), ..Put::default() };
        client.try_perform(&Request::Put(put)).await?;
        Ok(start.elapsed())
    }

    async fn rules(&self, node: &str, from: &[&str], traffic: Traffic, effect: Effect) {
        let rule = |from: &&str| Rule { from: (*from).to_owned(), traffic, effect };
        self.act(Action::Network { node: node.to_owned(), rules: from.iter().map(rule).collect() }).await;
    }

    async fn heal_network(&self) {
        for node in MEMBERS {
            self.rules(node, &[], Traffic::All, Effect::Drop).await;
        }
    }

    /// The process id in the etcd that works in a member's folder.
    fn pid(&self, member: &str) -> Option<u32> {
        let data = format!("--data-dir={}", self.folder.path().join("members").join(member).display());
        processes().into_iter().find(|pid| arguments(*pid).contains(&data))
    }

    fn script(&self, name: &str, lines: &str) -> TestCommand {
        let path = self.place.path().join("v1/main").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{lines}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let (template, name) = ("main".to_owned(), name.to_owned());
        TestCommand { container: String::new(), template, name, role: Role::ParallelDriver }
    }

    fn command(&self, client: &str, command: &TestCommand) -> tokio::process::Command {
        let command = TestCommand { container: client.to_owned(), ..command.clone() };
        let mut call = self.cluster.command(&command, "name", &self.folder);
        call.kill_on_drop(true);
        call
    }
}

fn processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap();
    entries.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok()).collect()
}

fn arguments(pid: u32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    bytes.split(|byte| *byte == 0).map(|argument| String::from_utf8_lossy(argument).into_owned()).collect()
}

fn member(name: &str) -> String {
    name.to_owned()
}

fn others(of: &str) -> Vec<&'static str> {
    MEMBERS.into_iter().filter(|name| *name != of).collect()
}

#[tokio::test]
async fn network_faults_part_the_nodes_that_they_name() {
    let mut system = System::new().await;
    let lacks = system.cluster.lacks().await;
    let lacks: Vec<_> = lacks.iter().filter(|(ability, _)| *ability != Ability::Clock).collect();
    assert!(lacks.is_empty(), "this machine can't have all faults: {lacks:?}");
    for effect in [Effect::Drop, Effect::Lose(1.0), Effect::Reset] {
        isolated(&system, "etcd2", effect).await;
    }
    one_way(&system).await;
    client_from_member(&system).await;
    assert_eq!((system.cluster.stopped(), system.cluster.ended()), (Vec::new(), Vec::new()));
    system.cluster.down(&system.folder).unwrap();
}

/// The member loses its leader, the others keep one, and the lab reaches all of them all the time.
async fn isolated(system: &System, name: &str, effect: Effect) {
    let others = others(name);
    system.rules(name, &others, Traffic::Peers, effect).await;
    for other in &others {
        system.rules(other, &[name], Traffic::Peers, effect).await;
    }
    system.wait_for_leader(name, |leader| leader == Some(0)).await;
    system.wait_for_leader(others[0], |leader| leader.is_some_and(|leader| leader != 0)).await;
    system.writes().await;
    system.heal_network().await;
    system.agrees().await;
}

/// A follower that does not hear its leader loses it, though all others hear each other.
async fn one_way(system: &System) {
    let leader = leader_name(system).await;
    let follower = others(&leader)[0];
    system.rules(follower, &[&leader], Traffic::All, Effect::Drop).await;
    system.wait_for_leader(follower, |leader| leader == Some(0)).await;
    system.heal_network().await;
    system.agrees().await;
}

async fn leader_name(system: &System) -> String {
    for name in MEMBERS {
        let status = system.client(name).status().await.unwrap().message;
        if status.header.unwrap().member_id == status.leader {
            return name.to_owned();
        }
    }
    panic!("there is no leader");
}

async fn client_from_member(system: &System) {
    let url = system.cluster.member_url("etcd0").unwrap();
    let (host, port) = url.strip_prefix("http://").unwrap().split_once(':').unwrap();
    let connect = system.script(
        "parallel_driver_connect",
        &format!("exec timeout 1 bash -c 'exec 3<>/dev/tcp/{host}/{port}'"),
    );
    let connects = async |client: &str| system.command(client, &connect).status().await.unwrap().success();
    assert!(connects("client1").await && connects("client2").await);
    system.rules("etcd0", &["client1"], Traffic::All, Effect::Drop).await;
    assert!(!connects("client1").await, "client1 is cut off");
    assert!(connects("client2").await, "client2 is not");
    system.heal_network().await;
    assert!(connects("client1").await);
}

#[tokio::test]
async fn members_are_ended_started_and_frozen_and_every_end_is_told_once() {
    let mut system = System::new().await;
    for action in [Action::Kill { member: member("etcd0") }, Action::Stop { member: member("etcd0") }] {
        let pid = system.pid("etcd0").unwrap();
        system.act(action.clone()).await;
        assert_ne!(system.pid("etcd0"), Some(pid), "{action:?}");
        system.writes().await;
        system.act(action).await;
        system.act(Action::Start { member: member("etcd0") }).await;
        system.agrees().await;
        assert!(system.pid("etcd0").is_some());
        let news = system.cluster.ended();
        assert!(news.len() == 1 && is_end(&news[0], "etcd0", true), "{news:?}");
    }
    frozen(&system).await;
    emptied(&system).await;
    assert_eq!(system.cluster.stopped(), []);
    let pid = i32::try_from(system.pid("etcd1").unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::ABORT).unwrap();
    let deadline = Instant::now() + HEALTHY_LIMIT;
    while system.cluster.stopped().is_empty() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    system.act(Action::Start { member: member("etcd1") }).await;
    let stopped = system.cluster.stopped();
    assert_eq!((stopped.len(), stopped[0].0.as_str()), (1, "etcd1"), "{stopped:?}");
    assert!(stopped[0].1.contains("ended by itself with"), "{stopped:?}");
    assert!(system.cluster.ended().iter().any(|end| is_end(end, "etcd1", false)));
    system.agrees().await;
    let pids: Vec<_> = MEMBERS.iter().filter_map(|name| system.pid(name)).collect();
    assert_eq!(pids.len(), 3);
    let network = system.cluster.network().unwrap().to_owned();
    system.cluster.down(&system.folder).unwrap();
    assert!(!pids.iter().any(|pid| Path::new("/proc").join(pid.to_string()).exists()));
    assert_eq!(namespaces_of(&network), Vec::<String>::new());
}

/// What the lab compacts it has read before, also where others have compacted already; it is all in a history.
#[tokio::test]
async fn what_the_lab_compacts_is_read_before() {
    let mut system = System::new().await;
    let (client, within) = (system.client("etcd0"), Duration::from_secs(10));
    let journal = Journal::new(system.folder.path().join("history"));
    let mut compacted = Revision(0);
    for _ in 0..2 {
        for _ in 0..3 {
            system.put().await.unwrap();
        }
        let head = Revision(client.status().await.unwrap().message.header.unwrap().revision);
        journal.read_log(&client, (Revision(1), head), within).await.unwrap();
        let compact = Request::Compact(Compact { revision: head, physical: true });
        journal.perform(&client, &compact).await.unwrap();
        compacted = head;
    }
    let histories = reader::read_folder(&system.folder.path().join("history")).unwrap();
    let told: BTreeSet<i64> = histories
        .iter()
        .flat_map(|history| &history.streams)
        .flat_map(|stream| &stream.messages)
        .filter_map(|(_, message)| match message {
            Message::Received(Received { news: News::Watch(news), .. }) => Some(&news.events),
            _ => None,
        })
        .flatten()
        .map(|event| event.kv.mod_revision.0)
        .collect();
    // What was written through another member since the head was asked for may be told too.
    let compacted: BTreeSet<i64> = (2..=compacted.0).collect();
    assert!(told.is_superset(&compacted), "{told:?} lacks some of {compacted:?}");
    system.cluster.down(&system.folder).unwrap();
}

fn is_end(end: &Ended, service: &str, by_fault: bool) -> bool {
    end.service == service && end.by_fault == by_fault
}

fn namespaces_of(network: &str) -> Vec<String> {
    let names = fs::read_dir("/run/netns").unwrap();
    let names = names.filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    names.filter(|name| name.starts_with(network)).collect()
}

async fn frozen(system: &System) {
    for _ in 0..2 {
        system.act(Action::Pause { node: member("etcd2") }).await;
    }
    let status = system.client("etcd2").with_deadline(Duration::from_millis(300)).status().await;
    assert!(status.is_err());
    for _ in 0..2 {
        system.act(Action::Resume { node: member("etcd2") }).await;
    }
    system.agrees().await;
}

/// A member that was removed and added again comes back without data, and gets those of the others.
async fn emptied(system: &System) {
    let client = system.client("etcd1");
    let list = client.member_list(true).await.unwrap();
    let old = list.members.into_iter().find(|known| known.name == "etcd0").unwrap();
    system.act(Action::Kill { member: member("etcd0") }).await;
    let stub = ClusterClient::with_origin(client.channel().clone(), client.endpoint().uri.clone());
    remove_member(&stub, old.id).await;
    let added = add_member(&stub, &old.peer_ur_ls).await;
    system.act(Action::StartEmpty { member: member("etcd0") }).await;
    system.agrees().await;
    let status = system.client("etcd0").status().await.unwrap().message;
    assert_eq!(status.header.unwrap().member_id, added.id);
    let killed = system.cluster.ended();
    assert!(killed.len() == 1 && killed[0].by_fault, "{killed:?}");
    // It has to end by itself, since others removed it; until then, no other one is started.
    remove_member(&stub, added.id).await;
    add_member(&stub, &added.peer_ur_ls).await;
    let deadline = Instant::now() + HEALTHY_LIMIT;
    while let Err(error) = system.cluster.act(&Action::StartEmpty { member: member("etcd0") }).await {
        assert!(Instant::now() < deadline, "a removed member goes on: {error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    system.agrees().await;
    let removed = system.cluster.ended();
    assert!(removed.len() == 1 && removed[0].by_fault, "{removed:?}");
}

/// Changes of members are refused until the others have been connected for five seconds.
async fn until_done<T>(mut change: impl AsyncFnMut() -> Result<T, tonic::Status>) -> T {
    let deadline = Instant::now() + HEALTHY_LIMIT;
    loop {
        match change().await {
            Ok(done) => return done,
            Err(status) => assert!(Instant::now() < deadline, "{status}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn remove_member(stub: &ClusterClient<Channel>, id: u64) {
    until_done(async || stub.clone().member_remove(pb::MemberRemoveRequest { id }).await).await;
}

async fn add_member(stub: &ClusterClient<Channel>, peer_ur_ls: &[String]) -> pb::Member {
    let add = pb::MemberAddRequest { peer_ur_ls: peer_ur_ls.to_vec(), is_learner: false };
    until_done(async || stub.clone().member_add(add.clone()).await).await.into_inner().member.unwrap()
}

/// Each write takes a way to another member and one back. Packets that pass a forwarder are filtered as others are.
#[tokio::test]
async fn what_members_send_each_other_comes_later_and_then_at_once_again() {
    let mut system = System::new().await;
    let delays = |name: &str| {
        let delay = |from: &str| PeerDelay { from: member(from), arriving_ms: 60, leaving_ms: 90 };
        others(name).into_iter().map(delay).collect::<Vec<_>>()
    };
    for name in MEMBERS {
        system.act(Action::DelayPeers { member: member(name), delays: delays(name) }).await;
        system.rules(name, &others(name), Traffic::Direct, Effect::Reset).await;
    }
    system.wait_for_put(|took| took >= Duration::from_millis(150)).await;
    system.agrees().await;
    system.heal_network().await;
    let took = system.put().await.unwrap();
    assert!(took >= Duration::from_millis(120), "{took:?}");
    isolated(&system, "etcd2", Effect::Drop).await;
    for name in MEMBERS {
        system.act(Action::DelayPeers { member: member(name), delays: Vec::new() }).await;
    }
    system.wait_for_put(|took| took < Duration::from_millis(60)).await;
    system.agrees().await;
    assert_eq!((system.cluster.stopped(), system.cluster.ended()), (Vec::new(), Vec::new()));
    system.cluster.down(&system.folder).unwrap();
}

const DELAY: Duration = Duration::from_millis(300);

#[tokio::test]
async fn disk_faults_slow_down_writes_and_end_members() {
    let mut system = System::new().await;
    let slow = async |delay: Duration| {
        for name in MEMBERS {
            let delay_ms = u64::try_from(delay.as_millis()).unwrap();
            system.act(Action::SlowDisk { member: member(name), delay_ms }).await;
        }
    };
    slow(DELAY).await;
    system.writes().await;
    let took = system.put().await.unwrap();
    assert!(took >= DELAY, "{took:?}");
    slow(Duration::ZERO).await;
    system.agrees().await;
    let deadline = Instant::now() + HEALTHY_LIMIT;
    while system.put().await.is_ok_and(|took| took >= DELAY) {
        assert!(Instant::now() < deadline, "writes stay slow");
    }
    system.act(Action::FailDisk { member: member("etcd0") }).await;
    let mut ended = Vec::new();
    while ended.is_empty() {
        // Each write is flushed by all members.
        let _ = system.put().await;
        assert!(Instant::now() < deadline, "the member does not mind");
        ended = system.cluster.ended();
    }
    assert!(ended.len() == 1 && ended[0].by_fault && ended[0].service == "etcd0", "{ended:?}");
    assert_eq!(system.cluster.stopped(), []);
    system.act(Action::Start { member: member("etcd0") }).await;
    system.agrees().await;
    system.cluster.down(&system.folder).unwrap();
}

#[tokio::test]
async fn a_frozen_client_stands_still_with_all_its_processes() {
    let mut system = System::new().await;
    let file = system.place.path().join("count");
    let lines = format!("(while :; do echo x >>{0}; sleep 0.01; done) & wait", file.display());
    let command = system.script("parallel_driver_count", &lines);
    let length = || fs::metadata(&file).map_or(0, |metadata| metadata.len());
    let mut first = system.command("client1", &command).spawn().unwrap();
    grows(&length).await;
    let pause = Action::Pause { node: "client1".to_owned() };
    system.act(pause.clone()).await;
    system.act(pause).await;
    let frozen = length();
    let mut second = system.command("client1", &command).spawn().unwrap();
    let quick = system.script("parallel_driver_quick", "true");
    assert!(system.command("client2", &quick).status().await.unwrap().success(), "client2 goes on");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(length(), frozen);
    for _ in 0..2 {
        system.act(Action::Resume { node: "client1".to_owned() }).await;
    }
    grows(&length).await;
    first.kill().await.unwrap();
    let deadline = Instant::now() + HEALTHY_LIMIT;
    while !arguments(second.id().unwrap()).iter().any(|argument| argument.ends_with("driver_count")) {
        assert!(Instant::now() < deadline, "a command that was started meanwhile never begins");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    second.kill().await.unwrap();
    let error = system.cluster.act(&Action::Pause { node: "client3".to_owned() }).await.unwrap_err();
    assert!(error.to_string().contains("there is no node client3"), "{error}");
    system.cluster.down(&system.folder).unwrap();
    let after = length();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(length(), after, "what commands left running ended with their client");
}

async fn grows(length: &impl Fn() -> u64) {
    let (before, deadline) = (length(), Instant::now() + HEALTHY_LIMIT);
    while length() <= before {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
