//! The data of a picture: a column for each thing that is known of its items, with all texts in one table. In go
//! histories, what speaks against them and the faults of their run, out comes JSON that may stand in a page.

use std::collections::{HashMap, hash_map::Entry};

use serde::Serialize;

use super::{
    faults::Band,
    items::{self, Chosen, Item, What},
    lanes::{self, Lane},
    words::{self, Words},
};
use crate::{
    check::evidence::Described,
    history::reader::History,
    types::{Blob, Monotonic},
};

/// Longer keys and values are cut, on the page and for finding.
const BLOB_CHARS: usize = 120;
/// Longer words are cut.
const WORDS_CHARS: usize = 600;
/// More of them of one item can't be found by.
const FOUND_AT_MOST: usize = 100;

/// What a page shows of a set of histories.
#[derive(Debug)]
pub struct Picture {
    /// JSON without any `<`, so that no element ends in it.
    pub json: String,
    /// How many operations and messages it has.
    pub shown: usize,
    /// How many there are.
    pub all: usize,
    /// The items of each piece of evidence, by their numbers.
    pub evidence: Vec<Vec<usize>>,
    /// The times between which nothing is left out.
    pub span: (Monotonic, Monotonic),
}

#[derive(Serialize)]
struct Data {
    /// To the last that happened.
    length: u64,
    strings: Vec<String>,
    groups: Vec<String>,
    lanes: Vec<Lane>,
    members: Vec<String>,
    files: Vec<String>,
    columns: Columns,
    /// Items with events of several revisions, and the first.
    since: Vec<(usize, i64)>,
    faults: Vec<Band>,
    evidence: Vec<Vec<usize>>,
}

/// One entry for each item, in order of time. Kinds and fates are one letter each.
#[derive(Default, Serialize)]
struct Columns {
    lane: Vec<usize>,
    /// Nanoseconds since the item before.
    start: Vec<u64>,
    /// Nanoseconds to the return; -1 if there was none, 0 for messages.
    took: Vec<i64>,
    kind: String,
    fate: String,
    revision: Vec<i64>,
    member: Vec<usize>,
    process: Vec<u64>,
    file: Vec<u32>,
    /// The operation's number, or the stream's and the message's.
    id: Vec<Id>,
    request: Vec<u32>,
    answer: Vec<u32>,
    keys: Vec<Texts>,
    values: Vec<Texts>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Id {
    Operation(u64),
    Message(String),
}

/// Places in the table of texts.
#[derive(Serialize)]
#[serde(untagged)]
enum Texts {
    One(u32),
    Some(Vec<u32>),
}

/// All texts, each once; the first is empty.
struct Table {
    places: HashMap<String, u32>,
    texts: Vec<String>,
}

impl Table {
    fn place(&mut self, text: String) -> u32 {
        match self.places.entry(text) {
            Entry::Occupied(found) => *found.get(),
            Entry::Vacant(free) => {
                let place = u32::try_from(self.texts.len()).unwrap_or(0);
                self.texts.push(free.key().clone());
                *free.insert(place)
            }
        }
    }

    fn blobs(&mut self, blobs: &[&Blob]) -> Texts {
        let mut places: Vec<u32> = vec![];
        for blob in blobs.iter().take(FOUND_AT_MOST) {
            let place = self.place(cut(blob.to_string(), BLOB_CHARS));
            if place != 0 && !places.contains(&place) {
                places.push(place);
            }
        }
        match places.as_slice() {
            [] => Texts::One(0),
            [one] => Texts::One(*one),
            _ => Texts::Some(places),
        }
    }
}

fn cut(mut text: String, chars: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(chars) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Numbers names in the order in which they are met.
fn numbered(names: &mut Vec<String>, name: &str) -> usize {
    names.iter().position(|known| known == name).unwrap_or_else(|| {
        names.push(name.to_owned());
        names.len() - 1
    })
}

/// Draws them up; `began` is the time that all times are counted from.
fn picture(histories: &[History], chosen: Chosen, faults: Vec<Band>, began: u64) -> Picture {
    let Chosen { items, all, span, evidence } = chosen;
    let lanes = lanes::lay_out(histories, &items);
    let mut table = Table { places: HashMap::from([(String::new(), 0)]), texts: vec![String::new()] };
    let mut data = Data {
        length: 0,
        strings: vec![],
        groups: lanes.groups,
        lanes: lanes.lanes,
        members: vec![],
        files: histories.iter().map(file).collect(),
        columns: Columns { lane: lanes.of, ..Columns::default() },
        since: vec![],
        faults,
        evidence,
    };
    let mut before = began;
    for (number, item) in items.iter().enumerate() {
        let end = data.add(number, *item, before, &histories[item.history as usize], &mut table);
        data.length = data.length.max(end.saturating_sub(began));
        before = item.start.0;
    }
    data.strings = table.texts;
    Picture {
        json: serde_json::to_string(&data).unwrap_or_default().replace('<', "\\u003c"),
        shown: items.len(),
        all,
        evidence: data.evidence,
        span,
    }
}

fn file(history: &History) -> String {
    history.path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

impl Data {
    /// Gives the time at which the item was over.
    fn add(&mut self, number: usize, item: Item, before: u64, history: &History, table: &mut Table) -> u64 {
        let what = item.what(history);
        let Words { kind, fate, revision, since, request, answer, keys, values } = words::of(history, what);
        let (member, process, id, end) = match what {
            What::Operation(operation) => {
                let end = operation.returned.as_ref().map(|(returned, _)| returned.0);
                (&operation.member, operation.process, Id::Operation(operation.id.0), end)
            }
            What::Message(stream, position) => {
                let id = Id::Message(format!("{}.{}", stream.id, position + 1));
                (&stream.member, stream.process, id, Some(item.start.0))
            }
            What::End(stream) => (
                &stream.member,
                stream.process,
                Id::Message(format!("{}.end", stream.id)),
                Some(item.start.0),
            ),
        };
        let took = end.map(|end| end.saturating_sub(item.start.0));
        let columns = &mut self.columns;
        columns.start.push(item.start.0.saturating_sub(before));
        columns.took.push(took.map_or(-1, |took| i64::try_from(took).unwrap_or(i64::MAX)));
        columns.kind.push(kind);
        columns.fate.push(fate);
        columns.revision.push(revision.0);
        columns.member.push(numbered(&mut self.members, member));
        columns.process.push(process.0);
        columns.file.push(item.history);
        columns.id.push(id);
        columns.request.push(table.place(cut(request, WORDS_CHARS)));
        columns.answer.push(table.place(cut(answer, WORDS_CHARS)));
        columns.keys.push(table.blobs(&keys));
        columns.values.push(table.blobs(&values));
        self.since.extend(since.map(|since| (number, since.0)));
        end.unwrap_or(item.start.0)
    }
}

/// A picture of all that is to be shown of some histories.
pub fn draw(histories: &[History], evidence: &[Vec<Described>], faults: Vec<Band>, began: u64) -> Picture {
    picture(histories, items::choose(histories, evidence, items::ITEMS_AT_MOST), faults, began)
}
