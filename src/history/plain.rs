//! Reads the usual lines of a history, if they are written as this program's writer does: fields in its order, no white
//! space, no escapes. In goes a line, out comes its record, several times as soon as from `serde_json`, or nothing
//! if the line is of any other kind. It never reads a line otherwise than `serde_json` does, which reads all the rest.

use std::borrow::Cow;

use super::record::{Call, Receive, Record, Return};
use crate::{
    operation::{
        Answer, Bounds, Compare, DeleteRange, Header, KeyRange, KeyValue, Operator, Order, OrderBy, Outcome,
        Put, Range, RangeAnswer, Request, Response, Target, Txn,
        stream::{Event, News, Received, WatchNews},
    },
    types::{
        Blob, ClusterId, ConnectionId, LeaseId, MemberId, Monotonic, OperationId, ProcessId, RaftTerm,
        Revision, StreamId, Version, WatchId,
    },
};

/// Transactions in transactions in transactions are none of the usual.
const DEPTH_AT_MOST: u8 = 3;

/// The record of a line, if it is a usual one.
pub(super) fn record(line: &str) -> Option<Record<'_>> {
    let mut rest = Rest(line);
    let record = if rest.is(r#"{"call":"#) {
        Record::Call(rest.call()?)
    } else if rest.is(r#"{"return":"#) {
        Record::Return(rest.returned()?)
    } else if rest.is(r#"{"receive":"#) {
        Record::Receive(rest.receive()?)
    } else {
        return None;
    };
    rest.expect("}")?;
    rest.0.is_empty().then_some(record)
}

