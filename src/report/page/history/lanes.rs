//! Which items lie in one lane of the picture. In go items in order of time, out come lanes and the lane of each. The
//! processes of one command that follow each other share a lane, as those of one worker do; each watch has its own.

use std::collections::{BTreeSet, HashMap, VecDeque};

use serde::Serialize;

use super::items::{Item, Position, What};
use crate::{
    check::evidence,
    history::reader::{History, Message, Stream},
    operation::stream::{News, Sent},
    types::{ProcessId, WatchId},
};

/// A lane.
#[derive(Debug, Serialize)]
pub struct Lane {
    /// The index of its group.
    pub group: usize,
    /// What stands beside it.
    pub label: String,
    /// What it is, in more words.
    pub title: String,
    /// Whether it is of a stream.
    pub stream: bool,
}

/// Which lanes there are, and what lies in each.
#[derive(Debug, Default)]
pub struct Layout {
    /// What their headings say.
    pub groups: Vec<String>,
    /// Those of a group one after the other.
    pub lanes: Vec<Lane>,
    /// The lane of each item.
    pub of: Vec<usize>,
}

/// News of this watch are about all watches of the stream.
const ALL: WatchId = WatchId(-1);

/// Lays them out.
pub fn lay_out(histories: &[History], items: &[Item]) -> Layout {
    let mut lanes = Layout { of: vec![usize::MAX; items.len()], ..Layout::default() };
    lanes.operations(histories, items);
    lanes.streams(histories, items);
    lanes
}

/// The programs of one command on one host.
fn group(history: &History) -> String {
    format!("{} on {}", history.preamble.command, history.preamble.host)
}

struct Process {
    number: ProcessId,
    items: Vec<usize>,
    end: u64,
}

impl Layout {
    fn operations(&mut self, histories: &[History], items: &[Item]) {
        let mut order: Vec<String> = vec![];
        let mut groups: HashMap<String, Vec<Process>> = HashMap::new();
        let mut known: HashMap<(u32, ProcessId), usize> = HashMap::new();
        for (number, item) in items.iter().enumerate() {
            let history = &histories[item.history as usize];
            let What::Operation(operation) = item.what(history) else { continue };
            let name = group(history);
            let processes = groups.entry(name.clone()).or_insert_with(|| {
                order.push(name);
                vec![]
            });
            let place = *known.entry((item.history, operation.process)).or_insert(processes.len());
            if place == processes.len() {
                processes.push(Process { number: operation.process, items: vec![], end: 0 });
            }
            let end = operation.returned.as_ref().map_or(operation.call, |(returned, _)| *returned);
            processes[place].items.push(number);
            processes[place].end = processes[place].end.max(end.0);
        }
        for name in order {
            let processes = groups.remove(&name).unwrap_or_default();
            self.groups.push(name);
            self.workers(processes, items);
        }
    }

    /// A process takes the lane that was left last before it began.
    fn workers(&mut self, processes: Vec<Process>, items: &[Item]) {
        let first = self.lanes.len();
        let mut free: BTreeSet<(u64, usize)> = BTreeSet::new();
        let (mut members, mut of): (Vec<Vec<ProcessId>>, Vec<_>) = (vec![], vec![]);
        for process in processes {
            let start = items[process.items[0]].start.0;
            let before = free.range(..=(start, usize::MAX)).next_back().copied();
            let lane = if let Some(key) = before {
                free.remove(&key);
                key.1
            } else {
                members.push(vec![]);
                members.len() - 1
            };
            free.insert((process.end, lane));
            members[lane].push(process.number);
            of.extend(process.items.into_iter().map(|item| (item, lane)));
        }
        let mut order: Vec<usize> = (0..members.len()).collect();
        order.sort_by_key(|lane| members[*lane][0]);
        let mut places = vec![0; order.len()];
        for (place, lane) in order.iter().enumerate() {
            places[*lane] = first + place;
        }
        for (item, lane) in of {
            self.of[item] = places[lane];
        }
        for processes in order.into_iter().map(|lane| &members[lane]) {
            let label = match processes.as_slice() {
                [one] => one.to_string(),
                several => format!("{} +{}", several[0], several.len() - 1),
            };
            let shown: Vec<_> = processes.iter().take(12).map(ToString::to_string).collect();
            let more = if processes.len() > 12 {
                format!(" and {} more", processes.len() - 12)
            } else {
                String::new()
            };
            let noun = if processes.len() == 1 { "process" } else { "processes, one after the other:" };
            let title = format!("{noun} {}{more}", shown.join(", "));
            self.lanes.push(Lane { group: self.groups.len() - 1, label, title, stream: false });
        }
    }

