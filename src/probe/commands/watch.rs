//! The command that watches: on one member, or on several at once with what they tell compared, until its end.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinSet};

use super::{
    Probe,
    answers::{framed, line},
    exit_status, requests,
};
use crate::{
    client::Client,
    exit::ExitStatus,
    operation::stream::{CreateWatch, Event},
    probe::{
        arguments::{
            Output,
            watch::{Filter, WatchArguments},
        },
        call::dynamic,
        descriptors,
        encoding::to_hex,
        error::{AskError, ProbeError},
        message, status,
        table::milliseconds,
        watch::{
            self, Report, Reported, Told, Wish,
            compare::{Comparison, Found},
            show,
        },
    },
    report::totals::counted,
    types::{Revision, WatchId},
};

/// Reports that wait to be shown; more wait at the member.
const REPORTS_AT_MOST: usize = 64;

/// What a watch has come to.
struct Watching {
    clients: Vec<Client>,
    begun: Instant,
    /// None if there is only one member.
    comparison: Option<Comparison>,
    over: Vec<bool>,
    /// Of each member.
    events: Vec<u64>,
    responses: u64,
    breaks: u64,
    /// Promises broken, watches cancelled, and revisions of which members told different things.
    wrong: u64,
    last: Revision,
    errors: Vec<AskError>,
}

