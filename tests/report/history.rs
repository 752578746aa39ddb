//! The page of judged histories, made by `etcd-lab check --html` and used in a real browser as a person would: what is
//! broken is in sight at opening, everything is found, nothing hostile gets out, and 100,000 operations stay fluid.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use etcd_antithesis::{
    history::{reader::History, save::save},
    types::Monotonic,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    PALE_TEXT,
    browser::Browser,
    calm,
    histories::{Shape, generate},
    sample, shots,
};

/// A page may take so long to draw one frame, in the middle: a machine without a graphics card that does much else.
const FRAME_AT_MOST_MS: f64 = 250.0;
/// The monotonic clock at the start of the second timeline of the sample.
const SAMPLE_ORIGIN_NS: u64 = 1_040_000_000_000;
const PICTURE: &str = "document.querySelector('details.history').picture";

struct Ran {
    code: Option<i32>,
    out: String,
    error: String,
}

fn lab(words: &[&str]) -> Ran {
    lab_in(Path::new("/"), words)
}

fn lab_in(folder: &Path, words: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_etcd-lab"));
    let output =
        command.args(words).current_dir(folder).env("NO_COLOR", "1").env("COLUMNS", "80").output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { code: output.status.code(), out: text(&output.stdout), error: text(&output.stderr) }
}

/// The page of the histories in a folder, which the checker gives this exit code.
fn page(folder: &Path, code: i32) -> PathBuf {
    let file = folder.join("page.html");
    let ran = lab(&["check", folder.to_str().unwrap(), "--html", file.to_str().unwrap()]);
    assert_eq!(ran.code, Some(code), "{}{}", ran.out, ran.error);
    file
}

/// One tick of the generator takes so many nanoseconds.
fn generated(shape: Shape, seed: u64, origin: u64, tick: u64) -> Vec<History> {
    let at = |time: &mut Monotonic| time.0 = origin + time.0 * tick;
    let mut histories = generate(shape, seed).into_histories();
    for history in &mut histories {
        history.preamble.start = Monotonic(origin);
        for operation in &mut history.operations {
            at(&mut operation.call);
            operation.returned.iter_mut().for_each(|(time, _)| at(time));
        }
        for stream in &mut history.streams {
            stream.messages.iter_mut().for_each(|(time, _)| at(time));
            stream.ended.iter_mut().for_each(|(time, _)| at(time));
        }
    }
    histories
}

fn saved(histories: &[History]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for history in histories {
        save(folder.path(), history).unwrap();
    }
    folder
}

fn small() -> Shape {
    Shape { clients: 6, compactions: 2, streams: 4, ..Shape::bench(240, 5, 3) }
}

/// The recorded history of the tests with one corruption, which is the `number`-th of `about.toml`.
fn planted(number: usize) -> (TempDir, Value) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/histories/version-1");
    let about: toml::Table = toml::from_str(&fs::read_to_string(from.join("about.toml")).unwrap()).unwrap();
    let planted = serde_json::to_value(&about["planted"][number]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(&from).unwrap() {
        let entry = entry.unwrap();
        let mut text = fs::read_to_string(entry.path()).unwrap();
        if entry.file_name() == planted["file"].as_str().unwrap() {
            text = text.replace(planted["text"].as_str().unwrap(), planted["instead"].as_str().unwrap());
        }
        if entry.path().extension().is_some_and(|ending| ending == "jsonl") {
            fs::write(folder.path().join(entry.file_name()), text).unwrap();
        }
    }
    (folder, planted)
}

fn open(browser: &mut Browser, page: &Path) {
    browser.open(page);
    frame(browser);
}

/// What was asked for is drawn.
fn frame(browser: &mut Browser) {
    browser.value("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(0))))");
}

fn of_picture(browser: &mut Browser, expression: &str) -> Value {
    browser.value(&format!("(() => {{ const picture = {PICTURE}; return {expression}; }})()"))
}

