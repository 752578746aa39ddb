//! Judges one watch as its responses come, by etcd's promises of watches. In go responses, out come sentences on what
//! each breaks. It never blames what an honest etcd could do; it does not know the store, so that an event is only
//! missed where its neighbours show that it must have been.

mod keys;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use self::keys::Keys;
use crate::{
    operation::{
        Header, KeyRange,
        stream::{CreateWatch, Event, News, Received, WatchNews},
    },
    types::{Blob, Revision, WatchId},
};

/// Answers to a question of all watches of a stream.
const ALL_WATCHES: WatchId = WatchId(-1);

/// A promise that a response breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// The promise, by the name that etcd's documentation gives it where it has one.
    pub promise: &'static str,
    /// What is wrong.
    pub words: String,
}

impl Breach {
    /// Of this promise, in these words.
    pub fn new(promise: &'static str, words: String) -> Self {
        Self { promise, words }
    }
}

/// One watch, over all streams that it was resumed on.
#[derive(Debug)]
pub struct Judge {
    create: CreateWatch,
    /// The stream's header, by its first response.
    header: Option<Header>,
    created: Option<WatchId>,
    /// The revision of the creation, of a watch that began with what came next. It is read after the watch began, so
    /// that events up to it may still come, and all after it must.
    created_at: Option<Revision>,
    /// No event before this revision may come any more.
    floor: Revision,
    /// Why that is so.
    floor_by: Floor,
    /// All events up to this revision were told, whether there were any or not.
    told: Revision,
    /// The revision that events last came of, and its keys so far.
    last: Option<(Revision, BTreeSet<Blob>)>,
    /// More events of the last response were announced.
    in_fragment: bool,
    keys: Keys,
    found: Vec<Breach>,
}

/// What set a floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Floor {
    Start,
    Progress,
}

impl Judge {
    /// A watch that is about to be created like this.
    pub fn new(create: CreateWatch) -> Self {
        let floor = create.start.unwrap_or_default();
        let keys = Keys::new(&create);
        Self {
            create,
            header: None,
            created: None,
            created_at: None,
            floor,
            floor_by: Floor::Start,
            told: Revision(floor.0 - 1),
            last: None,
            in_fragment: false,
            keys,
            found: vec![],
        }
    }

    /// What the next stream has to be opened with.
    pub fn create(&self) -> &CreateWatch {
        &self.create
    }

    /// All events up to this revision were told.
    pub fn through(&self) -> Revision {
        self.last_whole().max(self.told)
    }

    /// The last revision of which events were told, all of them.
    fn last_whole(&self) -> Revision {
        let last = self.last.as_ref().map_or(Revision(0), |(revision, _)| *revision);
        if self.in_fragment { Revision(last.0 - 1) } else { last }
    }

    /// The stream broke: the next one starts after what was told whole.
    pub fn resume(&mut self) {
        if self.created.is_none() {
            return;
        }
        let start = Revision(self.through().0 + 1);
        if self.in_fragment {
            // Events of a revision that was not told whole come again.
            self.keys.forget_last_revision();
        }
        self.create.start = Some(start);
        (self.floor, self.floor_by, self.told) = (start, Floor::Start, Revision(start.0 - 1));
        (self.created_at, self.header, self.created, self.in_fragment, self.last) =
            (None, None, None, false, None);
    }

    /// Takes the next response; gives what it breaks.
    pub fn take(&mut self, received: &Received) -> Vec<Breach> {
        let News::Watch(news) = &received.news else {
            return vec![Breach::new("Well-formed", "this is no news of a watch".to_owned())];
        };
        self.judge_header(&received.header);
        self.judge_identity(news);
        if news.created {
            self.judge_creation(received.header.revision, news);
        } else if news.canceled {
            self.judge_cancellation(news);
        } else if news.events.is_empty() {
            // The end of a batch in fragments, or a mark.
            if !self.in_fragment {
                self.mark(received.header.revision);
            }
        } else {
            self.judge_events(received.header.revision, news);
        }
        std::mem::take(&mut self.found)
    }

    fn breach(&mut self, promise: &'static str, words: String) {
        self.found.push(Breach::new(promise, words));
    }

    fn judge_header(&mut self, header: &Header) {
        let earlier = self.header.replace(*header);
        let Some(earlier) = earlier else { return };
        if (earlier.cluster, earlier.member) != (header.cluster, header.member) {
            self.breach(
                "Header",
                format!(
                    "it is of member {} of cluster {}, on a stream of member {} of cluster {}",
                    header.member, header.cluster, earlier.member, earlier.cluster
                ),
            );
        }
        if header.term < earlier.term {
            self.breach("Header", format!("the term went back from {} to {}", earlier.term, header.term));
        }
    }

