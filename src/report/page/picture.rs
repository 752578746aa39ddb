//! The picture of a timeline: all that happened on one time axis, in panels below each other. In goes a
//! timeline, out comes markup; what is aggregated was so when it was loaded.

mod commands;
pub(super) mod faults;
mod members;
mod moments;
mod operations;

use maud::{Markup, PreEscaped, html};

use crate::report::load::{Run, timeline::Timeline};

/// The pattern of hatched stretches, once per page.
const HATCH: &str = "<svg class=\"hidden\" aria-hidden=\"true\" width=\"0\" height=\"0\"><defs>\
    <pattern id=\"hatch\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
    <rect class=\"hatch\" width=\"2\" height=\"6\"/></pattern></defs></svg>";

/// The picture, with controls that the script brings to life.
pub fn render(run: &Run, timeline: &Timeline) -> Markup {
    let events = &timeline.events;
    html! {
        div.picture data-length=(events.length_ms) data-bin=(timeline.operations.bin_ms) {
            (PreEscaped(HATCH))
            div.panel.axis { div.labels {} div.plot.ticks { (ticks(events.length_ms)) } }
            (moments::panel(run, timeline))
            (faults::panel(timeline))
            @for panel in members::panels(timeline) { (panel) }
            (commands::panel(timeline))
            @for panel in operations::panels(timeline) { (panel) }
            div.overlay aria-hidden="true" {
                @for quiet in &events.quiet { div.quiet data-a=(quiet.from_ms) data-b=(quiet.to_ms) {} }
                div.window hidden {}
                div.cursor hidden {}
            }
        }
    }
}

/// Times along the axis, as long as no script makes better ones.
fn ticks(length_ms: u64) -> Markup {
    html! {
        @for fifth in 0..5 {
            @let at = length_ms * fifth / 5;
            span style={ "left:" (fifth * 20) "%" } { (super::clock(at)) }
        }
    }
}