/// What is left of a line.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn call(&mut self) -> Option<Call<'a>> {
        let call = Call {
            operation: OperationId(self.field(r#"{"operation":"#, Self::number)?),
            process: ProcessId(self.field(r#","process":"#, Self::number)?),
            time: Monotonic(self.field(r#","time":"#, Self::number)?),
            member: Cow::Borrowed(self.field(r#","member":"#, Self::text)?),
            user: self.optional(r#","user":"#, Self::text)?.map(Cow::Borrowed),
            request: Cow::Owned(self.field(r#","request":"#, |rest| rest.request(DEPTH_AT_MOST))?),
        };
        self.expect("}")?;
        Some(call)
    }

    fn returned(&mut self) -> Option<Return<'a>> {
        let operation = OperationId(self.field(r#"{"operation":"#, Self::number)?);
        let time = Monotonic(self.field(r#","time":"#, Self::number)?);
        let connection = self.optional(r#","connection":"#, Self::number)?.map(ConnectionId);
        self.expect(r#","outcome":{"ok":"#)?;
        let header = self.field(r#"{"header":"#, Self::header)?;
        let answer = self.field(r#","answer":"#, |rest| rest.answer(DEPTH_AT_MOST))?;
        self.expect("}}}")?;
        let outcome = Cow::Owned(Outcome::Ok(Response { header, answer }));
        Some(Return { operation, time, connection, outcome })
    }

    fn receive(&mut self) -> Option<Receive<'a>> {
        let stream = StreamId(self.field(r#"{"stream":"#, Self::number)?);
        let time = Monotonic(self.field(r#","time":"#, Self::number)?);
        let header = self.field(r#","message":{"header":"#, Self::header)?;
        let watch = WatchId(self.field(r#","watch":{"watch":"#, Self::signed)?);
        let events = self.field(r#","events":"#, |rest| rest.list(Self::event))?;
        self.expect("}}}")?;
        let news = News::Watch(WatchNews { watch, events, ..WatchNews::default() });
        Some(Receive { stream, time, message: Cow::Owned(Received { header, news }) })
    }

    fn event(&mut self) -> Option<Event> {
        let delete = self.is(r#"{"delete":true,"kv":"#);
        if !delete {
            self.expect(r#"{"kv":"#)?;
        }
        let kv = self.pair()?;
        let prev_kv = self.optional(r#","prev_kv":"#, Self::pair)?.map(Box::new);
        self.expect("}")?;
        Some(Event { delete, kv, prev_kv })
    }

    fn header(&mut self) -> Option<Header> {
        let header = Header {
            cluster: ClusterId(self.field(r#"{"cluster":"#, Self::number)?),
            member: MemberId(self.field(r#","member":"#, Self::number)?),
            revision: Revision(self.field(r#","revision":"#, Self::signed)?),
            term: RaftTerm(self.field(r#","term":"#, Self::number)?),
        };
        self.expect("}")?;
        Some(header)
    }

    fn request(&mut self, depth: u8) -> Option<Request> {
        let request = if self.is(r#"{"range":"#) {
            Request::Range(self.range()?)
        } else if self.is(r#"{"put":"#) {
            Request::Put(self.put()?)
        } else if self.is(r#"{"txn":"#) {
            Request::Txn(self.txn(depth.checked_sub(1)?)?)
        } else {
            self.expect(r#"{"delete_range":{"keys":"#)?;
            let delete = DeleteRange { keys: self.keys()?, prev_kv: self.is(r#","prev_kv":true"#) };
            self.expect("}")?;
            Request::DeleteRange(delete)
        };
        self.expect("}")?;
        Some(request)
    }

    fn keys(&mut self) -> Option<KeyRange> {
        let key = self.field(r#"{"key":"#, Self::blob)?;
        let range_end = self.optional(r#","range_end":"#, Self::blob)?;
        self.expect("}")?;
        Some(KeyRange { key, range_end })
    }

    fn range(&mut self) -> Option<Range> {
        let mut range = Range { keys: self.field(r#"{"keys":"#, Self::keys)?, ..Range::default() };
        if self.is("}") {
            return Some(range);
        }
        range.limit = self.optional(r#","limit":"#, Self::signed)?.unwrap_or_default();
        range.revision = self.optional(r#","revision":"#, Self::signed)?.map(Revision);
        range.order = self.optional(r#","order":"#, Self::order)?.unwrap_or_default();
        range.order_by = self.optional(r#","order_by":"#, Self::order_by)?.unwrap_or_default();
        range.serializable = self.is(r#","serializable":true"#);
        range.keys_only = self.is(r#","keys_only":true"#);
        range.count_only = self.is(r#","count_only":true"#);
        let bounds = Bounds {
            min_mod_revision: self.optional(r#","min_mod_revision":"#, Self::signed)?.map(Revision),
            max_mod_revision: self.optional(r#","max_mod_revision":"#, Self::signed)?.map(Revision),
            min_create_revision: self.optional(r#","min_create_revision":"#, Self::signed)?.map(Revision),
            max_create_revision: self.optional(r#","max_create_revision":"#, Self::signed)?.map(Revision),
        };
        range.bounds = bounds.boxed();
        self.expect("}")?;
        Some(range)
    }

    fn order(&mut self) -> Option<Order> {
        Some(match self.text()? {
            "ascending" => Order::Ascending,
            "descending" => Order::Descending,
            _ => return None,
        })
    }

    fn order_by(&mut self) -> Option<OrderBy> {
        Some(match self.text()? {
            "version" => OrderBy::Version,
            "create_revision" => OrderBy::CreateRevision,
            "mod_revision" => OrderBy::ModRevision,
            "value" => OrderBy::Value,
            _ => return None,
        })
    }

    fn put(&mut self) -> Option<Put> {
        let put = Put {
            key: self.field(r#"{"key":"#, Self::blob)?,
            value: self.field(r#","value":"#, Self::blob)?,
            lease: LeaseId(self.optional(r#","lease":"#, Self::signed)?.unwrap_or_default()),
            prev_kv: self.is(r#","prev_kv":true"#),
            ignore_value: self.is(r#","ignore_value":true"#),
            ignore_lease: self.is(r#","ignore_lease":true"#),
        };
        self.expect("}")?;
        Some(put)
    }

    fn txn(&mut self, depth: u8) -> Option<Txn> {
        let txn = Txn {
            compare: self.field(r#"{"compare":"#, |rest| rest.list(Self::compare))?,
            success: self.field(r#","success":"#, |rest| rest.list(|part| part.request(depth)))?,
            failure: self.field(r#","failure":"#, |rest| rest.list(|part| part.request(depth)))?,
        };
        self.expect("}")?;
        Some(txn)
    }

    fn compare(&mut self) -> Option<Compare> {
        let keys = self.field(r#"{"keys":"#, Self::keys)?;
        let operator = match self.field(r#","operator":"#, Self::text)? {
            "equal" => Operator::Equal,
            "greater" => Operator::Greater,
            "less" => Operator::Less,
            "not_equal" => Operator::NotEqual,
            _ => return None,
        };
        self.expect(r#","target":{"#)?;
        let target = match self.text()? {
            "version" => Target::Version(Version(self.field(":", Self::signed)?)),
            "create_revision" => Target::CreateRevision(Revision(self.field(":", Self::signed)?)),
            "mod_revision" => Target::ModRevision(Revision(self.field(":", Self::signed)?)),
            "value" => Target::Value(self.field(":", Self::blob)?),
            "lease" => Target::Lease(LeaseId(self.field(":", Self::signed)?)),
            _ => return None,
        };
        self.expect("}}")?;
        Some(Compare { keys, operator, target })
    }

    fn answer(&mut self, depth: u8) -> Option<Answer> {
        let answer = if self.is(r#"{"put":{"#) {
            Answer::Put { prev_kv: self.optional(r#""prev_kv":"#, Self::pair)?.map(Box::new) }
        } else if self.is(r#"{"range":"#) {
            let kvs = self.field(r#"{"kvs":"#, |rest| rest.list(Self::pair))?;
            let more = self.is(r#","more":true"#);
            let count = self.field(r#","count":"#, Self::signed)?;
            Answer::Range(RangeAnswer { kvs, more, count })
        } else if self.is(r#"{"delete_range":"#) {
            let deleted = self.field(r#"{"deleted":"#, Self::signed)?;
            let prev_kvs = self.optional(r#","prev_kvs":"#, |rest| rest.list(Self::pair))?;
            Answer::DeleteRange { deleted, prev_kvs: prev_kvs.unwrap_or_default() }
        } else {
            let depth = depth.checked_sub(1)?;
            let succeeded = self.field(r#"{"txn":{"succeeded":"#, Self::flag)?;
            let answers = self.field(r#","answers":"#, |rest| rest.list(|part| part.answer(depth)))?;
            Answer::Txn { succeeded, answers }
        };
        self.expect("}}")?;
        Some(answer)
    }

    fn pair(&mut self) -> Option<KeyValue> {
        let pair = KeyValue {
            key: self.field(r#"{"key":"#, Self::blob)?,
            value: self.field(r#","value":"#, Self::blob)?,
            create_revision: Revision(self.field(r#","create_revision":"#, Self::signed)?),
            mod_revision: Revision(self.field(r#","mod_revision":"#, Self::signed)?),
            version: Version(self.field(r#","version":"#, Self::signed)?),
            lease: LeaseId(self.optional(r#","lease":"#, Self::signed)?.unwrap_or_default()),
        };
        self.expect("}")?;
        Some(pair)
    }

    /// Takes this, if it is next.
    fn is(&mut self, next: &str) -> bool {
        match self.0.strip_prefix(next) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, next: &str) -> Option<()> {
        self.is(next).then_some(())
    }

    fn field<T>(&mut self, name: &str, value: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        self.expect(name)?;
        value(self)
    }

    /// A field that may be missing; none if it is there but can't be read.
    #[expect(clippy::option_option, reason = "the outer one says whether the line goes on being a usual one")]
    fn optional<T>(&mut self, name: &str, value: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        if self.is(name) { value(self).map(Some) } else { Some(None) }
    }

    /// A list with no more room than it needs.
    fn list<T>(&mut self, element: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        self.expect("[")?;
        if self.is("]") {
            return Some(vec![]);
        }
        let mut list = Vec::with_capacity(1);
        list.push(element(self)?);
        while !self.is("]") {
            self.expect(",")?;
            list.push(element(self)?);
        }
        list.shrink_to_fit();
        Some(list)
    }

    fn flag(&mut self) -> Option<bool> {
        if self.is("true") { Some(true) } else { self.expect("false").map(|()| false) }
    }

    /// As JSON has it: no sign, and no zero before other digits.
    fn number(&mut self) -> Option<u64> {
        let bytes = self.0.as_bytes();
        let mut number: u64 = 0;
        let mut length = 0;
        while let Some(digit) =
            bytes.get(length).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10)
        {
            number = number.checked_mul(10)?.checked_add(u64::from(digit))?;
            length += 1;
        }
        if length == 0 || (length > 1 && bytes[0] == b'0') {
            return None;
        }
        self.0 = &self.0[length..];
        Some(number)
    }

    fn signed(&mut self) -> Option<i64> {
        if self.is("-") {
            // A zero with a sign is no integer.
            return self
                .number()
                .filter(|number| *number > 0)
                .and_then(|number| 0i64.checked_sub_unsigned(number));
        }
        self.number().and_then(|number| i64::try_from(number).ok())
    }

    /// A string without escapes. What JSON doesn't allow in one is left to `serde_json`.
    fn text(&mut self) -> Option<&'a str> {
        let text = self.0.strip_prefix('"')?;
        let length = text.bytes().position(|byte| byte == b'"' || byte == b'\\' || byte < b' ')?;
        let (text, rest) = text.split_at(length);
        self.0 = rest.strip_prefix('"')?;
        Some(text)
    }

    fn blob(&mut self) -> Option<Blob> {
        self.text().map(Blob::from)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every field of the usual records, as the writer writes it.
    const USUAL: [&str; 16] = [
        r#"{"call":{"operation":1,"process":18446744073709551615,"time":0,"member":"etcd0","request":{"range":{"keys":{"key":"k"}}}}}"#,
        r#"{"call":{"operation":2,"process":3,"time":4,"member":"é","request":{"range":{"keys":{"key":"a","range_end":"b"},"limit":5,"revision":6,"order":"descending","order_by":"mod_revision","serializable":true,"keys_only":true,"count_only":true,"min_mod_revision":7,"max_mod_revision":8,"min_create_revision":9,"max_create_revision":-10}}}}"#,
        r#"{"call":{"operation":3,"process":3,"time":4,"member":"m","request":{"put":{"key":"a","value":"","lease":-9223372036854775808,"prev_kv":true,"ignore_value":true,"ignore_lease":true}}}}"#,
        r#"{"call":{"operation":4,"process":3,"time":4,"member":"m","request":{"delete_range":{"keys":{"key":"a"},"prev_kv":true}}}}"#,
        r#"{"call":{"operation":5,"process":3,"time":4,"member":"m","request":{"txn":{"compare":[{"keys":{"key":"a"},"operator":"equal","target":{"version":1}},{"keys":{"key":"a"},"operator":"less","target":{"value":"x"}}],"success":[{"put":{"key":"a","value":"b"}}],"failure":[{"txn":{"compare":[],"success":[],"failure":[]}}]}}}}"#,
        r#"{"return":{"operation":1,"time":5,"outcome":{"ok":{"header":{"cluster":1,"member":2,"revision":3,"term":4},"answer":{"put":{}}}}}}"#,
        r#"{"return":{"operation":1,"time":5,"connection":7,"outcome":{"ok":{"header":{"cluster":1,"member":2,"revision":-3,"term":4},"answer":{"put":{"prev_kv":{"key":"a","value":"b","create_revision":1,"mod_revision":2,"version":3,"lease":4}}}}}}}"#,
        r#"{"return":{"operation":1,"time":5,"outcome":{"ok":{"header":{"cluster":1,"member":2,"revision":3,"term":4},"answer":{"range":{"kvs":[],"count":0}}}}}}"#,
        r#"{"return":{"operation":1,"time":5,"outcome":{"ok":{"header":{"cluster":1,"member":2,"revision":3,"term":4},"answer":{"range":{"kvs":[{"key":"a","value":"b","create_revision":1,"mod_revision":2,"version":3},{"key":"b","value":"b","create_revision":1,"mod_revision":2,"version":3}],"more":true,"count":3}}}}}}"#,
        r#"{"return":{"operation":1,"time":5,"outcome":{"ok":{"header":{"cluster":1,"member":2,"revision":3,"term":4},"answer":{"delete_range":{"deleted":0}}}}}}"#,
        r#"{"return":{"operation":1,"time":5,"outcome":{"ok":{"header":{"cluster":1,"member":2,"revision":3,"term":4},"answer":{"delete_range":{"deleted":1,"prev_kvs":[{"key":"a","value":"b","create_revision":1,"mod_revision":2,"version":3}]}}}}}}"#,
        r#"{"return":{"operation":1,"time":5,"outcome":{"ok":{"header":{"cluster":1,"member":2,"revision":3,"term":4},"answer":{"txn":{"succeeded":true,"answers":[{"put":{}},{"txn":{"succeeded":false,"answers":[]}}]}}}}}}"#,
        r#"{"receive":{"stream":1,"time":2,"message":{"header":{"cluster":1,"member":2,"revision":3,"term":4},"watch":{"watch":1,"events":[{"kv":{"key":"a","value":"b","create_revision":1,"mod_revision":2,"version":3}}]}}}}"#,
        r#"{"receive":{"stream":1,"time":2,"message":{"header":{"cluster":1,"member":2,"revision":3,"term":4},"watch":{"watch":-1,"events":[{"delete":true,"kv":{"key":"a","value":"","create_revision":0,"mod_revision":2,"version":0},"prev_kv":{"key":"a","value":"b","create_revision":1,"mod_revision":2,"version":3}}]}}}}"#,
        r#"{"call":{"operation":6,"process":3,"time":4,"member":"m","request":{"txn":{"compare":[{"keys":{"key":"a"},"operator":"greater","target":{"create_revision":1}},{"keys":{"key":"a"},"operator":"not_equal","target":{"mod_revision":-1}},{"keys":{"key":"a"},"operator":"equal","target":{"lease":1}}],"success":[],"failure":[]}}}}"#,
        r#"{"call":{"operation":7,"process":3,"time":4,"member":"m","request":{"range":{"keys":{"key":"a"},"order":"ascending","order_by":"version"}}}}"#,
    ];

    fn general(line: &str) -> Option<Record<'_>> {
        serde_json::from_str(line).ok()
    }

    /// The usual lines are read here, and as `serde_json` reads them; written again, they are what they were.
    #[test]
    fn usual_lines_are_read_as_by_serde() {
        for line in USUAL {
            let record = record(line);
            assert_eq!(record, general(line), "{line}");
            assert_eq!(serde_json::to_string(&record.unwrap()).unwrap(), line);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        /// However a line is damaged, what is read here is what `serde_json` reads.
        #[test]
        fn damaged_lines_are_not_read_otherwise(
            line in 0..USUAL.len(),
            other in 0..USUAL.len(),
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..6), 1..4),
        ) {
            let mut text = USUAL[line].as_bytes().to_vec();
            for (place, source, kind) in edits {
                let place = place.index(text.len());
                match kind {
                    0 if text.len() > 1 => drop(text.remove(place)),
                    1 => text[place] = source.get(br#"0-9"\{}[],: eE.+t"#).to_owned(),
                    2 => text.insert(place, source.get(br#"0-9"\{}[],: eE.+"#).to_owned()),
                    3 => text.truncate(place.max(1)),
                    4 => {
                        let from = USUAL[other].as_bytes();
                        let start = source.index(from.len());
                        text.splice(place..place, from[start..from.len().min(start + 12)].iter().copied());
                    }
                    _ => text[place] = text[place].wrapping_add(1),
                }
            }
            if let Ok(text) = str::from_utf8(&text)
                && let Some(record) = record(text)
            {
                prop_assert_eq!(Some(record), general(text));
            }
        }
    }
}
