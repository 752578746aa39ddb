//! Trials of the watch service, each on a stream of its own. In go keys that are put meanwhile, out comes whether the
//! stream tells what was asked for.

use super::{Lack, MESSAGE_WITHIN, Trial, Trier, expect};
use crate::{
    capability::Capability,
    client::{Client, stream::Stream},
    operation::stream::{CreateWatch, News, Sent, WatchNews},
    types::WatchId,
};

/// An id that a server would not choose.
const OWN_ID: WatchId = WatchId(7_000_000);

impl Trier {
    pub(super) async fn watches(&self, capability: Capability) -> Trial {
        let plain = CreateWatch { keys: self.one(), ..CreateWatch::default() };
        let create = match capability {
            Capability::WatchStarts => CreateWatch { start: Some(self.revisions[0]), ..plain },
            Capability::WatchPreviousPairs => CreateWatch { prev_kv: true, ..plain },
            Capability::WatchFilters => CreateWatch { no_put: true, ..plain },
            Capability::WatchFragments => CreateWatch { fragment: true, ..plain },
            Capability::WatchIds => CreateWatch { watch: OWN_ID, ..plain },
            _ => plain,
        };
        let (mut stream, created) = begin(&self.client, create).await?;
        match capability {
            Capability::WatchIds => expect(created.watch == OWN_ID, "the server chose another id"),
            Capability::WatchStarts => {
                let first = next(&mut stream).await?;
                let told = first.events.first().map(|event| event.kv.mod_revision);
                expect(told == Some(self.revisions[0]), "the first event is not that of the start")
            }
            Capability::WatchProgress => {
                stream.send(&Sent::Progress {});
                let told = next(&mut stream).await?;
                expect(told.events.is_empty() && !told.canceled, "something else was told")
            }
            Capability::WatchFilters => {
                self.put("a", "w").await?;
                match next(&mut stream).await {
                    Err(Lack::Lacking(_)) => Ok(()),
                    Ok(told) => expect(told.events.is_empty(), "a put was told all the same"),
                    Err(gone) => Err(gone),
                }
            }
            _ => {
                let revision = self.put("a", "w").await?;
                let told = next(&mut stream).await?;
                let event = told.events.first();
                expect(event.is_some_and(|event| event.kv.mod_revision == revision), "a put was not told")?;
                let has_previous = event.is_some_and(|event| event.prev_kv.is_some());
                let is_asked_for = capability == Capability::WatchPreviousPairs;
                expect(has_previous || !is_asked_for, "the pair before was not told")
            }
        }
    }
}

/// A stream with one watch that has begun.
async fn begin(client: &Client, create: CreateWatch) -> Result<(Stream, WatchNews), Lack> {
    let mut stream = client.open_stream(&Sent::Create(create));
    let created = next(&mut stream).await?;
    let words = || format!("the watch did not begin: {}", created.cancel_reason);
    expect(created.created && !created.canceled, &words())?;
    Ok((stream, created))
}

async fn next(stream: &mut Stream) -> Result<WatchNews, Lack> {
    let Ok(told) = tokio::time::timeout(MESSAGE_WITHIN, stream.next()).await else {
        return Err(Lack::Lacking(format!("nothing was told within {MESSAGE_WITHIN:?}")));
    };
    match told?.map(|message| message.news) {
        Some(News::Watch(news)) => Ok(news),
        Some(News::Leader(_)) | None => Err(Lack::Lacking("the stream was ended".to_owned())),
    }
}