/// Types into the box, and waits until it was looked for.
fn find(browser: &mut Browser, query: &str) -> String {
    browser.value(&format!(
        "(() => {{ const box = document.querySelector('[name=find]'); box.value = {}; \
         box.dispatchEvent(new Event('input', {{bubbles: true}})); {PICTURE}.at = null; }})()",
        json!(query)
    ));
    browser.wait_for(&format!("{PICTURE}.at !== null"));
    browser.text("document.querySelector('.find .count').textContent.replaceAll('\\u2009', '')")
}

fn key(browser: &mut Browser, key: &str) {
    browser.value(&format!(
        "document.querySelector('canvas.lanes').dispatchEvent(new KeyboardEvent('keydown', {{key: {key:?}}}))"
    ));
    frame(browser);
}

/// How many pixels of the canvas have nearly this colour, as `[r, g, b]`.
fn pixels(browser: &mut Browser, colour: [u8; 3]) -> f64 {
    browser.number(&format!(
        "(() => {{ const {{ painter }} = {PICTURE}, {{ canvas, context }} = painter; \
         const data = context.getImageData(0, 0, canvas.width, canvas.height).data; let count = 0; \
         for (let at = 0; at < data.length; at += 4) \
           if (Math.abs(data[at] - {}) + Math.abs(data[at + 1] - {}) + Math.abs(data[at + 2] - {}) < 12) count++; \
         return count; }})()",
        colour[0], colour[1], colour[2]
    ))
}

#[test]
fn every_window_shows_the_histories_whole_and_legible() {
    let (broken, _) = planted(0);
    let honest = saved(&generated(small(), 3, 5_000_000_000, 200_000));
    let mut browser = Browser::start();
    for (name, page) in [("broken", page(broken.path(), 1)), ("honest", page(honest.path(), 0))] {
        for (width, height) in [(360, 740), (1024, 800), (1600, 1000)] {
            for scheme in ["light", "dark"] {
                browser.look(width, height, scheme);
                open(&mut browser, &page);
                let wide = browser.number("document.documentElement.scrollWidth");
                assert!(wide <= f64::from(width), "{wide} pixels wide in a window of {width}");
                assert_eq!(browser.text(PALE_TEXT), "", "pale text, {scheme}");
                let drawn = pixels(
                    &mut browser,
                    if scheme == "light" { [0x1f, 0x7a, 0x4d] } else { [0x74, 0xc7, 0x9b] },
                );
                let faint = of_picture(&mut browser, "picture.lit !== null");
                assert!(drawn > 40.0 || faint == true, "{drawn} pixels of puts, {name}, {scheme}");
                browser.screenshot(&shots().join(format!("history-{name}-{width}-{scheme}.png")), true);
            }
        }
    }
    calm(&browser);
}

#[test]
fn a_failure_is_in_sight_at_opening() {
    let (folder, about) = planted(0);
    let page = page(folder.path(), 1);
    let mut browser = Browser::start();
    browser.look(1600, 1000, "light");
    open(&mut browser, &page);
    assert_eq!(browser.text("document.querySelector('h1').textContent"), "1 guarantee is broken, 1 holds");
    let text = browser.text("document.querySelector('.finding').innerText");
    assert!(text.contains(about["words"].as_str().unwrap()), "{text}");
    let names = of_picture(&mut browser, "picture.focus.map((item) => picture.model.name(item))");
    assert_eq!(names, json!(["parallel_driver_generate_traffic#17", "parallel_driver_generate_traffic#28"]));
    let shown = of_picture(
        &mut browser,
        "picture.focus.every((item) => { const box = picture.painter.box(item), { painter } = picture; \
         return box.x >= painter.gutter && box.x + box.width <= painter.width && box.y > 30 && box.y < painter.height; })",
    );
    assert_eq!(shown, true, "all evidence is in sight");
    let share = of_picture(&mut browser, "(picture.view.to - picture.view.from) / picture.model.length");
    assert!(share.as_f64().unwrap() < 0.05, "zoomed to it: {share}");
    assert!(pixels(&mut browser, [0xb3, 0x26, 0x1e]) > 150.0, "it is marked");
    browser.click(".finding .steps li:nth-child(2) button");
    let detail = browser.text("document.querySelector('.detail').innerText");
    for part in ["p3/8/PlUa2b3ZyvpiFgkX", "revision", "42", "parallel_driver_generate_traffic#28"] {
        assert!(detail.contains(part), "no {part:?} in {detail}");
    }
    browser.click("[data-axis=revision]");
    frame(&mut browser);
    let at =
        of_picture(&mut browser, "picture.focus.map((item) => Math.floor(picture.view.axis.from[item]))");
    assert_eq!(at, json!([37, 42]), "in order of revision");
    let note = browser.text("document.querySelector('.note').textContent");
    assert_eq!(note, "24 without a revision are not here");
    browser.screenshot(&shots().join("history-revisions.png"), false);
    calm(&browser);
}

