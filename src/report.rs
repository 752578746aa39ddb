//! The report of a run, for people and machines: what the folder of a run holds goes in, `report/` in it comes
//! out; and that of judged histories. It runs nothing and judges nothing.

pub mod error;
pub mod json;
pub mod judged;
pub mod junit;
pub mod load;
pub mod page;
pub mod place;
pub mod property;
pub mod repeat;
pub mod text;
pub mod totals;

use std::{
    fs,
    path::{Path, PathBuf},
};

use error::{ReportError, failed};
use totals::Totals;

/// What was written.
#[derive(Debug, Clone)]
pub struct Written {
    /// The page, which opens from disk.
    pub page: PathBuf,
    /// What the run was made of.
    pub totals: Totals,
}

/// Writes `report/` into the folder of a run: `index.html`, `report.json`, `junit.xml` and `events.jsonl`.
/// What is missing or damaged in the run is left out and noted on the page.
pub fn write(run: &Path) -> Result<Written, ReportError> {
    let loaded = load::run(run)?;
    let folder = run.join("report");
    failed(fs::create_dir_all(&folder), "make the folder", &folder)?;
    let save = |name: &str, text: &[u8]| {
        let path = folder.join(name);
        failed(fs::write(&path, text), "write", &path)
    };
    let totals = Totals::of(&loaded);
    save("index.html", page::render(&loaded, &totals).as_bytes())?;
    save("report.json", &json::render(&loaded, &totals))?;
    save("junit.xml", junit::render(&loaded).as_bytes())?;
    // A copy, so that the folder can be handed on alone; a run that never began has none.
    let (events, copy) = (run.join("events.jsonl"), folder.join("events.jsonl"));
    if events.exists() {
        failed(fs::copy(&events, &copy), "copy", &events)?;
    }
    Ok(Written { page: folder.join("index.html"), totals })
}

/// The numbers of a run's timelines in which a property is broken; none if nothing was judged.
pub fn broken_timelines(run: &Path) -> Vec<usize> {
    load::properties(&run.join("verdicts.json"), &mut vec![])
        .map_or(vec![], |properties| load::broken_timelines(&properties))
}

/// Whether there are still histories in the folder of a timeline: where all holds, the lab may remove them.
pub fn has_histories(timeline: &Path) -> bool {
    let mut entries = fs::read_dir(timeline.join("history")).into_iter().flatten().flatten();
    entries.any(|entry| entry.path().extension().is_some_and(|ending| ending == "jsonl"))
}

/// Where the page of a timeline's histories lies, if there is one.
pub fn history_page(run: &Path, timeline: usize) -> PathBuf {
    run.join("report").join(format!("history-{timeline}.html"))
}

/// Writes the page of one timeline alone, for runs of which the whole page can't show every picture.
pub fn write_timeline(run: &Path, number: usize) -> Result<Written, ReportError> {
    let mut loaded = load::run(run)?;
    loaded.timelines.retain(|timeline| timeline.number == number);
    if loaded.timelines.is_empty() {
        return Err(ReportError::NoTimeline { run: run.to_owned(), number });
    }
    let folder = run.join("report");
    failed(fs::create_dir_all(&folder), "make the folder", &folder)?;
    let totals = Totals::of(&loaded);
    let page = folder.join(format!("timeline-{number}.html"));
    failed(fs::write(&page, page::render(&loaded, &totals)), "write", &page)?;
    Ok(Written { page, totals })
}
