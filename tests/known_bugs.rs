//! Faults that old etcds are known to have, provoked on purpose: each is found in a version that has it, by the
//! guarantee that it breaks, and the same requests break nothing of a version without it. Histories of these are fixtures
//! of `recorded_histories.rs`; `KEEP` names a folder to record new ones in.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;

use std::{sync::Arc, time::Duration};

use common::{TestCluster, healthy_cluster_of, settings, temporary_folder};
use etcd_antithesis::{
    check::{self, case::Case},
    client::Client,
    history::reader,
    lab::etcd_binary::EtcdBinary,
    operation::{
        Compact, DeleteRange, KeyRange, Outcome, Put, Request,
        stream::{CreateWatch, Sent},
    },
    recorder::{
        Recorder,
        stream::{Next, RecordedStream},
    },
    types::{ProcessId, Revision},
    verdict::Verdict,
};

/// Has all of these faults.
const OLD: &str = "3.4.23";
/// Has none of them.
const NEW: &str = "3.5.30";

/// A member, and what is recorded of it.
struct Scene {
    recorder: Arc<Recorder>,
    client: Client,
    _cluster: TestCluster,
}

impl Scene {
    /// Asks; gives the revision of the answer.
    async fn ask(&self, request: Request) -> Revision {
        match self.recorder.perform(ProcessId(1), &self.client, &request).await.unwrap().0 {
            Outcome::Ok(response) => response.header.revision,
            other => panic!("{request:?}: {other:?}"),
        }
    }

    async fn put(&self, key: &str, value: &str) -> Revision {
        self.ask(Request::Put(Put { key: key.into(), value: value.into(), ..Put::default() })).await
    }

    fn watch(&self, create: CreateWatch) -> RecordedStream {
        self.recorder.open_stream(ProcessId(2), &self.client.apart(), &Sent::Create(create)).unwrap()
    }
}

/// Takes what comes until nothing does.
async fn listen(mut stream: RecordedStream) {
    while let Next::Message(_) = stream.next(Duration::from_millis(1_500)).await.unwrap() {}
    stream.close().unwrap();
}

/// Which guarantees are broken by what a member of this version answers.
async fn broken(version: &str, name: &str, story: impl AsyncFnOnce(&Scene)) -> Vec<String> {
    let binary = EtcdBinary::fetch(version.parse().unwrap()).unwrap();
    let flag = "--experimental-watch-progress-notify-interval=200ms".to_owned();
    let cluster = healthy_cluster_of(&binary, 1, |options| options.extra_flags.push(flag));
    let client = Client::of_each(&settings(&cluster.endpoints())).unwrap().remove(0);
    let temporary = temporary_folder();
    let folder = match std::env::var_os("KEEP") {
        Some(keep) => std::path::Path::new(&keep).join(format!("{name}-{version}")),
        None => temporary.path().to_owned(),
    };
    std::fs::create_dir_all(&folder).unwrap();
    let recorder = Arc::new(Recorder::create(&folder, name).unwrap());
    story(&Scene { recorder, client, _cluster: cluster }).await;
    let histories = reader::read_folder(&folder).unwrap();
    let judgements = check::all(&Case::new(&histories)).into_iter();
    let broken = judgements.filter(|judgement| matches!(judgement.verdict, Verdict::Broken(_)));
    broken.map(|judgement| judgement.guarantee.name()).collect()
}

/// etcd issue 18089: a compaction to the very revision of a delete loses its event, though a watch may begin there.
#[tokio::test]
async fn a_delete_that_a_compaction_loses_is_found() {
    let story = async |scene: &Scene| {
        scene.put("k", "1").await;
        let keys = KeyRange::single("k".into());
        let deleted =
            scene.ask(Request::DeleteRange(DeleteRange { keys: keys.clone(), prev_kv: false })).await;
        scene.put("k", "2").await;
        scene.ask(Request::Compact(Compact { revision: deleted, physical: true })).await;
        listen(scene.watch(CreateWatch { keys, start: Some(deleted), ..CreateWatch::default() })).await;
    };
    assert_eq!(broken(OLD, "lost_delete", story).await, ["watch-resumable"]);
    assert_eq!(broken(NEW, "lost_delete", story).await, [""; 0]);
}

/// etcd issue 15220: progress that was asked for overtakes the events of a watch that is behind.
#[tokio::test]
async fn progress_ahead_of_events_is_found() {
    let story = async |scene: &Scene| {
        for number in 0..20 {
            scene.put("k", &number.to_string()).await;
        }
        let keys = KeyRange::single("k".into());
        let mut stream =
            scene.watch(CreateWatch { keys, start: Some(Revision(2)), ..CreateWatch::default() });
        stream.send(&Sent::Progress {}).unwrap();
        listen(stream).await;
    };
    assert_eq!(broken(OLD, "early_progress", story).await, ["watch-bookmarkable"]);
    assert_eq!(broken(NEW, "early_progress", story).await, [""; 0]);
}

/// etcd issue 20221: a watch that begins at a future revision is told of its progress before that.
#[tokio::test]
async fn progress_before_the_start_is_found() {
    let story = async |scene: &Scene| {
        scene.put("k", "1").await;
        let (keys, start) = (KeyRange::single("k".into()), Some(Revision(100)));
        let create = CreateWatch { keys, start, progress_notify: true, ..CreateWatch::default() };
        let mut stream = scene.watch(create);
        for _ in 0..3 {
            stream.next(Duration::from_millis(500)).await.unwrap();
        }
        stream.close().unwrap();
    };
    assert_eq!(broken(OLD, "future_watch", story).await, ["watch-started"]);
    assert_eq!(broken(NEW, "future_watch", story).await, [""; 0]);
}
