//! What a watch has told of each key, and what the next event of it says about what is missing. In go events in
//! order, out come the promises that they break. At most so many keys are remembered.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use crate::{
    operation::{
        KeyValue,
        stream::{CreateWatch, Event},
    },
    types::{Blob, Revision, Version},
};

/// About 20 MB, with short keys.
const KEYS_AT_MOST: usize = 100_000;

/// A promise and what breaks it.
type Broken = (&'static str, String);

/// What is known of the watched keys.
#[derive(Debug)]
pub struct Keys {
    known: HashMap<Blob, Known>,
    /// What was known before the last revision of the keys that it changed.
    before: Vec<(Blob, Option<Known>)>,
    /// From here on nothing may be missing.
    begin: Option<Revision>,
    sees_puts: bool,
    sees_deletes: bool,
}

/// A key after its last event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Absent,
    Present { create: Revision, modified: Revision, version: Version, value: u64 },
}

impl Known {
    fn of(kv: &KeyValue) -> Self {
        let mut hasher = DefaultHasher::new();
        kv.value.hash(&mut hasher);
        let (create, modified, version) = (kv.create_revision, kv.mod_revision, kv.version);
        Self::Present { create, modified, version, value: hasher.finish() }
    }
}

impl Keys {
    /// Of a watch that is created like this.
    pub fn new(create: &CreateWatch) -> Self {
        Self {
            known: HashMap::new(),
            before: vec![],
            begin: create.start,
            sees_puts: !create.no_put,
            sees_deletes: !create.no_delete,
        }
    }

    /// Nothing may be missing from this revision on.
    pub fn begin_at(&mut self, revision: Revision) {
        self.begin = Some(revision);
    }

    /// The events to come are of another revision.
    pub fn next_revision(&mut self) {
        self.before.clear();
    }

    /// The last revision was not told whole, and will be told again.
    pub fn forget_last_revision(&mut self) {
        for (key, known) in std::mem::take(&mut self.before) {
            match known {
                Some(known) => self.known.insert(key, known),
                None => self.known.remove(&key),
            };
        }
    }

    /// Takes an event; gives what it breaks.
    pub fn take(&mut self, event: &Event) -> Vec<Broken> {
        let earlier = self.known.get(&event.kv.key).copied();
        let mut broken = vec![];
        broken.extend(wrong_in_itself(event));
        if self.sees_puts {
            broken.extend(self.missing_before(event, earlier));
            broken.extend(wrong_previous(event, earlier));
        }
        if earlier.is_some() || self.known.len() < KEYS_AT_MOST {
            let now = if event.delete { Known::Absent } else { Known::of(&event.kv) };
            self.before.push((event.kv.key.clone(), earlier));
            self.known.insert(event.kv.key.clone(), now);
        }
        broken
    }

    /// Whether another event must have come between the last one of this key and this one.
    fn missing_before(&self, event: &Event, earlier: Option<Known>) -> Option<Broken> {
        let KeyValue { key, create_revision, mod_revision, version, .. } = &event.kv;
        let place = format!("\"{key}\" at revision {mod_revision}");
        let words = match (earlier, event.delete) {
            (Some(Known::Absent), true) => format!("{place} is deleted, although it was deleted before"),
            (Some(Known::Absent), false) if version.0 != 1 => {
                format!("{place} has version {version}, although it was deleted before")
            }
            (Some(Known::Present { create, version: before, .. }), false) if *create_revision == create => {
                if version.0 == before.0 + 1 {
                    return None;
                }
                format!("{place} has version {version}, and the last one told has {before}")
            }
            (Some(Known::Present { .. }), false) if version.0 != 1 || self.sees_deletes => {
                format!("{place} was created at {create_revision}, and no delete before was told")
            }
            (None, false) if version.0 > 1 && self.begin.is_some_and(|begin| *create_revision > begin) => {
                format!("{place} was created at {create_revision}, which was not told")
            }
            _ => return None,
        };
        // Without room for more keys, one that is not known may have been told of.
        (earlier.is_some() || self.known.len() < KEYS_AT_MOST).then_some(("Reliable", words))
    }
}

fn wrong_in_itself(event: &Event) -> Option<Broken> {
    let KeyValue { key, create_revision, mod_revision, version, .. } = &event.kv;
    let is_first = create_revision == mod_revision;
    let fits = create_revision.0 >= 1 && create_revision <= mod_revision && version.0 >= 1;
    if event.delete || (fits && is_first == (version.0 == 1)) {
        return None;
    }
    let words = format!(
        "\"{key}\" can't be created at {create_revision}, modified at {mod_revision} and have version {version}"
    );
    Some(("Well-formed", words))
}

/// Whether the previous pair is another than the one that was told. It may lack where it was compacted.
fn wrong_previous(event: &Event, earlier: Option<Known>) -> Option<Broken> {
    let previous = event.prev_kv.as_ref()?;
    let (key, revision) = (&event.kv.key, event.kv.mod_revision);
    let words = match earlier {
        _ if previous.key != *key => format!("the previous pair is of \"{}\"", previous.key),
        _ if previous.mod_revision >= revision => {
            format!("the previous pair is of revision {}", previous.mod_revision)
        }
        Some(Known::Absent) => "there is a previous pair, although the key was deleted before".to_owned(),
        Some(known) if known != Known::of(previous) => {
            format!("the previous pair, of revision {}, is not the one that was told", previous.mod_revision)
        }
        _ => return None,
    };
    Some(("As asked", format!("\"{key}\" at revision {revision}: {words}")))
}
