//! Drawing a panel of a timeline's picture. Two layers of SVG lie on each other: one is stretched in time only,
//! its unit a millisecond, for bars and lines; one is not stretched, for what holds text. The script zooms the
//! first by its view box and the second by `data-a` and `data-b`, in milliseconds.

use std::fmt::Write;

use maud::{Escaper, Markup, PreEscaped, html};

use crate::report::load::{Millis, events::Span};

/// A panel that is being drawn.
pub struct Canvas {
    length: Millis,
    title: &'static str,
    legend: Markup,
    height: u64,
    stretched: String,
    fixed: String,
    labels: Vec<Label>,
}

struct Label {
    text: String,
    class: &'static str,
    y: u64,
}

/// A shape with words for people who point at it.
pub struct Bar<'a> {
    /// Its time.
    pub span: Span,
    /// Its upper edge.
    pub y: u64,
    /// Its height.
    pub height: u64,
    /// Its classes.
    pub class: &'a str,
    /// What it is.
    pub words: &'a str,
}

impl Canvas {
    /// An empty panel for a timeline of `length`.
    pub fn new(length: Millis, title: &'static str, legend: Markup) -> Self {
        let (stretched, fixed) = (String::new(), String::new());
        Self { length, title, legend, height: 0, stretched, fixed, labels: Vec::new() }
    }

    /// Where the next row begins.
    pub fn bottom(&self) -> u64 {
        self.height
    }

    /// Adds a row below, and gives its upper edge.
    pub fn row(&mut self, height: u64) -> u64 {
        let top = self.height;
        self.height += height;
        top
    }

    /// A label left of the plot, its middle at `y`.
    pub fn label(&mut self, text: impl Into<String>, class: &'static str, y: u64) {
        self.labels.push(Label { text: text.into(), class, y });
    }

    /// A thin line across.
    pub fn rule(&mut self, y: u64) {
        let _ = write!(self.stretched, "<path class=\"rule\" d=\"M0 {y}H{}\"/>", self.length);
    }

    /// A fainter line across, to read values by.
    pub fn grid(&mut self, y: u64) {
        let _ = write!(self.stretched, "<path class=\"grid\" d=\"M0 {y}H{}\"/>", self.length);
    }

    /// A bar without text on it.
    pub fn bar(&mut self, bar: &Bar<'_>) {
        let Bar { span, y, height, class, words } = bar;
        let width = (span.to_ms - span.from_ms).max(1);
        let _ = write!(
            self.stretched,
            "<rect class=\"{class}\" x=\"{}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"",
            span.from_ms
        );
        if !words.is_empty() {
            let _ = write!(self.stretched, " data-t=\"{}\"", escaped(words));
        }
        self.stretched.push_str("/>");
    }

    /// A path in milliseconds and pixels.
    pub fn path(&mut self, d: &str, class: &str) {
        let _ = write!(self.stretched, "<path class=\"{class}\" d=\"{d}\"/>");
    }

    /// A bar that can be focused, with `text` on it as far as it fits.
    pub fn band(&mut self, bar: &Bar<'_>, text: &str) {
        let Bar { span, y, height, class, words } = bar;
        let span = self.visible(*span);
        let (x, width) = (self.percent(span.from_ms), self.percent(span.to_ms - span.from_ms));
        let (words, text, baseline) = (escaped(words), escaped(text), height * 3 / 4);
        let _ = write!(
            self.fixed,
            "<svg class=\"{class}\" data-a=\"{}\" data-b=\"{}\" x=\"{x}%\" y=\"{y}\" width=\"{width}%\" \
             height=\"{height}\" tabindex=\"0\" role=\"img\" aria-label=\"{words}\" data-t=\"\">\
             <rect width=\"100%\" height=\"100%\" rx=\"2\"/><text x=\"4\" y=\"{baseline}\">{text}</text></svg>",
            span.from_ms, span.to_ms
        );
    }

