//! Histories of any size, for measuring: `make FOLDER OPERATIONS KEYS UNKNOWN_PERCENT [WATCHES [SEED]]` writes one as a
//! recorder does, `measure FOLDER` reads and checks it and says what that took, and `measure-all FOLDER` does so of all guarantees.
//! In go numbers, out come files and figures; it is no part of what is shipped.

use std::{env, path::Path, process::ExitCode, time::Duration};

use etcd_antithesis::{
    check::{self, case::Case, linearizable},
    history::{reader, save::save},
};
use rustix::time::{ClockId, clock_gettime};

#[path = "../tests/histories/mod.rs"]
mod histories;

use histories::{Generated, Shape, generate};

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["make", folder, operations, keys, unknown, more @ ..] => {
            let number = |word: &str| word.parse().expect("what is behind the folder are numbers");
            let percent = unknown.parse().expect("what is behind the folder are numbers");
            let more = |place: usize, default| more.get(place).map_or(default, |word| number(word) as u64);
            let (watches, seed) = (more(0, 0), more(1, 1));
            let shape = Shape { watches, ..Shape::bench(number(operations), number(keys), percent) };
            make(generate(shape, seed), Path::new(folder));
        }
        ["measure", folder] => measure(Path::new(folder), false),
        ["measure-all", folder] => measure(Path::new(folder), true),
        _ => {
            eprintln!(
                "usage: histories make FOLDER OPERATIONS KEYS UNKNOWN_PERCENT [WATCHES [SEED]] | histories measure FOLDER | \
                 histories measure-all FOLDER"
            );
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn make(generated: Generated, folder: &Path) {
    for history in generated.with_long_numbers().into_histories() {
        save(folder, &history).expect("the folder is writable");
    }
}

fn measure(folder: &Path, all: bool) {
    let start = cpu_time();
    let read = reader::read_folder(folder).expect("the folder has histories");
    let between = cpu_time();
    let peak = peak_kb();
    println!("read      {:?}, memory {} MB at most", between.saturating_sub(start), peak / 1000);
    let between = cpu_time();
    let found = linearizable::check(&read);
    let end = cpu_time();
    println!("{:?} {:?}", found.verdict, found.figures);
    println!("check     {:?}, memory {} MB at most", end.saturating_sub(between), peak_kb() / 1000);
    if !all {
        return;
    }
    let case = Case::new(&read);
    for family in check::FAMILIES {
        let start = cpu_time();
        let judged = family(&case);
        println!("{:?} for:", cpu_time().saturating_sub(start));
        for of in judged {
            println!("    {:?} of {}: {}", of.verdict, of.looked_at, of.guarantee.name());
        }
    }
    println!("check all {:?}, memory {} MB at most", cpu_time().saturating_sub(end), peak_kb() / 1000);
}

/// What this process has used of a processor so far.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn peak_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
