//! States that faults bring about. In go the faults that struck, the histories from meanwhile and members' logs, out
//! come states. What a fault was meant for is not enough where its effect can be seen.

use std::collections::{BTreeMap, BTreeSet};

use super::{State, traffic::told};
use crate::{
    history::reader::{History, Stream},
    lab::{
        fault::{kind::Kind, strike::Strike},
        observer::{Sample, Told},
    },
    operation::{Response, stream::Received},
    types::{MemberId, Monotonic},
};

/// What etcd logs when it has taken over a snapshot of another member.
const APPLIED_SNAPSHOT: &str = "applied snapshot";

/// What members told of themselves.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// Their names by their ids.
    names: BTreeMap<MemberId, String>,
    /// Who led when.
    led: Vec<(Monotonic, String)>,
}

impl Members {
    /// From what was seen of them, in order of time.
    pub fn of(samples: &[Sample]) -> Self {
        let mut members = Self::default();
        for Sample { monotonic_ns, member, told } in samples {
            let Told::Status(status) = told else { continue };
            if let Ok(id) = u64::from_str_radix(&status.member_id, 16) {
                members.names.insert(MemberId(id), member.clone());
            }
            if status.leader == status.member_id {
                members.led.push((*monotonic_ns, member.clone()));
            }
        }
        members
    }

    /// Whether a member that led before it was struck was followed by another meanwhile.
    fn changed_leader(&self, strike: &Strike) -> bool {
        let before = self.led.iter().rev().find(|(time, _)| *time < strike.begun);
        let is_struck = |(_, member): &&(Monotonic, String)| strike.on.contains(member);
        let meanwhile = self.led.iter().filter(|(time, _)| *time > strike.done && *time < strike.ended);
        before.is_some_and(|led| is_struck(&led)) && { meanwhile }.any(|led| !is_struck(&led))
    }
}

/// The states that these faults brought about.
pub(super) fn reached(
    strikes: &[Strike],
    histories: &[History],
    members: &Members,
    log: impl Fn(&str) -> String,
) -> BTreeSet<State> {
    let of = |strike: &Strike| {
        let state = match strike.kind {
            Kind::KillAtCompaction => State::KilledAtCompaction,
            Kind::KillInDefragmentation => State::KilledInDefragmentation,
            Kind::KillAfterWrite => State::KilledAfterWrite,
            Kind::DelayPeers => State::PeersDelayed,
            Kind::Pause if members.changed_leader(strike) => State::LeaderPaused,
            Kind::FallBehind if strike.on.iter().any(|member| log(member).contains(APPLIED_SNAPSHOT)) => {
                State::BackBySnapshot
            }
            _ => return None,
        };
        Some(state)
    };
    let mut reached: BTreeSet<State> = strikes.iter().filter_map(of).collect();
    let cut_off = strikes.iter().filter(|strike| cuts_peers_alone(strike.kind));
    let answers = |strike: &Strike| {
        let operations = histories.iter().flat_map(|history| &history.operations);
        operations.filter(|operation| is_of(operation.response(), strike, members)).any(|operation| {
            let returned = operation.returned.as_ref().map(|(returned, _)| *returned);
            returned.is_some_and(|returned| operation.call > strike.done && returned < strike.ended)
        })
    };
    reached.extend({ cut_off }.any(answers).then_some(State::AnswersCutOff));
    let streams: Vec<&Stream> = histories.iter().flat_map(|history| &history.streams).collect();
    let spans = |strike: &Strike| streams.iter().any(|stream| spans(stream, strike, members));
    reached.extend(strikes.iter().any(spans).then_some(State::WatchSpansFault));
    reached
}

/// Whether members that it strikes are cut off from others, and from no client.
fn cuts_peers_alone(kind: Kind) -> bool {
    matches!(kind, Kind::IsolatePeers | Kind::OneWay | Kind::CutPair | Kind::Split | Kind::Bridge)
}

