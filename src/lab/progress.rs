//! What people see while the lab works, on standard error: a spinner with live counts on a terminal, plain
//! lines otherwise. It takes sentences and knows nothing of what they mean.

use std::{
    cell::RefCell,
    io::{IsTerminal, stderr},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

const TICK: Duration = Duration::from_millis(120);

/// The line of work in progress.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    stage: RefCell<Option<(String, Instant)>>,
}

impl Progress {
    /// A spinner if standard error is a terminal that can show one.
    pub fn new() -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let bar = (stderr().is_terminal() && !dumb).then(|| {
            let template = "{spinner} {msg} ({elapsed})";
            let style = ProgressStyle::with_template(template).expect("the template is well-formed");
            let bar = ProgressBar::new_spinner().with_style(style);
            bar.enable_steady_tick(TICK);
            bar
        });
        Self { bar, stage: RefCell::new(None) }
    }

    /// A new piece of work begins, and the one before is done.
    pub fn stage(&self, text: &str) {
        self.close_stage();
        *self.stage.borrow_mut() = Some((text.to_owned(), Instant::now()));
        match &self.bar {
            Some(bar) => {
                bar.reset_elapsed();
                bar.set_message(text.to_owned());
            }
            None => eprintln!("{text} …"),
        }
    }

    /// How the present piece of work goes; seen on a terminal alone.
    pub fn live(&self, text: &str) {
        if let (Some(bar), Some((stage, _))) = (&self.bar, &*self.stage.borrow()) {
            bar.set_message(format!("{stage}: {text}"));
        }
    }

    /// A sentence that stays.
    pub fn note(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => eprintln!("{text}"),
        }
    }

    /// The last piece of work is done.
    pub fn finish(&self) {
        self.close_stage();
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn close_stage(&self) {
        if let Some((text, started)) = self.stage.borrow_mut().take()
            && let Some(bar) = &self.bar
        {
            bar.println(format!("{text}: {:.1} s", started.elapsed().as_secs_f64()));
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
