//! Lies by rules: what the proxy does to the calls that a rule is about. In go the messages of a call, out come plans:
//! what goes on in their place, after which time, and how the call ends if it ends here. It sends nothing itself.
//! Whether a rule strikes depends on its count and the seed alone, so that the same calls in the same order meet the
//! same lies.

mod answer;
pub mod edit;
pub mod parse;
mod path;
mod pretend;
pub mod rule;
mod world;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use prost::Message as _;
use prost_reflect::{DynamicMessage, MethodDescriptor, ReflectMessage as _, Value};
use tonic::codegen::http::HeaderMap;

use self::{
    answer::Held,
    rule::{After, Before, End, Rule},
    world::{Asked, World},
};
use crate::probe::{descriptors, wire::Frame};

/// The rules of a proxy and what it has learnt.
#[derive(Debug)]
pub struct Lies {
    rules: Vec<Rule>,
    seed: u64,
    world: World,
    /// Whether some rule makes up answers.
    makes_up: bool,
}

/// A call that rules may be about.
pub struct Lied {
    lies: Arc<Lies>,
    /// Places of the rules that are about it.
    rules: Vec<usize>,
    member: String,
    path: String,
    method: MethodDescriptor,
    /// The last request that could be read; of a stream of watches, the last that created one.
    asked: Option<DynamicMessage>,
    /// What rules that struck at the request have in mind for the next answer: rule, occasion, actions.
    due: Vec<(usize, u64)>,
    held: Held,
    keep: Option<Asked>,
    /// Numbers of the rules that struck, until they are taken.
    struck: Vec<usize>,
}

/// What becomes of a request, or of a message of one.
#[derive(Debug)]
pub struct Asking {
    /// First it waits.
    pub delay: Duration,
    /// Then this.
    pub fate: Fate,
    /// The answer's head has these.
    pub headers: HeaderMap,
    /// New calls are to go over another connection.
    pub goaway: bool,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Fate {
    /// This goes on.
    Forward(Frame),
    /// Nothing goes on, and this is the answer.
    Answer(Vec<Out>),
    /// Nothing goes on.
    End(End),
}

/// What becomes of an answer, or of a message of one.
#[derive(Debug, Default)]
pub struct Answering {
    /// First it waits.
    pub delay: Duration,
    /// Then this goes on.
    pub out: Vec<Out>,
    /// Then the call ends so, if it ends here.
    pub end: Option<End>,
}

/// Something that goes to the client.
#[derive(Clone, Debug)]
pub enum Out {
    /// A message.
    Frame(Frame),
    /// The beginning of one whose end never comes.
    CutOff(Bytes),
}

impl Asking {
    /// It goes on as it came.
    pub fn forward(frame: &Frame) -> Self {
        let fate = Fate::Forward(frame.clone());
        Self { delay: Duration::ZERO, fate, headers: HeaderMap::new(), goaway: false }
    }
}

impl Answering {
    /// It goes on as it came.
    pub fn forward(frame: &Frame) -> Self {
        Self { out: vec![Out::Frame(frame.clone())], ..Self::default() }
    }
}

impl Lies {
    /// These rules, with this seed for what looks random.
    pub fn new(rules: Vec<Rule>, seed: u64) -> Arc<Self> {
        let makes_up = rules
            .iter()
            .flat_map(|rule| &rule.before)
            .any(|action| matches!(action, Before::Pretend | Before::Stale(_)));
        Arc::new(Self { rules, seed, world: World::default(), makes_up })
    }

    /// Whether answers are made up, for which members have to be known.
    pub fn makes_up(&self) -> bool {
        self.makes_up
    }

    /// Learns from a member's answer what answers that are made up begin with.
    pub fn meet(&self, member: &str, answer: &Frame) {
        self.world.learn(member, answer);
    }

    /// A call of this path at this member; none if nothing can become of it here.
    pub fn begin(self: &Arc<Self>, member: &str, path: &str) -> Option<Lied> {
        let is_about = |place: &usize| self.rules[*place].is_about(member, path);
        let rules: Vec<usize> = (0..self.rules.len()).filter(is_about).collect();
        if rules.is_empty() && !self.makes_up {
            return None;
        }
        Some(Lied {
            lies: Arc::clone(self),
            rules,
            member: member.to_owned(),
            path: path.to_owned(),
            method: descriptors::method(path)?,
            asked: None,
            due: vec![],
            held: Held::default(),
            keep: None,
            struck: vec![],
        })
    }

    /// How often each rule struck, by its number, and on how many occasions.
    pub fn counts(&self) -> impl Iterator<Item = (usize, rule::Counts)> {
        self.rules.iter().map(|rule| (rule.number, rule.counts()))
    }
}

impl Lied {
    /// The numbers of the rules that struck since this was asked last.
    pub fn take_struck(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.struck)
    }

