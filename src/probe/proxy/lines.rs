//! Lines for whoever reads the standard output, written by a thread of its own, so that a slow reader slows down
//! nothing that passes. In go lines, out they come in order; what the reader is too slow for is counted and left out.

use std::{
    io::{self, BufWriter, Write as _},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// So much may wait for the reader.
const WAITING_AT_MOST_BYTES: usize = 16 << 20;

const LAST_LINES_WITHIN: Duration = Duration::from_secs(1);

/// Where lines go.
#[derive(Debug)]
pub struct Lines {
    sender: Option<Sender<String>>,
    waiting: Arc<AtomicUsize>,
    left_out: Arc<AtomicU64>,
    writer: JoinHandle<()>,
}

impl Lines {
    /// To the standard output.
    pub fn start() -> Self {
        let (sender, receiver) = channel();
        let (waiting, left_out) = (Arc::<AtomicUsize>::default(), Arc::<AtomicU64>::default());
        let written = Arc::clone(&waiting);
        let writer = thread::spawn(move || {
            // Where nobody reads any more, calls still pass.
            let _ = write_all(&receiver, &written);
        });
        Self { sender: Some(sender), waiting, left_out, writer }
    }

    /// A line, without its end.
    pub fn push(&self, line: String) {
        let bytes = line.len();
        if self.waiting.fetch_add(bytes, Ordering::AcqRel) + bytes > WAITING_AT_MOST_BYTES {
            self.waiting.fetch_sub(bytes, Ordering::AcqRel);
            self.left_out.fetch_add(1, Ordering::Relaxed);
        } else if let Some(sender) = &self.sender {
            // It is gone only if nobody reads any more.
            let _ = sender.send(line);
        }
    }

    /// How many lines were left out since the reader was too slow.
    pub fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        drop(self.sender.take());
        let until = Instant::now() + LAST_LINES_WITHIN;
        // Whoever does not read the last lines either can't hold up the end.
        while !self.writer.is_finished() && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

fn write_all(lines: &Receiver<String>, waiting: &AtomicUsize) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout());
    while let Ok(line) = lines.recv() {
        let mut next = Some(line);
        while let Some(line) = next {
            writeln!(out, "{line}")?;
            waiting.fetch_sub(line.len(), Ordering::AcqRel);
            next = lines.try_recv().ok();
        }
        out.flush()?;
    }
    Ok(())
}
