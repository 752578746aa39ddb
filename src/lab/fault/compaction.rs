//! Compactions that the lab asks for: at the newest revision or near it, with the log read before, so that nothing is
//! lost to the checks. A client of a member and the journal go in; the history of the store is shorter afterwards.

use std::time::Duration;

use super::{
    coupled::Coupled,
    journal::{Asker, Journal, Told},
    requests::USUAL,
};
use crate::{
    client::Client,
    operation::{Answer, Compact, DeleteRange, KeyRange, Range, Request},
    types::{Blob, Revision},
};

/// The key of the lab's own that is deleted. Those of the commands may be locks and the like, which nobody else may
/// delete.
const KEY: &str = "lab/deleted";
/// The start of the keys that fill a batch.
const FILLERS: &str = "lab/filler/";
/// etcd drops what is compacted in batches (`compaction-batch-limit`, a part of the usual 1,000 where it is set), one
/// transaction each, with a pause between them. It has finished when a batch isn't full.
const BATCH: u64 = 1_000;
/// A request takes 128 writes.
const WRITES_AT_MOST: u64 = 100;
/// How long the answer to a physical compaction is waited for.
const PHYSICAL_LIMIT: Duration = Duration::from_secs(2);

/// Drops history up to `back` revisions before the member's newest.
pub async fn compact(client: &Client, back: i64, journal: &Journal) -> Result<(), String> {
    let newest = newest(client).await?;
    let revision = Revision((newest.0 - back).max(1));
    journal.read_log(client, (Revision(1), revision), USUAL).await?;
    let compact = Request::Compact(Compact { revision, physical: false });
    journal.perform(client, &compact).await.map(drop)
}

/// Compacts at the newest revision, and waits a while until what is dropped is gone, so that little is left that the
/// next compaction has to go through.
pub async fn clear(client: &Client, journal: &Journal) -> Result<(), String> {
    let revision = newest(client).await?;
    journal.read_log(client, (Revision(1), revision), USUAL).await?;
    let client = client.clone().with_deadline(PHYSICAL_LIMIT);
    // One that nothing was written before is refused, and one that takes longer goes on.
    let _ = journal.perform(&client, &Request::Compact(Compact { revision, physical: true })).await;
    Ok(())
}

/// Drops history up to the newest revision, or as far before it as is wanted; the newest may be made that of a delete.
pub async fn compact_newest(client: &Client, wanted: &Coupled, journal: &Journal) -> Result<(), String> {
    let mut newest = newest(client).await?;
    let told = journal.read_log(client, (Revision(1), newest), USUAL).await?;
    if wanted.deletes {
        let following = journal.follow_from(client, Revision(newest.0 + 1))?;
        let asker = journal.asker()?;
        let deleted = delete(client, (newest, entries(client, told).await?), &asker).await?;
        following.up_to(deleted, USUAL).await?;
        newest = deleted;
    } else if told.changes == 0 {
        // What is compacted already would be refused.
        newest = journal.asker()?.put(client, Blob::from(KEY)).await?;
    }
    let revision = Revision(newest.0 - wanted.back).max(told.from);
    let compact = Request::Compact(Compact { revision, physical: wanted.is_physical });
    if wanted.is_physical {
        // Members that are still at it, since there is much to drop, are no less worth striking.
        let _ = journal.perform(&client.clone().with_deadline(PHYSICAL_LIMIT), &compact).await;
        return Ok(());
    }
    journal.perform(client, &compact).await.map(drop)
}

async fn newest(client: &Client) -> Result<Revision, String> {
    let status = client.status().await.map_err(|error| error.to_string())?;
    Ok(Revision(status.message.header.map_or(0, |header| header.revision)))
}

/// How many entries the store has up to the end of what was told: its keys at the last compaction, and the changes
/// since. If that compaction is not yet done, there are more.
async fn entries(client: &Client, told: Told) -> Result<u64, String> {
    let compacted = Revision(told.from.0 - 1);
    let mut kept = 0;
    if compacted > Revision(0) {
        let everything = Range { keys: KeyRange::everything(), count_only: true, ..Range::default() };
        let range = Range { revision: Some(compacted), serializable: true, ..everything };
        let answered = client.try_perform(&Request::Range(range)).await;
        if let Answer::Range(answer) = answered.map_err(|error| error.to_string())?.message.answer {
            kept = u64::try_from(answer.count).unwrap_or_default();
        }
    }
    Ok(kept + told.changes as u64)
}

/// Writes and deletes a key; the delete's revision comes out. If nobody else writes meanwhile, the delete is the last
/// entry of a batch that is full, after which a member has more to do than after any other.
async fn delete(
    client: &Client,
    (newest, entries): (Revision, u64),
    asker: &Asker,
) -> Result<Revision, String> {
    let key = Blob::from(KEY);
    let written = asker.put(client, key.clone()).await?;
    let since = u64::try_from(written.0 - newest.0).unwrap_or_default();
    let mut missing = (entries + since + 1).next_multiple_of(BATCH) - (entries + since + 1);
    while missing > 0 {
        let some = missing.min(WRITES_AT_MOST);
        asker.put_all(client, FILLERS, some).await?;
        missing -= some;
    }
    let delete = DeleteRange { keys: KeyRange::single(key), prev_kv: false };
    Ok(asker.ask(client, |_| Request::DeleteRange(delete)).await?.header.revision)
}
