//! Verdicts on histories for a terminal or a plain file: a line for each set, a line for each guarantee, and what
//! speaks against those that are not kept. Takes judged sets and a width, gives text.

use std::{fmt::Write, time::Duration};

use comfy_table::{Attribute, Cell, CellAlignment, Color, Table};

use super::{Figures, Judged, Summary};
use crate::{
    check::{
        evidence::{Described, Evidence},
        judgement::{Guarantee, Judgement, OF_A_SORT},
        reduce::Reduced,
    },
    report::{
        text::{Colour, folded, plain_table},
        totals::{counted, grouped},
    },
    types::Monotonic,
    verdict::Verdict,
};

/// More operations than this show nothing more to a person.
pub const SHOWN_AT_MOST: usize = 20;

/// All that a person needs to see, at most `width` columns wide.
pub fn render(all: &[Judged], width: u16, colour: Colour) -> String {
    let mut text = sets(all, width, colour);
    if all.iter().any(|judged| !judged.judgements.is_empty()) {
        let _ = write!(text, "\n\n{}", guarantees(all, width, colour));
    }
    for judged in all {
        for sentence in &judged.malformed {
            let words = format!("{}: malformed: {sentence}", judged.name());
            let _ = write!(text, "\n\n{}", folded(&words, width));
        }
        for judgement in &judged.judgements {
            if judgement.verdict != Verdict::Holds {
                let _ = write!(text, "\n\n{}", finding(judged, judgement, width));
            }
        }
    }
    text
}

fn sets(all: &[Judged], width: u16, colour: Colour) -> String {
    let mut table = table(width, colour);
    table.set_header(["histories", "operations", "unknown", "messages", "revisions", "verdict", "took"]);
    align(&mut table, &[1, 2, 3, 4, 6]);
    for judged in all {
        let Figures { operations, unknown, messages, revisions, .. } = judged.figures;
        let revisions = revisions.map_or("–".to_owned(), |(first, last)| format!("{first}–{last}"));
        let took = format!("{:.0} ms", judged.read_ms + judged.check_ms);
        let cells = [grouped(operations), grouped(unknown), grouped(messages), revisions];
        let mut row = vec![Cell::new(judged.name())];
        row.extend(cells.into_iter().map(Cell::new));
        row.extend([verdict_cell(judged.summary(), judged.summary().word(), colour), Cell::new(took)]);
        table.add_row(row);
    }
    table.trim_fmt()
}

fn guarantees(all: &[Judged], width: u16, colour: Colour) -> String {
    let mut table = table(width, colour);
    table.set_header(["guarantee", "verdict", "looked at"]);
    align(&mut table, &[2]);
    for guarantee in Guarantee::ALL {
        let of_all = all.iter().flat_map(|judged| &judged.judgements);
        let of_it: Vec<_> = of_all.filter(|judgement| judgement.guarantee == *guarantee).collect();
        if of_it.is_empty() {
            continue;
        }
        let looked_at: u64 = of_it.iter().map(|judgement| judgement.looked_at).sum();
        let (summary, words) = verdict_of(&of_it, looked_at);
        table.add_row([
            Cell::new(guarantee.message()),
            verdict_cell(summary, &words, colour),
            Cell::new(grouped(usize::try_from(looked_at).unwrap_or(usize::MAX))),
        ]);
    }
    table.trim_fmt()
}

/// One word where all sets agree, else how many sets had each verdict, the worst first.
fn verdict_of(judgements: &[&Judgement], looked_at: u64) -> (Summary, String) {
    let count = |summary: Summary| {
        judgements.iter().filter(|judgement| Summary::from(&judgement.verdict) == summary).count()
    };
    let seen: Vec<_> = [Summary::Broken, Summary::Undecided, Summary::Holds]
        .into_iter()
        .map(|summary| (summary, count(summary)))
        .filter(|(_, count)| *count > 0)
        .collect();
    match seen.as_slice() {
        [(Summary::Holds, _)] if looked_at == 0 => (Summary::Undecided, "nothing to judge".to_owned()),
        [(summary, _)] => (*summary, summary.word().to_owned()),
        several => {
            let words: Vec<_> =
                several.iter().map(|(summary, count)| format!("{} in {count}", summary.word())).collect();
            (several[0].0, words.join(", "))
        }
    }
}

fn finding(judged: &Judged, judgement: &Judgement, width: u16) -> String {
    let (message, name) = (judgement.guarantee.message(), judged.name());
    let head = match &judgement.verdict {
        Verdict::Undecided(reason) => format!("{name}: undecided: {message}\n{reason}"),
        Verdict::Broken(_) | Verdict::Holds => format!("{name}: broken: {message}"),
    };
    let mut text = folded(&head, width);
    let Some(evidence) = &judgement.evidence else { return text };
    let reduced = judged.reduced(judgement.guarantee);
    let few = reduced.filter(|reduced| reduced.operations.len() <= SHOWN_AT_MOST);
    let mut lines = vec![evidence.summary.clone()];
    let key = evidence.key.as_ref().map(ToString::to_string);
    let fields = [("key", &key), ("expected", &evidence.expected), ("seen", &evidence.seen)];
    lines.extend(fields.into_iter().filter_map(|(name, value)| Some(format!("{name}: {}", value.as_ref()?))));
    lines.extend(reduced.map(|reduced| reduction(reduced, &judged.figures)));
    let began = judged.figures.began.unwrap_or_default();
    let operations = few.map_or(&evidence.operations, |reduced| &reduced.operations);
    for (number, operation) in (1..).zip(operations) {
        let [what, who] = described(operation, began);
        lines.extend([format!("{number}. {what}"), format!("   {who}")]);
    }
    lines.extend(others(judgement));
    for line in lines {
        let folded = folded(&line, width.saturating_sub(5));
        let _ = write!(text, "\n{}", indented(&folded, line.starts_with("   ")));
    }
    text
}

