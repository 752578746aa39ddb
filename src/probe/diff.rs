//! Which keys differ between members, and since when. In go clients and a revision that all members have; hashes tell
//! whether there is anything to find, then keys are compared page by page, and for each that differs a revision is
//! found before which it did not. Everything is compared at one revision, so that neither lag nor compaction counts.

use std::collections::VecDeque;

use super::{
    ask,
    call::Call,
    error::AskError,
    status::{self, BETWEEN_HASHES, HASH_ATTEMPTS, HashVerdict, compare_hashes},
};
use crate::{
    client::{Client, tap::Tape},
    health::on_each,
    operation::{KeyRange, KeyValue, Range},
    proto::etcdserverpb as pb,
    settings::Endpoint,
    types::{Blob, Revision},
};

/// Pages are made about so large, whatever the size of values.
const PAGE_BYTES: usize = 1 << 20;
const PAGE_FIRST: i64 = 100;
const PAGE_AT_MOST: i64 = 10_000;

/// A member that could not be asked, and why.
#[derive(Debug)]
pub struct Unasked {
    /// The member.
    pub endpoint: Box<Endpoint>,
    /// The reason.
    pub error: Box<AskError>,
}

impl Unasked {
    fn new(client: &Client, error: AskError) -> Self {
        Self { endpoint: Box::new(client.endpoint().clone()), error: Box::new(error) }
    }
}

/// Since when something differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// It was alike right before this revision.
    Revision(Revision),
    /// It differed already at this one, the oldest that can be asked about.
    Before(Revision),
}

/// A key of which members have different things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The key.
    pub key: Blob,
    /// What each member has, in their order; none where it does not exist.
    pub each: Vec<Option<KeyValue>>,
}

/// The members that are compared.
pub struct Members<'a> {
    clients: &'a [Client],
    tape: &'a Tape,
}

impl<'a> Members<'a> {
    /// These members, each of which is asked for its own state.
    pub fn new(clients: &'a [Client], tape: &'a Tape) -> Self {
        Self { clients, tape }
    }

    /// Asks all at once; the first error ends it.
    async fn each<T, F>(&self, ask: impl Fn(Client, Tape) -> F) -> Result<Vec<T>, Unasked>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, AskError>> + Send + 'static,
    {
        let answers = on_each(self.clients, |client| ask(client, self.tape.clone())).await;
        let named = self.clients.iter().zip(answers);
        named.map(|(client, answer)| answer.map_err(|error| Unasked::new(client, error))).collect()
    }

    /// The newest revision that all have.
    pub async fn common(&self) -> Result<Revision, Unasked> {
        let said = self.each(|client, tape| async move { status::said(client, tape).await }).await?;
        Ok(said.into_iter().map(|said| Revision(said.header.revision)).min().unwrap_or_default())
    }

    /// The members' hashes up to a revision.
    pub async fn hashes(&self, at: Revision) -> Result<Vec<pb::HashKvResponse>, Unasked> {
        let call = Call::new("/etcdserverpb.Maintenance/HashKV", &pb::HashKvRequest { revision: at.0 });
        self.each(|client, tape| {
            let call = call.clone();
            async move { call.send(&client, &tape).await?.decode() }
        })
        .await
    }

    /// What the hashes up to a revision say; asked again if they are unequal, since a compaction under way can make
    /// them so for a moment.
    pub async fn settled_hashes(&self, at: Revision) -> Result<HashVerdict, Unasked> {
        let mut attempt = 1;
        loop {
            let verdict = compare_hashes(&self.hashes(at).await?);
            if verdict != HashVerdict::Unequal || attempt == HASH_ATTEMPTS {
                return Ok(verdict);
            }
            attempt += 1;
            tokio::time::sleep(BETWEEN_HASHES).await;
        }
    }

    /// The oldest revision that all members can be asked about.
    pub async fn oldest(&self, newest: Revision) -> Result<Revision, Unasked> {
        let oldest =
            self.each(|client, tape| async move { ask::oldest(&client, &tape, newest).await }).await?;
        Ok(oldest.into_iter().max().unwrap_or(Revision(1)))
    }

    /// From which revision on the hashes differ, as they do at `at`; compaction leaves nothing to compare up to `oldest`.
    pub async fn hashes_since(&self, oldest: Revision, at: Revision) -> Result<Since, Unasked> {
        // Some servers have no hash at the very revision that they are compacted at.
        bisect(Revision(oldest.0 + 1).min(at), at, async |revision| {
            Ok(compare_hashes(&self.hashes(revision).await?) == HashVerdict::Unequal)
        })
        .await
    }

    /// From which revision on members have different things of this key, as they do at `at`.
    pub async fn key_since(&self, key: &Blob, oldest: Revision, at: Revision) -> Result<Since, Unasked> {
        bisect(oldest, at, async |revision| {
            let each = self.each(|client, tape| {
                let key = key.clone();
                async move { ask::key_at(&client, &tape, &key, revision).await }
            });
            Ok(differ(&each.await?))
        })
        .await
    }

