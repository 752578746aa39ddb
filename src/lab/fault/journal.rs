//! The history of what the lab itself changes in the store, so that the checks know of it like of any client's
//! requests. In go requests, out come their outcomes and a history file beside those of the commands; none is made
//! as long as there is nothing to record.

use std::{
    cell::{Cell, OnceCell},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use crate::{
    client::Client,
    history::HistoryError,
    operation::{
        KeyRange, Outcome, Request,
        stream::{CreateWatch, News, Received, Sent},
    },
    recorder::{
        Recorder,
        stream::{Next, RecordedStream},
    },
    traffic::watches::place::Place,
    types::{ProcessId, Revision},
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
    next_process: Cell<u64>,
}

impl Journal {
    /// For a history folder.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, recorder: OnceCell::new(), next_process: Cell::new(FIRST_PROCESS) }
    }

    /// Asks a member, as a process of its own.
    pub async fn perform(&self, client: &Client, request: &Request) -> Result<(), String> {
        let recorder = self.recorder()?;
        let (outcome, _) =
            recorder.perform(self.process(), client, request).await.map_err(|error| error.to_string())?;
        match outcome {
            Outcome::Ok(_) => Ok(()),
            Outcome::DidNotHappen(failure) | Outcome::Unknown(failure) => Err(failure.message),
        }
    }

    /// Has a member tell all changes up to a revision, as far as it still has them, since they tell what writes of
    /// unknown outcome did.
    pub async fn read_log(&self, client: &Client, upto: Revision, within: Duration) -> Result<(), String> {
        let late = |_| format!("its log up to revision {upto} did not come within {within:?}");
        tokio::time::timeout(within, self.follow_to(client, upto)).await.map_err(late)?
    }

    async fn follow_to(&self, client: &Client, upto: Revision) -> Result<(), String> {
        let words = |error: HistoryError| error.to_string();
        let mut place = Place::at(Some(Revision(1)));
        while place.next() <= Some(upto) {
            let everything =
                CreateWatch { keys: KeyRange::everything(), fragment: true, ..CreateWatch::default() };
            let create = Sent::Create(CreateWatch { start: place.next(), ..everything });
            let mut stream = self.recorder()?.open_stream(self.process(), client, &create).map_err(words)?;
            place = told(&mut stream, place, upto).await?;
            stream.close().map_err(words)?;
        }
        Ok(())
    }

    fn process(&self) -> ProcessId {
        ProcessId(self.next_process.replace(self.next_process.get() + 1))
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
async fn told(stream: &mut RecordedStream, mut place: Place, upto: Revision) -> Result<Place, String> {
    let words = |error: HistoryError| error.to_string();
    while place.next() <= Some(upto) {
        match stream.next(NEXT_WITHIN).await.map_err(words)? {
            Next::Message(Received { news: News::Watch(news), .. }) if news.canceled => {
                let Revision(compacted) = news.compact_revision;
                let goes_on = Place::at(Some(Revision(compacted + 1)));
                return if compacted > 0 { Ok(goes_on) } else { Err(news.cancel_reason) };
            }
            Next::Message(Received { header, news: News::Watch(news) }) => {
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
        let client = observer::client("http://127.0.0.1:1", soon, soon).unwrap();
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