/// What else was found against a guarantee: how much more of the first sort, and the first of each other one.
pub fn others(judgement: &Judgement) -> Vec<String> {
    let or_more = |count: usize| if count < OF_A_SORT { "" } else { " or more" };
    let sorts = judgement.sorts();
    let more = sorts.first().filter(|(_, count)| *count > 1);
    let more = more.map(|(_, count)| format!("and {}{} like it", count - 1, or_more(*count)));
    let other = |(evidence, count): &(&Evidence, usize)| {
        let expected = evidence.expected.as_ref().map(|expected| format!("; expected: {expected}"));
        let shown = evidence.operations.last().map(|shown| format!(" ({})", shown.operation));
        let details = [expected, shown].into_iter().flatten().collect::<String>();
        format!("and {count}{} like this: {}{details}", or_more(*count), evidence.summary)
    };
    more.into_iter().chain(sorts.iter().skip(1).take(SHOWN_AT_MOST).map(other)).collect()
}

/// How little of the histories suffices.
pub fn reduction(reduced: &Reduced, figures: &Figures) -> String {
    let Reduced { until, operations, places, start, complete, .. } = reduced;
    let mut text = format!(
        "Broken from {} on: {}{} suffice{} to show it",
        since(*until, figures.began.unwrap_or_default()),
        if *complete { "" } else { "at most " },
        counted(operations.len(), "operation"),
        if operations.len() == 1 { "s" } else { "" },
    );
    if let Some(start) = start {
        let _ = write!(text, ", from the contents at revision {start} on");
    }
    if *places > 0 {
        let _ = write!(
            text,
            ", beside {} that only hold{} a revision",
            counted(*places, "write"),
            if *places == 1 { "s" } else { "" }
        );
    }
    text
}

/// A time since the first call, in milliseconds.
pub fn since(time: Monotonic, began: Monotonic) -> String {
    let nanoseconds = time.0.saturating_sub(began.0);
    format!("{:.3} ms", Duration::from_nanos(nanoseconds).as_secs_f64() * 1e3)
}

fn indented(text: &str, more: bool) -> String {
    let margin = if more { "     " } else { "  " };
    text.lines().map(|line| format!("{margin}{line}")).collect::<Vec<_>>().join("\n")
}

/// What was asked and became of it; then who asked whom, when, and where it was recorded.
pub fn described(operation: &Described, began: Monotonic) -> [String; 2] {
    let Described { operation: name, process, member, call, returned, request, outcome } = operation;
    let call = since(*call, began);
    let when = match returned {
        Some(returned) => format!("{call} to {}", since(*returned, began)),
        None if operation.is_message() => format!("at {call}"),
        None => format!("from {call}"),
    };
    let parts: Vec<_> = [request, outcome].into_iter().filter(|part| !part.is_empty()).cloned().collect();
    [parts.join(" → "), format!("{process}, {member}, {when}, {name}")]
}

fn table(width: u16, colour: Colour) -> Table {
    let mut table = plain_table(width);
    match colour {
        Colour::On => table.enforce_styling(),
        Colour::Off => table.force_no_tty(),
    };
    table
}

fn align(table: &mut Table, right: &[usize]) {
    for column in right {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

fn verdict_cell(summary: Summary, words: &str, colour: Colour) -> Cell {
    let cell = Cell::new(words);
    match (colour, summary) {
        (Colour::Off, _) => cell,
        (Colour::On, Summary::Holds) => cell.fg(Color::Green),
        (Colour::On, Summary::Undecided) => cell.fg(Color::Yellow),
        (Colour::On, Summary::Broken | Summary::Malformed) => {
            cell.fg(Color::Red).add_attribute(Attribute::Bold)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::evidence::Evidence;

    fn evidence(summary: &str, expected: Option<&str>) -> Evidence {
        Evidence {
            summary: summary.to_owned(),
            revision: None,
            key: None,
            expected: expected.map(str::to_owned),
            seen: None,
            operations: vec![],
        }
    }

    /// What is told in full is counted too, and where not all was kept, it says so.
    #[test]
    fn what_else_was_found_is_told_by_sorts() {
        let others = |all: Vec<Evidence>| others(&Judgement::new(Guarantee::WatchLife, all, 9));
        assert!(others(vec![]).is_empty() && others(vec![evidence("a", None)]).is_empty());
        let [a, b] = [evidence("a", None), evidence("b", Some("c"))];
        assert_eq!(
            others(vec![a.clone(), b, a.clone()]),
            ["and 1 like it", "and 1 like this: b; expected: c"]
        );
        assert_eq!(others(vec![a; OF_A_SORT]), ["and 199 or more like it"]);
    }
}
