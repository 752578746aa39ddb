//! Watches as they were recorded. In go histories, out comes each watch with what it was told, in order, and the
//! messages that belong to none. Nothing is judged here but to which watch a message belongs.
//!
//! A member handles the requests of a stream in order and answers each creation in order, so the n-th `created` is
//! that of the n-th creation asked for. An answer to a request for progress is about all watches of its stream, as far
//! as they were there when the member looked; see [`Asked`].

use std::collections::{HashMap, VecDeque};

use crate::{
    history::reader::{History, Message, Stream},
    operation::stream::{CreateWatch, Event, News, Received, Sent, WatchNews},
    types::{Monotonic, Revision, WatchId},
};

/// News of this watch are about all watches of the stream.
const ALL: WatchId = WatchId(-1);

/// A watch with all that it was told.
#[derive(Debug)]
pub(in crate::check) struct Watch<'h> {
    /// Where it was recorded.
    pub of: Place<'h>,
    /// What was asked for.
    pub create: &'h CreateWatch,
    /// The position of that message.
    pub asked: u32,
    /// The greatest revision that the stream had told by then.
    pub floor: Revision,
    /// The greatest compacted revision that the stream had told by then.
    pub compacted: Revision,
    /// The position of the answer, and the store's revision in it.
    pub created: Option<(u32, Revision)>,
    /// The position of the message that it is over.
    pub ended: Option<u32>,
    /// The position of the client's wish for that, if there was one before it was over.
    pub end_asked: Option<u32>,
    /// The events in the order in which they came.
    pub events: Vec<Told<'h>>,
    /// The progress notifications in that order.
    pub progress: Vec<Progress>,
}

/// The stream of a watch.
#[derive(Clone, Copy, Debug)]
pub(in crate::check) struct Place<'h> {
    pub history: &'h History,
    pub stream: &'h Stream,
}

/// An event that a watch was told.
#[derive(Clone, Copy, Debug)]
pub(in crate::check) struct Told<'h> {
    pub event: &'h Event,
    /// The position of its message.
    pub position: u32,
}

/// Word that all events up to a revision were told.
#[derive(Clone, Copy, Debug)]
pub(in crate::check) struct Progress {
    pub revision: Revision,
    /// The position of its message.
    pub position: u32,
    /// How many events had been told by then.
    pub after: usize,
}

/// A message that fits none of the watches of its stream.
#[derive(Debug)]
pub(super) struct Stray<'h> {
    pub of: Place<'h>,
    pub position: u32,
    pub why: &'static str,
}

/// All watches of some histories.
#[derive(Debug, Default)]
pub(super) struct View<'h> {
    pub watches: Vec<Watch<'h>>,
    pub strays: Vec<Stray<'h>>,
}

impl<'h> View<'h> {
    /// Gathers the watches of all streams.
    pub fn new(histories: &'h [History]) -> Self {
        let mut view = Self::default();
        for history in histories {
            for stream in &history.streams {
                Reading::new(&mut view, Place { history, stream }).read();
            }
        }
        view
    }

    /// All events told.
    pub fn events(&self) -> usize {
        self.watches.iter().map(|watch| watch.events.len()).sum()
    }
}

impl<'h> Watch<'h> {
    /// A message of its stream.
    pub fn news(&self, position: u32) -> Option<(&'h Received, &'h WatchNews)> {
        self.of.news(position)
    }

    /// When a message of its stream was sent or came.
    pub fn time(&self, position: u32) -> Monotonic {
        self.of.stream.messages[position as usize].0
    }

    /// Whether it was to tell of an event.
    pub fn wants(&self, event: &Event) -> bool {
        let filtered = if event.delete { self.create.no_delete } else { self.create.no_put };
        !filtered && self.create.keys.contains(&event.kv.key)
    }

    /// The revision from which on it was to tell everything, if one was named.
    pub fn start(&self) -> Option<Revision> {
        self.create.start.filter(|start| start.0 > 0)
    }
}

impl Told<'_> {
    pub fn revision(&self) -> Revision {
        self.event.kv.mod_revision
    }
}

impl<'h> Place<'h> {
    pub fn news(self, position: u32) -> Option<(&'h Received, &'h WatchNews)> {
        match &self.stream.messages[position as usize].1 {
            Message::Received(received) => match &received.news {
                News::Watch(news) => Some((received, news)),
                News::Leader(_) => None,
            },
            Message::Sent(_) => None,
        }
    }
}

/// Requests for progress on a stream. The member answers none of them while a watch is behind, so an answer may be to
/// any request but those before one that was answered earlier. It may also overtake, or be overtaken by, the word that
/// a watch was created: then it is no news of that watch, which the member had not been asked for when it looked.
#[derive(Debug, Default)]
struct Asked {
    requests: usize,
    answers: usize,
}

