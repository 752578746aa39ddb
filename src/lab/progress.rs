//! What people see while the lab works, on standard error: a spinner with live counts on a terminal for each piece of
//! work, plain lines otherwise. It takes sentences and knows nothing of what they mean.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    io::{IsTerminal, stderr},
    path::Path,
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::lab::{log_tail::log_tail, say::say_aside};

const TICK: Duration = Duration::from_millis(120);
/// How often a sign of life is printed where there is no terminal.
const PLAIN_INTERVAL: Duration = Duration::from_secs(30);
const LOG_INTERVAL: Duration = Duration::from_millis(500);
/// As much of a log's end as surely holds its last line.
const LOG_TAIL_BYTES: u64 = 2_000;

/// The line of a piece of work.
#[derive(Debug)]
pub struct Progress {
    /// With all that are shown below each other.
    bar: Option<(ProgressBar, MultiProgress)>,
    stage: RefCell<Option<(String, Instant)>>,
    /// Whether it is one of several, whose parts are not worth a line each.
    is_beside: bool,
    last_print: Cell<Instant>,
}

impl Progress {
    /// A spinner if standard error is a terminal that can show one.
    pub fn new() -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self::among((stderr().is_terminal() && !dumb).then(MultiProgress::new), false)
    }

    /// The line of work that goes on beside this, below it.
    #[must_use]
    pub fn beside(&self) -> Self {
        Self::among(self.bar.as_ref().map(|(_, all)| all.clone()), true)
    }

    fn among(all: Option<MultiProgress>, is_beside: bool) -> Self {
        let bar = all.map(|all| {
            let template = "{spinner} {elapsed:>4} {wide_msg}";
            let style = ProgressStyle::with_template(template).expect("the template is well-formed");
            let bar = all.add(ProgressBar::new_spinner().with_style(style));
            bar.enable_steady_tick(TICK);
            (bar, all)
        });
        Self { bar, stage: RefCell::new(None), is_beside, last_print: Cell::new(Instant::now()) }
    }

    /// A new piece of work begins, and the one before is done.
    pub fn stage(&self, text: &str) {
        self.close_stage();
        *self.stage.borrow_mut() = Some((text.to_owned(), Instant::now()));
        match &self.bar {
            Some((bar, _)) => {
                bar.reset_elapsed();
                bar.set_message(text.to_owned());
            }
            None => self.print(&format!("{text} …")),
        }
    }

    /// How the present piece of work goes; where there is no terminal, now and then.
    pub fn live(&self, text: &str) {
        match (&self.bar, &*self.stage.borrow()) {
            (Some((bar, _)), Some((stage, _))) => bar.set_message(format!("{stage}: {text}")),
            (None, _) if self.last_print.get().elapsed() >= PLAIN_INTERVAL => {
                self.print(&format!("  {text}"));
            }
            _ => {}
        }
    }

    fn print(&self, text: &str) {
        self.last_print.set(Instant::now());
        say_aside!("{text}");
    }

    /// Shows the last line of the log at `path` while `work` goes on.
    pub async fn follow<T>(&self, path: &Path, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                result = &mut work => return result,
                () = tokio::time::sleep(LOG_INTERVAL) => {
                    if let Some(line) = last_line(path) {
                        self.live(&line);
                    }
                }
            }
        }
    }

    /// A sentence that stays.
    pub fn note(&self, text: &str) {
        if let Some((bar, _)) = &self.bar {
            bar.println(text);
        } else {
            say_aside!("{text}");
        }
    }

    /// The last piece of work is done.
    pub fn finish(&self) {
        self.close_stage();
        if let Some((bar, _)) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn close_stage(&self) {
        if let Some((text, started)) = self.stage.borrow_mut().take()
            && let (Some((bar, _)), false) = (&self.bar, self.is_beside)
        {
            bar.println(format!("{text}: {:.1} s", started.elapsed().as_secs_f64()));
        }
    }
}

fn last_line(path: &Path) -> Option<String> {
    let text = log_tail(path, LOG_TAIL_BYTES).ok()?;
    let lines = text.split(['\n', '\r']).map(without_escapes);
    lines.map(|line| line.trim().to_owned()).rfind(|line| !line.is_empty())
}

/// What of a line is to be read: without colours and the like.
fn without_escapes(line: &str) -> String {
    let mut is_escape = false;
    let is_read = |letter: &char| {
        let was_escape = is_escape;
        is_escape = *letter == '\u{1b}' || (is_escape && !letter.is_ascii_alphabetic());
        !was_escape && !letter.is_control()
    };
    line.chars().filter(is_read).collect()
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((bar, all)) = &self.bar {
            bar.finish_and_clear();
            all.remove(bar);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_last_line_of_a_log_is_the_last_that_says_something() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        assert_eq!(last_line(&path), None);
        let coloured = "\u{1b}[91m   Compiling\u{1b}[0m this\n\u{1b}[0m\n";
        for (text, line) in [
            ("", None),
            ("a\nb\n\n", Some("b")),
            ("10 %\r20 %", Some("20 %")),
            (coloured, Some("Compiling this")),
        ] {
            fs::write(&path, text).unwrap();
            assert_eq!(last_line(&path).as_deref(), line, "{text:?}");
        }
    }
}