impl Probe<'_> {
    pub(super) async fn watch(&mut self, arguments: &WatchArguments) -> Result<ExitStatus, ProbeError> {
        let clients = self.watch_clients(arguments)?;
        let wish = self.wish(arguments, &clients).await?;
        let members = clients.len();
        let mut watching = Watching {
            clients,
            begun: Instant::now(),
            comparison: (members > 1).then(|| Comparison::new(members)),
            over: vec![false; members],
            events: vec![0; members],
            responses: 0,
            breaks: 0,
            wrong: 0,
            last: Revision(0),
            errors: vec![],
        };
        let (sender, receiver) = mpsc::channel(REPORTS_AT_MOST);
        // Dropped at the end, it ends its tasks.
        let mut followers = JoinSet::new();
        for (place, client) in watching.clients.iter().enumerate() {
            let client =
                if arguments.require_leader { client.clone().with_require_leader() } else { client.clone() };
            followers.spawn(watch::follow(place, client, wish.clone(), self.tape.clone(), sender.clone()));
        }
        drop(sender);
        self.until_the_end(arguments, &mut watching, receiver).await?;
        self.show_wire();
        self.summary(&watching);
        Ok(watching.status())
    }

    fn watch_clients(&self, arguments: &WatchArguments) -> Result<Vec<Client>, ProbeError> {
        let first = self.client(arguments.member.as_deref());
        let mut clients = vec![first.map_err(|error| match error {
            ProbeError::OneMember => ProbeError::Nothing(
                "a watch is on one member; others are watched beside it with --also-on, such as --also-on all",
            ),
            error => error,
        })?];
        for also in &arguments.also_on {
            let known: Vec<_> = clients.iter().map(|client| client.endpoint().clone()).collect();
            let also = self.clients(Some(also))?;
            clients.extend(also.into_iter().filter(|client| !known.contains(client.endpoint())));
        }
        Ok(clients)
    }

    /// What is watched. Members that are compared must all start at one revision.
    async fn wish(&self, arguments: &WatchArguments, clients: &[Client]) -> Result<Wish, ProbeError> {
        let mut start = arguments.rev.map(Revision);
        if start.is_none() && clients.len() > 1 {
            let newest = status::newest_revision(clients, &self.tape).await;
            start = newest.map(|revision| Revision(revision + 1));
        }
        let create = CreateWatch {
            watch: WatchId(arguments.watch_id),
            keys: requests::keys(&arguments.keys, self.encoding)?,
            start,
            prev_kv: arguments.prev_kv,
            no_put: arguments.filter.contains(&Filter::NoPut),
            no_delete: arguments.filter.contains(&Filter::NoDelete),
            progress_notify: arguments.progress_notify,
            fragment: arguments.fragment,
        };
        Ok(Wish { create, ask_progress: arguments.ask_progress })
    }

    async fn until_the_end(
        &mut self,
        arguments: &WatchArguments,
        watching: &mut Watching,
        mut reports: mpsc::Receiver<Reported>,
    ) -> Result<(), ProbeError> {
        let end = tokio::time::sleep(arguments.duration.unwrap_or(Duration::MAX));
        let interrupted = tokio::signal::ctrl_c();
        tokio::pin!(end, interrupted);
        loop {
            let reported = tokio::select! {
                reported = reports.recv() => reported,
                () = &mut end => return Ok(()),
                interrupted = &mut interrupted => return interrupted.map_err(ProbeError::Runtime),
            };
            let Some((place, at, report)) = reported else { return Ok(()) };
            self.show_wire();
            self.report(watching, place, at, report)?;
            let enough = arguments.events.is_some_and(|events| watching.events() >= events);
            if enough || watching.over.iter().all(|over| *over) {
                return Ok(());
            }
        }
    }

    fn report(
        &mut self,
        watching: &mut Watching,
        place: usize,
        at: Instant,
        report: Report,
    ) -> Result<(), ProbeError> {
        let endpoint = watching.clients[place].endpoint().clone();
        let since = milliseconds(at.duration_since(watching.begun));
        let object = |more: Value| {
            let mut object = json!({ "member": endpoint.name, "at_ms": since });
            object
                .as_object_mut()
                .expect("it is one")
                .append(&mut more.as_object().cloned().unwrap_or_default());
            line(&object)
        };
        let head = format!("{} +{since:.1} ms", endpoint.name);
        match report {
            Report::Told(told) => {
                watching.count(place, &told);
                self.told(&told, &head, object)?;
                self.compare(watching, place, &told)?;
            }
            Report::Resumed { from } => self
                .words(&format!("{head}  resumed from revision {from}\n"), || {
                    object(json!({ "resumed_from": from }))
                })?,
            Report::Broke(error) => {
                watching.breaks += 1;
                self.words(&format!("{head}  broke: {}\n", error.reason()), || {
                    object(json!({ "broke": error.json(&endpoint) }))
                })?;
            }
            Report::Failed(error) => {
                self.show_error(&endpoint, &error);
                watching.errors.push(error);
                watching.end(place);
            }
            Report::Cancelled => {
                watching.wrong += 1;
                watching.end(place);
                self.words(&format!("{head}  !! the member has cancelled the watch\n"), || {
                    object(json!({ "cancelled": true }))
                })?;
            }
        }
        Ok(())
    }

    fn told(&mut self, told: &Told, head: &str, object: impl Fn(Value) -> String) -> Result<(), ProbeError> {
        let text = match self.output {
            Output::Text => {
                let response = show::response(&told.response, told.news.as_ref(), self.encoding);
                let breaches = told.breaches.iter();
                let breaches = breaches.map(|breach| format!("  !! {}: {}\n", breach.promise, breach.words));
                (format!("{head}  {response}") + &breaches.collect::<Vec<_>>().concat()).into()
            }
            Output::Json | Output::Jsonl => {
                let response =
                    descriptors::message("etcdserverpb.WatchResponse").expect("the protocol has it");
                let response =
                    dynamic(&response, &told.bytes).map(|told| message::json(&told, self.encoding));
                let broken = told.breaches.iter();
                let broken: Vec<Value> = broken
                    .map(|breach| json!({ "promise": breach.promise, "words": breach.words }))
                    .collect();
                object(json!({ "response": response.unwrap_or_default(), "broken": broken })).into()
            }
            Output::Proto => framed(&told.bytes),
            Output::Hex => (to_hex(&told.bytes) + "\n").into(),
        };
        self.printer.answer(text)
    }

    /// A line for people, or an object; what is no message has no bytes.
    fn words(&mut self, text: &str, object: impl FnOnce() -> String) -> Result<(), ProbeError> {
        match self.output {
            Output::Text => self.printer.answer(text),
            Output::Json | Output::Jsonl => self.printer.answer(object()),
            Output::Proto | Output::Hex => {
                self.printer.aside(text);
                Ok(())
            }
        }
    }

    fn compare(&mut self, watching: &mut Watching, place: usize, told: &Told) -> Result<(), ProbeError> {
        let (Some(comparison), Some(news)) = (&mut watching.comparison, &told.news) else { return Ok(()) };
        let found = comparison.take(place, &news.events, told.through);
        let name = |place: usize| watching.clients[place].endpoint().name.clone();
        for found in found {
            match found {
                Found::LeftBehind(place) => {
                    let name = name(place);
                    let text = format!("  !! {name} is too far behind; it is not compared any more\n");
                    self.words(&text, || line(&json!({ "left_behind": name })))?;
                }
                Found::Differ(revision, told) => {
                    watching.wrong += 1;
                    let shown = |events: &[Event]| match events {
                        [] => "nothing".to_owned(),
                        events => {
                            let events = events.iter().map(|event| show::event(event, self.encoding));
                            events.collect::<Vec<_>>().join("; ")
                        }
                    };
                    let each = told.iter().enumerate();
                    let each =
                        each.map(|(place, events)| format!("       {}: {}\n", name(place), shown(events)));
                    let lines = each.collect::<Vec<_>>().concat();
                    let text = format!("  !! members tell different events of revision {revision}\n{lines}");
                    self.words(&text, || line(&json!({ "differ_at": revision, "told": told })))?;
                }
            }
        }
        Ok(())
    }

    fn summary(&mut self, watching: &Watching) {
        let Watching { responses, breaks, wrong, last, .. } = watching;
        let mut words = vec![counted(*responses, "response"), counted(watching.events(), "event")];
        words.extend((last.0 > 0).then(|| format!("up to revision {last}")));
        words.extend((*breaks > 0).then(|| counted(*breaks, "break")));
        if let Some(comparison) = &watching.comparison {
            words.push(format!("{} compared", counted(comparison.compared(), "revision")));
            let left = comparison.left();
            words.extend((left > 0).then(|| format!("{left} not told by all members")));
        }
        let words = words.join(", ");
        let verdict = match (wrong, responses) {
            (0, 0) => "nothing was told".to_owned(),
            (0, _) => "nothing wrong".to_owned(),
            _ => format!("{} wrong", counted(*wrong, "thing")),
        };
        self.printer.aside(&format!("{words}: {verdict}\n"));
    }
}

impl Watching {
    fn count(&mut self, place: usize, told: &Told) {
        self.responses += 1;
        self.wrong += told.breaches.len() as u64;
        let events = told.news.iter().flat_map(|news| &news.events);
        self.last = events.map(|event| event.kv.mod_revision).max().unwrap_or_default().max(self.last);
        self.events[place] += told.response.events.len() as u64;
    }

    /// How many there are; the same come from each member.
    fn events(&self) -> u64 {
        self.events.iter().copied().max().unwrap_or_default()
    }

    fn end(&mut self, place: usize) {
        self.over[place] = true;
        if let Some(comparison) = &mut self.comparison {
            comparison.leave(place);
        }
    }

    fn status(&self) -> ExitStatus {
        let errors: Vec<&AskError> = self.errors.iter().collect();
        match exit_status(&errors, self.clients.len()) {
            ExitStatus::Holds if self.wrong > 0 => ExitStatus::Broken,
            status => status,
        }
    }
}
