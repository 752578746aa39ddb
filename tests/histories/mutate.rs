//! What a server or a recorder may do wrong, at random. In goes a history, out comes one that differs in one place.

use etcd_antithesis::{
    history::reader::{Message, Operation, Stream},
    operation::{
        Answer, Failure, Header, KeyValue, Outcome,
        stream::{Event, News, Received, WatchNews},
    },
    types::{Blob, Monotonic},
};
use rand::{Rng, rngs::StdRng};

use super::Generated;

/// Changes a history in one place, so that it may be wrong.
pub fn mutate(generated: &mut Generated, random: &mut StdRng) {
    let count = generated.operations.len();
    if count == 0 {
        return;
    }
    let pick = random.gen_range(0..count);
    let other = random.gen_range(0..count);
    match random.gen_range(0..9) {
        0 => {
            generated.operations[pick].call.0 =
                generated.operations[pick].call.0.saturating_sub(random.gen_range(0..20)).max(2);
        }
        1 => shift(&mut generated.operations[pick], random),
        2 => {
            generated.operations.remove(pick);
        }
        3 => {
            let outcome = generated.operations[other].returned.clone();
            if let (Some(taken), Some(own)) = (outcome, &mut generated.operations[pick].returned) {
                own.1 = taken.1;
            }
        }
        4 => {
            if let Some(own) = &mut generated.operations[pick].returned {
                own.1 = Outcome::Unknown(Failure { code: String::new(), message: String::new() });
            }
        }
        _ => {
            let response = generated.operations[pick].returned.as_mut();
            if let Some((_, Outcome::Ok(response))) = response {
                if random.gen_bool(0.4) {
                    response.header.revision.0 += random.gen_range(-1..=1);
                } else {
                    change(&mut response.answer, random);
                }
            }
        }
    }
}

fn shift(operation: &mut Operation, random: &mut StdRng) {
    if let Some((returned, _)) = &mut operation.returned {
        returned.0 = returned.0.saturating_sub(random.gen_range(0..10)).max(operation.call.0);
    }
}

fn change(answer: &mut Answer, random: &mut StdRng) {
    match answer {
        Answer::Range(range) if range.kvs.is_empty() => range.count += 1,
        Answer::Range(range) => {
            let pick = random.gen_range(0..range.kvs.len());
            if random.gen_bool(0.3) {
                range.kvs.remove(pick);
                range.count -= 1;
            } else {
                change_pair(&mut range.kvs[pick], random);
            }
        }
        Answer::Put { prev_kv } => match prev_kv {
            Some(kv) if random.gen_bool(0.7) => change_pair(kv, random),
            _ => *prev_kv = None,
        },
        Answer::DeleteRange { deleted, prev_kvs } => {
            if prev_kvs.pop().is_none() || random.gen_bool(0.5) {
                *deleted += random.gen_range(-1..=1);
            }
            *deleted = (*deleted).max(0);
        }
        Answer::Txn { succeeded, answers } => {
            if answers.is_empty() || random.gen_bool(0.3) {
                *succeeded = !*succeeded;
            } else {
                let pick = random.gen_range(0..answers.len());
                change(&mut answers[pick], random);
            }
        }
        _ => {}
    }
}

fn change_pair(kv: &mut KeyValue, random: &mut StdRng) {
    match random.gen_range(0..4) {
        0 => kv.value = Blob::from(["a", "b", "v1"][random.gen_range(0..3)]),
        1 => kv.mod_revision.0 += random.gen_range(-1..=1),
        2 => kv.create_revision.0 += random.gen_range(-1..=1),
        _ => kv.version.0 += random.gen_range(-1..=1),
    }
}

/// Changes what a member told its watches in one place.
pub fn mutate_watches(generated: &mut Generated, random: &mut StdRng) {
    let Some(number) = generated.streams.len().checked_sub(1) else { return };
    let other = generated.streams[random.gen_range(0..=number)].clone();
    let stream = &mut generated.streams[random.gen_range(0..=number)];
    let received: Vec<usize> = (0..stream.messages.len())
        .filter(|position| matches!(stream.messages[*position].1, Message::Received(_)))
        .collect();
    let with_events: Vec<usize> =
        received.iter().copied().filter(|position| !events(stream, *position).is_empty()).collect();
    // Most of what a member can do wrong concerns events.
    let among = if random.gen_bool(0.8) && !with_events.is_empty() { &with_events } else { &received };
    if among.is_empty() {
        return;
    }
    let pick = among[random.gen_range(0..among.len())];
    match random.gen_range(0..8) {
        0 => {
            stream.messages.remove(pick);
        }
        1 => repeat(stream, pick, random),
        2 => split(stream, pick, random),
        3 => delay(stream, pick, random),
        4 => change_message(stream, pick, random),
        5 => borrow(stream, pick, &other, random),
        _ => change_events(stream, pick, random),
    }
}

