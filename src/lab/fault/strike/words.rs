//! What a planned fault does, for people, with the sizes that its strength and its pick stand for. Pure.

use crate::lab::fault::{coupled::Coupled, kind::Kind, packets, plan::PlannedFault};

/// How much of the past a compaction may leave.
const COMPACTION_LEAVES: u64 = 100;
/// The delay of each flush, in milliseconds, from the weakest to the strongest fault.
const FLUSH_DELAY_MS: (f64, f64) = (5.0, 800.0);

/// How many revisions before the newest a compaction leaves.
pub(super) fn compaction_leaves(fault: &PlannedFault) -> i64 {
    // Half of them at the head itself.
    i64::try_from((fault.pick % (2 * COMPACTION_LEAVES)).saturating_sub(COMPACTION_LEAVES))
        .unwrap_or_default()
}

/// How much longer each flush takes, in milliseconds.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few hundred at most")]
pub(super) fn flush_delay_ms(fault: &PlannedFault) -> u64 {
    let (least, most) = FLUSH_DELAY_MS;
    (least * (most / least).powf(fault.strength)) as u64
}

/// What a fault does, for people.
pub fn words(fault: &PlannedFault) -> String {
    let seconds = format!("for {:.1} s", fault.duration.as_secs_f64());
    match fault.kind {
        Kind::PacketLoss => {
            format!("{:.0} % of the packets are lost, {seconds}", packets::loss(fault) * 100.0)
        }
        Kind::SlowDisk => format!("each flush takes {} ms longer, {seconds}", flush_delay_ms(fault)),
        Kind::Kill => format!("SIGKILL, down {seconds}"),
        Kind::Restart => format!("SIGTERM, down {seconds}"),
        Kind::RollingRestart => format!("one after the other, each down {seconds}"),
        Kind::Pause => format!("SIGSTOP {seconds}"),
        Kind::OneWay if packets::is_deaf(fault) => format!("hears the other members no more, {seconds}"),
        Kind::OneWay => format!("is heard by the other members no more, {seconds}"),
        Kind::Compact => match compaction_leaves(fault) {
            0 => "history up to the head is dropped".to_owned(),
            back => format!("history is dropped but for the last {back} revisions"),
        },
        kind @ (Kind::KillAtCompaction | Kind::KillInDefragmentation | Kind::KillAfterWrite) => {
            format!("{}, down {seconds}", Coupled::of(fault).words(kind))
        }
        Kind::FallBehind => Coupled::of(fault).words(fault.kind),
        kind if fault.duration.is_zero() => kind.facts().words.to_owned(),
        kind => format!("{}, {seconds}", kind.facts().words),
    }
}
