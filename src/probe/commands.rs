//! What each command does. In go the arguments, out come the text for the standard output and the standard error
//! and the exit status. Nothing is printed here, and no runtime is started.

mod requests;

use serde_json::{Map, Value, json};

use super::{
    arguments::{Arguments, Command, HashArguments, Output},
    call::{Answer, Call},
    encoding::Encoding,
    error::{AskError, ProbeError},
    message,
    status::{self, HashVerdict},
    table::{Look, SideBySide, milliseconds},
    tap::Tape,
    wire,
};
use crate::{
    client::Client,
    exit::ExitStatus,
    health::on_each,
    proto::etcdserverpb as pb,
    settings::{Endpoint, Settings},
};

const LOGIN_NOT_SHOWN: &str = "\
── not shown: where the member has authentication on, a call of /etcdserverpb.Auth/Authenticate comes first, and
   the token that it gives goes along in a header
";

/// What a command leaves.
#[derive(Debug)]
pub struct Finished {
    /// For the standard output.
    pub answer: String,
    /// For the standard error.
    pub asides: String,
    /// For the caller.
    pub status: ExitStatus,
}

/// What all commands share.
struct Probe {
    settings: Settings,
    tape: Tape,
    output: Output,
    encoding: Encoding,
    look: Look,
}

/// A member's answer, or why there is none.
type Asked = (Endpoint, Result<Answer, AskError>);

/// Does what the arguments say.
pub async fn run(arguments: Arguments, look: Look) -> Result<Finished, ProbeError> {
    let Arguments { connection, shown, command } = arguments;
    let probe = Probe {
        settings: connection.settings()?,
        tape: if shown.wire { Tape::running() } else { Tape::default() },
        output: shown.output,
        encoding: shown.encoding(),
        look,
    };
    let mut finished = probe.run(&command).await?;
    let mut wire = wire::render(&probe.tape.take());
    if shown.wire && probe.settings.user.is_some() {
        wire.push_str(LOGIN_NOT_SHOWN);
    }
    finished.asides.insert_str(0, &wire);
    Ok(finished)
}

impl Probe {
    async fn run(&self, command: &Command) -> Result<Finished, ProbeError> {
        let (member, call) = match command {
            Command::Status => return self.status().await,
            Command::Hash(arguments) => return self.hash(arguments).await,
            Command::Put(arguments) => (&arguments.asked.member, requests::put(arguments, self.encoding)?),
            Command::Range(arguments) => {
                (&arguments.asked.member, requests::range(arguments, self.encoding)?)
            }
            Command::Delete(arguments) => {
                (&arguments.asked.member, requests::delete(arguments, self.encoding)?)
            }
            Command::Txn(arguments) => (&arguments.asked.member, requests::txn(arguments, self.encoding)?),
        };
        let clients = self.clients(member.as_deref().unwrap_or("0"))?;
        Ok(self.finish(&self.ask(&clients, call).await))
    }

