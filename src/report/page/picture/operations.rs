//! Operations over time, a row for each outcome with a scale of its own: how many returned, and how long they
//! took, from the median to the 99th percentile. Outcomes that nobody saw have no row.

use std::fmt::Write;

use maud::{Markup, html};

use crate::report::{
    load::{
        events::Span,
        operations::{FATES, Latency, fate_name},
        timeline::Timeline,
    },
    page::canvas::{Bar, Canvas},
    totals::grouped,
};

const CLASSES: [&str; 3] = ["o-ok", "o-not", "o-unknown"];
const SHORT: [&str; 3] = ["ok", "no effect", "unknown"];
const HEIGHT: u64 = 40;
/// Tenfold steps of the scale of latencies, from 100 µs.
const DECADES: u32 = 5;

pub fn panels(timeline: &Timeline) -> Vec<Markup> {
    if timeline.operations.count() == 0 {
        let words = "no history holds any";
        return vec![html! { div.panel { div.panel-title { h4 { "Operations" } span.dim { (words) } } } }];
    }
    vec![rates(timeline), latencies(timeline)]
}

fn rates(timeline: &Timeline) -> Markup {
    let operations = &timeline.operations;
    let legend = html! { span.dim { (summary(timeline)) } };
    let mut canvas = Canvas::new(timeline.events.length_ms, "Operations per second", legend);
    for fate in seen(timeline) {
        let max = operations.bins.iter().map(|bin| bin[fate].count).max().unwrap_or_default().max(1);
        let top = canvas.row(if fate == 0 { HEIGHT + 8 } else { HEIGHT / 2 + 4 });
        let (bottom, room) = (canvas.bottom(), canvas.bottom() - top - 4);
        canvas.label(SHORT[fate], "", top + 9);
        if fate == 0 {
            canvas.label(format!("≤ {}/s", per_second(max, operations.bin_ms)), "dim", top + 23);
        }
        canvas.rule(bottom);
        for (index, bin) in operations.bins.iter().enumerate().filter(|(_, bin)| bin[fate].count > 0) {
            let height = (bin[fate].count as u64 * room).div_ceil(max as u64).max(2);
            let span = bin_span(timeline, index);
            let words = words(fate, &bin[fate], operations.bin_ms);
            canvas.bar(&Bar { span, y: bottom - height, height, class: CLASSES[fate], words: &words });
        }
    }
    canvas.finish()
}

fn latencies(timeline: &Timeline) -> Markup {
    let legend = html! {
        span.legend {
            span.key { span.swatch.range {} "median to p99" }
            span.dim { "from 0.1 ms to 10 s; the lines are at 1 ms, 10 ms, 100 ms and 1 s" }
        }
    };
    let operations = &timeline.operations;
    let mut canvas = Canvas::new(timeline.events.length_ms, "Latency", legend);
    for fate in seen(timeline) {
        let top = canvas.row(HEIGHT + 4) + 4;
        canvas.label(SHORT[fate], "", top + HEIGHT / 2);
        for decade in 1..u64::from(DECADES) {
            canvas.grid(top + HEIGHT - decade * HEIGHT / u64::from(DECADES));
        }
        canvas.rule(top + HEIGHT);
        let mut medians = String::new();
        for (index, bin) in operations.bins.iter().enumerate() {
            let (Some(median), Some(p99)) = (bin[fate].median_us, bin[fate].p99_us) else { continue };
            let (low, high) = (top + HEIGHT - rise(median), top + HEIGHT - rise(p99));
            let span = bin_span(timeline, index);
            let words = words(fate, &bin[fate], operations.bin_ms);
            let class = format!("range {}", CLASSES[fate]);
            canvas.bar(&Bar { span, y: high, height: (low - high).max(2), class: &class, words: &words });
            let _ = write!(medians, "M{} {low}H{}", span.from_ms, span.to_ms);
        }
        canvas.path(&medians, &format!("median {}", CLASSES[fate]));
    }
    canvas.finish()
}

/// Height in pixels on a scale of logarithms.
fn rise(microseconds: u64) -> u64 {
    // Thousandths of a decade, by whole decades and a linear share of the next: exact at the lines.
    let micros = microseconds.clamp(100, 100 * 10_u64.pow(DECADES) - 1);
    let decade = micros.ilog10();
    let base = 10_u64.pow(decade);
    let thousandths = u64::from(decade - 2) * 1_000 + (micros - base) * 1_000 / (9 * base);
    thousandths * HEIGHT / (u64::from(DECADES) * 1_000)
}

fn seen(timeline: &Timeline) -> impl Iterator<Item = usize> + '_ {
    (0..FATES.len()).filter(|fate| timeline.operations.all[*fate].count > 0)
}

fn bin_span(timeline: &Timeline, index: usize) -> Span {
    let width = timeline.operations.bin_ms;
    let from_ms = index as u64 * width;
    Span { from_ms, to_ms: (from_ms + width).min(timeline.events.length_ms).max(from_ms + 1) }
}

fn per_second(count: usize, bin_ms: u64) -> String {
    grouped((count * 1_000).div_ceil(usize::try_from(bin_ms).unwrap_or(1_000)))
}

fn words(fate: usize, latency: &Latency, bin_ms: u64) -> String {
    format!("{}: {}/s{}", fate_name(FATES[fate]), per_second(latency.count, bin_ms), times(latency))
}

fn times(latency: &Latency) -> String {
    match (latency.median_us, latency.p99_us) {
        (Some(median), Some(p99)) => format!(", median {}, p99 {}", duration(median), duration(p99)),
        _ => ", none returned".to_owned(),
    }
}

fn summary(timeline: &Timeline) -> String {
    let parts = seen(timeline).map(|fate| {
        let all = &timeline.operations.all[fate];
        format!("{} {}{}", grouped(all.count), fate_name(FATES[fate]), times(all))
    });
    parts.collect::<Vec<_>>().join(" · ")
}

fn duration(microseconds: u64) -> String {
    match microseconds {
        0..1_000 => format!("{microseconds} µs"),
        1_000..1_000_000 => format!("{}.{} ms", microseconds / 1_000, microseconds % 1_000 / 100),
        _ => format!("{}.{} s", microseconds / 1_000_000, microseconds % 1_000_000 / 100_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_times_as_long_is_one_line_higher() {
        assert_eq!([100, 1_000, 10_000, 1_000_000].map(rise), [0, 8, 16, 32]);
        assert_eq!((rise(0), rise(u64::MAX)), (0, 39));
    }

    #[test]
    fn durations_read_well() {
        assert_eq!([950, 1_250, 2_500_000].map(duration), ["950 µs", "1.2 ms", "2.5 s"]);
    }
}
