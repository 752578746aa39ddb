//! The page of judged histories: verdicts with their evidence as text, and a picture of operations, watches, revisions
//! and faults that is drawn on a canvas from data in the page. In go judged sets with their pictures, out comes one
//! HTML file that opens from disk and asks the network for nothing. It judges nothing.

pub mod data;
pub mod faults;
mod findings;
mod items;
mod lanes;
mod tools;
mod words;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use self::data::Picture;
use super::{STYLE, head};
use crate::{
    check::{
        evidence::Described,
        judgement::{Guarantee, Judgement},
        reduce::Reduced,
    },
    history::reader::History,
    report::{
        judged::{self, Judged, Summary, text},
        totals::{counted, grouped},
    },
    verdict::Verdict,
};

const HISTORY_STYLE: &str = include_str!("history/style.css");
/// One script, in parts of one purpose each.
const SCRIPT: &str = concat!(
    "\"use strict\";\n(() => {\n",
    include_str!("history/model.js"),
    include_str!("history/view.js"),
    include_str!("history/rows.js"),
    include_str!("history/paint.js"),
    include_str!("history/marks.js"),
    include_str!("history/find.js"),
    include_str!("history/pointer.js"),
    include_str!("history/page.js"),
    "})();\n"
);

/// The pictures of all sets of a page together hold at most so many operations and messages.
const ALL_ITEMS_AT_MOST: usize = 400_000;

/// A set of histories on the page; without a picture where there is no room for it.
#[derive(Clone, Copy)]
struct Drawn<'a> {
    judged: &'a Judged,
    picture: Option<&'a Picture>,
}

/// What is shown as evidence against a guarantee: the least that suffices if it is little, else what the checker named.
fn shown<'j>(judgement: &'j Judgement, reduced: Option<&'j Reduced>) -> &'j [Described] {
    let few = reduced.filter(|reduced| reduced.operations.len() <= text::SHOWN_AT_MOST);
    match (few, &judgement.evidence) {
        (Some(reduced), _) => &reduced.operations,
        (None, Some(evidence)) => &evidence.operations,
        (None, None) => &[],
    }
}

/// The judgements that have something to show, the broken ones first.
fn findings(judged: &Judged) -> Vec<&Judgement> {
    let mut found: Vec<_> =
        judged.judgements.iter().filter(|judgement| judgement.verdict != Verdict::Holds).collect();
    found.sort_by_key(|judgement| Summary::from(&judgement.verdict));
    found
}

/// Draws a set while its histories are at hand.
pub fn draw(judged: &Judged, histories: &[History]) -> Picture {
    let began = judged.figures.began.unwrap_or_default().0;
    let shown = |judgement: &'_ Judgement| shown(judgement, judged.reduced(judgement.guarantee)).to_vec();
    let evidence: Vec<_> = findings(judged).into_iter().map(shown).collect();
    data::draw(histories, &evidence, faults::bands(&judged.path, began), began)
}

/// Leaves out pictures until the others are as much as a page may hold: of what holds first, the last before the
/// first. The first of all stays.
pub fn keep_within_bounds(all: &[Judged], pictures: &mut [Option<Picture>]) {
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by_key(|index| (all[*index].summary(), *index));
    let mut room = ALL_ITEMS_AT_MOST;
    for index in order {
        let Some(place) = pictures.get_mut(index) else { continue };
        match room.checked_sub(place.as_ref().map_or(0, |picture| picture.shown)) {
            Some(left) => room = left,
            None => *place = None,
        }
    }
}

