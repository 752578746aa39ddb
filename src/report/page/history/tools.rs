//! The controls around a picture, which the script brings to life. Markup only.

use maud::{Markup, html};

/// Kinds with their class and what they are called.
const KINDS: [(&str, &str); 8] = [
    ("read", "range"),
    ("put", "put"),
    ("delete", "delete"),
    ("txn", "transaction"),
    ("compact", "compaction"),
    ("lease", "lease"),
    ("lock", "lock, election"),
    ("maintenance", "maintenance"),
];

/// What can be asked for in the box.
const FIND_HELP: &str = "A word alone is a part of a key. key=… value=… rev=… (or rev=10..20) process=… member=… \
    kind=read|put|delete|txn|compact|lease|lock|watch outcome=ok|failed|unknown; several must all fit; \
    quotes keep spaces: value=\"a b\"";

pub fn render(number: usize) -> Markup {
    html! {
        noscript { p { "The page's script is off, so there is no picture; the evidence is beside it." } }
        form.find.script-only role="search" hidden {
            label.filter {
                span.hidden { "Find operations" }
                input name="find" type="search" autocomplete="off" spellcheck="false" placeholder="Find: key, value=… rev=… process=…" title=(FIND_HELP) aria-describedby={ "find-help-" (number) };
            }
            button type="button" data-do="previous" title="Previous (p)" { "◀" span.hidden { " previous" } }
            button type="button" data-do="next" title="Next (n)" { "▶" span.hidden { " next" } }
            output.count role="status" {}
            span.hidden id={ "find-help-" (number) } { (FIND_HELP) }
        }
        div.tools.script-only hidden {
            div.switch role="group" aria-label="Horizontal axis" {
                button type="button" data-axis="time" aria-pressed="true" { "by time" }
                button type="button" data-axis="revision" aria-pressed="false" { "by revision" }
            }
            div.switch role="group" aria-label="Zoom" {
                button type="button" data-do="out" title="Zoom out (-)" { "−" span.hidden { " zoom out" } }
                button type="button" data-do="in" title="Zoom in (+)" { "+" span.hidden { " zoom in" } }
                button type="button" data-do="whole" title="Everything (Home)" { "All" }
                button type="button" data-do="evidence" title="Back to the evidence (e)" hidden { "Evidence" }
            }
            label { span.hidden { "Go to" } select name="group" { option value="" { "go to…" } } }
            label.chip { input type="checkbox" name="only" ; span { "only lanes in focus" } }
        }
        div.stage.script-only hidden {
            canvas.strip aria-hidden="true" {}
            canvas.lanes tabindex="0" role="application" aria-label="Operations over time. Arrows move, plus and minus zoom, n and p go through what was found, Escape clears." {}
        }
        p.legend.script-only hidden {
            @for (class, name) in KINDS { span.key data-kind=(class) { span.swatch.{ "k-" (class) } {} (name) } }
            span.key data-kind="failed" { span.swatch.k-failed {} "did not happen" }
            span.key data-kind="unknown" { span.swatch.k-unknown {} "unknown outcome, open-ended" }
            span.key data-kind="events" { span.mark.k-events { "●" } "watch events" }
            span.key data-kind="progress" { span.mark.k-progress { "◆" } "progress" }
            span.note {}
        }
        div.detail.script-only tabindex="-1" role="status" hidden {}
    }
}
