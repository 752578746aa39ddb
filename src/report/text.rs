//! The table of verdicts for a terminal or a plain file: what needs attention first, then the rest.
//! Takes properties and a width, gives text; colours only where the caller asks for them.

use comfy_table::{
    Attribute, Cell, Color, ColumnConstraint, ContentArrangement, Table, TableComponent, Width, presets,
};

use crate::report::property::{Counts, Evidence, Outcome, Property};

/// The narrowest table that still reads; below it each property is a paragraph.
const MIN_WIDTH: u16 = 60;
/// Nothing is folded to less.
const MIN_FOLD: u16 = 10;
/// Properties are sentences; narrower than this they fall apart.
const PROPERTY_WIDTH: u16 = 32;
/// Evidence longer than this is cut: all of it stands in `verdicts.json`.
pub const FAILURE_CHARS: usize = 240;
/// The same for what is as it should be, which needs no more than a glance.
const PASS_CHARS: usize = 40;

/// Whether verdicts are coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// For a terminal.
    On,
    /// For files, pipes and `NO_COLOR`.
    Off,
}

/// The table of all `properties`, at most `width` columns wide, and a last line that counts them.
pub fn verdict_table(properties: &[Property], width: u16, colour: Colour) -> String {
    let mut sorted: Vec<&Property> = properties.iter().collect();
    sorted.sort_by_key(|property| (property.outcome, property.kind));
    if width < MIN_WIDTH {
        return paragraphs(&sorted, &Counts::of(properties), width, colour);
    }
    let mut table = plain_table(width);
    table.set_header(["property", "kind", "verdict", "first evidence"]);
    match colour {
        Colour::On => table.enforce_styling(),
        Colour::Off => table.force_no_tty(),
    };
    for property in sorted {
        table.add_row(row(property, colour));
    }
    let fixed = |width| ColumnConstraint::Absolute(Width::Fixed(width));
    let constraints = [ColumnConstraint::LowerBoundary(Width::Fixed(PROPERTY_WIDTH)), fixed(11), fixed(11)];
    for (column, constraint) in constraints.into_iter().enumerate() {
        if let Some(column) = table.column_mut(column) {
            column.set_constraint(constraint);
        }
    }
    format!("{}\n{}", table.trim_fmt(), Counts::of(properties))
}

/// A table that fits in `width` columns, with a line under its header and no other.
pub fn plain_table(width: u16) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_style(TableComponent::HeaderLines, '─')
        .set_style(TableComponent::MiddleHeaderIntersections, '─')
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width);
    table
}

fn row(property: &Property, colour: Colour) -> [Cell; 4] {
    let verdict = Cell::new(property.outcome);
    let verdict = match (colour, property.outcome) {
        (Colour::Off, _) => verdict,
        (Colour::On, Outcome::Holds) => verdict.fg(Color::Green),
        (Colour::On, Outcome::NotExercised) => verdict.fg(Color::Yellow),
        (Colour::On, Outcome::Broken) => verdict.fg(Color::Red).add_attribute(Attribute::Bold),
    };
    [Cell::new(&property.message), Cell::new(property.kind), verdict, Cell::new(evidence(property))]
}

/// What a terminal shows that is too narrow for columns.
fn paragraphs(sorted: &[&Property], counts: &Counts, width: u16, colour: Colour) -> String {
    let mut text = String::new();
    for property in sorted {
        let Property { message, kind, outcome, .. } = property;
        let paint = |code: &str| match colour {
            Colour::On => format!("\u{1b}[{code}m{outcome}\u{1b}[0m"),
            Colour::Off => outcome.to_string(),
        };
        let verdict = match outcome {
            Outcome::Broken => paint("1;31"),
            Outcome::NotExercised => paint("33"),
            Outcome::Holds => paint("32"),
        };
        let words = [format!("{message} ({kind})"), evidence(property)].join("\n");
        let words = folded(words.trim_end(), width.saturating_sub(2));
        text.push_str(&format!("{verdict}\n{words}").replace('\n', "\n  "));
        text.push('\n');
    }
    text + &folded(&counts.to_string(), width)
}

