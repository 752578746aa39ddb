//! What each command does. In go the arguments, out come lines on a printer and the exit status.
//! No runtime is started here, and what words look like is decided elsewhere.

mod answers;
mod bench;
mod capabilities;
mod diff;
mod history;
mod keep_alive;
mod leader;
mod requests;
mod services;
mod snapshot;
mod status;
mod tools;
mod watch;

use super::{
    arguments::{Arguments, Command, Output},
    call::{Answer, Call},
    encoding::Encoding,
    error::{AskError, ProbeError},
    printer::Printer,
    proxy::{self, show::Form},
    table::Look,
    wire::Transcript,
};
use crate::{
    client::{Client, tap::Tape},
    exit::ExitStatus,
    health::on_each,
    settings::{Endpoint, Settings},
};

const LOGIN_NOT_SHOWN: &str = "\
── not shown: where the member has authentication on, a call of /etcdserverpb.Auth/Authenticate comes first, and
   the token that it gives goes along in a header
";
/// The word for all members.
const ALL: &str = "all";

/// What all commands share.
struct Probe<'a> {
    settings: Settings,
    tape: Tape,
    transcript: Transcript,
    output: Output,
    wire: bool,
    encoding: Encoding,
    look: Look,
    printer: Printer<'a>,
}

/// A member's answer, or why there is none.
type Asked = (Endpoint, Result<Answer, AskError>);

/// Does what the arguments say.
pub async fn run(arguments: Arguments, look: Look, printer: Printer<'_>) -> Result<ExitStatus, ProbeError> {
    let Arguments { connection, shown, command } = arguments;
    let mut probe = Probe {
        settings: connection.settings()?,
        tape: if shown.wire { Tape::running() } else { Tape::default() },
        transcript: Transcript::default(),
        output: shown.output,
        wire: shown.wire,
        encoding: shown.encoding(),
        look,
        printer,
    };
    let done = probe.run(&command).await;
    probe.show_wire();
    let last_words = probe.transcript.finish();
    probe.printer.aside(&last_words);
    if shown.wire && probe.settings.user.is_some() {
        probe.printer.aside(LOGIN_NOT_SHOWN);
    }
    done
}

impl Probe<'_> {
    async fn run(&mut self, command: &Command) -> Result<ExitStatus, ProbeError> {
        match command {
            Command::Proxy(arguments) => {
                let json = self.output != Output::Text;
                let form = Form { encoding: self.encoding, json, wire: self.wire };
                proxy::run(arguments, &self.settings, form).await
            }
            Command::Status(arguments) => self.status(arguments).await,
            Command::Diff(arguments) => self.diff(arguments).await,
            Command::History(arguments) => self.history(arguments).await,
            Command::Hash(arguments) => self.hash(arguments).await,
            Command::Put(arguments) => {
                self.call(&arguments.asked, requests::put(arguments, self.encoding)?).await
            }
            Command::Range(arguments) => {
                self.call(&arguments.asked, requests::range(arguments, self.encoding)?).await
            }
            Command::Delete(arguments) => {
                self.call(&arguments.asked, requests::delete(arguments, self.encoding)?).await
            }
            Command::Txn(arguments) => {
                self.call(&arguments.asked, requests::txn(arguments, self.encoding)?).await
            }
            Command::Compact(arguments) => self.call(&arguments.asked, requests::compact(arguments)).await,
            Command::Lease(command) => self.lease(command).await,
            Command::Capabilities(arguments) => self.capabilities(arguments).await,
            Command::Bench(arguments) => self.bench(arguments).await,
            Command::Decode(arguments) => self.decode(arguments),
            Command::Encode(arguments) => self.encode(arguments),
            Command::Completions(arguments) => self.completions(arguments),
            Command::Watch(arguments) => self.watch(arguments).await,
            Command::Members(arguments) => self.call(&arguments.asked, services::members(arguments)).await,
            Command::Alarm(arguments) => self.alarm(arguments).await,
            Command::Defragment(arguments) => self.defragment(arguments).await,
            Command::Snapshot(arguments) => self.snapshot(arguments).await,
            Command::MoveLeader(arguments) => self.move_leader(arguments).await,
        }
    }

    /// Sends one request to the members that are meant, at once, and shows their answers.
    async fn call(
        &mut self,
        asked: &super::arguments::requests::Asked,
        call: Call,
    ) -> Result<ExitStatus, ProbeError> {
        let clients = self.clients(asked.member.as_deref())?;
        let asked = self.ask(&clients, call).await;
        self.show(&asked)
    }

    /// The clients of the members that are meant; of the first one if nothing is said.
    fn clients(&self, member: Option<&str>) -> Result<Vec<Client>, ProbeError> {
        let meant = self.endpoints(member.unwrap_or("0"))?;
        let clients = meant.into_iter().map(|endpoint| self.client_of(endpoint));
        clients.collect()
    }

    /// A client of this member.
    fn client_of(&self, endpoint: &Endpoint) -> Result<Client, ProbeError> {
        Ok(Client::new(endpoint, &self.settings)?.with_tape(self.tape.clone()))
    }

    /// The client of the member that is meant.
    fn client(&self, member: Option<&str>) -> Result<Client, ProbeError> {
        let clients = self.clients(member)?;
        match <[Client; 1]>::try_from(clients) {
            Ok([client]) => Ok(client),
            Err(_) => Err(ProbeError::OneMember),
        }
    }

    fn endpoints(&self, member: &str) -> Result<Vec<&Endpoint>, ProbeError> {
        let endpoints = &self.settings.endpoints;
        let is_meant = |(place, endpoint): &(usize, &Endpoint)| {
            member == ALL
                || [endpoint.name.as_str(), &endpoint.to_string(), &place.to_string()].contains(&member)
        };
        let meant: Vec<&Endpoint> =
            endpoints.iter().enumerate().filter(is_meant).map(|(_, endpoint)| endpoint).collect();
        if meant.is_empty() {
            let known: Vec<&str> = endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect();
            return Err(ProbeError::NoSuchMember { name: member.to_owned(), known: known.join(", ") });
        }
        Ok(meant)
    }

    /// Asks these members at once.
    async fn ask(&self, clients: &[Client], call: Call) -> Vec<Asked> {
        let answers = on_each(clients, |client| {
            let (call, tape) = (call.clone(), self.tape.clone());
            async move {
                let answer = call.send(&client, &tape).await?;
                // Found out here, so that an answer that can't be read is an error of its member.
                answer.dynamic().map(|_| answer)
            }
        });
        clients.iter().map(|client| client.endpoint().clone()).zip(answers.await).collect()
    }

    /// Shows what has passed on the wire and was not shown yet.
    fn show_wire(&mut self) {
        let passed = self.transcript.show(&self.tape.take());
        self.printer.aside(&passed);
    }
}

/// The exit status for these errors of so many members that were asked.
fn exit_status(errors: &[&AskError], asked: usize) -> ExitStatus {
    let are = |what: fn(&AskError) -> bool| errors.len() == asked && errors.iter().all(|error| what(error));
    if errors.is_empty() {
        ExitStatus::Holds
    } else if are(AskError::is_login_refused) {
        ExitStatus::Usage
    } else if are(AskError::is_unreachable) {
        ExitStatus::Unreachable
    } else {
        ExitStatus::Broken
    }
}
