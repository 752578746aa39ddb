//! The history of what the lab itself changes in the store, so that the checks know of it like of any client's
//! requests. In go requests, out come their outcomes and a history file beside those of the commands; none is made
//! as long as there is nothing to record.

use std::{
    cell::OnceCell,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{
    client::Client,
    history::HistoryError,
    operation::{
        KeyRange, Outcome, Put, Request, Response, Txn,
        stream::{CreateWatch, News, Received, Sent},
    },
    recorder::{
        Recorder,
        stream::{Next, RecordedStream},
    },
    traffic::watches::place::Place,
    types::{Blob, ProcessId, Revision},
};

/// Who recorded the file.
const COMMAND: &str = "etcd-lab";
/// The commands' process ids are counted from 1 in a file that may belong to the user of the containers, so the lab
/// has ids of its own, far above.
const FIRST_PROCESS: u64 = 1 << 40;
/// A member that has told everything is asked after this how far it has come.
const NEXT_WITHIN: Duration = Duration::from_millis(200);

/// Records the lab's own requests of one timeline.
pub struct Journal {
    folder: PathBuf,
    recorder: OnceCell<Arc<Recorder>>,
    next_process: Arc<AtomicU64>,
}

/// Asks members in the name of a journal. Clones may ask side by side, also from other tasks.
#[derive(Clone)]
pub struct Asker {
    recorder: Arc<Recorder>,
    next_process: Arc<AtomicU64>,
}

/// What of its log a member has told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// The first revision that was told; what lies before was compacted, or not asked for.
    pub from: Revision,
    /// How many changes of keys there were.
    pub changes: usize,
}

/// A member that tells changes as they come.
pub struct Following {
    stream: RecordedStream,
    from: Revision,
}

impl Following {
    /// Has it told all changes up to a revision, and ends.
    pub async fn up_to(mut self, upto: Revision, within: Duration) -> Result<(), String> {
        let mut told = Told { from: self.from, changes: 0 };
        let listens = listen(&mut self.stream, Place::at(Some(self.from)), upto, &mut told);
        let late = |_| format!("its log up to revision {upto} did not come within {within:?}");
        tokio::time::timeout(within, listens).await.map_err(late)??;
        self.stream.close().map_err(|error| error.to_string())
    }
}

impl Asker {
    /// Asks a member, as a process of its own, which the request may depend on.
    pub async fn ask(
        &self,
        client: &Client,
        request: impl FnOnce(ProcessId) -> Request,
    ) -> Result<Response, String> {
        let process = ProcessId(self.next_process.fetch_add(1, Ordering::Relaxed));
        let asked = self.recorder.perform(process, client, &request(process)).await;
        match asked.map_err(|error| error.to_string())?.0 {
            Outcome::Ok(response) => Ok(response),
            Outcome::DidNotHappen(failure) | Outcome::Unknown(failure) => Err(failure.message),
        }
    }

    /// Writes a value that no other write has; the write's revision comes out.
    pub async fn put(&self, client: &Client, key: Blob) -> Result<Revision, String> {
        // As the values of commands begin, whose processes are others.
        let put =
            |process| Request::Put(Put { key, value: format!("{process}/1/").into(), ..Put::default() });
        Ok(self.ask(client, put).await?.header.revision)
    }

    /// Writes so many keys with this prefix at one revision, at most 128, each with a value that no other write has.
    pub async fn put_all(&self, client: &Client, prefix: &str, count: u64) -> Result<(), String> {
        let txn = |process| {
            let put = |number| {
                let (key, value) = (format!("{prefix}{number}"), format!("{process}/{number}/"));
                Request::Put(Put { key: key.into(), value: value.into(), ..Put::default() })
            };
            Request::Txn(Txn { success: (1..=count).map(put).collect(), ..Txn::default() })
        };
        self.ask(client, txn).await.map(drop)
    }
}