/// `text` in lines of at most `width` characters, broken at spaces where there are any.
pub fn folded(text: &str, width: u16) -> String {
    let width = usize::from(width.max(MIN_FOLD));
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let mut current = String::new();
        let mut used = 0;
        for word in line.split_whitespace() {
            let chars: Vec<char> = word.chars().collect();
            for piece in chars.chunks(width) {
                let space = usize::from(used > 0);
                if used + space + piece.len() > width {
                    lines.push(std::mem::take(&mut current));
                    used = 0;
                } else if used > 0 {
                    current.push(' ');
                    used += 1;
                }
                current.extend(piece);
                used += piece.len();
            }
        }
        lines.push(current);
    }
    lines.join("\n")
}

/// The evidence that explains the verdict: of the failure where it is broken, of the pass where it holds.
fn evidence(property: &Property) -> String {
    let (seen, limit) = match property.outcome {
        Outcome::Broken => (property.first_failure.as_ref(), FAILURE_CHARS),
        Outcome::Holds => (property.first_pass.as_ref(), PASS_CHARS),
        Outcome::NotExercised => (None, FAILURE_CHARS),
    };
    let Some(Evidence { source, location, details }) = seen else { return property.reason.clone() };
    let details = if details.is_null() { String::new() } else { details.to_string() };
    let details = shorten(&details, limit);
    let mut parts = vec![property.reason.as_str(), &details];
    if property.outcome == Outcome::Broken {
        parts.extend([location.as_str(), source]);
    }
    parts.retain(|part| !part.is_empty());
    parts.join(" · ")
}

/// So many characters of a text at most.
pub fn shorten(text: &str, limit: usize) -> String {
    let mut chars = text.chars();
    let head: String = chars.by_ref().take(limit).collect();
    if chars.next().is_some() { head + "…" } else { head }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::report::property::Kind;

    fn property(message: &str, kind: Kind, outcome: Outcome) -> Property {
        let evidence = Evidence {
            source: "timeline-1/client1".to_owned(),
            location: "src/traffic.rs:12".to_owned(),
            details: json!({"key": "k".repeat(300)}),
        };
        Property {
            message: message.to_owned(),
            kind,
            outcome,
            reason: String::new(),
            first_pass: Some(evidence.clone()),
            first_failure: Some(evidence),
            other_failures: vec![],
        }
    }

    fn sample() -> Vec<Property> {
        vec![
            property("Client can make successful put requests", Kind::Sometimes, Outcome::Holds),
            property("Client put requests can fail", Kind::Sometimes, Outcome::NotExercised),
            property("Database key values stay consistent", Kind::AlwaysOrUnreachable, Outcome::Broken),
        ]
    }

    #[test]
    fn no_line_is_wider_than_asked() {
        for width in [20, 30, 59, 60, 80, 132] {
            let text = verdict_table(&sample(), width, Colour::Off);
            let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= usize::from(width), "{widest} columns where {width} were asked for:\n{text}");
        }
    }

    #[test]
    fn what_is_broken_comes_first_and_the_count_last() {
        let text = verdict_table(&sample(), 200, Colour::Off);
        let place = |part: &str| text.find(part).unwrap_or_else(|| panic!("no {part:?} in\n{text}"));
        assert!(place("stay consistent") < place("requests can fail"));
        assert!(place("requests can fail") < place("successful put"));
        assert!(text.ends_with("1 hold, 1 broken, 1 not exercised"));
    }

    #[test]
    fn colours_are_escape_codes_only_where_asked_for() {
        assert!(!verdict_table(&sample(), 80, Colour::Off).contains('\u{1b}'));
        assert!(verdict_table(&sample(), 80, Colour::On).contains('\u{1b}'));
    }

    #[test]
    fn folding_loses_no_word_and_no_letter() {
        assert_eq!(folded("one two three four five", 20), "one two three four\nfive");
        let long = "x".repeat(45);
        assert_eq!(folded(&long, 20).replace('\n', ""), long);
    }

    #[test]
    fn long_evidence_is_cut_and_marked() {
        assert_eq!(shorten(&"é".repeat(4), 3), "ééé…");
        assert_eq!(shorten("ééé", 3), "ééé");
    }
}