    /// Begins to compare all keys at a revision.
    pub fn keys(&self, at: Revision) -> Keys<'_> {
        let cursor = || Cursor { pairs: VecDeque::new(), next: Some(Blob::from("\0")), limit: PAGE_FIRST };
        Keys { members: self, at, cursors: self.clients.iter().map(|_| cursor()).collect(), compared: 0 }
    }
}

fn differ(each: &[Option<KeyValue>]) -> bool {
    each.windows(2).any(|two| two[0] != two[1])
}

/// The first revision after `low` at which it differs, given that it does at `high`; found by halving, so that it is
/// one of several if it came and went.
async fn bisect(
    low: Revision,
    high: Revision,
    differs: impl AsyncFn(Revision) -> Result<bool, Unasked>,
) -> Result<Since, Unasked> {
    if differs(low).await? {
        return Ok(Since::Before(low));
    }
    let (mut alike, mut different) = (low.0, high.0);
    while different - alike > 1 {
        let middle = alike + (different - alike) / 2;
        if differs(Revision(middle)).await? {
            different = middle;
        } else {
            alike = middle;
        }
    }
    Ok(Since::Revision(Revision(different)))
}

/// All keys of all members, side by side, in order.
pub struct Keys<'a> {
    members: &'a Members<'a>,
    at: Revision,
    cursors: Vec<Cursor>,
    compared: u64,
}

/// How far one member's keys were read.
struct Cursor {
    pairs: VecDeque<KeyValue>,
    /// Where the next page begins; none after the last one.
    next: Option<Blob>,
    limit: i64,
}

impl Keys<'_> {
    /// The next key that differs.
    pub async fn next(&mut self) -> Result<Option<Difference>, Unasked> {
        loop {
            self.fill().await?;
            let fronts = self.cursors.iter().filter_map(|cursor| cursor.pairs.front());
            let Some(key) = fronts.map(|kv| &kv.key).min().cloned() else { return Ok(None) };
            let each: Vec<Option<KeyValue>> =
                self.cursors.iter_mut().map(|cursor| cursor.pairs.pop_front_if(|kv| kv.key == key)).collect();
            self.compared += 1;
            if differ(&each) {
                return Ok(Some(Difference { key, each }));
            }
        }
    }

    /// How many keys were compared.
    pub fn compared(&self) -> u64 {
        self.compared
    }

    /// Reads the next page of each member whose last one is used up.
    async fn fill(&mut self) -> Result<(), Unasked> {
        let is_empty = |cursor: &Cursor| cursor.pairs.is_empty() && cursor.next.is_some();
        let empty: Vec<usize> =
            (0..self.cursors.len()).filter(|place| is_empty(&self.cursors[*place])).collect();
        if empty.is_empty() {
            return Ok(());
        }
        let at = self.at;
        let wishes: Vec<(Client, Range)> = empty
            .iter()
            .map(|place| (self.members.clients[*place].clone(), self.cursors[*place].wish(at)))
            .collect();
        let tape = self.members.tape;
        let asked = wishes.iter().map(|(client, wish)| ask::range(client, tape, wish));
        let mut answers = vec![];
        for (asked, (client, _)) in asked.zip(&wishes) {
            let (answer, _) = asked.await.map_err(|error| Unasked::new(client, error))?;
            answers.push(answer);
        }
        for (place, answer) in empty.into_iter().zip(answers) {
            self.cursors[place].take(answer.kvs, answer.more);
        }
        Ok(())
    }
}

impl Cursor {
    fn wish(&self, at: Revision) -> Range {
        let key = self.next.clone().unwrap_or_default();
        let keys = KeyRange { key, range_end: Some(Blob::from("\0")) };
        Range { keys, limit: self.limit, revision: Some(at), ..Range::default() }
    }

    fn take(&mut self, pairs: Vec<KeyValue>, more: bool) {
        let size: usize =
            pairs.iter().map(|kv| kv.key.as_slice().len() + kv.value.as_slice().len() + 32).sum();
        let count = pairs.len().max(1);
        let fit = PAGE_BYTES / (size / count).max(1);
        self.limit = i64::try_from(fit).unwrap_or(PAGE_AT_MOST).clamp(1, PAGE_AT_MOST);
        self.next = pairs.last().filter(|_| more).map(|last| last.key.successor());
        self.pairs = pairs.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn since(low: i64, first: i64, high: i64) -> Since {
        let found = bisect(Revision(low), Revision(high), async |at| Ok(at.0 >= first)).await;
        found.unwrap_or_else(|unasked| panic!("{unasked:?}"))
    }

    #[tokio::test]
    async fn the_first_revision_that_differs_is_found() {
        for first in 2..40 {
            assert_eq!(since(1, first, 40).await, Since::Revision(Revision(first)));
        }
        assert_eq!(since(7, 3, 40).await, Since::Before(Revision(7)));
        assert_eq!(since(7, 7, 7).await, Since::Before(Revision(7)));
    }
}
