//! Histories of any size, for measuring: `make FOLDER OPERATIONS KEYS UNKNOWN_PERCENT` writes one as a recorder does,
//! and `measure FOLDER` reads and checks it and says what that took. In go numbers, out come files and figures; it is
//! no part of what is shipped.

use std::{env, path::Path, process::ExitCode, time::Duration};

use etcd_antithesis::{
    check::linearizable,
    history::{reader, save::save},
    operation::Outcome,
    types::{ClusterId, MemberId, Monotonic},
};
use rustix::time::{ClockId, clock_gettime};

#[path = "../tests/histories/mod.rs"]
mod histories;

use histories::{Generated, Shape, generate};

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["make", folder, operations, keys, unknown] => {
            let number = |word: &str| word.parse().expect("operations, keys and percent are numbers");
            let percent = unknown.parse().expect("operations, keys and percent are numbers");
            let shape = Shape::bench(number(operations), number(keys), percent);
            make(generate(shape, 1), Path::new(folder));
        }
        ["measure", folder] => measure(Path::new(folder)),
        _ => {
            eprintln!(
                "usage: histories make FOLDER OPERATIONS KEYS UNKNOWN_PERCENT | histories measure FOLDER"
            );
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// Numbers get as long as those of etcd and of a machine that has run for some days.
fn make(mut generated: Generated, folder: &Path) {
    let time = |time: &mut Monotonic| time.0 = 345_600_000_000_000 + 1000 * time.0;
    for operation in &mut generated.operations {
        time(&mut operation.call);
        if let Some((returned, outcome)) = &mut operation.returned {
            time(returned);
            if let Outcome::Ok(response) = outcome {
                response.header.cluster = ClusterId(14_841_639_068_965_178_418);
                response.header.member = MemberId(10_276_657_743_932_975_437);
            }
        }
    }
    for history in generated.into_histories() {
        save(folder, &history).expect("the folder is writable");
    }
}

fn measure(folder: &Path) {
    let start = cpu_time();
    let read = reader::read_folder(folder).expect("the folder has histories");
    let between = cpu_time();
    let found = linearizable::check(&read);
    let end = cpu_time();
    println!("{:?} {:?}", found.verdict, found.figures);
    println!("read   {:?}", between.saturating_sub(start));
    println!("check  {:?}", end.saturating_sub(between));
    println!("memory {} MB at most", peak_kb() / 1000);
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
