//! Whether histories are what the other checkers take them for. In go loaded histories, out come sentences about
//! what is wrong with the recording. It says nothing about etcd, except that one cluster must have answered.

use std::collections::BTreeMap;

use crate::{
    history::reader::{History, Operation},
    types::{ClusterId, Monotonic, ProcessId},
};

/// More sentences than this help nobody.
const SENTENCES_AT_MOST: usize = 10;

/// What is wrong with the recording; nothing if it is well-formed.
pub fn violations(histories: &[History]) -> Vec<String> {
    let mut violations = vec![];
    boots(histories, &mut violations);
    returns(histories, &mut violations);
    processes(histories, &mut violations);
    clusters(histories, &mut violations);
    violations.truncate(SENTENCES_AT_MOST);
    violations
}

/// An operation by its file and number.
fn name(history: &History, operation: &Operation) -> String {
    let file = history.path.file_stem().unwrap_or_default().to_string_lossy();
    format!("{file}#{}", operation.id)
}

/// Times of two boots can't be compared.
fn boots(histories: &[History], violations: &mut Vec<String>) {
    let mut others = histories.iter().map(|history| &history.preamble.boot_id);
    let Some(first) = others.next() else { return };
    if let Some(other) = others.find(|other| *other != first) {
        violations.push(format!("histories of two boots, {first} and {other}, are mixed"));
    }
}

/// Nothing returns before it is called.
fn returns(histories: &[History], violations: &mut Vec<String>) {
    for history in histories {
        for operation in &history.operations {
            if let Some((returned, _)) = &operation.returned
                && *returned < operation.call
            {
                let name = name(history, operation);
                violations
                    .push(format!("{name} returned at {returned}, before its call at {}", operation.call));
            }
        }
    }
}

/// A process has one operation under way at a time.
fn processes(histories: &[History], violations: &mut Vec<String>) {
    type Interval<'h> = (Monotonic, Monotonic, &'h History, &'h Operation);
    let mut processes: BTreeMap<ProcessId, Vec<Interval<'_>>> = BTreeMap::new();
    for history in histories {
        for operation in &history.operations {
            let end = operation.returned.as_ref().map_or(Monotonic(u64::MAX), |(returned, _)| *returned);
            processes.entry(operation.process).or_default().push((operation.call, end, history, operation));
        }
    }
    for (process, mut intervals) in processes {
        intervals.sort_by_key(|(call, end, ..)| (*call, *end));
        for pair in intervals.windows(2) {
            let [(_, end, history, first), (call, _, other, second)] = pair else { continue };
            if call < end {
                let (first, second) = (name(history, first), name(other, second));
                violations.push(format!("process {process} called {second} while it waited for {first}"));
            }
        }
    }
}

/// All answers are of one cluster.
fn clusters(histories: &[History], violations: &mut Vec<String>) {
    let mut first: Option<(ClusterId, String)> = None;
    for history in histories {
        for operation in &history.operations {
            let Some(response) = operation.response() else { continue };
            let cluster = response.header.cluster;
            // Some servers leave some headers empty.
            if cluster == ClusterId(0) {
                continue;
            }
            match &first {
                None => first = Some((cluster, name(history, operation))),
                Some((known, named)) if *known != cluster => {
                    let name = name(history, operation);
                    violations
                        .push(format!("cluster {cluster} answered {name}, but {known} answered {named}"));
                    return;
                }
                Some(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        history::record::Preamble,
        operation::{Answer, Header, Outcome, Put, Request, Response},
        types::OperationId,
    };

    fn operation(id: u64, process: u64, call: u64, returned: u64, cluster: u64) -> Operation {
        let header = Header { cluster: ClusterId(cluster), ..Header::default() };
        let outcome = Outcome::Ok(Response { header, answer: Answer::Put { prev_kv: None } });
        Operation {
            id: OperationId(id),
            process: ProcessId(process),
            member: "etcd0".into(),
            user: None,
            call: Monotonic(call),
            request: Request::Put(Put::default()),
            returned: Some((Monotonic(returned), outcome)),
            connection: None,
        }
    }

    fn history(boot: &str, operations: Vec<Operation>) -> History {
        let preamble = Preamble { boot_id: boot.into(), ..Preamble::made_up("driver") };
        History { path: "driver.jsonl".into(), preamble, operations, streams: vec![] }
    }

    /// A well-formed history has nothing against it; each rule is broken by one small change.
    #[test]
    fn each_assumption_is_looked_at() {
        let of = |operations: Vec<Operation>| violations(&[history("b", operations)]);
        assert!(
            of(vec![operation(1, 1, 5, 9, 7), operation(2, 1, 9, 12, 7), operation(3, 2, 6, 8, 7)])
                .is_empty()
        );
        let cases = [
            (of(vec![operation(1, 1, 5, 4, 7)]), "before its call"),
            (of(vec![operation(1, 1, 5, 9, 7), operation(2, 1, 8, 12, 7)]), "while it waited for"),
            (of(vec![operation(1, 1, 5, 9, 7), operation(2, 1, 9, 12, 8)]), "cluster 8 answered"),
            (violations(&[history("b", vec![]), history("c", vec![])]), "two boots"),
        ];
        for (found, words) in cases {
            assert!(found.len() == 1 && found[0].contains(words), "{found:?}");
        }
        assert!(of(vec![operation(1, 1, 5, 9, 7), operation(2, 1, 9, 12, 0)]).is_empty());
        let mut open = operation(1, 1, 5, 9, 7);
        open.returned = None;
        assert_eq!(of(vec![open, operation(2, 1, 100, 101, 7)]).len(), 1);
    }
}