/// Whether an answer is that of a member that was struck.
fn is_of(response: Option<&Response>, strike: &Strike, members: &Members) -> bool {
    response.is_some_and(|response| was_struck(response.header.member, strike, members))
}

fn was_struck(member: MemberId, strike: &Strike, members: &Members) -> bool {
    members.names.get(&member).is_some_and(|name| strike.on.contains(name))
}

/// Whether a stream of a member that was struck told of events before that and after.
fn spans(stream: &Stream, strike: &Strike, members: &Members) -> bool {
    let is_of_struck = |received: &Received| was_struck(received.header.member, strike, members);
    let events =
        || told(stream).filter(|(_, received, news)| !news.events.is_empty() && is_of_struck(received));
    strike.ended > strike.begun
        && events().any(|(time, ..)| time < strike.begun)
        && events().any(|(time, ..)| time > strike.ended)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::made_up::{history, put, time},
        history::reader::Message,
        operation::{
            Header, KeyValue,
            stream::{Event, News, WatchNews},
        },
    };

    /// From 100 to 200 ms.
    fn strike(kind: Kind) -> Strike {
        Strike { kind, on: vec!["etcd1".to_owned()], begun: time(90), done: time(100), ended: time(200) }
    }

    /// The made-up answers are of member 1.
    fn of(strike: Strike, histories: &[History], log: &str) -> Vec<State> {
        let names = [(MemberId(1), "etcd1".to_owned())].into();
        let led = vec![(time(50), "etcd1".to_owned()), (time(180), "etcd2".to_owned())];
        reached(&[strike], histories, &Members { names, led }, |_| log.to_owned()).into_iter().collect()
    }

    /// A fault that was to be a state, and was not, is none.
    #[test]
    fn what_a_fault_brought_about_is_looked_at() {
        let written = r#"{"level":"info","msg":"applied snapshot"}"#;
        assert_eq!(of(strike(Kind::FallBehind), &[], written), [State::BackBySnapshot]);
        assert_eq!(of(strike(Kind::FallBehind), &[], "took a snapshot"), []);
        assert_eq!(of(strike(Kind::Pause), &[], ""), [State::LeaderPaused]);
        let too_short = Strike { ended: time(150), ..strike(Kind::Pause) };
        assert_eq!(of(too_short, &[], ""), []);
        let of_another = Strike { on: vec!["etcd2".to_owned()], ..strike(Kind::Pause) };
        assert_eq!(of(of_another, &[], ""), []);
        assert_eq!(of(strike(Kind::KillAfterWrite), &[], ""), [State::KilledAfterWrite]);
        assert_eq!(of(strike(Kind::Kill), &[], ""), []);
    }

    #[test]
    fn members_that_are_cut_off_have_to_answer_meanwhile() {
        let asked = |at| [history("driver", vec![put(at, "a", 0, 5)], vec![])];
        assert_eq!(of(strike(Kind::IsolatePeers), &asked(150), ""), [State::AnswersCutOff]);
        assert_eq!(of(strike(Kind::IsolatePeers), &asked(250), ""), []);
        assert_eq!(of(strike(Kind::Isolate), &asked(150), ""), []);
    }

    #[test]
    fn a_watch_has_to_tell_before_and_after() {
        let event = || Event { delete: false, kv: KeyValue::default(), prev_kv: None };
        let told = |at| {
            let news = News::Watch(WatchNews { events: vec![event()], ..WatchNews::default() });
            let header = Header { member: MemberId(1), ..Header::default() };
            (time(at), Message::Received(Received { header, news }))
        };
        let watch = |times: [u64; 2]| [history("driver", vec![], vec![times.map(told).to_vec()])];
        assert_eq!(of(strike(Kind::SlowDisk), &watch([50, 250]), ""), [State::WatchSpansFault]);
        assert_eq!(of(strike(Kind::SlowDisk), &watch([50, 150]), ""), []);
        let elsewhere = Strike { on: vec!["etcd0".to_owned()], ..strike(Kind::SlowDisk) };
        assert_eq!(of(elsewhere, &watch([50, 250]), ""), []);
    }
}