    /// The clients of the members that are meant.
    fn clients(&self, member: &str) -> Result<Vec<Client>, ProbeError> {
        let endpoints = &self.settings.endpoints;
        let is_meant = |(place, endpoint): &(usize, &Endpoint)| {
            member == "all"
                || [endpoint.name.as_str(), &endpoint.to_string(), &place.to_string()].contains(&member)
        };
        let meant: Vec<&Endpoint> =
            endpoints.iter().enumerate().filter(is_meant).map(|(_, endpoint)| endpoint).collect();
        if meant.is_empty() {
            let known: Vec<&str> = endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect();
            return Err(ProbeError::NoSuchMember { name: member.to_owned(), known: known.join(", ") });
        }
        Ok(meant
            .into_iter()
            .map(|endpoint| Client::new(endpoint, &self.settings))
            .collect::<Result<_, _>>()?)
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

    fn finish(&self, asked: &[Asked]) -> Finished {
        let answer = match self.output {
            Output::Text => self.answers_table(asked),
            Output::Json => line(&Value::Object(self.answers_json(asked))),
        };
        let errors =
            asked.iter().filter_map(|(endpoint, answer)| Some(error_line(endpoint, answer.as_ref().err()?)));
        let asides = errors.collect();
        let errors: Vec<&AskError> = asked.iter().filter_map(|(_, answer)| answer.as_ref().err()).collect();
        Finished { answer, asides, status: exit_status(&errors, asked.len()) }
    }

    /// The members that answered, side by side.
    fn answers_table(&self, asked: &[Asked]) -> String {
        let answered: Vec<_> =
            asked.iter().filter_map(|(endpoint, answer)| Some((endpoint, answer.as_ref().ok()?))).collect();
        if answered.is_empty() {
            return String::new();
        }
        let heads = answered
            .iter()
            .map(|(endpoint, answer)| format!("{} ({:.2} ms)", endpoint.name, milliseconds(answer.took)));
        let mut table = SideBySide::new(heads.collect());
        for (column, (_, answer)) in answered.iter().enumerate() {
            if let Ok(answer) = answer.dynamic() {
                table.merge(column, message::rows(&answer, self.encoding), |label| label != "member_id");
            }
        }
        table.render(self.look) + "\n"
    }

    fn answers_json(&self, asked: &[Asked]) -> Map<String, Value> {
        let one = |endpoint: &Endpoint, answer: &Result<Answer, AskError>| {
            let read = answer.as_ref().map(|answer| (answer.dynamic(), answer.took));
            match read {
                Ok((Ok(answer), took)) => json!({
                    "answer": message::json(&answer, self.encoding),
                    "took_ms": milliseconds(took),
                }),
                Ok((Err(error), _)) => json!({ "error": error.json(endpoint) }),
                Err(error) => json!({ "error": error.json(endpoint) }),
            }
        };
        asked.iter().map(|(endpoint, answer)| (endpoint.name.clone(), one(endpoint, answer))).collect()
    }

    async fn status(&self) -> Result<Finished, ProbeError> {
        let clients = self.clients("all")?;
        let members = status::ask(&clients, &self.tape).await;
        let verdict = status::judge(&members);
        let errors: Vec<&AskError> = members.iter().filter_map(|member| member.said.as_ref().err()).collect();
        let status = match exit_status(&errors, members.len()) {
            ExitStatus::Holds if !verdict.problems.is_empty() => ExitStatus::Broken,
            status => status,
        };
        let answer = match self.output {
            Output::Json => line(&status::json(&members, &verdict)),
            Output::Text => {
                let table = status::table(&members).render(self.look);
                format!("{table}\n\n{}", status::words(&members, &verdict))
            }
        };
        Ok(Finished { answer, asides: String::new(), status })
    }

    async fn hash(&self, arguments: &HashArguments) -> Result<Finished, ProbeError> {
        let clients = self.clients(arguments.member.as_deref().unwrap_or("all"))?;
        let revision = match arguments.rev {
            Some(revision) => revision,
            // Where a member does not answer, the answers to come say so; 0 is each member's newest.
            None => status::common_revision(&clients, &self.tape).await.unwrap_or(0),
        };
        let asked = self.ask(&clients, status::hash_call(revision)).await;
        let hashes: Vec<pb::HashKvResponse> =
            asked.iter().filter_map(|(_, answer)| answer.as_ref().ok()?.decode().ok()).collect();
        let mut finished = self.finish(&asked);
        // Hashes of different revisions have nothing to do with each other.
        let verdict =
            if revision == 0 { HashVerdict::NothingToCompare } else { status::compare_hashes(&hashes) };
        let words = match verdict {
            HashVerdict::NothingToCompare => "nothing to compare",
            HashVerdict::Equal => "equal",
            HashVerdict::Unequal => "unequal, although compacted alike: members hold different data",
            HashVerdict::CompactedDifferently => "not comparable: members have compacted differently",
        };
        if verdict == HashVerdict::Unequal {
            finished.status = ExitStatus::Broken;
        }
        if self.output == Output::Text && !hashes.is_empty() {
            let verdict = format!("\nhashes at revision {revision}: {words}\n");
            finished.answer.push_str(&verdict);
        }
        Ok(finished)
    }
}

fn error_line(endpoint: &Endpoint, error: &AskError) -> String {
    format!("error: {}\n", error.line(endpoint))
}

fn line(value: &Value) -> String {
    format!("{value}\n")
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