impl Journal {
    /// For a history folder.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, recorder: OnceCell::new(), next_process: Arc::new(AtomicU64::new(FIRST_PROCESS)) }
    }

    /// For requests whose answers matter, and for many at once.
    pub fn asker(&self) -> Result<Asker, String> {
        Ok(Asker { recorder: Arc::clone(self.recorder()?), next_process: Arc::clone(&self.next_process) })
    }

    /// Asks a member, as a process of its own.
    pub async fn perform(&self, client: &Client, request: &Request) -> Result<Response, String> {
        self.asker()?.ask(client, |_| request.clone()).await
    }

    /// Has a member tell all changes from a revision up to another, as far as it still has them, since they tell what
    /// writes of unknown outcome did.
    pub async fn read_log(
        &self,
        client: &Client,
        (from, upto): (Revision, Revision),
        within: Duration,
    ) -> Result<Told, String> {
        let late = |_| format!("its log up to revision {upto} did not come within {within:?}");
        tokio::time::timeout(within, self.follow(client, from, upto)).await.map_err(late)?
    }

    /// Begins to tell changes from a revision on, which is to be after the newest: then they are told as they come,
    /// and the log up to a later revision is read without a wait.
    pub fn follow_from(&self, client: &Client, from: Revision) -> Result<Following, String> {
        let everything =
            CreateWatch { keys: KeyRange::everything(), fragment: true, ..CreateWatch::default() };
        let create = Sent::Create(CreateWatch { start: Some(from), ..everything });
        let stream = self.recorder()?.open_stream(self.process(), client, &create);
        Ok(Following { stream: stream.map_err(|error| error.to_string())?, from })
    }

    async fn follow(&self, client: &Client, from: Revision, upto: Revision) -> Result<Told, String> {
        let mut told = Told { from, changes: 0 };
        let mut place = Place::at(Some(from));
        while let Some(next) = place.next().filter(|next| *next <= upto) {
            let Following { mut stream, .. } = self.follow_from(client, next)?;
            place = listen(&mut stream, place, upto, &mut told).await?;
            stream.close().map_err(|error| error.to_string())?;
        }
        Ok(told)
    }

    fn process(&self) -> ProcessId {
        ProcessId(self.next_process.fetch_add(1, Ordering::Relaxed))
    }

    fn recorder(&self) -> Result<&Arc<Recorder>, String> {
        if let Some(recorder) = self.recorder.get() {
            return Ok(recorder);
        }
        let recorder = Recorder::create(&self.folder, COMMAND).map_err(|error| error.to_string())?;
        Ok(self.recorder.get_or_init(|| Arc::new(recorder)))
    }
}

/// Where a watch is when it has told everything up to a revision, or what lies before a later one is no longer there.
async fn listen(
    stream: &mut RecordedStream,
    mut place: Place,
    upto: Revision,
    told: &mut Told,
) -> Result<Place, String> {
    let words = |error: HistoryError| error.to_string();
    while place.next() <= Some(upto) {
        match stream.next(NEXT_WITHIN).await.map_err(words)? {
            Next::Message(Received { news: News::Watch(news), .. }) if news.canceled => {
                let Revision(compacted) = news.compact_revision;
                if compacted == 0 {
                    return Err(news.cancel_reason);
                }
                *told = Told { from: Revision(compacted + 1), changes: 0 };
                return Ok(Place::at(Some(told.from)));
            }
            Next::Message(Received { header, news: News::Watch(news) }) => {
                told.changes += news.events.len();
                place.advance(header.revision, &news);
            }
            Next::Message(_) | Next::Silence => stream.send(&Sent::Progress {}).map_err(words)?,
            Next::End(failure) => return Err(failure.message),
        }
    }
    Ok(place)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{history::reader, lab::observer, operation::Compact, types::Revision};

    /// Nothing is written without a request; each request is one of a process of its own, whatever becomes of it.
    #[tokio::test]
    async fn each_request_is_recorded_once() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(folder.path().join("history"));
        assert!(!folder.path().join("history").exists());
        let soon = Duration::from_millis(300);
        let client = observer::client("http://127.0.0.1:1", None, soon, soon).unwrap();
        let compact = Request::Compact(Compact { revision: Revision(7), physical: false });
        for _ in 0..2 {
            journal.perform(&client, &compact).await.unwrap_err();
        }
        let histories = reader::read_folder(&folder.path().join("history")).unwrap();
        let [history] = histories.as_slice() else { panic!("{} files", histories.len()) };
        assert_eq!((history.preamble.command.as_str(), history.operations.len()), (COMMAND, 2));
        let [first, second] = history.operations.as_slice() else { panic!() };
        assert!(first.request == compact && first.process != second.process && first.did_not_happen());
    }
}
