//! Members side by side. In go a column for each member and rows of what they said, out comes a table in which the
//! cells that disagree with the others are marked: in colour on a terminal, else with an asterisk.

use std::{collections::BTreeMap, time::Duration};

use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets};

use crate::report::text::Colour;

/// A time in milliseconds, to the microsecond.
pub fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// Marks a cell that disagrees, where there are no colours.
const MARK: &str = "*";

/// How a table is to look.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Whether disagreement is shown in colour.
    pub colour: Colour,
    /// Columns of the terminal; none where lines may be as long as they like.
    pub width: Option<u16>,
}

/// What the members said, side by side.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SideBySide {
    columns: Vec<String>,
    rows: Vec<Row>,
}

/// One row: what it is about, and each member's value, if it has one.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    label: String,
    cells: Vec<Option<String>>,
    agreement: Agreement,
}

/// In which cells of a row disagreement is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Agreement {
    /// In none: members differ here.
    None,
    /// In those of members that said something.
    WhereSaid,
    /// In all: to say nothing is to disagree.
    Everywhere,
}

impl SideBySide {
    /// A table for these members.
    pub fn new(columns: Vec<String>) -> Self {
        Self { columns, rows: vec![] }
    }

    /// A row in which members may differ.
    pub fn row(&mut self, label: &str, cells: Vec<Option<String>>) {
        self.rows.push(Row { label: label.to_owned(), cells, agreement: Agreement::None });
    }

    /// A row in which members that differ are marked; those that said nothing are left out of it.
    pub fn agreeing_row(&mut self, label: &str, cells: Vec<Option<String>>) {
        self.rows.push(Row { label: label.to_owned(), cells, agreement: Agreement::WhereSaid });
    }

    /// A row in which members that differ are marked, those that said nothing too.
    pub fn row_where_all_must_say(&mut self, label: &str, cells: Vec<Option<String>>) {
        self.rows.push(Row { label: label.to_owned(), cells, agreement: Agreement::Everywhere });
    }

    /// One member's rows, each beside the rows of the same label that others have.
    pub fn merge(&mut self, column: usize, rows: Vec<(String, String)>, must_agree: impl Fn(&str) -> bool) {
        let mut next = 0;
        for (label, value) in rows {
            let is_free = |row: &Row| row.label == label && row.cells[column].is_none();
            let place = self.rows.iter().position(is_free).unwrap_or_else(|| {
                let cells = vec![None; self.columns.len()];
                let agreement = if must_agree(&label) { Agreement::Everywhere } else { Agreement::None };
                self.rows.insert(next, Row { label: label.clone(), cells, agreement });
                next
            });
            self.rows[place].cells[column] = Some(value);
            next = place + 1;
        }
    }

    /// The table as text, without a line's end.
    pub fn render(&self, look: Look) -> String {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        match look.width {
            Some(width) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width),
            None => table.set_content_arrangement(ContentArrangement::Disabled),
        };
        match look.colour {
            Colour::On => table.enforce_styling(),
            Colour::Off => table.force_no_tty(),
        };
        table.set_header(std::iter::once("").chain(self.columns.iter().map(String::as_str)));
        for row in &self.rows {
            let cells = row.cells.iter().zip(row.disagreeing()).map(|(cell, marked)| {
                let text = cell.as_deref().unwrap_or("-");
                match (marked, look.colour) {
                    (false, _) => Cell::new(text),
                    (true, Colour::Off) => Cell::new(format!("{text} {MARK}")),
                    (true, Colour::On) => Cell::new(text).fg(Color::Red).add_attribute(Attribute::Bold),
                }
            });
            table.add_row(std::iter::once(Cell::new(&row.label)).chain(cells));
        }
        table.trim_fmt()
    }
}

impl Row {
    /// Which cells differ from what most members say; all, if no value has most of them behind it.
    fn disagreeing(&self) -> Vec<bool> {
        let counts = |cell: &Option<String>| match self.agreement {
            Agreement::None => false,
            Agreement::WhereSaid => cell.is_some(),
            Agreement::Everywhere => true,
        };
        let mut votes: BTreeMap<&Option<String>, usize> = BTreeMap::new();
        for cell in self.cells.iter().filter(|cell| counts(cell)) {
            *votes.entry(cell).or_default() += 1;
        }
        let total: usize = votes.values().sum();
        let most = votes.iter().find(|(_, count)| **count * 2 > total).map(|(value, _)| *value);
        self.cells.iter().map(|cell| counts(cell) && Some(cell) != most).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Look = Look { colour: Colour::Off, width: None };

    fn table(columns: usize) -> SideBySide {
        SideBySide::new((0..columns).map(|column| format!("etcd{column}")).collect())
    }

    fn cells(values: &[&str]) -> Vec<Option<String>> {
        values.iter().map(|value| Some((*value).to_owned())).collect()
    }

    #[test]
    fn the_cell_that_differs_from_the_majority_is_marked() {
        let mut table = table(3);
        table.agreeing_row("term", cells(&["2", "3", "2"]));
        table.row("id", cells(&["a", "b", "c"]));
        let text = table.render(PLAIN);
        let lines: Vec<String> =
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(lines, ["etcd0 etcd1 etcd2", "term 2 3 * 2", "id a b c"]);
        let look = Look { colour: Colour::On, width: None };
        let coloured = table.render(look);
        assert!(coloured.contains("\u{1b}[") && !coloured.contains('*'), "{coloured:?}");
    }

    #[test]
    fn without_a_majority_all_are_marked_and_absence_counts() {
        let mut table = table(2);
        table.agreeing_row("hash", cells(&["1", "2"]));
        table.agreeing_row("key", vec![Some("x".to_owned()), None]);
        assert_eq!(table.render(PLAIN).matches('*').count(), 2);
        table.merge(0, vec![("pair".to_owned(), "v".to_owned())], |_| true);
        assert_eq!(table.render(PLAIN).matches('*').count(), 4);
    }

    #[test]
    fn rows_of_one_label_meet_and_new_ones_come_after_their_predecessor() {
        let mut table = table(2);
        let row = |label: &str, value: &str| (label.to_owned(), value.to_owned());
        table.merge(0, vec![row("a", "1"), row("c", "3"), row("c", "4")], |_| true);
        table.merge(1, vec![row("a", "1"), row("b", "2"), row("c", "3")], |_| true);
        let labels: Vec<&str> = table.rows.iter().map(|row| &row.label[..]).collect();
        assert_eq!(labels, ["a", "b", "c", "c"]);
        assert_eq!(table.rows[3].cells, [Some("4".to_owned()), None]);
    }

    #[test]
    fn a_narrow_terminal_is_not_exceeded() {
        let mut table = table(3);
        table.row("value", cells(&["long words that wrap"; 3]));
        let look = Look { colour: Colour::Off, width: Some(50) };
        assert!(table.render(look).lines().all(|line| line.chars().count() <= 50));
    }
}
