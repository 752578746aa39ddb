//! Questions that several commands ask of one member, by its own state: a key at a revision, and how far back the
//! store can be read. In go clients, out come operations' own types.

use super::{call::Call, error::AskError};
use crate::{
    client::{Client, tap::Tape, wire},
    operation::{Answer, KeyRange, KeyValue, Range, RangeAnswer},
    proto::etcdserverpb as pb,
    types::{Blob, Revision},
};

/// What the server answers to a question about a revision that is no more.
const COMPACTED: &str = "required revision has been compacted";

/// A range by the member's own state, with the store's revision.
pub async fn range(client: &Client, tape: &Tape, range: &Range) -> Result<(RangeAnswer, Revision), AskError> {
    let request = wire::range_request(&Range { serializable: true, ..range.clone() });
    let answer = Call::new("/etcdserverpb.KV/Range", &request).send(client, tape).await?;
    let response = wire::range_response(answer.decode::<pb::RangeResponse>()?);
    let response = response.map_err(|missing| AskError::strange(&missing.to_string()))?;
    match response.answer {
        Answer::Range(answer) => Ok((answer, response.header.revision)),
        _ => Err(AskError::strange("the answer to a range is another one")),
    }
}

/// A key at a revision; none if it does not exist there.
pub async fn key_at(
    client: &Client,
    tape: &Tape,
    key: &Blob,
    at: Revision,
) -> Result<Option<KeyValue>, AskError> {
    let wish = Range { keys: KeyRange::single(key.clone()), revision: Some(at), ..Range::default() };
    let (answer, _) = range(client, tape, &wish).await?;
    Ok(answer.kvs.into_iter().next())
}

/// The oldest revision that the member can still be asked about: that of its last compaction, or 1.
pub async fn oldest(client: &Client, tape: &Tape, newest: Revision) -> Result<Revision, AskError> {
    let (mut low, mut high) = (1, newest.0.max(1));
    // Stores that were never compacted are the usual ones of a test, and known at once.
    let mut middle = low;
    while low < high {
        let wish = Range {
            keys: KeyRange::single(Blob::from("\0")),
            revision: Some(Revision(middle)),
            count_only: true,
            ..Range::default()
        };
        match range(client, tape, &wish).await {
            Ok(_) => high = middle,
            Err(error) if is_compacted(&error) => low = middle + 1,
            Err(error) => return Err(error),
        }
        middle = low + (high - low) / 2;
    }
    Ok(Revision(low))
}

/// Whether the error is that the revision is no more.
pub fn is_compacted(error: &AskError) -> bool {
    error.to_string().contains(COMPACTED)
}
