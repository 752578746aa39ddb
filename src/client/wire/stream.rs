//! Messages of streams, to protobuf and back. A message from the member that lacks its header or a pair is malformed,
//! never a guess.

use super::{MalformedAnswer, header, interval, key_value, or_zero};
use crate::{
    operation::stream::{CreateWatch, Event, News, Received, Sent, WatchNews},
    proto::{
        etcdserverpb::{
            self as pb, watch_create_request::FilterType, watch_request::RequestUnion as WatchUnion,
        },
        mvccpb, v3electionpb,
    },
    types::{Revision, WatchId},
};

/// A message on a stream of watches; none if it is not for such a stream.
pub fn watch_request(message: &Sent) -> Option<pb::WatchRequest> {
    let request = match message {
        Sent::Create(create) => WatchUnion::CreateRequest(create_request(create)),
        Sent::Cancel { watch } => WatchUnion::CancelRequest(pb::WatchCancelRequest { watch_id: watch.0 }),
        Sent::Progress {} => WatchUnion::ProgressRequest(pb::WatchProgressRequest {}),
        Sent::Observe { .. } => return None,
    };
    Some(pb::WatchRequest { request_union: Some(request) })
}

fn create_request(create: &CreateWatch) -> pb::WatchCreateRequest {
    let (key, range_end) = interval(&create.keys);
    let filters = [(create.no_put, FilterType::Noput), (create.no_delete, FilterType::Nodelete)];
    pb::WatchCreateRequest {
        key,
        range_end,
        start_revision: or_zero(create.start),
        progress_notify: create.progress_notify,
        filters: filters.into_iter().filter(|(set, _)| *set).map(|(_, filter)| filter.into()).collect(),
        prev_kv: create.prev_kv,
        watch_id: create.watch.0,
        fragment: create.fragment,
    }
}

/// News of a watch.
pub fn watch_response(response: pb::WatchResponse) -> Result<Received, MalformedAnswer> {
    let news = WatchNews {
        watch: WatchId(response.watch_id),
        created: response.created,
        canceled: response.canceled,
        cancel_reason: response.cancel_reason,
        compact_revision: Revision(response.compact_revision),
        fragment: response.fragment,
        events: response.events.into_iter().map(event).collect::<Result<_, _>>()?,
    };
    Ok(Received { header: header(response.header.as_ref())?, news: News::Watch(news) })
}

fn event(event: mvccpb::Event) -> Result<Event, MalformedAnswer> {
    Ok(Event {
        delete: event.r#type() == mvccpb::event::EventType::Delete,
        kv: key_value(event.kv.ok_or(MalformedAnswer { missing: "pair in one of the events" })?),
        prev_kv: event.prev_kv.map(key_value).map(Box::new),
    })
}

/// News of an election's leader.
pub fn leader_response(response: v3electionpb::LeaderResponse) -> Result<Received, MalformedAnswer> {
    let kv = key_value(response.kv.ok_or(MalformedAnswer { missing: "pair" })?);
    Ok(Received { header: header(response.header.as_ref())?, news: News::Leader(kv) })
}
