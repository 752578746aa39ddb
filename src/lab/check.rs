//! `etcd-lab check`: recorded histories of any run, judged again. In go files, history folders, timelines and runs;
//! out come the verdicts on all guarantees with their evidence, as tables or as JSON, and an exit code. It starts
//! nothing.

pub mod pages;
pub mod sets;

use std::{
    fs,
    io::{ErrorKind, IsTerminal, Write as _, stderr, stdout},
    path::{Path, PathBuf},
    time::Instant,
};

use self::sets::{CheckError, Set};
use crate::{
    check::{
        self, Family, assumptions,
        case::Case,
        judgement::{Guarantee, Judgement},
        reduce,
    },
    exit::ExitStatus,
    history::reader::{self, History},
    lab::{error::LabError, progress::Progress, run, say::say_aside},
    report::{
        error::{ReportError, failed},
        judged::{self, Figures, Judged, Summary, json, text},
        page::history,
    },
    verdict::Verdict,
};

/// What is to be judged, and how it is to be told.
#[derive(Debug)]
pub struct Options {
    /// Files, history folders, timelines' and runs' folders.
    pub paths: Vec<PathBuf>,
    /// The guarantees to tell of; all if none is named.
    pub guarantees: Vec<Guarantee>,
    /// Print JSON instead of tables.
    pub json: bool,
    /// Write a page with pictures of the histories here.
    pub html: Option<PathBuf>,
}

/// Judges what the paths hold and shows it.
pub fn run(options: &Options) -> Result<ExitStatus, LabError> {
    let sets = sets::find(&options.paths)?;
    let progress = stderr().is_terminal().then(Progress::new);
    let tell = |words: String| {
        if let Some(progress) = &progress {
            progress.stage(&words);
        }
    };
    let mut all = vec![];
    let mut pictures = vec![];
    for (number, set) in (1..).zip(&sets) {
        let of = if sets.len() > 1 { format!(" ({number} of {})", sets.len()) } else { String::new() };
        let tell = |doing: &str| tell(format!("{doing} {}{of}", set.path.display()));
        let (judged, histories) = judge(set, &options.guarantees, tell)?;
        if options.html.is_some() {
            tell("drawing");
            pictures.push(Some(history::draw(&judged, &histories)));
        }
        all.push(judged);
        history::keep_within_bounds(&all, &mut pictures);
    }
    drop(progress);
    print(&if options.json {
        json::render(&all).map_err(|error| LabError::Save(error.into()))?
    } else {
        text::render(&all, run::width(), run::colour())
    })?;
    if let Some(file) = &options.html {
        write_page(file, &history::render(&all, &pictures))?;
    }
    let is_empty = |judged: &Judged| judged.figures.operations + judged.figures.streams == 0;
    let worst = judged::worst(&all);
    if worst == Summary::Holds && all.iter().all(is_empty) {
        say_aside!("nothing was recorded there, so there was nothing to judge");
        return Ok(ExitStatus::Undecided);
    }
    Ok(status(worst))
}

fn status(worst: Summary) -> ExitStatus {
    match worst {
        Summary::Malformed => ExitStatus::Usage,
        Summary::Broken => ExitStatus::Broken,
        Summary::Undecided => ExitStatus::Undecided,
        Summary::Holds => ExitStatus::Holds,
    }
}

fn judge(
    set: &Set,
    guarantees: &[Guarantee],
    tell: impl Fn(&str),
) -> Result<(Judged, Vec<History>), CheckError> {
    let milliseconds = |start: Instant| start.elapsed().as_secs_f64() * 1e3;
    tell("reading");
    let start = Instant::now();
    let mut histories: Vec<History> = vec![];
    for file in &set.files {
        histories.extend(reader::read_file(file)?);
    }
    histories.sort_by_key(|history| (history.preamble.start, history.path.clone()));
    let read_ms = milliseconds(start);
    tell("checking");
    let start = Instant::now();
    let malformed = assumptions::violations(&histories);
    let case = Case::new(&histories);
    let families: &[Family] = if malformed.is_empty() { check::FAMILIES } else { &[] };
    let judged_by = |family: &Family| family(&case).into_iter().map(|of| (*family, of)).collect::<Vec<_>>();
    let mut judged: Vec<(Family, Judgement)> = families.iter().flat_map(judged_by).collect();
    judged.retain(|(_, of)| guarantees.is_empty() || guarantees.contains(&of.guarantee));
    let check_ms = milliseconds(start);
    let (start, mut reduced) = (Instant::now(), vec![]);
    for (family, of) in &judged {
        if matches!(of.verdict, Verdict::Broken(_)) {
            tell("looking for the least that is broken in");
            let found = reduce::reduce(&histories, *family, of.guarantee);
            reduced.extend(found.map(|found| (of.guarantee, found)));
        }
    }
    let judged = Judged {
        path: set.path.clone(),
        figures: Figures::of(&histories),
        malformed,
        judgements: judged.into_iter().map(|(_, of)| of).collect(),
        reduced,
        read_ms,
        check_ms,
        reduce_ms: milliseconds(start),
    };
    Ok((judged, histories))
}

/// Who stops reading, such as `head`, has what was wanted.
fn print(text: &str) -> Result<(), ReportError> {
    match writeln!(stdout(), "{text}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => failed(written, "write", Path::new("the standard output")),
    }
}

fn write_page(file: &Path, page: &str) -> Result<(), ReportError> {
    failed(fs::write(file, page), "write the page", file)
}
