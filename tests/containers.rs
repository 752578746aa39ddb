//! Proves on the real system of containers that each action of a fault does what it says, seen from outside; that
//! ends of members are told apart by who ended them; and that taking the system down leaves nothing of the project
//! and everything of others. One system serves all steps, since bringing one up takes seconds.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::{
    collections::BTreeSet,
    env,
    fs::{self, File},
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use etcd_antithesis::lab::{
    cluster::Ended,
    compose::{ComposeCluster, PROJECT},
    docker,
    fault::action::{Ability, Action, Effect, Rule, Traffic},
    template::{Role, TestCommand},
    workspace::{TimelineFolder, Workspace},
};
use serde_json::{Value, json};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const MEMBERS: [&str; 3] = ["etcd0", "etcd1", "etcd2"];
/// How long an effect may take to be seen on a busy machine.
const LIMIT: Duration = Duration::from_secs(40);
/// How long a member that can answer may take to do so.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// How long it may take to say that it is healthy, which is asked again and again.
const HEALTH_LIMIT: Duration = Duration::from_secs(1);
const SLOW: Duration = Duration::from_millis(400);
/// Images that the steps need. What the clients run doesn't matter to them, so old ones serve.
const IMAGES: [&str; 4] = ["etcd", "health-checker", "client", "network"];

#[test]
fn actions_strike_containers_and_nothing_stays_behind() {
    if let Err(error) = docker::engine_answers() {
        assert!(env::var("CI").is_err(), "CI needs Docker: {error}");
        eprintln!("NOT TESTED, since there is no Docker here: {error}");
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let system = System::up().await;
        system.pausing_kills_and_stops().await;
        system.rules_between_nodes().await;
        system.disks().await;
        system.a_member_without_data().await;
        system.ends_by_themselves().await;
        system.commands().await;
        system.leftovers().await;
    });
}

/// The containers, down again when dropped, beside ones that are nobody's business.
struct System {
    cluster: ComposeCluster,
    timeline: TimelineFolder,
    before: String,
    foreign: Foreign,
    folder: tempfile::TempDir,
}

