//! Proves streams of watches against real etcds: what goes through the recorder, what the traffic reaches, and that
//! honest servers break none of the guarantees.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;

use std::{path::Path, sync::Arc, time::Duration};

use common::{TestCluster, healthy_cluster_of, settings, temporary_folder};
use etcd_antithesis::{
    client::Client,
    history::reader::{self, Message, Stream},
    lab::etcd_binary::EtcdBinary,
    operation::{
        KeyRange, Put, Request,
        stream::{CreateWatch, News, Sent, WatchNews},
    },
    recorder::{Recorder, stream::Next},
    types::{LeaseId, ProcessId, WatchId},
};

const OLD_AND_NEW: [&str; 2] = ["3.4.23", "3.5.30"];
const WITHIN: Duration = Duration::from_secs(5);

fn cluster(version: &str, members: usize) -> TestCluster {
    healthy_cluster_of(&EtcdBinary::fetch(version.parse().unwrap()).unwrap(), members, |_| {})
}

fn client(cluster: &TestCluster) -> Client {
    Client::of_each(&settings(&cluster.endpoints())).unwrap().remove(0)
}

fn streams(folder: &Path) -> Vec<Stream> {
    reader::read_folder(folder).unwrap().remove(0).streams
}

fn news(next: Next) -> WatchNews {
    match next {
        Next::Message(message) => match message.news {
            News::Watch(news) => news,
            other @ News::Leader(_) => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

/// Watches of one stream tell of their own keys only, are cancelled one by one, and all of it is in the history.
#[tokio::test]
async fn a_stream_is_recorded_from_its_first_message_to_its_end() {
    for version in OLD_AND_NEW {
        let cluster = cluster(version, 1);
        let client = client(&cluster);
        let folder = temporary_folder();
        let recorder = Arc::new(Recorder::create(folder.path(), "test").unwrap());
        let create = |watch, key: &str| {
            let keys = KeyRange::single(key.into());
            Sent::Create(CreateWatch { watch: WatchId(watch), keys, ..CreateWatch::default() })
        };
        let mut stream = recorder.open_stream(ProcessId(1), &client.apart(), &create(1, "a")).unwrap();
        stream.send(&create(2, "b")).unwrap();
        for watch in [1, 2] {
            let created = news(stream.next(WITHIN).await.unwrap());
            assert!(created.created && created.watch == WatchId(watch), "{created:?}");
        }
        assert_eq!(stream.next(Duration::from_millis(100)).await.unwrap(), Next::Silence);
        let put = |key: &str| Request::Put(Put { key: key.into(), value: "v".into(), ..Put::default() });
        client.try_perform(&put("b")).await.unwrap();
        let told = news(stream.next(WITHIN).await.unwrap());
        assert!(told.watch == WatchId(2) && told.events[0].kv.key == "b".into(), "{told:?}");
        stream.send(&Sent::Cancel { watch: WatchId(2) }).unwrap();
        assert!(news(stream.next(WITHIN).await.unwrap()).canceled);
        stream.close().unwrap();

        let kept = streams(folder.path()).remove(0);
        let is_sent = |(_, message): &(_, Message)| matches!(message, Message::Sent(_));
        let directions: Vec<bool> = kept.messages.iter().map(is_sent).collect();
        assert_eq!(directions, [true, true, false, false, false, true, false]);
        assert!(matches!(kept.ended, Some((_, None))));
    }
}

/// A member that dies ends the stream with a failure, which is recorded once.
#[tokio::test]
async fn a_stream_ends_with_its_member() {
    let cluster = cluster("3.5.30", 1);
    let folder = temporary_folder();
    let recorder = Arc::new(Recorder::create(folder.path(), "test").unwrap());
    let create = Sent::Create(CreateWatch { keys: KeyRange::everything(), ..CreateWatch::default() });
    let mut stream = recorder.open_stream(ProcessId(1), &client(&cluster), &create).unwrap();
    assert!(news(stream.next(WITHIN).await.unwrap()).created);
    cluster.members()[0].kill();
    assert!(matches!(stream.next(WITHIN).await.unwrap(), Next::End(_)));
    stream.send(&Sent::Progress {}).unwrap();
    assert!(matches!(stream.next(WITHIN).await.unwrap(), Next::End(_)));
    let kept = streams(folder.path()).remove(0);
    assert_eq!(kept.messages.len(), 2);
    assert!(matches!(kept.ended, Some((_, Some(_)))));
}

/// Leaders of an election come over the same door.
#[tokio::test]
async fn an_observer_is_recorded() {
    use etcd_antithesis::operation::{
        Answer,
        service::{ElectionRequest, LeaseAnswer, LeaseRequest},
    };
    let cluster = cluster("3.5.30", 1);
    let client = client(&cluster);
    let folder = temporary_folder();
    let recorder = Arc::new(Recorder::create(folder.path(), "test").unwrap());
    let grant = Request::Lease(LeaseRequest::Grant { lease: LeaseId::default(), ttl: 60 });
    let granted = client.try_perform(&grant).await.unwrap().message;
    let Answer::Lease(LeaseAnswer::Grant { lease, .. }) = granted.answer else { panic!("{granted:?}") };
    let observe = Sent::Observe { name: "e".into() };
    let mut stream = recorder.open_stream(ProcessId(1), &client, &observe).unwrap();
    assert_eq!(stream.next(Duration::from_millis(200)).await.unwrap(), Next::Silence);
    let campaign = ElectionRequest::Campaign { name: "e".into(), lease, value: "v".into() };
    client.try_perform(&Request::Election(campaign)).await.unwrap();
    let Next::Message(message) = stream.next(WITHIN).await.unwrap() else { panic!() };
    assert!(matches!(message.news, News::Leader(kv) if kv.value == "v".into()));
    stream.close().unwrap();
    assert_eq!(streams(folder.path())[0].messages.len(), 2);
}
