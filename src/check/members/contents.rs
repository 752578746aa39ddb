//! No two answers of different members about one key that can't be of one store. In go sights, out comes the evidence of
//! the least revision at which that is broken, with all keys concerned.

use std::collections::HashMap;

use super::{Sights, evidence, operations, sights::Sight};
use crate::{check::evidence::Evidence, history::reader::History};

/// More keys than these are not named.
const KEYS_AT_MOST: usize = 10;

/// What differs, and how many sights were held against another member's.
pub(super) fn compare(histories: &[History], sights: &Sights<'_>) -> (Option<Evidence>, u64) {
    let members = Members::new(histories);
    let mut compared = 0;
    let mut differ: Vec<(Sight<'_>, Sight<'_>)> = vec![];
    let mut last: Vec<Option<Sight<'_>>> = vec![None; members.names.len()];
    for of_key in sights.all.chunk_by(|one, other| one.key == other.key) {
        last.fill(None);
        let mut found = None;
        for sight in of_key {
            let own = members.of(sight);
            for (member, earlier) in last.iter().enumerate() {
                let Some(earlier) = earlier.filter(|_| member != own) else { continue };
                compared += 1;
                if found.is_none() && !earlier.agrees_with(sight) {
                    found = Some((earlier, *sight));
                }
            }
            last[own] = Some(*sight);
        }
        differ.extend(found);
    }
    let first = differ.iter().min_by_key(|(_, later)| later.at);
    let Some((earlier, later)) = first else { return (None, compared) };
    let keys: Vec<String> =
        differ.iter().take(KEYS_AT_MOST).map(|(sight, _)| sights.name(sight.key).to_string()).collect();
    let summary = format!(
        "{} and {} differ at revision {} at the latest, in {}{}",
        members.name(earlier),
        members.name(later),
        later.at,
        keys.join(", "),
        if differ.len() > KEYS_AT_MOST { " and other keys" } else { "" }
    );
    let found = evidence(histories, summary, Some(later.at), [earlier.operation, later.operation]);
    (Some(Evidence { key: Some(sights.name(later.key).clone()), ..found }), compared)
}

/// The member of each operation.
struct Members<'h> {
    names: Vec<&'h str>,
    numbers: Vec<usize>,
}

impl<'h> Members<'h> {
    fn new(histories: &'h [History]) -> Self {
        let (mut known, mut names) = (HashMap::new(), vec![]);
        let number = |(_, operation): (u32, &'h _)| {
            let operation: &'h crate::history::reader::Operation = operation;
            *known.entry(&*operation.member).or_insert_with(|| {
                names.push(&*operation.member);
                names.len() - 1
            })
        };
        let numbers = operations(histories).map(number).collect();
        Self { names, numbers }
    }

    fn of(&self, sight: &Sight<'_>) -> usize {
        self.numbers[sight.operation as usize]
    }

    fn name(&self, sight: &Sight<'_>) -> &'h str {
        self.names[self.of(sight)]
    }
}