/// The page; what is worst stands first.
pub fn render(all: &[Judged], pictures: &[Option<Picture>]) -> String {
    let mut sets: Vec<_> = all
        .iter()
        .zip(pictures)
        .map(|(judged, picture)| Drawn { judged, picture: picture.as_ref() })
        .collect();
    sets.sort_by_key(|drawn| drawn.judged.summary());
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                (head())
                title { (headline(all)) " – etcd-lab check" }
                style { (PreEscaped(STYLE)) (PreEscaped(HISTORY_STYLE)) }
            }
            body.histories {
                (banner(all))
                main {
                    @for (number, drawn) in (1..).zip(sets) { (section(number, drawn)) }
                }
                footer {
                    p { "Made by " code { "etcd-lab check … --html" } ". For machines: " code { "--json" } "." }
                }
                div #tip role="tooltip" hidden {}
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

/// How many guarantees are broken in any set, undecided in any, or hold in all.
fn counts(all: &[Judged]) -> [usize; 4] {
    let mut counts = [0; 4];
    for guarantee in Guarantee::ALL {
        let of_all = all.iter().flat_map(|judged| &judged.judgements);
        let of_it: Vec<_> = of_all.filter(|judgement| judgement.guarantee == *guarantee).collect();
        let worst = of_it.iter().map(|judgement| Summary::from(&judgement.verdict)).min();
        match worst {
            Some(Summary::Broken | Summary::Malformed) => counts[0] += 1,
            Some(Summary::Undecided) => counts[1] += 1,
            Some(Summary::Holds) if of_it.iter().all(|judgement| judgement.looked_at == 0) => counts[3] += 1,
            Some(Summary::Holds) => counts[2] += 1,
            None => {}
        }
    }
    counts
}

fn headline(all: &[Judged]) -> String {
    let of = |count: usize| {
        if count == 1 { "1 guarantee is".to_owned() } else { format!("{count} guarantees are") }
    };
    if all.iter().any(|judged| judged.summary() == Summary::Malformed) {
        return "The recording contradicts itself".to_owned();
    }
    let hold = |hold: usize| if hold == 1 { "1 holds".to_owned() } else { format!("{hold} hold") };
    match counts(all) {
        [0, 0, 0, _] => "There was nothing to judge".to_owned(),
        [0, 0, 1, _] => "The guarantee that was judged holds".to_owned(),
        [0, 0, all, _] => format!("All {all} guarantees that were judged hold"),
        [0, undecided, kept, _] => format!("{} undecided, {}", of(undecided), hold(kept)),
        [broken, _, kept, _] => format!("{} broken, {}", of(broken), hold(kept)),
    }
}

fn banner(all: &[Judged]) -> Markup {
    let (class, sign) = match all.iter().map(Judged::summary).min() {
        Some(Summary::Malformed | Summary::Broken) => ("broken", "✕"),
        Some(Summary::Undecided) => ("none", "?"),
        Some(Summary::Holds) | None => ("holds", "✓"),
    };
    let [broken, undecided, _, nothing] = counts(all);
    let sum = |of: fn(&judged::Figures) -> usize| grouped(all.iter().map(|judged| of(&judged.figures)).sum());
    let lasted = all.iter().map(|judged| judged.figures.lasted_ns).max().unwrap_or(0);
    let facts = [
        ("Operations", sum(|figures| figures.operations)),
        ("of unknown outcome", sum(|figures| figures.unknown)),
        ("did not happen", sum(|figures| figures.did_not_happen)),
        ("Messages of streams", sum(|figures| figures.messages)),
        ("Programs", sum(|figures| figures.files)),
        (if all.len() > 1 { "Longest" } else { "Lasted" }, lasted_words(lasted)),
    ];
    html! {
        header.banner.(class) {
            div.verdict {
                span.sign aria-hidden="true" { (sign) }
                div {
                    h1 { (headline(all)) }
                    p {
                        @if all.len() > 1 { "Over " (counted(all.len(), "set")) " of histories" }
                        @else if let [one] = all { "Recorded in " code { (one.name()) } }
                        @if broken > 0 && undecided > 0 { " · " (undecided) " undecided" }
                        @if nothing > 0 { " · " (nothing) " had nothing to judge" }
                    }
                }
            }
            dl.facts { @for (name, value) in facts { div { dt { (name) } dd { (value) } } } }
        }
    }
}

fn lasted_words(ns: u64) -> String {
    let seconds = std::time::Duration::from_nanos(ns).as_secs_f64();
    if seconds < 1.0 { format!("{:.1} ms", seconds * 1e3) } else { format!("{seconds:.1} s") }
}

/// A set, open if it is the first.
fn section(number: usize, Drawn { judged, picture }: Drawn<'_>) -> Markup {
    let summary = judged.summary();
    let revisions = judged.figures.revisions.map(|(first, last)| format!("revisions {first} to {last}"));
    html! {
        details.timeline.history #{ "history-" (number) } open[number == 1] {
            summary {
                h2 { (judged.name()) }
                span.badge.(findings::class(summary)) { (findings::sign(summary)) " " (summary.word()) }
                span.dim {
                    (counted(judged.figures.operations, "operation"))
                    @if judged.figures.messages > 0 { ", " (counted(judged.figures.messages, "message")) }
                    @if let Some(revisions) = revisions { ", " (revisions) }
                }
            }
            @for sentence in &judged.malformed { p.bad { "Malformed: " (sentence) } }
            div.study {
                div.picture-of {
                    @match picture {
                        Some(picture) => {
                            @if picture.shown < picture.all { (window(judged, picture)) }
                            (tools::render(number))
                            script type="application/json" { (PreEscaped(&picture.json)) }
                        }
                        None => p.dim {
                            "The picture is left out to keep the page small; "
                            code { "etcd-lab check " (judged.path.display()) " --html FILE" } " makes one of it alone."
                        }
                    }
                }
                (findings::render(number, judged))
            }
        }
    }
}

/// What a picture leaves out.
fn window(judged: &Judged, picture: &Picture) -> Markup {
    let began = judged.figures.began.unwrap_or_default();
    let (from, to) = picture.span;
    let around = if picture.evidence.iter().any(|items| !items.is_empty()) {
        ", and what the evidence names"
    } else {
        ""
    };
    html! {
        p.left-out {
            "The picture has " (grouped(picture.shown)) " of " (grouped(picture.all))
            " operations and messages: those from " (text::since(from, began)) " to " (text::since(to, began)) (around)
            ". All of them were judged."
        }
    }
}
