//! The properties on the page: a card for each that is broken, and a table of all. Markup only.

use maud::{Markup, html};

use super::{evidence, outcome_class, outcome_sign};
use crate::report::{
    load::Run,
    property::{Outcome, Property},
};

/// Cards of what is broken, with the evidence in sight.
pub fn broken(run: &Run) -> Markup {
    let broken: Vec<_> =
        run.properties.iter().filter(|property| property.outcome == Outcome::Broken).collect();
    html! {
        @if !broken.is_empty() {
            section #broken aria-labelledby="broken-title" {
                h2 #broken-title { "What is broken" }
                @for property in broken { (card(run, property)) }
            }
        }
    }
}

fn card(run: &Run, property: &Property) -> Markup {
    html! {
        article.card {
            h3 { (property.message) }
            p.meta {
                span.kind { (property.kind) }
                @if !property.reason.is_empty() { " · " (property.reason) }
                @if let Some(failure) = &property.first_failure {
                    " · first failure: " (evidence::link(run, failure))
                }
            }
            @if let Some(failure) = &property.first_failure {
                (evidence::block(run, "Evidence", failure, true))
            }
        }
    }
}

/// All properties, what needs attention first.
pub fn table(run: &Run) -> Markup {
    html! {
        section #properties aria-labelledby="properties-title" {
            div.title {
                h2 #properties-title { "Properties" }
                @if !run.properties.is_empty() {
                    label.filter { span.hidden { "Filter properties" } input #property-filter type="search" placeholder="Filter properties…"; }
                }
            }
            @if run.properties.is_empty() { p.dim { "None was judged." } }
            @else {
                table.properties {
                    thead { tr {
                        th scope="col" { "Property" } th scope="col" { "Kind" } th scope="col" { "Verdict" }
                        th scope="col" { "First pass" } th scope="col" { "First failure" }
                    } }
                    tbody {
                        @for property in &run.properties { (row(run, property)) }
                    }
                }
                p #property-none .dim hidden { "No property has these words." }
            }
        }
    }
}

fn row(run: &Run, property: &Property) -> Markup {
    let Property { message, kind, outcome, reason, first_pass, first_failure, .. } = property;
    html! {
        tr.(outcome_class(*outcome)) {
            th scope="row" {
                @if first_pass.is_some() || first_failure.is_some() {
                    details.more-of {
                        summary { (message) }
                        @if let Some(failure) = first_failure { (evidence::block(run, "First failure", failure, true)) }
                        @if let Some(pass) = first_pass { (evidence::block(run, "First pass", pass, true)) }
                    }
                } @else { span.plain { (message) } }
                @if !reason.is_empty() { span.reason { (reason) } }
            }
            td data-label="Kind" { span.kind { (kind) } }
            td data-label="Verdict" {
                span.badge.(outcome_class(*outcome)) {
                    span aria-hidden="true" { (outcome_sign(*outcome)) } " " (outcome)
                }
            }
            td data-label="First pass" { @if let Some(pass) = first_pass { (evidence::short_link(run, pass)) } @else { span.dim { "–" } } }
            td data-label="First failure" { @if let Some(failure) = first_failure { (evidence::short_link(run, failure)) } @else { span.dim { "–" } } }
        }
    }
}
