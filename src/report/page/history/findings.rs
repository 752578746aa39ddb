//! The verdicts on the guarantees of a set, with their evidence as text; what is in the picture is linked to it.
//! Markup only.

use maud::{Markup, html};

use super::{findings, shown};
use crate::{
    check::judgement::Judgement,
    report::{
        judged::{Judged, Summary, text},
        totals::grouped,
    },
    verdict::Verdict,
};

/// The class that colours a verdict.
pub fn class(summary: Summary) -> &'static str {
    match summary {
        Summary::Malformed | Summary::Broken => "broken",
        Summary::Undecided => "skipped",
        Summary::Holds => "holds",
    }
}

/// The sign beside a verdict, so that it isn't told by colour alone.
pub fn sign(summary: Summary) -> &'static str {
    match summary {
        Summary::Malformed | Summary::Broken => "✕",
        Summary::Undecided => "?",
        Summary::Holds => "✓",
    }
}

/// All guarantees, what is broken with its evidence in sight.
pub fn render(number: usize, judged: &Judged) -> Markup {
    let holds = |of: &&Judgement| of.verdict == Verdict::Holds && of.looked_at > 0;
    let hold: Vec<_> = judged.judgements.iter().filter(holds).collect();
    let nothing = |of: &&Judgement| of.verdict == Verdict::Holds && of.looked_at == 0;
    let nothing: Vec<_> = judged.judgements.iter().filter(nothing).collect();
    html! {
        aside.guarantees aria-labelledby={ "guarantees-" (number) } {
            h3 #{ "guarantees-" (number) } { "Guarantees" }
            @if judged.judgements.is_empty() { p.dim { "Nothing was judged." } }
            @for (index, judgement) in findings(judged).into_iter().enumerate() {
                (finding(judged, judgement, index))
            }
            @if !hold.is_empty() { (list(&hold, "hold", "holds", "holds", findings(judged).is_empty())) }
            @if !nothing.is_empty() { (list(&nothing, "had nothing to judge", "had nothing to judge", "skipped", false)) }
        }
    }
}

fn list(judgements: &[&Judgement], several: &str, one: &str, class: &str, open: bool) -> Markup {
    let count = judgements.len();
    html! {
        details.kept open[open] {
            summary { span.badge.(class) { (count) " " (if count == 1 { one } else { several }) } }
            ul {
                @for judgement in judgements {
                    li {
                        (judgement.guarantee.message())
                        @if judgement.looked_at > 0 {
                            " " span.dim { "(" (grouped(usize::try_from(judgement.looked_at).unwrap_or(usize::MAX))) " looked at)" }
                        }
                    }
                }
            }
        }
    }
}

fn finding(judged: &Judged, judgement: &Judgement, index: usize) -> Markup {
    let summary = Summary::from(&judgement.verdict);
    let began = judged.figures.began.unwrap_or_default();
    let reduced = judged.reduced(judgement.guarantee);
    let operations = shown(judgement, reduced);
    html! {
        article.card.finding.(class(summary)) data-finding=(index) {
            h4 {
                button.plain type="button" data-focus=(index) { (judgement.guarantee.message()) }
            }
            p.meta { span.badge.(class(summary)) { (sign(summary)) " " (summary.word()) } " " code { (judgement.guarantee.name()) } }
            @if let Verdict::Undecided(reason) = &judgement.verdict { p { (reason) } }
            @if let Some(evidence) = &judgement.evidence {
                p { (evidence.summary) }
                dl.facts-of {
                    @if let Some(key) = &evidence.key { dt { "key" } dd { code { (key) } } }
                    @if let Some(expected) = &evidence.expected { dt { "expected" } dd { (expected) } }
                    @if let Some(seen) = &evidence.seen { dt { "seen" } dd { (seen) } }
                }
            }
            @if let Some(reduced) = reduced { p.dim { (text::reduction(reduced, &judged.figures)) "." } }
            @if !operations.is_empty() {
                ol.steps {
                    @for (step, operation) in operations.iter().enumerate() {
                        @let [what, who] = text::described(operation, began);
                        li {
                            button.plain type="button" data-finding=(index) data-step=(step) {
                                span.what { (what) } span.who { (who) }
                            }
                        }
                    }
                }
            }
            @for line in text::others(judgement) { p.dim { (line) } }
        }
    }
}