    /// What is shorter than a few pixels is drawn that long.
    fn visible(&self, span: Span) -> Span {
        let to_ms = span.to_ms.max(span.from_ms + self.length / 250).min(self.length);
        Span { from_ms: span.from_ms.min(to_ms.saturating_sub(self.length / 250)), to_ms }
    }

    /// A hatched stretch of time, behind all else.
    pub fn hatch(&mut self, span: Span, y: u64, height: u64, words: &str) {
        let (x, width) = (self.percent(span.from_ms), self.percent(span.to_ms - span.from_ms));
        let _ = write!(
            self.fixed,
            "<rect fill=\"url(#hatch)\" data-a=\"{}\" data-b=\"{}\" x=\"{x}%\" y=\"{y}\" width=\"{width}%\" \
             height=\"{height}\" data-t=\"{}\"/>",
            span.from_ms,
            span.to_ms,
            escaped(words)
        );
    }

    /// A sign at a point in time: `shape` is a path around 0,0, and `text` stands right of it.
    pub fn sign(&mut self, at_ms: Millis, y: u64, class: &str, shape: &str, text: &str, words: &str) {
        let (x, words, text) = (self.percent(at_ms), escaped(words), escaped(text));
        let _ = write!(
            self.fixed,
            "<svg class=\"sign {class}\" data-a=\"{at_ms}\" x=\"{x}%\" y=\"{y}\" overflow=\"visible\" width=\"1\" \
             height=\"1\" tabindex=\"0\" role=\"img\" aria-label=\"{words}\" data-t=\"\">\
             <rect class=\"touch\" x=\"-7\" y=\"-8\" width=\"14\" height=\"16\"/><path d=\"{shape}\"/>\
             <text x=\"10\" y=\"4\">{text}</text></svg>"
        );
    }

    fn percent(&self, ms: Millis) -> String {
        // Hundredths of a percent of a timeline are finer than a pixel.
        let share = ms.min(self.length) * 100_000 / self.length.max(1);
        format!("{}.{:03}", share / 1_000, share % 1_000)
    }

    /// The panel.
    pub fn finish(self) -> Markup {
        let Self { length, title, legend, height, stretched, fixed, labels } = self;
        html! {
            div.panel {
                @if !title.is_empty() { div.panel-title { h4 { (title) } (legend) } }
                div.labels style={ "height:" (height) "px" } {
                    @for label in labels {
                        span.(label.class) style={ "top:" (label.y) "px" } title=(label.text) { (label.text) }
                    }
                }
                div.plot style={ "height:" (height) "px" } {
                    svg.s viewBox={ "0 0 " (length) " " (height) } preserveAspectRatio="none" height=(height) aria-hidden="true" {
                        (PreEscaped(stretched))
                    }
                    svg.f height=(height) { (PreEscaped(fixed)) }
                }
            }
        }
    }
}

/// Safe within double quotes and between tags.
fn escaped(text: &str) -> String {
    let mut safe = String::new();
    let _ = Escaper::new(&mut safe).write_str(text);
    safe
}

/// Puts spans that overlap into rows of their own: the row of each, and how many there are.
pub fn stacked(spans: impl Iterator<Item = Span>) -> (Vec<u64>, u64) {
    let mut ends: Vec<Millis> = Vec::new();
    let rows = spans.map(|span| {
        let free = ends.iter().position(|end| *end <= span.from_ms).unwrap_or_else(|| {
            ends.push(0);
            ends.len() - 1
        });
        ends[free] = span.to_ms.max(span.from_ms + 1);
        free as u64
    });
    let rows = rows.collect();
    (rows, ends.len().max(1) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_overlaps_stands_in_rows_of_its_own() {
        let spans = [(0, 10), (5, 6), (6, 8), (10, 12)].map(|(from_ms, to_ms)| Span { from_ms, to_ms });
        assert_eq!(stacked(spans.into_iter()), (vec![0, 1, 1, 0], 2));
        assert_eq!(stacked(std::iter::empty()), (vec![], 1));
    }

    #[test]
    fn words_cant_break_out() {
        assert_eq!(escaped("\"><script>&"), "&quot;&gt;&lt;script&gt;&amp;");
    }
}