#[test]
fn operations_are_found_by_what_they_name() {
    let histories = generated(small(), 3, 5_000_000_000, 200_000);
    let folder = saved(&histories);
    let page = page(folder.path(), 0);
    let mut browser = Browser::start();
    browser.look(1280, 900, "light");
    open(&mut browser, &page);
    let process = histories[1].operations[0].process;
    let own = histories[1].operations.iter().filter(|operation| operation.process == process).count();
    assert_eq!(find(&mut browser, &format!("process={process}")), format!("1 of {own}"));
    let unknown = histories[1]
        .operations
        .iter()
        .filter(|operation| operation.response().is_none() && !operation.did_not_happen());
    assert_eq!(find(&mut browser, "outcome=unknown"), format!("1 of {}", unknown.count()));
    find(&mut browser, "rev=40 kind=put outcome=wrote");
    let made = of_picture(&mut browser, "picture.found.map((item) => picture.model.revision[item])");
    assert!(made == json!([40]) || made == json!([]), "{made}");
    let first = find(&mut browser, "k001");
    let keys = of_picture(
        &mut browser,
        "picture.found.every((item) => /k001/.test(picture.model.request(item) + picture.model.answer(item)))",
    );
    assert!(first.starts_with("1 of ") && keys == true, "{first}");
    key(&mut browser, "n");
    let second = browser.text("document.querySelector('.find .count').textContent");
    assert!(second.starts_with("2 of "), "{second}");
    key(&mut browser, "p");
    key(&mut browser, "p");
    let last = browser.text("document.querySelector('.find .count').textContent");
    assert_eq!(last, first.replacen("1 of ", &format!("{} of ", first.split(' ').next_back().unwrap()), 1));
    assert_eq!(find(&mut browser, "no such key"), "nothing fits");
    key(&mut browser, "Home");
    let before = of_picture(&mut browser, "picture.view.to - picture.view.from").as_f64().unwrap();
    key(&mut browser, "+");
    key(&mut browser, "ArrowRight");
    let after = of_picture(&mut browser, "picture.view.to - picture.view.from").as_f64().unwrap();
    assert!((after - before / 2.0).abs() < before / 100.0, "{before} to {after}");
    calm(&browser);
}

#[test]
fn watches_have_lanes_with_events_and_progress() {
    let histories = generated(Shape { streams: 6, ..small() }, 5, 5_000_000_000, 200_000);
    let messages: usize =
        histories.iter().flat_map(|history| &history.streams).map(|stream| stream.messages.len()).sum();
    let folder = saved(&histories);
    let page = page(folder.path(), 0);
    let mut browser = Browser::start();
    browser.look(1280, 900, "light");
    open(&mut browser, &page);
    let shown =
        of_picture(&mut browser, "[...picture.model.kind].filter((kind) => 'sbenx'.includes(kind)).length");
    assert!(shown.as_u64().unwrap() >= messages as u64, "{shown} of {messages}");
    let lanes = of_picture(&mut browser, "picture.model.lanes.filter((lane) => lane.stream).length");
    assert!(lanes.as_u64().unwrap() >= 6, "{lanes} lanes");
    for kind in ["events", "progress"] {
        let found = find(&mut browser, &format!("kind={kind}"));
        assert!(found.starts_with("1 of "), "{kind}: {found}");
        let right = of_picture(
            &mut browser,
            "picture.found.every((item) => picture.model.lanes[picture.model.columns.lane[item]].stream)",
        );
        assert_eq!(right, true);
    }
    browser.screenshot(&shots().join("history-watches.png"), false);
    calm(&browser);
}