struct Reading<'v, 'h> {
    view: &'v mut View<'h>,
    of: Place<'h>,
    /// Watches asked for and not yet created, in order, by their index.
    asked: VecDeque<usize>,
    /// Watches that have begun, by their id; those that are over stay, unless their id is used again.
    known: HashMap<WatchId, usize>,
    /// For each of this stream's watches: how many requests for progress came before it.
    before: HashMap<usize, usize>,
    progress: Asked,
    floor: Revision,
    compacted: Revision,
}

impl<'v, 'h> Reading<'v, 'h> {
    fn new(view: &'v mut View<'h>, of: Place<'h>) -> Self {
        Self {
            view,
            of,
            asked: VecDeque::new(),
            known: HashMap::new(),
            before: HashMap::new(),
            progress: Asked::default(),
            floor: Revision(0),
            compacted: Revision(0),
        }
    }

    fn read(mut self) {
        for (position, (_, message)) in (0..).zip(&self.of.stream.messages) {
            match message {
                Message::Sent(Sent::Create(create)) => self.ask(position, create),
                Message::Sent(Sent::Cancel { watch }) => {
                    if let Some(watch) = self.known.get(watch).map(|index| &mut self.view.watches[*index])
                        && watch.ended.is_none()
                    {
                        watch.end_asked.get_or_insert(position);
                    }
                }
                Message::Sent(Sent::Progress {}) => self.progress.requests += 1,
                Message::Received(Received { header, news: News::Watch(news) }) => {
                    self.take_in(position, header.revision, news);
                    self.floor = self.floor.max(header.revision);
                    self.compacted = self.compacted.max(news.compact_revision);
                }
                Message::Sent(Sent::Observe { .. }) | Message::Received(_) => {}
            }
        }
    }

    fn ask(&mut self, position: u32, create: &'h CreateWatch) {
        let index = self.view.watches.len();
        self.before.insert(index, self.progress.requests);
        self.asked.push_back(index);
        self.view.watches.push(Watch {
            of: self.of,
            create,
            asked: position,
            floor: self.floor,
            compacted: self.compacted,
            created: None,
            ended: None,
            end_asked: None,
            events: vec![],
            progress: vec![],
        });
    }

    fn take_in(&mut self, position: u32, revision: Revision, news: &'h WatchNews) {
        if news.created {
            return self.created(position, revision, news);
        }
        if news.watch == ALL {
            return self.progress_of_all(position, revision, news);
        }
        let Some(index) = self.known.get(&news.watch).copied() else {
            return self.stray(position, "news of a watch that was not created");
        };
        let watch = &mut self.view.watches[index];
        if watch.ended.is_some() {
            // Whoever cancels a watch that a compaction ends is told of both; so is whoever is told twice.
            if !news.canceled {
                self.stray(position, "news of a watch that is over");
            }
        } else if news.canceled {
            watch.ended = Some(position);
        } else if news.events.is_empty() {
            watch.progress.push(Progress { revision, position, after: watch.events.len() });
        }
        if self.view.watches[index].ended.is_none_or(|ended| ended == position) {
            let told = news.events.iter().map(|event| Told { event, position });
            self.view.watches[index].events.extend(told);
        }
    }

    fn created(&mut self, position: u32, revision: Revision, news: &'h WatchNews) {
        let Some(index) = self.asked.pop_front() else {
            return self.stray(position, "a watch was created that nobody had asked for");
        };
        let watch = &mut self.view.watches[index];
        watch.created = Some((position, revision));
        if news.canceled {
            watch.ended = Some(position);
            return;
        }
        let wanted = watch.create.watch;
        let is_used =
            self.known.get(&news.watch).is_some_and(|other| self.view.watches[*other].ended.is_none());
        if is_used {
            self.stray(position, "a watch was created with the id of another");
        } else if wanted != WatchId(0) && wanted != news.watch {
            self.stray(position, "a watch was created with another id than it was asked for");
        }
        self.known.insert(news.watch, index);
    }

    fn progress_of_all(&mut self, position: u32, revision: Revision, news: &'h WatchNews) {
        if !news.events.is_empty() || news.canceled {
            return self.stray(position, "news of no watch");
        }
        if self.progress.answers >= self.progress.requests {
            self.stray(position, "progress was told more often than it was asked for");
        }
        for index in self.known.values() {
            let watch = &mut self.view.watches[*index];
            let looked_at = self.before.get(index).is_some_and(|before| *before <= self.progress.answers)
                || !watch.events.is_empty()
                || !watch.progress.is_empty();
            // One whose end was asked for may be gone from what the member looks at before the client is told so.
            let is_there = watch.ended.is_none() && watch.end_asked.is_none();
            if is_there && looked_at {
                watch.progress.push(Progress { revision, position, after: watch.events.len() });
            }
        }
        self.progress.answers += 1;
    }

    fn stray(&mut self, position: u32, why: &'static str) {
        self.view.strays.push(Stray { of: self.of, position, why });
    }
}
