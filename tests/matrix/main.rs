//! The falsifiability matrix: shows of each property of the project that it can fail, and of each that it does not fail
//! without reason. For each lie of lies.toml the real commands run through `etcd-probe proxy` against a real cluster;
//! through an honest one nothing fails, and under a lie exactly what the table says. docs/properties.md is made of the
//! same table.
//!
//! An "always" property fails where it was false; a "sometimes" property where it was never true under a lie, though it
//! was through the honest proxy with the same commands. What a timeline does depends on draws, so both are asked of a
//! few timelines together, of as many as it takes; and a lie's row is wrong if it is wrong twice, since what chance
//! brings about beside a lie is not what the lie does. `MATRIX=words` takes the lies with these words in their names.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

#[path = "../common/mod.rs"]
mod common;
mod document;
#[path = "../proxy/place.rs"]
#[expect(dead_code, reason = "the proxy's own tests use all of it")]
mod place;
mod table;
mod timeline;

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fmt::Write as _,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use etcd_antithesis::{lab::etcd_binary::EtcdBinary, properties::NEEDS_FAULTS};
use table::{Lie, Table};
use timeline::{Asserted, PERMISSIONS, all_commands};

/// Timelines at once: they mostly wait.
const AT_ONCE: usize = 8;
/// As many timelines may be needed for what depends on draws.
const TIMELINES_AT_MOST: usize = 3;

/// Some of the commands, by their names.
type Commands = BTreeSet<String>;

#[test]
fn each_lie_breaks_what_it_must_and_nothing_else() {
    let table = Table::read();
    let binary = EtcdBinary::locate(None).unwrap();
    let words = env::var("MATRIX").unwrap_or_default();
    let lies: Vec<&Lie> = table.lies.lie.iter().filter(|lie| lie.name.contains(&words)).collect();
    assert!(!lies.is_empty(), "no lie has {words:?} in its name");
    let mut scenes: BTreeMap<Commands, OnceLock<Asserted>> =
        lies.iter().map(|lie| (lie.with.clone(), OnceLock::new())).collect();
    if words.is_empty() {
        scenes.insert(all_commands(), OnceLock::new());
    }
    let honest = |with| scenes[with].get_or_init(|| honest(&binary, &table, with));
    let rows = thread::scope(|scope| {
        // The whole template takes long, so it begins with the first lies.
        scope.spawn(|| scenes.keys().max_by_key(|with| with.len()).map(&honest));
        at_once(&lies, |lie| {
            let try_it = || {
                let first = timeline::run(&binary, &lie.with, &lie.rule);
                let row = row(&binary, &table, lie, first, honest(&lie.with));
                println!("{}", row.told);
                row
            };
            let row = try_it();
            if row.wrong.is_some() { try_it() } else { row }
        })
    });
    let mut wrong: String = scenes.keys().map(|with| of_honest(&table, &lies, with, honest(with))).collect();
    for (lie, row) in lies.iter().zip(rows) {
        if let Some(why) = row.wrong {
            writeln!(wrong, "{}: {why}", lie.name).unwrap();
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// Does the same to each of these, to several at a time; the results are in their order.
fn at_once<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(items.len()) {
            scope.spawn(|| {
                while let Some((place, item)) = {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    items.get(place).map(|item| (place, item))
                } {
                    let result = work(item);
                    done.lock().unwrap().insert(place, result);
                }
            });
        }
    });
    done.into_inner().unwrap().into_values().collect()
}

/// What is asserted through an honest proxy, by as many timelines as it takes to reach what these commands have to.
fn honest(binary: &EtcdBinary, table: &Table, with: &Commands) -> Asserted {
    let mut asserted = timeline::run(binary, with, "");
    for _ in 1..TIMELINES_AT_MOST {
        if unreached(table, &table.lies.lie.iter().collect::<Vec<_>>(), with, &asserted).is_empty() {
            break;
        }
        asserted.add(timeline::run(binary, with, ""));
    }
    asserted
}

/// What these commands have to reach and did not: what lies break with them; with all commands, whatever needs no fault
/// and no users.
fn unreached<'a>(
    table: &'a Table,
    lies: &[&'a Lie],
    with: &Commands,
    asserted: &Asserted,
) -> BTreeSet<&'a str> {
    let of_lies = lies.iter().filter(|lie| lie.with == *with).flat_map(|lie| &lie.breaks).map(String::as_str);
    let mut wanted: BTreeSet<&str> = of_lies.collect();
    if *with == all_commands() {
        wanted.extend(table.always());
        wanted.extend(table.sometimes().into_iter().filter(|message| !NEEDS_FAULTS.contains(message)));
        let of_users = |lie: &&Lie| lie.with.contains(PERMISSIONS);
        let with_users = table.lies.lie.iter().filter(of_users).flat_map(|lie| &lie.breaks);
        for message in with_users {
            wanted.remove(message.as_str());
        }
    }
    wanted.into_iter().filter(|message| !asserted.was_true(message)).collect()
}