/// Dragging moves, the wheel zooms where it is turned, and what is pointed at is told and can be clicked.
#[test]
fn the_pointer_moves_zooms_and_asks() {
    let (folder, _) = planted(0);
    let page = page(folder.path(), 1);
    let mut browser = Browser::start();
    browser.look(1280, 900, "light");
    open(&mut browser, &page);
    let view = |browser: &mut Browser| {
        frame(browser);
        let view = of_picture(browser, "[picture.view.from, picture.view.to]");
        (view[0].as_f64().unwrap(), view[1].as_f64().unwrap())
    };
    let place = |browser: &mut Browser| {
        let inside = of_picture(
            browser,
            "(() => { const box = picture.painter.box(picture.focus[1]), at = picture.canvas.getBoundingClientRect(); \
             return [at.x + box.x + box.width / 2, at.y + box.y + box.height / 2]; })()",
        );
        (inside[0].as_f64().unwrap(), inside[1].as_f64().unwrap())
    };
    browser.middle("canvas.lanes");
    let (x, y) = place(&mut browser);
    browser.call("Input.dispatchMouseEvent", &json!({"type": "mouseMoved", "x": x, "y": y}));
    browser.wait_for("document.querySelector('#tip').textContent.includes('p3/8/PlUa2b3ZyvpiFgkX')");
    browser.drag((x, y), (x, y));
    browser.wait_for("!document.querySelector('.detail').hidden");
    let current = browser.text("document.querySelector('.steps [aria-current=true]').textContent");
    assert!(current.contains("PlUa2b3ZyvpiFgkX"), "{current}");
    browser.middle("canvas.lanes");
    let (x, y) = place(&mut browser);
    let (from, to) = view(&mut browser);
    let wheel = json!({"type": "mouseWheel", "x": x, "y": y, "deltaX": 0, "deltaY": -200});
    browser.call("Input.dispatchMouseEvent", &wheel);
    browser.wait_for(&format!("{PICTURE}.view.to - {PICTURE}.view.from < {}", (to - from) * 0.9));
    let (again, _) = place(&mut browser);
    assert!((again - x).abs() < 3.0, "what is pointed at stays where it is: {x} to {again}");
    let (from, to) = view(&mut browser);
    browser.drag((x, y + 60.0), (x - 120.0, y + 60.0));
    let (moved, end) = view(&mut browser);
    assert!(moved > from && (end - moved - (to - from)).abs() < 1.0, "moved, not zoomed");
    calm(&browser);
}

/// Of several sets, the worst stands first and is open; each picture is made when it is first looked at.
#[test]
fn each_timeline_of_a_run_has_a_picture() {
    let run = tempfile::tempdir().unwrap();
    for (number, shape) in [(1, small()), (2, small())] {
        let folder = run.path().join(format!("timeline-{number}/history"));
        for history in generated(shape, 3 + number, 5_000_000_000, 200_000) {
            save(&folder, &history).unwrap();
        }
    }
    plant(&run.path().join("timeline-2/history/driver.jsonl"));
    let page = page(run.path(), 1);
    let mut browser = Browser::start();
    browser.look(1280, 900, "light");
    open(&mut browser, &page);
    let names = browser.text("[...document.querySelectorAll('.history h2')].map((name) => name.textContent.split('/').at(-1)).join()");
    assert_eq!(names, "timeline-2,timeline-1");
    assert_eq!(browser.value("document.querySelector('#history-2').picture === undefined"), true);
    browser.click("#history-2 > summary");
    browser.wait_for("document.querySelector('#history-2').picture !== undefined");
    frame(&mut browser);
    let drawn = "document.querySelector('#history-2').picture.model.count";
    assert!(browser.number(drawn) > 240.0);
    calm(&browser);
}