    fn judge_identity(&mut self, news: &WatchNews) {
        let is_mark = news.events.is_empty() && !news.created && !news.canceled;
        match self.created {
            _ if is_mark && news.watch == ALL_WATCHES => {}
            Some(watch) if watch != news.watch => self.breach(
                "Identity",
                format!("it is about watch {}, on a stream whose only watch is {watch}", news.watch),
            ),
            Some(_) if news.created => self.breach("Identity", "the watch is created twice".to_owned()),
            None if !news.created => {
                self.breach("Identity", format!("watch {} was not created yet", news.watch));
            }
            _ => {}
        }
        let asked = self.create.watch;
        if news.created && asked != WatchId(0) && news.watch != asked {
            self.breach("Identity", format!("the watch's ID is {}, where {asked} was asked for", news.watch));
        }
    }

    fn judge_creation(&mut self, revision: Revision, news: &WatchNews) {
        self.created = Some(news.watch);
        if self.create.start.is_none() {
            (self.created_at, self.told) = (Some(revision), revision);
            self.keys.begin_at(Revision(revision.0 + 1));
        }
        if !news.events.is_empty() {
            self.breach("Well-formed", "the creation comes with events".to_owned());
        }
    }

    fn judge_cancellation(&mut self, news: &WatchNews) {
        let compacted = news.compact_revision;
        let next = Revision(self.last_whole().0 + 1).max(self.floor);
        if compacted > Revision(0) && compacted <= next {
            self.breach(
                "Resumable",
                format!(
                    "it is cancelled as compacted up to {compacted}, although it had got as far as {}",
                    next.0 - 1
                ),
            );
        }
    }

    /// The member says that it has told everything up to here.
    fn mark(&mut self, revision: Revision) {
        if revision >= self.floor {
            (self.floor, self.floor_by) = (Revision(revision.0 + 1), Floor::Progress);
            self.told = revision.max(self.told);
        }
    }

    fn judge_events(&mut self, header: Revision, news: &WatchNews) {
        if news.fragment && !self.create.fragment {
            self.breach("Atomic", "it is a fragment, although fragments were not asked for".to_owned());
        }
        let first = news.events.first().map_or(Revision(0), |event| event.kv.mod_revision);
        let last = self.last.as_ref().map(|(revision, _)| *revision);
        if last == Some(first) && !self.in_fragment {
            self.breach("Atomic", format!("events of revision {first} come in two responses"));
        }
        for event in &news.events {
            self.judge_event(header, event);
        }
        self.in_fragment = news.fragment;
    }

    fn judge_event(&mut self, header: Revision, event: &Event) {
        let (key, revision) = (&event.kv.key, event.kv.mod_revision);
        if revision > header {
            self.breach("Header", format!("an event of revision {revision} comes at revision {header}"));
        }
        if revision < self.floor {
            let (promise, why) = match self.floor_by {
                Floor::Start => ("Start", format!("the watch starts at revision {}", self.floor)),
                Floor::Progress => {
                    ("Bookmarkable", format!("all up to revision {} was said to be told", self.floor.0 - 1))
                }
            };
            self.breach(promise, format!("an event of revision {revision} for \"{key}\" comes, where {why}"));
        }
        self.judge_order(revision, key);
        self.judge_wish(event);
        for (promise, words) in self.keys.take(event) {
            self.breach(promise, words);
        }
    }

    fn judge_order(&mut self, revision: Revision, key: &Blob) {
        match &mut self.last {
            Some((last, keys)) if *last == revision => {
                if !keys.insert(key.clone()) {
                    self.breach(
                        "Unique",
                        format!("the event of revision {revision} for \"{key}\" comes twice"),
                    );
                }
            }
            Some((last, _)) if *last > revision => {
                let words =
                    format!("an event of revision {revision} for \"{key}\" comes after one of {last}");
                self.breach("Ordered", words);
            }
            last => {
                let before = last.as_ref().map(|(last, _)| *last);
                *last = Some((revision, BTreeSet::from([key.clone()])));
                self.keys.next_revision();
                self.judge_gap(before, revision);
            }
        }
    }

    /// Each revision has an event, so one who watches everything sees each.
    fn judge_gap(&mut self, before: Option<Revision>, revision: Revision) {
        let all = self.create.keys == KeyRange::everything() && !self.create.no_put && !self.create.no_delete;
        // Where the start was given, it may be the revision that the store is compacted at, of which nothing may be left.
        let Some(before) = before.or(self.created_at).filter(|_| all) else { return };
        if revision.0 > before.0 + 1 {
            self.breach("Reliable", format!("nothing was told between revisions {before} and {revision}"));
        }
    }

    fn judge_wish(&mut self, event: &Event) {
        let (key, revision) = (&event.kv.key, event.kv.mod_revision);
        if !self.create.keys.contains(key) {
            self.breach("As asked", format!("\"{key}\" of revision {revision} is outside of the watch"));
        }
        let left_out = if event.delete { self.create.no_delete } else { self.create.no_put };
        if left_out {
            let kind = if event.delete { "deletes" } else { "puts" };
            self.breach(
                "As asked",
                format!("revision {revision} of \"{key}\" is one of the {kind} that were to be left out"),
            );
        }
        if event.prev_kv.is_some() && !self.create.prev_kv {
            self.breach(
                "As asked",
                format!("revision {revision} of \"{key}\" has a previous pair, which nobody asked for"),
            );
        }
    }
}