/// What is wrong with an honest row.
fn of_honest(table: &Table, lies: &[&Lie], with: &Commands, asserted: &Asserted) -> String {
    let mut wrong = String::new();
    let broken: Vec<&str> =
        table.always().into_iter().filter(|message| asserted.was_false(message)).collect();
    if !broken.is_empty() || !asserted.complaints.is_empty() {
        let said = &asserted.complaints;
        println!("an honest proxy with {with:?}: {said:#?}");
        let who: Vec<_> = said.keys().collect();
        writeln!(wrong, "an honest proxy breaks {broken:#?} with {with:?}; {who:?} complained").unwrap();
    }
    let unreached = unreached(table, lies, with, asserted);
    if !unreached.is_empty() {
        let undecided = &asserted.undecided;
        writeln!(wrong, "through an honest proxy, {with:?} never reach {unreached:#?}; {undecided:#?}")
            .unwrap();
    }
    let brought: Vec<&String> = lies
        .iter()
        .filter(|lie| lie.with == *with)
        .flat_map(|lie| &lie.brings)
        .filter(|message| asserted.was_true(message))
        .collect();
    if !brought.is_empty() {
        writeln!(wrong, "through an honest proxy, {with:?} bring about {brought:#?}").unwrap();
    }
    wrong
}

/// A lie's row: what it says, and what is wrong with it.
struct Row {
    told: String,
    wrong: Option<String>,
}

/// A lie's row by its first timeline, and more if need be.
fn row(binary: &EtcdBinary, table: &Table, lie: &Lie, first: Asserted, honest: &Asserted) -> Row {
    let mut asserted = first;
    let mut timelines = 1;
    while timelines < TIMELINES_AT_MOST && is_open(table, lie, honest, &asserted) {
        asserted.add(timeline::run(binary, &lie.with, &lie.rule));
        timelines += 1;
    }
    let broken = broken(table, lie, honest, &asserted);
    let list = |messages: &BTreeSet<&str>| {
        messages.iter().fold(String::new(), |list, message| list + "\n    " + message)
    };
    let told = format!(
        "{}: {timelines} timelines in {:.0?}; {}{}",
        lie.name,
        asserted.took,
        asserted.struck.join(", "),
        list(&broken)
    );
    let missing: BTreeSet<&str> =
        lie.breaks.iter().map(String::as_str).filter(|message| !broken.contains(message)).collect();
    let others: BTreeSet<&str> =
        broken.iter().copied().filter(|message| !lie.breaks.contains(*message)).collect();
    let unbrought: BTreeSet<&str> =
        lie.brings.iter().map(String::as_str).filter(|message| !asserted.was_true(message)).collect();
    let mut wrong = String::new();
    for (what, messages) in
        [("does not break", &missing), ("also breaks", &others), ("does not bring about", &unbrought)]
    {
        if !messages.is_empty() {
            write!(wrong, "{what}{}\n  ", list(messages)).unwrap();
        }
    }
    let told = if others.is_empty() { told } else { format!("{told}\n{:#?}", asserted.complaints) };
    Row { told, wrong: (!wrong.is_empty()).then_some(wrong) }
}

/// Whether another timeline may still make a row right.
fn is_open(table: &Table, lie: &Lie, honest: &Asserted, asserted: &Asserted) -> bool {
    let broken = broken(table, lie, honest, asserted);
    let sometimes = table.sometimes();
    let never = |message: &&str| sometimes.contains(message) && !lie.breaks.contains(*message);
    lie.breaks.iter().any(|message| !broken.contains(message.as_str()))
        || lie.brings.iter().any(|message| !asserted.was_true(message))
        || broken.iter().any(never)
}

/// What a lie broke, without what it may. What needs faults is not missed where it does not come about, unless it is
/// said to be.
fn broken<'a>(table: &'a Table, lie: &Lie, honest: &Asserted, asserted: &Asserted) -> BTreeSet<&'a str> {
    let undecided: BTreeSet<&str> = table
        .lies
        .undecided
        .iter()
        .filter(|undecided| undecided.broken.iter().any(|message| asserted.was_false(message)))
        .flat_map(|undecided| undecided.these.iter().map(String::as_str))
        .chain(NEEDS_FAULTS.iter().copied())
        .collect();
    let never = |message: &&str| {
        let counts = lie.breaks.contains(*message) || !undecided.contains(message);
        honest.was_true(message) && !asserted.was_true(message) && counts
    };
    let always = table.always().into_iter().filter(|message| asserted.was_false(message));
    let broken = always.chain(table.sometimes().into_iter().filter(never));
    broken.filter(|message| !lie.may.contains(*message)).collect()
}
