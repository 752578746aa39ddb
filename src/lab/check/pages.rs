//! The pages of histories beside the report of a run. In goes a run's folder with its verdicts, out come
//! `report/history-N.html` for timelines in which a property is broken. It judges histories again, so that nothing
//! but files has to be kept; what can't be judged or written is told and left out.

use std::{fs, path::Path};

use super::{judge, sets, write_page};
use crate::{
    lab::{error::LabError, say::say_aside},
    report::{self, page::history},
};

/// As many failures as anybody looks at; `etcd-lab check` makes the pages of others.
const PAGES_AT_MOST: usize = 5;

/// Writes the pages.
pub fn write(run: &Path) {
    for number in report::broken_timelines(run).into_iter().take(PAGES_AT_MOST) {
        if let Err(error) = write_one(run, number) {
            say_aside!("error: there is no picture of the histories of timeline {number}: {error}");
        }
    }
}

fn write_one(run: &Path, number: usize) -> Result<(), LabError> {
    let folder = run.join(format!("timeline-{number}"));
    if !report::has_histories(&folder) {
        return Ok(());
    }
    let (mut all, mut pictures) = (vec![], vec![]);
    for set in sets::find(&[folder])? {
        let (judged, histories) = judge(&set, &[], |_| {})?;
        pictures.push(Some(history::draw(&judged, &histories)));
        all.push(judged);
    }
    let page = report::history_page(run, number);
    if let Some(folder) = page.parent() {
        report::error::failed(fs::create_dir_all(folder), "make the folder", folder)?;
    }
    Ok(write_page(&page, &history::render(&all, &pictures))?)
}