/// Breaks out of a script, an attribute or a comment, if anything is not escaped.
#[test]
fn what_is_hostile_stays_text() {
    let folder = saved(&generated(small(), 3, 5_000_000_000, 200_000));
    let hostile = serde_json::to_string(sample::HOSTILE).unwrap();
    for file in ["driver.jsonl", "first_record_baseline.jsonl"] {
        let path = folder.path().join(file);
        let text = fs::read_to_string(&path).unwrap();
        let text = text.replace("\"k001\"", &hostile).replace("\"etcd1\"", &hostile);
        let text = text.replace("\"command\":\"driver\"", &format!("\"command\":{hostile}"));
        let text =
            text.replacen("\"key\":\"k000\",\"value\":\"", "\"key\":\"k000\",\"value\":\"</script><b>", 1);
        fs::write(&path, text).unwrap();
    }
    let page = folder.path().join("page.html");
    lab(&["check", folder.path().to_str().unwrap(), "--html", page.to_str().unwrap()]);
    let mut browser = Browser::start();
    browser.look(1280, 900, "light");
    open(&mut browser, &page);
    assert_eq!(browser.value("document.querySelectorAll('img, b').length"), 0);
    let found = find(&mut browser, "</script><img");
    assert!(found.starts_with("1 of "), "{found}");
    let detail = browser.text("document.querySelector('.detail').innerText");
    assert!(detail.contains("</script><img src=x onerror=alert(1)>"), "{detail}");
    browser.click(".detail button:nth-of-type(1)");
    calm(&browser);
}

#[test]
fn a_hundred_thousand_operations_stay_fluid() {
    let folder = saved(&generated(Shape::bench(100_000, 10, 1), 1, 5_000_000_000, 100_000));
    let page = page(folder.path(), 0);
    let size = fs::metadata(&page).unwrap().len();
    let mut browser = Browser::start();
    browser.look(1600, 1000, "light");
    open(&mut browser, &page);
    assert_eq!(of_picture(&mut browser, "picture.model.count"), 100_001);
    browser.screenshot(&shots().join("history-100000.png"), false);
    for (name, zoom) in [("everything", 1.0), ("a tenth", 0.1), ("a thousandth", 0.001)] {
        let times = browser.value(&format!(
            "(() => {{ const picture = {PICTURE}, times = []; picture.view.whole(); picture.view.zoom({zoom}); \
             for (let pan = 0; pan < 60; pan++) {{ const start = performance.now(); picture.view.pan(0.02); \
             picture.draw(); picture.painter.context.getImageData(300, 300, 1, 1); \
             times.push(performance.now() - start); }} return times.sort((a, b) => a - b); }})()"
        ));
        let (middle, worst) = (times[30].as_f64().unwrap(), times[59].as_f64().unwrap());
        println!("100,000 operations, {size} bytes, {name}: {middle:.1} ms a frame, {worst:.1} ms at most");
        assert!(middle < FRAME_AT_MOST_MS, "{middle} ms a frame with {name} in sight");
    }
    let found = find(&mut browser, "k003 outcome=unknown");
    assert!(found.starts_with("1 of "), "{found}");
    frame(&mut browser);
    browser.screenshot(&shots().join("history-found.png"), false);
    // Reading many pixels back is what the browser warns of; the page itself never does.
    let complaints: Vec<_> =
        browser.complaints().iter().filter(|words| !words.contains("willReadFrequently")).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
}