impl System {
    async fn up() -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let cluster = ComposeCluster::open(Path::new(ROOT)).unwrap();
        cluster.check_names().unwrap();
        let has_image =
            |name| call(&["docker", "image", "inspect", &format!("etcd-antithesis-{name}")]).is_ok();
        if !IMAGES.into_iter().all(has_image) {
            cluster.build(&folder.path().join("build.log"), &[]).await.unwrap();
        }
        assert_eq!(of_project(), [] as [String; 0]);
        let foreign = Foreign::make();
        let before = foreign.state();
        let timeline = Workspace::open(folder.path()).unwrap().new_run().unwrap().timeline(1).unwrap();
        let system = Self { cluster, timeline, before, foreign, folder };
        system.cluster.up(&system.timeline).await.unwrap();
        for member in MEMBERS {
            system.wait_for_health(member, true).await;
        }
        let lacks = system.cluster.lacks().await;
        let lacks: Vec<Ability> = lacks.into_iter().map(|(ability, _)| ability).collect();
        assert_eq!(lacks, [Ability::Clock, Ability::PeerDelay], "what no containers can, and no more");
        system
    }

    async fn act(&self, action: Action) {
        let start = Instant::now();
        let name = format!("{action:?}");
        self.cluster.act(&action).await.unwrap();
        eprintln!("{:4} ms  {name}", start.elapsed().as_millis());
    }

    async fn address(&self, member: &str) -> Option<SocketAddr> {
        let url = self.cluster.member_url(member).await?;
        Some(url.strip_prefix("http://").unwrap().parse().unwrap())
    }

    /// Whether a member serves a linearizable read.
    async fn is_healthy(&self, member: &str) -> bool {
        let Some(address) = self.address(member).await else { return false };
        ask(address, "GET", "/health", "", HEALTH_LIMIT).is_some_and(|answer| answer["health"] == "true")
    }

    async fn wait_for_health(&self, member: &str, healthy: bool) {
        let deadline = Instant::now() + LIMIT;
        while self.is_healthy(member).await != healthy {
            assert!(Instant::now() < deadline, "waited {LIMIT:?} for {member} to be healthy: {healthy}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    async fn post(&self, member: &str, path: &str, body: Value) -> Value {
        let address = self.address(member).await.unwrap();
        ask(address, "POST", path, &body.to_string(), ANSWER_LIMIT)
            .unwrap_or_else(|| panic!("{member} answers {path}"))
    }

    /// Posts until the cluster accepts it: a change of members waits until all have been connected for a while.
    async fn insist(&self, path: &str, body: Value) {
        let deadline = Instant::now() + LIMIT;
        while let Some(error) = self.post("etcd0", path, body.clone()).await.get("message") {
            assert!(Instant::now() < deadline, "waited {LIMIT:?} for {path}: {error}");
            thread::sleep(Duration::from_millis(100));
        }
    }

    async fn time_of_put(&self) -> Duration {
        let start = Instant::now();
        self.post("etcd0", "/v3/kv/put", json!({"key": "YQ==", "value": "YQ=="})).await;
        start.elapsed()
    }

    /// The next end, which is told once.
    fn next_end(&self) -> Ended {
        let deadline = Instant::now() + LIMIT;
        loop {
            let mut ended = self.cluster.ended();
            if let Some(end) = ended.pop() {
                assert!(ended.is_empty(), "{ended:?} and {end:?}");
                assert_eq!(self.cluster.ended(), []);
                return end;
            }
            assert!(Instant::now() < deadline, "waited {LIMIT:?} for an end");
            thread::sleep(Duration::from_millis(20));
        }
    }

    async fn pausing_kills_and_stops(&self) {
        let member = || "etcd0".to_owned();
        self.act(Action::Resume { node: member() }).await;
        for _ in 0..2 {
            self.act(Action::Pause { node: member() }).await;
        }
        assert!(!self.is_healthy("etcd0").await, "a frozen member answers nothing");
        assert_eq!(self.cluster.stopped().unwrap(), []);
        self.act(Action::Resume { node: member() }).await;
        self.wait_for_health("etcd0", true).await;
        self.act(Action::Pause { node: member() }).await;
        for _ in 0..2 {
            self.act(Action::Kill { member: member() }).await;
        }
        let end = self.next_end();
        assert_eq!((end.service.as_str(), end.by_fault), ("etcd0", true), "{}", end.status);
        assert_eq!(self.address("etcd0").await, None);
        assert_eq!(self.cluster.stopped().unwrap(), []);
        for _ in 0..2 {
            self.act(Action::Start { member: member() }).await;
        }
        self.wait_for_health("etcd0", true).await;
        for _ in 0..2 {
            self.act(Action::Stop { member: member() }).await;
        }
        assert!(self.next_end().by_fault);
        self.act(Action::Start { member: member() }).await;
        self.wait_for_health("etcd0", true).await;
        self.act(Action::Pause { node: "client1".to_owned() }).await;
        assert_eq!(self.cluster.stopped().unwrap(), []);
        self.act(Action::Resume { node: "client1".to_owned() }).await;
        assert_eq!(self.cluster.ended(), []);
    }

    async fn rules_between_nodes(&self) {
        let rule = |from: &str, effect| Rule { from: from.to_owned(), traffic: Traffic::Peers, effect };
        let alone = |effect| vec![rule("etcd0", effect), rule("etcd1", effect)];
        for effect in [Effect::Drop, Effect::Lose(1.0), Effect::Reset] {
            self.act(Action::Network { node: "etcd2".to_owned(), rules: alone(effect) }).await;
            self.wait_for_health("etcd2", false).await;
            self.wait_for_health("etcd0", true).await;
            self.act(Action::Network { node: "etcd2".to_owned(), rules: Vec::new() }).await;
            self.wait_for_health("etcd2", true).await;
        }
        self.act(Action::Network { node: "etcd2".to_owned(), rules: alone(Effect::Drop) }).await;
        // The others change places, and with them their addresses.
        for member in ["etcd0", "etcd1"] {
            self.act(Action::Kill { member: member.to_owned() }).await;
        }
        for member in ["etcd1", "etcd0"] {
            self.act(Action::Start { member: member.to_owned() }).await;
        }
        self.wait_for_health("etcd0", true).await;
        thread::sleep(Duration::from_secs(2));
        assert!(!self.is_healthy("etcd2").await, "rules follow the nodes that they name");
        self.act(Action::Kill { member: "etcd2".to_owned() }).await;
        self.act(Action::Start { member: "etcd2".to_owned() }).await;
        self.wait_for_health("etcd2", true).await;
        let ends: BTreeSet<_> =
            self.cluster.ended().into_iter().map(|end| (end.service, end.by_fault)).collect();
        assert_eq!(ends, MEMBERS.map(|member| (member.to_owned(), true)).into());
    }

    async fn disks(&self) {
        let slow = |member: &str, delay_ms| Action::SlowDisk { member: member.to_owned(), delay_ms };
        for member in MEMBERS {
            self.act(slow(member, u64::try_from(SLOW.as_millis()).unwrap())).await;
        }
        let slowest = self.time_of_put().await.max(self.time_of_put().await);
        assert!(slowest >= SLOW, "{slowest:?}");
        for member in MEMBERS {
            self.act(slow(member, 0)).await;
        }
        let quickest = self.time_of_put().await.min(self.time_of_put().await);
        assert!(quickest < SLOW, "{quickest:?}");
        self.act(Action::FailDisk { member: "etcd1".to_owned() }).await;
        self.time_of_put().await;
        let end = self.next_end();
        assert_eq!((end.service.as_str(), end.by_fault), ("etcd1", true), "{}", end.status);
        assert_eq!(self.cluster.stopped().unwrap(), []);
        self.act(Action::Start { member: "etcd1".to_owned() }).await;
        self.wait_for_health("etcd1", true).await;
    }

    async fn a_member_without_data(&self) {
        let members = self.post("etcd0", "/v3/cluster/member/list", json!({})).await;
        let of_name = |members: &Value| -> Value {
            let members = members["members"].as_array().unwrap();
            members.iter().find(|member| member["name"] == "etcd1").unwrap()["ID"].clone()
        };
        let old = of_name(&members);
        self.insist("/v3/cluster/member/remove", json!({"ID": old})).await;
        let end = self.next_end();
        assert_eq!((end.service.as_str(), end.by_fault), ("etcd1", true), "{}", end.status);
        self.insist("/v3/cluster/member/add", json!({"peerURLs": ["http://etcd1:2380"]})).await;
        self.act(Action::StartEmpty { member: "etcd1".to_owned() }).await;
        self.wait_for_health("etcd1", true).await;
        let members = self.post("etcd1", "/v3/cluster/member/list", json!({})).await;
        assert_ne!(of_name(&members), old, "it has joined as another member");
        let key = self.post("etcd1", "/v3/kv/range", json!({"key": "YQ=="})).await;
        assert_eq!(key["kvs"][0]["value"], "YQ==", "and has what the others have");
        assert_eq!(self.cluster.stopped().unwrap(), []);
        self.act(Action::Kill { member: "etcd1".to_owned() }).await;
        self.act(Action::Start { member: "etcd1".to_owned() }).await;
        self.wait_for_health("etcd1", true).await;
        assert!(self.next_end().by_fault);
    }

    async fn ends_by_themselves(&self) {
        call(&["docker", "kill", "etcd2"]).unwrap();
        let end = self.next_end();
        assert_eq!((end.service.as_str(), end.by_fault), ("etcd2", false), "{}", end.status);
        self.act(Action::Kill { member: "etcd2".to_owned() }).await;
        self.act(Action::Start { member: "etcd2".to_owned() }).await;
        self.wait_for_health("etcd2", true).await;
        let stopped = self.cluster.stopped().unwrap();
        assert_eq!(stopped.len(), 1, "it is told of, though it was started again: {stopped:?}");
        assert_eq!(stopped[0].name, "etcd2");
        assert_eq!(self.cluster.ended(), []);
    }

    async fn commands(&self) {
        let start = |name: &str, program: &str| {
            let command = TestCommand {
                container: "client1".to_owned(),
                // Out of the folder of templates, to a program that is in every image.
                template: "../../../..".to_owned(),
                name: format!("usr/bin/{program}"),
                role: Role::ParallelDriver,
            };
            let file = |ending: &str| File::create(self.timeline.commands().join(format!("{name}.{ending}")));
            let printed = [file("out").unwrap(), file("err").unwrap()];
            Box::pin(self.cluster.start(&command, name, &printed).unwrap())
        };
        assert_eq!(start("1", "true").await.unwrap().code(), Some(0));
        assert_eq!(start("2", "id").await.unwrap().code(), Some(0));
        let printed = fs::read_to_string(self.timeline.commands().join("2.out")).unwrap();
        assert!(printed.contains("uid="), "{printed}");
        self.act(Action::Pause { node: "client1".to_owned() }).await;
        let mut end = start("3", "false");
        let early = tokio::time::timeout(Duration::from_millis(500), &mut end).await;
        assert!(early.is_err(), "a command in a frozen container has ended");
        self.act(Action::Resume { node: "client1".to_owned() }).await;
        assert_eq!(end.await.unwrap().code(), Some(1), "it goes on with the container");
    }

    /// As after a lab that was killed in the middle of faults.
    async fn leftovers(&self) {
        self.act(Action::Pause { node: "etcd0".to_owned() }).await;
        let rule = Rule { from: "etcd0".to_owned(), traffic: Traffic::All, effect: Effect::Drop };
        for node in ["etcd0", "client1"] {
            self.act(Action::Network { node: node.to_owned(), rules: vec![rule.clone()] }).await;
        }
        self.act(Action::SlowDisk { member: "etcd1".to_owned(), delay_ms: 100 }).await;
        ComposeCluster::open(Path::new(ROOT)).unwrap().down().unwrap();
        assert_eq!(of_project(), [] as [String; 0]);
        assert_eq!(self.foreign.state(), self.before);
    }
}

impl Drop for System {
    fn drop(&mut self) {
        if thread::panicking() {
            // Logs stay for a look.
            self.folder.disable_cleanup(true);
            let timeline =
                Workspace::open(self.folder.path()).unwrap().new_run().unwrap().timeline(1).unwrap();
            let _ = self.cluster.save_logs(&timeline);
            eprintln!("what the containers printed is in {}", timeline.path().display());
        }
        if let Err(error) = self.cluster.down() {
            eprintln!("failed to take the system down: {error}");
        }
    }
}

/// A container, a network and a volume of somebody else.
struct Foreign(String);

impl Foreign {
    fn make() -> Self {
        let foreign = Self(format!("not-of-the-lab-{}", std::process::id()));
        let name = foreign.0.as_str();
        call(&["docker", "network", "create", name]).unwrap();
        call(&["docker", "volume", "create", name]).unwrap();
        let volume = format!("{name}:/data");
        let image = "etcd-antithesis-client";
        let words = ["docker", "run", "--detach", "--name", name, "--network", name, "--volume", &volume];
        call(&[&words[..], &[image, "sleep", "1000"]].concat()).unwrap();
        call(&["docker", "pause", name]).unwrap();
        foreign
    }

    /// All of it, in order.
    fn state(&self) -> String {
        let name = self.0.as_str();
        let container = call(&["docker", "inspect", "--format", "{{.Id}} {{.State.Status}}", name]).unwrap();
        let network = call(&["docker", "network", "inspect", "--format", "{{.Id}}", name]).unwrap();
        let volume = call(&["docker", "volume", "inspect", "--format", "{{.CreatedAt}}", name]).unwrap();
        container + &network + &volume
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let name = self.0.as_str();
        for words in [["docker", "unpause"].as_slice(), &["docker", "rm", "--force"]] {
            let _ = call(&[words, &[name]].concat());
        }
        let _ = call(&["docker", "network", "rm", name]);
        let _ = call(&["docker", "volume", "rm", name]);
    }
}

/// The ids of the project's containers, helpers, networks and volumes.
fn of_project() -> Vec<String> {
    let project = format!("label=com.docker.compose.project={PROJECT}");
    let all = [
        ["docker", "ps", "--all", "--quiet", "--filter", &project],
        ["docker", "ps", "--all", "--quiet", "--filter", "label=etcd-antithesis=helper"],
        ["docker", "network", "ls", "--quiet", "--filter", &project],
        ["docker", "volume", "ls", "--quiet", "--filter", &project],
    ];
    all.iter().flat_map(|words| call(words).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

fn call(words: &[&str]) -> Result<String, String> {
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{words:?}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// One HTTP request over a connection of its own; none if there is no answer of JSON in time.
fn ask(address: SocketAddr, method: &str, path: &str, body: &str, limit: Duration) -> Option<Value> {
    let mut stream = TcpStream::connect_timeout(&address, limit).ok()?;
    stream.set_read_timeout(Some(limit)).ok()?;
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.0\r\nHost: member\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all((head + body).as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}
