//! Moving the leadership: the leader is found and asked, and the new one is waited for.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{ALL, Probe, answers::line, exit_status};
use crate::{
    client::Client,
    exit::ExitStatus,
    health::on_each,
    probe::{
        arguments::{Output, services::MoveLeaderArguments},
        call::Call,
        error::{AskError, ProbeError},
        status::{self, Said},
        table::milliseconds,
    },
    proto::etcdserverpb as pb,
    types::MemberId,
};

const POLL: Duration = Duration::from_millis(10);

/// The members that answered, each with what it said of itself.
struct Members(Vec<(Client, Said)>);

impl Members {
    fn leader(&self) -> Option<&Client> {
        let leads = |said: &Said| said.status.leader == said.header.member_id;
        self.0.iter().find(|(_, said)| leads(said)).map(|(client, _)| client)
    }

    fn id(&self, client: &Client) -> Option<u64> {
        let is_it = |known: &Client| known.endpoint() == client.endpoint();
        self.0.iter().find(|(known, _)| is_it(known)).map(|(_, said)| said.header.member_id)
    }

    fn name(&self, id: u64) -> String {
        let known = self.0.iter().find(|(_, said)| said.header.member_id == id);
        known.map_or_else(|| MemberId(id).to_string(), |(client, _)| client.endpoint().name.clone())
    }
}

impl Probe<'_> {
    pub(super) async fn move_leader(
        &mut self,
        arguments: &MoveLeaderArguments,
    ) -> Result<ExitStatus, ProbeError> {
        let clients = self.clients(Some(ALL))?;
        let said = on_each(&clients, |client| status::said(client, self.tape.clone())).await;
        let (mut members, mut errors) = (Members(vec![]), vec![]);
        for (client, said) in clients.into_iter().zip(said) {
            match said {
                Ok(said) => members.0.push((client, said)),
                Err(error) => errors.push((client.endpoint().clone(), error)),
            }
        }
        let Some(leader) = members.leader().cloned() else {
            self.show_wire();
            for (endpoint, error) in &errors {
                self.show_error(endpoint, error);
            }
            self.printer
                .aside("error: none of the members that answered leads; name all members in --endpoints\n");
            let reasons: Vec<&AskError> = errors.iter().map(|(_, error)| error).collect();
            return Ok(match exit_status(&reasons, members.0.len() + reasons.len()) {
                ExitStatus::Holds => ExitStatus::Broken,
                status => status,
            });
        };
        let to = self.target(&arguments.to, &members)?;
        if members.id(&leader) == Some(to) {
            self.show_wire();
            let name = members.name(to);
            self.printer.aside(&format!("{name} leads already\n"));
            return Ok(ExitStatus::Holds);
        }
        self.hand_on(&members, &leader, to).await
    }

    /// The member that is meant, by any of its names or by its ID.
    fn target(&self, meant: &str, members: &Members) -> Result<u64, ProbeError> {
        let named = match self.clients(Some(meant)) {
            Ok(clients) => clients.first().and_then(|client| members.id(client)),
            Err(error) => match u64::from_str_radix(meant, 16) {
                Ok(id) => Some(id),
                Err(_) => return Err(error),
            },
        };
        named.ok_or_else(|| ProbeError::NoAnswer { name: meant.to_owned() })
    }

    async fn hand_on(
        &mut self,
        members: &Members,
        leader: &Client,
        to: u64,
    ) -> Result<ExitStatus, ProbeError> {
        let call =
            Call::new("/etcdserverpb.Maintenance/MoveLeader", &pb::MoveLeaderRequest { target_id: to });
        let begun = Instant::now();
        let asked = self.ask(std::slice::from_ref(leader), call).await;
        if asked[0].1.is_err() || matches!(self.output, Output::Proto | Output::Hex) {
            return self.show(&asked);
        }
        let term = self.until_it_leads(members, to).await;
        self.show_wire();
        let took = milliseconds(begun.elapsed());
        let (from, to) = (&leader.endpoint().name, members.name(to));
        let words = match (self.output, term) {
            (Output::Text, Some(term)) => {
                format!("{to} leads in term {term}, {took:.2} ms after {from} was asked\n")
            }
            (Output::Text, None) => format!("{from} agreed, but after {took:.2} ms {to} does not lead\n"),
            _ => line(&json!({ "from": from, "to": to, "term": term, "took_ms": took })),
        };
        self.printer.answer(words)?;
        Ok(if term.is_some() { ExitStatus::Holds } else { ExitStatus::Broken })
    }

    /// The term in which the member leads; none if it does not within a request's time.
    async fn until_it_leads(&self, members: &Members, to: u64) -> Option<u64> {
        let asked = members.0.iter().find(|(_, said)| said.header.member_id == to);
        let (client, _) = asked.or(members.0.first())?;
        let poll = async {
            loop {
                if let Ok(said) = status::said(client.clone(), self.tape.clone()).await
                    && said.status.leader == to
                {
                    return said.status.raft_term;
                }
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::time::timeout(client.deadline(), poll).await.ok()
    }
}