fn news(stream: &mut Stream, position: usize) -> (&mut Header, &mut WatchNews) {
    match &mut stream.messages[position].1 {
        Message::Received(Received { header, news: News::Watch(news) }) => (header, news),
        other => panic!("{other:?} is no news of a watch"),
    }
}

fn events(stream: &mut Stream, position: usize) -> &mut Vec<Event> {
    &mut news(stream, position).1.events
}

/// A message comes again, or a part of it.
fn repeat(stream: &mut Stream, pick: usize, random: &mut StdRng) {
    let again = stream.messages[pick].clone();
    stream.messages.insert(pick + 1, again);
    if random.gen_bool(0.5) {
        events(stream, pick).truncate(1);
    }
}

/// A message comes as two that are not marked as fragments, or the other way round.
fn split(stream: &mut Stream, pick: usize, random: &mut StdRng) {
    let count = events(stream, pick).len();
    if count < 2 {
        let fragment = &mut news(stream, pick).1.fragment;
        *fragment = !*fragment;
        return;
    }
    let again = stream.messages[pick].clone();
    stream.messages.insert(pick + 1, again);
    let cut = random.gen_range(1..count);
    events(stream, pick).truncate(cut);
    events(stream, pick + 1).drain(..cut);
}

/// A message comes after one that it was sent before.
fn delay(stream: &mut Stream, pick: usize, random: &mut StdRng) {
    let later = random.gen_range(pick..stream.messages.len());
    let times: Vec<Monotonic> = stream.messages.iter().map(|(time, _)| *time).collect();
    let message = stream.messages.remove(pick);
    stream.messages.insert(later, message);
    for ((time, _), honest) in stream.messages.iter_mut().zip(times) {
        *time = honest;
    }
}

fn change_message(stream: &mut Stream, pick: usize, random: &mut StdRng) {
    let early = random.gen_range(0..40);
    match random.gen_range(0..7) {
        0 => news(stream, pick).0.revision.0 += random.gen_range(-2..=2),
        1 => news(stream, pick).1.watch.0 += random.gen_range(-1..=1),
        2 => news(stream, pick).1.created ^= true,
        3 => news(stream, pick).1.canceled ^= true,
        4 => news(stream, pick).1.compact_revision.0 += random.gen_range(0..5),
        5 => events(stream, pick).clear(),
        // All that came up to here came earlier.
        _ => {
            for (time, _) in &mut stream.messages[..=pick] {
                time.0 = time.0.saturating_sub(early);
            }
        }
    }
}

/// What another stream was told.
fn borrow(stream: &mut Stream, pick: usize, other: &Stream, random: &mut StdRng) {
    let messages = other.messages.iter().filter_map(|(_, message)| match message {
        Message::Received(Received { news: News::Watch(news), .. }) => Some(&news.events),
        _ => None,
    });
    let told: Vec<&Event> = messages.flatten().collect();
    if told.is_empty() {
        return;
    }
    let event = told[random.gen_range(0..told.len())].clone();
    let at = random.gen_range(0..=events(stream, pick).len());
    events(stream, pick).insert(at, event);
}

fn change_events(stream: &mut Stream, pick: usize, random: &mut StdRng) {
    let events = events(stream, pick);
    if events.is_empty() {
        return;
    }
    let number = random.gen_range(0..events.len());
    match random.gen_range(0..8) {
        0 => {
            events.remove(number);
        }
        1 => {
            let event = events[number].clone();
            events.push(event);
        }
        2 => events.swap(0, number),
        3 => events[number].delete ^= true,
        4 => events[number].prev_kv = None,
        5 => match &mut events[number].prev_kv {
            Some(before) => change_pair(before, random),
            None => events[number].prev_kv = Some(Box::new(events[number].kv.clone())),
        },
        6 => events[number].kv.key = super::requests::key(random.gen_range(0..3)),
        _ => change_pair(&mut events[number].kv, random),
    }
}
