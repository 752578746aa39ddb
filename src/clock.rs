//! The one place that reads time. Out come nanoseconds of `CLOCK_MONOTONIC`, which all processes and containers
//! of one kernel share, and the id of the boot that makes them comparable.

use std::{fs, io, time::Duration};

use rustix::time::{ClockId, clock_gettime};

use crate::types::Monotonic;

const BOOT_ID_FILE: &str = "/proc/sys/kernel/random/boot_id";

/// Now, on the clock that all processes of this kernel share.
pub fn monotonic_now() -> Monotonic {
    let time = clock_gettime(ClockId::Monotonic);
    let (seconds, nanoseconds) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    Monotonic(seconds * 1_000_000_000 + nanoseconds)
}

/// The wall clock in nanoseconds since 1970, for people to place a history; never compared.
pub fn unix_now_ns() -> u64 {
    let time = clock_gettime(ClockId::Realtime);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// The processor time that this program has used so far, all of its threads together.
pub fn process_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::from_nanos(time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs())
}

/// The id of this boot: monotonic times of two boots can't be compared.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string(BOOT_ID_FILE)?.trim().to_owned())
}
