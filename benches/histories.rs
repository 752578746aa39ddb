//! What reading and checking histories costs, by generated histories of several sizes: `cargo bench --bench histories`.
//! In go seeds, out come times of the processor, which other programs on the machine change little.

use criterion::{
    BenchmarkId, Criterion, Throughput,
    measurement::{Measurement, ValueFormatter, WallTime},
};
use etcd_antithesis::{
    check::{self, case::Case, linearizable, watch},
    history::{reader, save::save},
    verdict::Verdict,
};
use rustix::time::{ClockId, clock_gettime};
use std::{hint::black_box, time::Duration};

#[path = "../tests/histories/mod.rs"]
mod histories;

use histories::{Generated, Shape, generate};

/// Operations, and how many in a hundred writes have no known fate.
const SIZES: [(usize, u32); 6] =
    [(10_000, 0), (10_000, 1), (100_000, 0), (100_000, 1), (1_000_000, 0), (1_000_000, 1)];

const KEYS: usize = 10;

fn generated(operations: usize, unknown_percent: u32, watches: u64) -> Generated {
    let shape = Shape { watches, ..Shape::bench(operations, KEYS, unknown_percent) };
    generate(shape, 1).with_long_numbers()
}

fn main() {
    let mut criterion = Criterion::default()
        .with_measurement(ProcessorTime(WallTime))
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    for (operations, unknown) in SIZES {
        read_and_check(&mut criterion, operations, unknown);
    }
    all_guarantees(&mut criterion);
    watches(&mut criterion);
    criterion.final_summary();
}

fn read_and_check(criterion: &mut Criterion<ProcessorTime>, operations: usize, unknown: u32) {
    let name = format!("{operations} operations, {unknown} % unknown");
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    for history in generated(operations, unknown, 0).into_histories() {
        save(folder.path(), &history).expect("the folder is writable");
    }
    let read = || reader::read_folder(folder.path()).expect("the folder has histories");
    let mut group = criterion.benchmark_group("histories");
    group.throughput(Throughput::Elements(operations as u64));
    group.bench_function(BenchmarkId::new("read", &name), |bencher| bencher.iter(|| black_box(read())));
    let histories = read();
    group.bench_function(BenchmarkId::new("check", &name), |bencher| {
        bencher.iter(|| assert_eq!(linearizable::check(&histories).verdict, Verdict::Holds));
    });
    group.finish();
}

fn all_guarantees(criterion: &mut Criterion<ProcessorTime>) {
    let histories = generated(100_000, 0, 0).into_histories();
    criterion.bench_function("all guarantees/100000 operations, 0 % unknown", |bencher| {
        bencher.iter(|| black_box(check::all(&Case::new(&histories))));
    });
}

/// A hundred watches of all keys, told of about ten thousand changes each.
fn watches(criterion: &mut Criterion<ProcessorTime>) {
    let histories = generated(20_000, 0, 100).into_histories();
    criterion.bench_function("watches/1000000 events over 100 watches", |bencher| {
        bencher.iter(|| {
            let judged = watch::judge(&Case::new(&histories));
            assert!(judged.iter().all(|of| of.verdict == Verdict::Holds));
        });
    });
}

/// The processor's time for this process, shown as times are.
struct ProcessorTime(WallTime);

impl Measurement for ProcessorTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
    }

    fn end(&self, start: Duration) -> Duration {
        self.start().saturating_sub(start)
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        self.0.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        self.0.formatter()
    }
}