    fn streams(&mut self, histories: &[History], items: &[Item]) {
        let stream_of = |item: &Item| Some((item.history, item.position.stream()?));
        let mut order: Vec<(u32, u32)> = vec![];
        let mut known = HashMap::new();
        for key in items.iter().filter_map(stream_of) {
            known.entry(key).or_insert_with(|| {
                order.push(key);
                StreamLanes::default()
            });
        }
        order.sort_by_key(|(history, _)| group(&histories[*history as usize]));
        for key in order {
            let history = &histories[key.0 as usize];
            let name = format!("Watches of {}", group(history));
            if self.groups.last() != Some(&name) {
                self.groups.push(name);
            }
            known.insert(key, self.stream(history, &history.streams[key.1 as usize]));
        }
        for (number, item) in items.iter().enumerate() {
            let Some(lanes) = stream_of(item).and_then(|key| known.get(&key)) else { continue };
            self.of[number] = lanes.of(item.position);
        }
    }

    fn stream(&mut self, history: &History, stream: &Stream) -> StreamLanes {
        let (first, watches) = (self.lanes.len(), watches(stream));
        let mut of_watch = HashMap::new();
        let about = format!("stream {} of {} to {}", stream.id, stream.process, stream.member);
        let name = format!("{}~{}", stream.process, stream.id);
        let mut push = |label, title| {
            self.lanes.push(Lane { group: self.groups.len() - 1, label, title, stream: true });
            self.lanes.len() - 1
        };
        for (position, watch) in watches.iter().enumerate() {
            let Some(watch) = watch.filter(|watch| !of_watch.contains_key(watch)) else { continue };
            let asked = evidence::describe_message(history, stream, position).request;
            of_watch
                .insert(watch, push(format!("w{watch} {name}"), format!("watch {watch}, {about}: {asked}")));
        }
        if of_watch.is_empty() {
            push(name, about);
        }
        StreamLanes { first, watches, of_watch }
    }
}

/// The lanes of a stream: one for each watch; what is about all of them lies in the first.
#[derive(Default)]
struct StreamLanes {
    first: usize,
    /// The watch of each message.
    watches: Vec<Option<WatchId>>,
    of_watch: HashMap<WatchId, usize>,
}

impl StreamLanes {
    fn of(&self, position: Position) -> usize {
        let watch = match position {
            Position::Message(_, position) => self.watches[position as usize],
            Position::Operation(_) | Position::End(_) => None,
        };
        watch.and_then(|watch| self.of_watch.get(&watch)).copied().unwrap_or(self.first)
    }
}

/// The watch of each message of a stream; none for those that are of the stream as a whole. A member answers the
/// creations of a stream in their order.
fn watches(stream: &Stream) -> Vec<Option<WatchId>> {
    let mut found = vec![None; stream.messages.len()];
    let mut asked = VecDeque::new();
    for (position, (_, message)) in stream.messages.iter().enumerate() {
        found[position] = match message {
            Message::Sent(Sent::Create(_)) => {
                asked.push_back(position);
                None
            }
            Message::Sent(Sent::Cancel { watch }) => Some(*watch),
            Message::Received(received) => match &received.news {
                News::Watch(news) => {
                    if news.created
                        && let Some(create) = asked.pop_front()
                    {
                        found[create] = Some(news.watch);
                    }
                    Some(news.watch).filter(|watch| *watch != ALL)
                }
                News::Leader(_) => None,
            },
            Message::Sent(_) => None,
        };
    }
    found
}