/// The page is beside the verdicts, not instead: what is printed and the exit code stay the same.
#[test]
fn the_verdicts_are_the_same_with_a_page() {
    let (folder, _) = planted(1);
    let place = folder.path().to_str().unwrap();
    let file = folder.path().join("page.html");
    let parsed = |ran: &Ran| {
        let mut json: Value = serde_json::from_str(&ran.out).unwrap();
        for time in ["read_ms", "check_ms", "reduce_ms"] {
            json["histories"][0][time].take();
        }
        json
    };
    let without = lab(&["check", place, "--json"]);
    let with = lab(&["check", place, "--json", "--html", file.to_str().unwrap()]);
    assert_eq!((without.code, with.code), (Some(1), Some(1)));
    assert_eq!(parsed(&without), parsed(&with));
    assert!(file.exists());
    let nowhere = folder.path().join("no such folder/page.html");
    let failed = lab(&["check", place, "--html", nowhere.to_str().unwrap()]);
    assert_eq!(failed.code, Some(3), "{}", failed.error);
    assert!(failed.out.contains("broken"), "the verdicts are told all the same");
    assert!(
        failed.error.contains("failed to write the page") && failed.error.contains("no such folder"),
        "{}",
        failed.error
    );
}

/// Gives a read in the middle of a file a value that nobody wrote.
fn plant(driver: &Path) {
    let text = fs::read_to_string(driver).unwrap();
    let reads: Vec<_> = text.match_indices("\"range\":{\"kvs\":[{").collect();
    let (start, _) = reads[reads.len() / 2];
    let at = start + text[start..].find("\"value\":\"").unwrap() + "\"value\":\"".len();
    fs::write(driver, format!("{}never written {}", &text[..at], &text[at..])).unwrap();
}

/// Histories of a run have its faults in their picture, and the run's report leads there where something is broken.
#[test]
fn the_report_of_a_run_leads_to_its_histories() {
    let folder = tempfile::tempdir().unwrap();
    let name = "2026-11-23T00-42-45Z";
    let run = folder.path().join(name);
    sample::write(&run, 7);
    let timeline = run.join("timeline-2");
    fs::remove_dir_all(timeline.join("history")).unwrap();
    let shape = Shape { clients: 9, streams: 5, ..Shape::bench(2_000, 6, 2) };
    for history in generated(shape, 11, SAMPLE_ORIGIN_NS + 1_000_000_000, 12_000_000) {
        save(&timeline.join("history"), &history).unwrap();
    }
    plant(&timeline.join("history/driver.jsonl"));
    let ran = lab_in(folder.path(), &["report", name]);
    assert_eq!(ran.code, Some(0), "{}", ran.error);
    let mut browser = Browser::start();
    browser.look(1500, 960, "light");
    browser.open(&run.join("report/index.html"));
    let words = browser.text("document.querySelector('#timeline-1').textContent");
    assert!(words.contains("etcd-lab check") && words.contains("--html FILE"), "{words}");
    assert_eq!(
        browser.text("document.querySelector('#timeline-2 p a').getAttribute('href')"),
        "history-2.html"
    );
    open(&mut browser, &run.join("report/history-2.html"));
    let rows = |sort: &str| {
        format!("picture.rows.rows.filter((row) => row.sort === '{sort}').map((row) => row.label)")
    };
    let nodes = of_picture(&mut browser, &rows("fault"));
    assert_eq!(nodes, json!(["etcd0", "etcd1", "etcd2", "client1", "client2"]));
    let faults = "picture.model.data.faults.map((fault) => [fault.node, fault.kind, fault.from])";
    let faults = of_picture(&mut browser, faults);
    assert!(faults.as_array().unwrap().contains(&json!(["etcd1", "pause", 6_200_000_000_i64])), "{faults}");
    assert_eq!(of_picture(&mut browser, &rows("member")), json!(["etcd0", "etcd1", "etcd2"]));
    assert!(browser.text("document.querySelector('.finding').innerText").contains("never written"));
    assert!(of_picture(&mut browser, "picture.focus.length").as_u64().unwrap() > 0);
    browser.screenshot(&shots().join("history-of-a-run.png"), false);
    calm(&browser);
}