    /// A message of the client.
    pub fn asks(&mut self, frame: &Frame) -> Asking {
        let mut asking = Asking::forward(frame);
        let Some(mut message) = decode(frame, self.method.input()) else { return asking };
        if self.asked.is_none() || creates(&message) {
            self.asked = Some(message.clone());
        }
        let lies = Arc::clone(&self.lies);
        for rule in self.rules.clone().into_iter().map(|place| &lies.rules[place]) {
            if rule.before.is_empty() || !rule.holds(Some(&message), None) {
                continue;
            }
            let Some(occasion) = rule.strikes(lies.seed) else { continue };
            self.struck.push(rule.number);
            self.due.push((rule.number - 1, occasion));
            for (which, action) in (0..).zip(&rule.before) {
                let draw = rule.draw(lies.seed, occasion, which + 1);
                self.before(action, draw, &mut message, frame, &mut asking);
            }
            if !matches!(asking.fate, Fate::Forward(_)) {
                return asking;
            }
            asking.fate = Fate::Forward(encoded(&message));
        }
        asking
    }

    fn before(
        &mut self,
        action: &Before,
        draw: u64,
        message: &mut DynamicMessage,
        frame: &Frame,
        asking: &mut Asking,
    ) {
        match action {
            Before::Delay(span) => asking.delay += span.at(draw),
            Before::Ask(edit) => edit.apply(message),
            Before::Stale(revisions) => {
                let newest = self.lies.world.revision();
                if newest > 0 {
                    message.set_field_by_name("revision", Value::I64((newest - revisions).max(1)));
                }
            }
            Before::End(end) => asking.fate = Fate::End(end.clone()),
            Before::GoAway => asking.goaway = true,
            Before::Header(name, value) => drop(asking.headers.insert(name.clone(), value.clone())),
            Before::Pretend => {
                let pretended = pretend::answer(&self.method, message, &self.member, &self.lies.world, draw);
                if let Some(answer) = pretended {
                    let Answering { delay, out, .. } = self.answers(&encoded(&answer));
                    asking.delay += delay;
                    asking.fate = Fate::Answer(out);
                }
            }
            Before::Replay => {
                let asked = (self.member.clone(), self.path.clone(), frame.message.clone());
                match self.lies.world.kept(&asked) {
                    Some(kept) => {
                        let Answering { delay, out, .. } = self.answers(&kept);
                        asking.delay += delay;
                        asking.fate = Fate::Answer(out);
                    }
                    None => self.keep = Some(asked),
                }
            }
        }
    }

    /// A message of the member.
    pub fn answers(&mut self, frame: &Frame) -> Answering {
        if self.lies.makes_up {
            self.lies.world.learn(&self.member, frame);
        }
        if let Some(asked) = self.keep.take() {
            self.lies.world.keep(asked, frame);
        }
        let Some(message) = decode(frame, self.method.output()) else { return Answering::forward(frame) };
        let mut answering = Answering::default();
        let striking = self.striking(&message);
        let lies = Arc::clone(&self.lies);
        let mut work = self.held.begin(message);
        for (place, occasion) in striking {
            let rule = &lies.rules[place];
            for (which, action) in (0..).zip(&rule.after) {
                let draw = rule.draw(lies.seed, occasion, which + 1001);
                match action {
                    After::Delay(span) => answering.delay += span.at(draw),
                    After::End(end) => answering.end = Some(end.clone()),
                    action => work.change(action, draw),
                }
            }
        }
        answering.end = answering.end.or(work.end());
        answering.out = self.held.finish(work);
        // What ends with an error has no answer.
        if !matches!(answering.end, None | Some(End::HalfClose)) {
            answering.out.clear();
        }
        answering
    }

    /// What was held back when the answer ended.
    pub fn rest(&mut self) -> Vec<Out> {
        self.held.rest()
    }

    /// The rules whose actions this answer meets, each with the occasion's number.
    fn striking(&mut self, message: &DynamicMessage) -> Vec<(usize, u64)> {
        let mut striking = std::mem::take(&mut self.due);
        for place in self.rules.clone() {
            let rule = &self.lies.rules[place];
            if !rule.before.is_empty() || !rule.holds(self.asked.as_ref(), Some(message)) {
                continue;
            }
            if let Some(occasion) = rule.strikes(self.lies.seed) {
                self.struck.push(rule.number);
                striking.push((place, occasion));
            }
        }
        striking
    }
}

/// Whether what is answered from now on may be about this request: on a stream of watches, one that asks how far they
/// are or cancels one is not what their events are about.
fn creates(request: &DynamicMessage) -> bool {
    let field = request.descriptor().get_field_by_name("create_request");
    field.is_none_or(|field| request.has_field(&field))
}

fn decode(frame: &Frame, descriptor: prost_reflect::MessageDescriptor) -> Option<DynamicMessage> {
    if frame.flag != 0 {
        return None;
    }
    DynamicMessage::decode(descriptor, frame.message.clone()).ok()
}

fn encoded(message: &DynamicMessage) -> Frame {
    Frame { flag: 0, message: message.encode_to_vec().into() }
}
