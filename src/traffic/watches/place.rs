//! How far one watch has come: in go its messages, out comes the revision from which it can be resumed. It judges
//! nothing, and knows neither streams nor members.

use crate::{operation::stream::WatchNews, types::Revision};

/// The place of a watch in the history of the store.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    /// Everything before this revision was told; none as long as nothing is known.
    next: Option<Revision>,
}

impl Place {
    /// Nothing was told yet, and nothing before the start is to be.
    pub fn at(start: Option<Revision>) -> Self {
        Self { next: start }
    }

    /// Where a watch that goes on from here has to start.
    pub fn next(self) -> Option<Revision> {
        self.next
    }

    /// Takes in a message with the revision of its header.
    pub fn advance(&mut self, revision: Revision, news: &WatchNews) {
        if news.canceled {
            if news.compact_revision.0 > 0 {
                self.raise(news.compact_revision);
            }
            return;
        }
        match news.events.last() {
            // Of what comes in fragments, the last revision may not be whole yet.
            Some(last) if news.fragment => self.raise(last.kv.mod_revision),
            Some(last) => self.raise(Revision(last.kv.mod_revision.0 + 1)),
            None if news.created && self.next.is_some() => {}
            None => self.raise(Revision(revision.0 + 1)),
        }
    }

    fn raise(&mut self, to: Revision) {
        self.next = self.next.max(Some(to));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::{KeyValue, stream::Event};

    fn news(revisions: &[i64]) -> WatchNews {
        let event = |revision: &i64| Event {
            delete: false,
            kv: KeyValue { mod_revision: Revision(*revision), ..KeyValue::default() },
            prev_kv: None,
        };
        WatchNews { events: revisions.iter().map(event).collect(), ..WatchNews::default() }
    }

    fn after(start: Option<i64>, messages: &[(i64, WatchNews)]) -> Option<i64> {
        let mut place = Place::at(start.map(Revision));
        for (revision, news) in messages {
            place.advance(Revision(*revision), news);
        }
        place.next().map(|revision| revision.0)
    }

    /// A watch goes on behind its last whole revision, its last progress, its creation or a compaction.
    #[test]
    fn watches_resume_where_they_were() {
        let created = WatchNews { created: true, ..WatchNews::default() };
        let fragment = WatchNews { fragment: true, ..news(&[5, 6]) };
        let compacted = WatchNews { canceled: true, compact_revision: Revision(40), ..WatchNews::default() };
        assert_eq!(after(None, &[]), None);
        assert_eq!(after(None, &[(7, created.clone())]), Some(8));
        assert_eq!(after(Some(3), &[(7, created.clone())]), Some(3));
        assert_eq!(after(Some(30), &[(7, created)]), Some(30));
        assert_eq!(after(Some(3), &[(9, news(&[5, 6]))]), Some(7));
        assert_eq!(after(Some(3), &[(9, fragment)]), Some(6));
        assert_eq!(after(Some(3), &[(9, news(&[]))]), Some(10));
        assert_eq!(after(Some(3), &[(0, compacted)]), Some(40));
    }
}
