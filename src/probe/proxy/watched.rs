//! One call under the eyes of the proxy: what rules make of its messages, what is recorded and what is shown. In goes
//! each message as it came, out comes what goes on in its place. Recorded and shown is what the client asked and got,
//! lies included. A call whose exchange is dropped has ended with its client.

use h2::Reason;
use tonic::codegen::http::HeaderMap;

use super::{
    lies::{Answering, Asking, Fate, Lied, Out},
    record::{Missing, Recorded, StopRecording},
    show::Shown,
    tell,
};
use crate::probe::wire::Frame;

/// How a call ended.
#[derive(Debug)]
pub enum Ending {
    /// The member said so, in these trailers.
    Status(HeaderMap),
    /// The member reset the stream.
    MemberReset(Reason),
    /// The connection to the member broke, in these words.
    MemberBroke(String),
    /// The client gave up, or is gone.
    ClientBroke,
}

/// One call.
pub struct Watched {
    lied: Option<Lied>,
    recorded: Option<Recorded>,
    shown: Option<Shown>,
    headers: HeaderMap,
    is_over: bool,
}

impl Watched {
    /// A call that rules may be about, or that is recorded or shown; none if it is neither.
    pub fn new(lied: Option<Lied>, recorded: Option<Recorded>, shown: Option<Shown>) -> Option<Box<Self>> {
        let is_watched = lied.is_some() || recorded.is_some() || shown.is_some();
        is_watched
            .then(|| Box::new(Self { lied, recorded, shown, headers: HeaderMap::new(), is_over: false }))
    }

    /// A message of the client has come; once what is recorded is flushed, it goes on.
    pub fn asked(&mut self, frame: &Frame) -> Result<(), StopRecording> {
        if let Some(recorded) = &mut self.recorded {
            unless_stopped(recorded.asked(frame))?;
        }
        if let Some(shown) = &mut self.shown {
            shown.asked(frame);
        }
        Ok(())
    }

    /// A message for the client has come; once what is recorded is flushed, it goes on.
    pub fn answered(&mut self, frame: &Frame) -> Result<(), StopRecording> {
        if let Some(recorded) = &mut self.recorded {
            unless_stopped(recorded.answered(frame))?;
        }
        if let Some(shown) = &mut self.shown {
            shown.answered(frame);
        }
        Ok(())
    }

    /// A message of the client has come: what rules make of it, and what of it goes on.
    pub fn asks(&mut self, frame: &Frame) -> Result<Asking, StopRecording> {
        self.asked(frame)?;
        self.flush()?;
        let Some(lied) = &mut self.lied else { return Ok(Asking::forward(frame)) };
        let asking = lied.asks(frame);
        if matches!(asking.fate, Fate::Forward(_)) {
            self.headers.extend(asking.headers.clone());
        }
        self.tell_of_rules();
        Ok(asking)
    }

    /// A message of the member has come.
    pub fn answers(&mut self, frame: &Frame) -> Answering {
        let Some(lied) = &mut self.lied else { return Answering::forward(frame) };
        let answering = lied.answers(frame);
        self.tell_of_rules();
        answering
    }

    /// The answer has ended; what was held back goes on.
    pub fn rest(&mut self) -> Vec<Out> {
        self.lied.as_mut().map(Lied::rest).unwrap_or_default()
    }

    /// What rules add to the answer's head.
    pub fn take_headers(&mut self) -> HeaderMap {
        std::mem::take(&mut self.headers)
    }

    /// A message is about to go to the client.
    pub fn passes(&mut self, out: &Out) -> Result<(), StopRecording> {
        let Out::Frame(frame) = out else { return Ok(()) };
        self.answered(frame)?;
        self.flush()
    }

    /// The call is over; once what is recorded is flushed, that may be told.
    pub fn ended(&mut self, ending: &Ending) -> Result<(), StopRecording> {
        if self.is_over {
            return Ok(());
        }
        self.is_over = true;
        if let Some(shown) = &mut self.shown {
            shown.over(ending);
        }
        self.recorded.as_mut().map_or(Ok(()), |recorded| recorded.over(ending))
    }

    /// The call is over.
    pub fn over(&mut self, ending: &Ending) -> Result<(), StopRecording> {
        if self.is_over {
            return Ok(());
        }
        self.ended(ending)?;
        self.flush()
    }

    fn flush(&self) -> Result<(), StopRecording> {
        self.recorded.as_ref().map_or(Ok(()), Recorded::flush)
    }

    fn tell_of_rules(&mut self) {
        if let (Some(lied), Some(shown)) = (&mut self.lied, &mut self.shown) {
            shown.struck(lied.take_struck());
        }
    }
}

fn unless_stopped(recorded: Result<(), Missing>) -> Result<(), StopRecording> {
    match recorded {
        Err(Missing::Stop) => return Err(StopRecording),
        Err(unreadable @ Missing::Unreadable { .. }) => tell(&unreadable.to_string()),
        Ok(()) => {}
    }
    Ok(())
}

impl Drop for Watched {
    fn drop(&mut self) {
        // What can't be written is told by whoever waits for the recording's end.
        let _ = self.over(&Ending::ClientBroke);
    }
}
