//! The commands that compare members: status and hash.

use std::collections::BTreeSet;

use super::{ALL, Probe, answers::line, exit_status};
use crate::{
    client::Client,
    exit::ExitStatus,
    probe::{
        arguments::{
            Output,
            requests::{HashArguments, StatusArguments},
        },
        error::{AskError, ProbeError},
        status::{self, Compare, HashVerdict},
    },
    proto::etcdserverpb as pb,
};

impl Probe<'_> {
    pub(super) async fn status(&mut self, arguments: &StatusArguments) -> Result<ExitStatus, ProbeError> {
        if matches!(self.output, Output::Proto | Output::Hex) {
            return Err(ProbeError::NoBytes { command: "status" });
        }
        let clients = self.clients(Some(ALL))?;
        let Some(every) = arguments.watch else { return self.status_once(&clients, arguments, "").await };
        let interrupted = tokio::signal::ctrl_c();
        tokio::pin!(interrupted);
        let mut last = ExitStatus::Interrupted;
        loop {
            // On a terminal each one takes the place of the one before.
            let before = if self.look.width.is_some() { "\x1b[H\x1b[2J" } else { "" };
            tokio::select! {
                status = self.status_once(&clients, arguments, before) => last = status?,
                _ = &mut interrupted => return Ok(last),
            }
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                _ = &mut interrupted => return Ok(last),
            }
        }
    }

    async fn status_once(
        &mut self,
        clients: &[Client],
        arguments: &StatusArguments,
        before: &str,
    ) -> Result<ExitStatus, ProbeError> {
        let compare = match (arguments.hash, arguments.no_hash) {
            (true, _) => Compare::Hashes,
            (false, true) => Compare::Revisions,
            (false, false) => Compare::HashesIfSmall,
        };
        let members = status::ask(clients, &self.tape, compare).await;
        let verdict = status::judge(&members);
        let errors: Vec<&AskError> = members.iter().filter_map(|member| member.said.as_ref().err()).collect();
        let status = match exit_status(&errors, members.len()) {
            ExitStatus::Holds if !verdict.problems.is_empty() => ExitStatus::Broken,
            status => status,
        };
        let answer = match self.output {
            Output::Text => {
                let table = status::table(&members).render(self.look);
                format!("{before}{table}\n\n{}", status::words(&members, &verdict, self.look.colour))
            }
            _ => line(&status::json(&members, &verdict)),
        };
        self.show_wire();
        self.printer.answer(answer)?;
        Ok(status)
    }

    pub(super) async fn hash(&mut self, arguments: &HashArguments) -> Result<ExitStatus, ProbeError> {
        let clients = self.clients(Some(arguments.member.as_deref().unwrap_or(ALL)))?;
        let revision = match arguments.rev {
            Some(revision) => revision,
            // Where no member answers, the answers to come say so; 0 is each member's newest.
            None => status::common_revision(&clients, &self.tape).await.unwrap_or(0),
        };
        let asked = self.ask(&clients, status::hash_call(revision)).await;
        let hashes: Vec<pb::HashKvResponse> =
            asked.iter().filter_map(|(_, answer)| answer.as_ref().ok()?.decode().ok()).collect();
        let status = self.show(&asked)?;
        // Hashes of different revisions have nothing to do with each other.
        let verdict =
            if revision == 0 { HashVerdict::NothingToCompare } else { status::compare_hashes(&hashes) };
        let clusters: BTreeSet<u64> =
            hashes.iter().filter_map(|hash| hash.header.as_ref()).map(|header| header.cluster_id).collect();
        let words = match verdict {
            _ if clusters.len() > 1 => "not comparable: they are members of different clusters",
            HashVerdict::NothingToCompare => "nothing to compare",
            HashVerdict::Equal if hashes.len() < asked.len() => "equal on the members that answered",
            HashVerdict::Equal => "equal",
            HashVerdict::Unequal => "unequal, although compacted alike: members hold different data",
            HashVerdict::CompactedDifferently => "not comparable: members have compacted differently",
        };
        if self.output == Output::Text && !hashes.is_empty() {
            self.printer.answer(format!("\nhashes at revision {revision}: {words}\n"))?;
        }
        Ok(if verdict == HashVerdict::Unequal || clusters.len() > 1 { ExitStatus::Broken } else { status })
    }
}
