//! The report of a run as people and machines read it: made from a made-up run, loaded by a real browser in
//! narrow and wide windows, light and dark, and used as a person would. Screenshots stay in `target/report/`.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod browser;
#[path = "../histories/mod.rs"]
mod histories;
mod history;
mod sample;

use std::{
    fs,
    path::{Path, PathBuf},
};

use browser::Browser;
use etcd_antithesis::report::{self, error::ReportError};
use quick_xml::{Reader, events::Event};
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;
use tempfile::TempDir;

/// What a page may weigh, however many timelines there are.
const MAX_PAGE_BYTES: u64 = 20 << 20;

/// A made-up run with its report.
fn reported() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    sample::write(folder.path(), 7);
    let page = report::write(folder.path()).unwrap().page;
    (folder, page)
}

fn shots() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../report");
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn calm(browser: &Browser) {
    assert!(browser.complaints().is_empty(), "the console complains: {:#?}", browser.complaints());
}

/// Text whose contrast to what lies behind it is below what WCAG's level AA asks for.
const PALE_TEXT: &str = r#"(() => {
  const parse = (color) => { const p = color.match(/[\d.]+/g).map(Number); return p.length === 3 ? [...p, 1] : p; };
  const luminance = (color) => {
    const [r, g, b] = color.slice(0, 3).map((c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = parse(getComputedStyle(at).backgroundColor);
      if (color[3] > 0.5) return color;
    }
    return [255, 255, 255, 1];
  };
  const pale = [];
  for (const element of document.querySelectorAll("body *")) {
    if (["SCRIPT", "STYLE", "NOSCRIPT"].includes(element.tagName) || !element.checkVisibility()) continue;
    if (![...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim())) continue;
    const svg = element instanceof SVGElement;
    const style = getComputedStyle(element);
    const band = element.closest(".band")?.querySelector("rect");
    const back = band ? parse(getComputedStyle(band).fill) : behind(svg ? element.closest(".plot") : element);
    const [a, b] = [luminance(parse(svg ? style.fill : style.color)), luminance(back)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) pale.push(`${element.className?.baseVal ?? element.className} ${element.textContent.slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return [...new Set(pale)].slice(0, 20).join("\n");
})()"#;

#[test]
fn every_window_shows_the_page_whole_and_legible() {
    let (_folder, page) = reported();
    let mut browser = Browser::start();
    let narrow = [(360, 740, "light"), (360, 740, "dark"), (1100, 900, "light")];
    for (width, height, scheme) in narrow.into_iter().chain([(1600, 1000, "light"), (1600, 1000, "dark")]) {
        browser.look(width, height, scheme);
        browser.open(&page);
        let wide = browser.number("document.documentElement.scrollWidth");
        assert!(wide <= f64::from(width), "{wide} pixels wide in a window of {width}");
        assert_eq!(browser.text(PALE_TEXT), "", "pale text, {scheme}");
        browser.screenshot(&shots().join(format!("{width}-{scheme}.png")), true);
        browser.value("for (const part of document.querySelectorAll('details')) part.open = true");
        let wide = browser.number("document.documentElement.scrollWidth");
        assert!(wide <= f64::from(width), "{wide} pixels wide in a window of {width} with all unfolded");
    }
    calm(&browser);
}

#[test]
fn the_page_tells_what_the_run_was() {
    let (_folder, page) = reported();
    let mut browser = Browser::start();
    browser.look(1280, 900, "light");
    browser.open(&page);
    assert_eq!(browser.text("document.querySelector('h1').textContent"), "2 properties are broken, 9 hold");
    let banner = browser.text("document.querySelector('.banner').innerText");
    for part in ["1 was not exercised", "3.5.30", "2026-11-23 00:42:45 UTC", "1 rolling-restart"] {
        assert!(banner.contains(part), "no {part:?} in {banner}");
    }
    let repeat = "etcd-lab run --cluster processes --duration 30s --faults heavy --seed 7";
    assert_eq!(browser.text("document.querySelector('#repeat').textContent"), repeat);
    let mut count =
        |selector: &str| browser.number(&format!("document.querySelectorAll({selector:?}).length"));
    let counts = [
        (".properties tbody tr", 12.0),
        (".card", 2.0),
        (".overview tbody tr", 2.0),
        ("details.timeline", 2.0),
        ("#timeline-2[open]", 1.0),
        ("#timeline-1[open]", 0.0),
        // Nine faults, one of them on three nodes, one on two.
        ("#timeline-2 .band[class*='f-']", 12.0),
        ("#timeline-2 .quiet-band", 2.0),
        // Terms, revisions and applied indexes of three members.
        ("#timeline-2 path.line", 9.0),
        ("#timeline-2 svg.sign.ready", 1.0),
        // Flags of two broken properties and the mark of the failed command.
        ("#timeline-2 svg.sign.alarm", 3.0),
        ("#timeline-2 rect.c-bad", 1.0),
        ("#timeline-1 rect.c-stopped", 1.0),
        ("b", 0.0),
    ];
    for (selector, expected) in counts {
        let found = count(selector);
        let found = if selector == "b" { count(".card b") } else { found };
        assert!((found - expected).abs() < 0.5, "{found} of {selector}, not {expected}");
    }
    assert!(count("#timeline-2 rect.leads") >= 4.0 && count("#timeline-2 rect[fill='url(#hatch)']") >= 3.0);
    assert!(count("#timeline-2 rect.c-ok") > 30.0);
    assert!(count("#timeline-2 rect.o-ok") > 50.0 && count("#timeline-2 rect.o-unknown") > 2.0);
    assert_eq!(browser.value("document.querySelectorAll('#timeline-1 .band').length"), 0);
    let card = browser.text("document.querySelector('.card').innerText");
    assert!(card.contains("</script><img src=x onerror=alert(1)>"), "{card}");
    calm(&browser);
}

#[test]
fn a_failure_leads_to_its_time_and_log() {
    let (_folder, page) = reported();
    let mut browser = Browser::start();
    browser.look(1280, 900, "light");
    browser.open(&page);
    let whole = browser.number("document.querySelector('#timeline-2 svg.s').viewBox.baseVal.width");
    browser.click(".card a.goto");
    browser.wait_for("!document.querySelector('#timeline-2 .window-tools').hidden");
    let zoomed = browser.number("document.querySelector('#timeline-2 svg.s').viewBox.baseVal.width");
    assert!(zoomed < whole / 3.0, "{zoomed} of {whole} ms in sight");
    let top = browser.number("document.querySelector('#timeline-2').getBoundingClientRect().top");
    assert!((-5.0..300.0).contains(&top), "the timeline is {top} pixels from the window's top");
    let lines = browser.text("document.querySelector('#timeline-2 .lines').innerText");
    for part in ["a deleted key is still there", "ended with exit code 1"] {
        assert!(lines.contains(part), "no {part:?} in {lines}");
    }
    browser.screenshot(&shots().join("failure.png"), false);
    browser.click("#timeline-2 [data-do=whole]");
    let again = browser.number("document.querySelector('#timeline-2 svg.s').viewBox.baseVal.width");
    assert!((again - whole).abs() < 1.0);
    calm(&browser);
}

#[test]
fn the_log_follows_the_filters_and_the_picture() {
    let (_folder, page) = reported();
    let mut browser = Browser::start();
    browser.look(1280, 900, "dark");
    browser.open(&page);
    let found = |browser: &mut Browser| {
        let count =
            browser.text("document.querySelector('#timeline-2 .count').textContent.replaceAll(',', '')");
        let words: Vec<_> = count.split(' ').map(str::to_owned).collect();
        words.get(2).and_then(|word| word.parse::<u32>().ok()).unwrap_or_default()
    };
    let all = found(&mut browser);
    assert!(all > 600, "{all} lines");
    let set = |browser: &mut Browser, name: &str, value: &str| {
        browser.value(&format!(
            "(() => {{ const input = document.querySelector('#timeline-2 [name={name}]'); \
             input.value = '{value}'; input.dispatchEvent(new Event('input', {{bubbles: true}})); }})()"
        ));
    };
    set(&mut browser, "text", "HEARTBEAT");
    let by_text = found(&mut browser);
    assert!(0 < by_text && by_text < all / 4, "{by_text} of {all}");
    assert_eq!(browser.text("document.querySelector('#timeline-2 mark').textContent"), "heartbeat");
    set(&mut browser, "text", "no such words");
    assert_eq!(browser.text("document.querySelector('#timeline-2 .count').textContent"), "No line fits.");
    set(&mut browser, "text", "");
    set(&mut browser, "level", "0");
    let errors = found(&mut browser);
    assert!(0 < errors && errors < all / 4, "{errors} of {all}");
    set(&mut browser, "level", "2");
    browser.click("#timeline-2 .chip:nth-of-type(2)");
    let without_one = found(&mut browser);
    assert!(without_one < all, "{without_one} of {all}");
    browser.click("#timeline-2 .chip:nth-of-type(2)");
    let (x, y) = browser.middle("#timeline-2 .picture .panel:nth-of-type(4) .plot");
    browser.drag((x, y), (x + 60.0, y));
    let window = found(&mut browser);
    assert!(0 < window && window < all / 4, "{window} of {all} after dragging");
    browser.screenshot(&shots().join("window.png"), false);
    browser.click("#timeline-2 [data-do=clear]");
    assert_eq!(found(&mut browser), all);
    calm(&browser);
}

#[test]
fn words_appear_where_the_pointer_or_the_focus_is() {
    let (_folder, page) = reported();
    let mut browser = Browser::start();
    browser.look(1280, 900, "light");
    browser.open(&page);
    browser.value("document.querySelector('#timeline-2 .band.f-pause').focus()");
    browser.wait_for("!document.querySelector('#tip').hidden");
    let words = browser.text("document.querySelector('#tip').textContent");
    assert_eq!(words, "pause on etcd1: frozen for 1.2 s – 7.2 s to 8.4 s");
    let (x, y) = browser.middle("#timeline-2 rect.leads");
    browser.drag((x, y), (x, y));
    browser.wait_for("document.querySelector('#tip').textContent.includes('leads in term')");
    browser.value("document.querySelector('#property-filter').focus()");
    browser.call("Input.insertText", &serde_json::json!({"text": "term never"}));
    assert_eq!(browser.value("document.querySelectorAll('.properties tbody tr:not([hidden])').length"), 1);
    calm(&browser);
}

#[test]
fn machines_read_the_same() {
    let (folder, _) = reported();
    let read = |name: &str| fs::read_to_string(folder.path().join("report").join(name)).unwrap();
    let json: Value = serde_json::from_str(&read("report.json")).unwrap();
    assert_eq!((&json["format_version"], &json["verdict"]), (&1.into(), &"broken".into()));
    assert_eq!((&json["seed"], &json["etcd_version"]), (&7.into(), &"3.5.30".into()));
    assert_eq!(json["properties"].as_array().unwrap().len(), 12);
    let failure = &json["properties"][0]["first_failure"];
    assert_eq!(failure["place"]["timeline"], 2, "{failure}");
    assert!(failure["place"]["command"].as_u64() > Some(12), "{failure}");
    assert_eq!(failure["details"]["key"], sample::HOSTILE);
    assert_eq!(json["timelines"][1]["faults"].as_array().unwrap().len(), 9);
    assert_eq!(json["timelines"][1]["members"][0]["name"], "etcd0");
    assert_eq!(read("events.jsonl"), fs::read_to_string(folder.path().join("events.jsonl")).unwrap());

    let text = read("junit.xml");
    let mut reader = Reader::from_str(&text);
    let (mut cases, mut failures, mut skipped, mut evidence) = (0, 0, 0, String::new());
    loop {
        match reader.read_event().unwrap() {
            Event::Start(tag) | Event::Empty(tag) => match tag.name().as_ref() {
                "testcase" => cases += 1,
                "failure" => failures += 1,
                "skipped" => skipped += 1,
                _ => {}
            },
            Event::CData(data) => evidence += &data,
            Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!((cases, failures, skipped), (12, 2, 1));
    assert!(evidence.contains("onerror=alert(1)") && !text.contains('\u{1}'), "{evidence}");
}

/// What this thread has computed so far, in seconds.
fn cpu_time() -> i64 {
    clock_gettime(ClockId::ThreadCPUTime).tv_sec
}

#[test]
fn every_field_is_documented() {
    let (folder, _) = reported();
    let json: Value =
        serde_json::from_slice(&fs::read(folder.path().join("report/report.json")).unwrap()).unwrap();
    let document = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/report.md")).unwrap();
    let parts = [&json, &json["counts"], &json["properties"][0], &json["timelines"][1], &json["totals"]];
    let place = &json["properties"][0]["first_failure"]["place"];
    for field in parts.into_iter().chain([place]).flat_map(|part| part.as_object().unwrap().keys()) {
        assert!(document.contains(&format!("`{field}`")), "docs/report.md doesn't tell what {field} is");
    }
}

#[test]
fn a_hundred_timelines_make_a_bounded_page() {
    let (sample, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    sample::write(sample.path(), 7);
    sample::write_many(folder.path(), sample.path(), 100);
    let started = cpu_time();
    let page = report::write(folder.path()).unwrap().page;
    let (took, size) = (cpu_time() - started, fs::metadata(&page).unwrap().len());
    println!("100 timelines: {size} bytes in {took} s");
    assert!(size < MAX_PAGE_BYTES, "{size} bytes");
    // Of the thread alone, and far beyond what a test build needs: a busy machine is no failure.
    assert!(took < 60, "{took} s");
    let mut browser = Browser::start();
    browser.look(1280, 900, "light");
    browser.open(&page);
    assert_eq!(browser.value("document.querySelectorAll('.overview tbody tr').length"), 100);
    assert_eq!(browser.value("document.querySelector('details.timeline').id"), "timeline-2");
    assert!(browser.number("document.querySelectorAll('details.timeline').length") > 50.0);
    calm(&browser);
}

#[test]
fn a_run_that_was_cut_short_still_has_a_report() {
    let folder = tempfile::tempdir().unwrap();
    sample::write(folder.path(), 7);
    fs::remove_file(folder.path().join("verdicts.json")).unwrap();
    fs::remove_file(folder.path().join("timeline-1/members.jsonl")).unwrap();
    let events = fs::read_to_string(folder.path().join("events.jsonl")).unwrap();
    fs::write(folder.path().join("events.jsonl"), &events[..events.len() * 2 / 3]).unwrap();
    let page = report::write(folder.path()).unwrap().page;
    let mut browser = Browser::start();
    browser.look(360, 740, "dark");
    browser.open(&page);
    assert_eq!(browser.text("document.querySelector('h1').textContent"), "No verdict");
    let notes = browser.text("document.querySelector('.notes').innerText");
    assert!(notes.contains("cut short") && notes.contains("verdicts.json"), "{notes}");
    assert!(browser.number("document.documentElement.scrollWidth") <= 360.0);
    calm(&browser);
}

#[test]
fn what_is_no_run_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(report::write(folder.path()), Err(ReportError::NoRun { .. })));
    sample::write(folder.path(), 7);
    assert!(matches!(
        report::write_timeline(folder.path(), 3),
        Err(ReportError::NoTimeline { number: 3, .. })
    ));
    let written = report::write_timeline(folder.path(), 2).unwrap();
    assert!(written.page.ends_with("report/timeline-2.html") && written.totals.timelines == 1);
}
