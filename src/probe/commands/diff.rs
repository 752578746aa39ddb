//! The command that says which keys differ between members, and since which revision.

use serde_json::{Value, json};

use super::{ALL, Probe, answers::line, exit_status, history::pair};
use crate::{
    client::Client,
    exit::ExitStatus,
    health::on_each,
    probe::{
        arguments::{Output, requests::DiffArguments},
        ask,
        diff::{Difference, Members, Since, Unasked},
        error::{AskError, ProbeError},
        status::{self, HashVerdict, Said},
        table::SideBySide,
        watch::show,
    },
    report::totals::counted,
    types::{ClusterId, Revision},
};

/// A compaction may come in between, after which all begins anew.
const ATTEMPTS: usize = 4;

/// What was found.
struct Findings {
    at: Revision,
    oldest: Revision,
    hashes: HashVerdict,
    /// From which revision on the hashes differ.
    hashes_since: Option<Since>,
    /// The revision at which keys were compared; none if equal hashes made that needless.
    keys_at: Option<Revision>,
    compared: u64,
    /// The first ones, as many as were asked for.
    differences: Vec<(Difference, Since)>,
    /// All of them.
    count: u64,
}

impl Probe<'_> {
    pub(super) async fn diff(&mut self, arguments: &DiffArguments) -> Result<ExitStatus, ProbeError> {
        if matches!(self.output, Output::Proto | Output::Hex) {
            return Err(ProbeError::NoBytes { command: "diff" });
        }
        let asked = self.clients(Some(ALL))?;
        let said = on_each(&asked, |client| status::said(client, self.tape.clone())).await;
        let (mut clients, mut answers, mut errors) = (vec![], vec![], vec![]);
        for (client, said) in asked.into_iter().zip(said) {
            match said {
                Ok(said) => {
                    clients.push(client);
                    answers.push(said);
                }
                Err(error) => {
                    self.show_error(client.endpoint(), &error);
                    errors.push(error);
                }
            }
        }
        let silent: Vec<&AskError> = errors.iter().collect();
        let status = exit_status(&silent, clients.len() + errors.len());
        if clients.len() < 2 {
            self.printer.aside("error: there are no two members that answer, so nothing can be compared\n");
            return Ok(if status == ExitStatus::Holds { ExitStatus::Usage } else { status });
        }
        self.note_other_clusters(&clients, &answers);
        let found = self.search(arguments, &clients).await;
        self.show_wire();
        match found {
            Err(Unasked { endpoint, error }) => {
                self.show_error(&endpoint, &error);
                Ok(ExitStatus::Broken)
            }
            Ok(findings) => {
                self.show_findings(&clients, &findings)?;
                let differ = findings.count > 0 || findings.hashes == HashVerdict::Unequal;
                Ok(if differ { ExitStatus::Broken } else { status })
            }
        }
    }

    fn note_other_clusters(&mut self, clients: &[Client], answers: &[Said]) {
        let ours = answers[0].header.cluster_id;
        for (client, said) in clients.iter().zip(answers).filter(|(_, said)| said.header.cluster_id != ours) {
            let (name, theirs) = (&client.endpoint().name, ClusterId(said.header.cluster_id));
            let note = format!("note: {name} is of another cluster, {theirs}, not {}\n", ClusterId(ours));
            self.printer.aside(&note);
        }
    }

    /// Searches, and anew where a compaction came in between.
    async fn search(&self, arguments: &DiffArguments, clients: &[Client]) -> Result<Findings, Unasked> {
        let members = Members::new(clients, &self.tape);
        let mut attempt = 1;
        loop {
            let at = match arguments.rev {
                Some(revision) => Revision(revision),
                None => members.common().await?,
            };
            match self.search_once(arguments, &members, at).await {
                Err(Unasked { error, .. }) if ask::is_compacted(&error) && attempt < ATTEMPTS => attempt += 1,
                found => return found,
            }
        }
    }

    async fn search_once(
        &self,
        arguments: &DiffArguments,
        members: &Members<'_>,
        at: Revision,
    ) -> Result<Findings, Unasked> {
        let oldest = members.oldest(at).await?;
        let mut found = Findings {
            at,
            oldest,
            hashes: HashVerdict::NothingToCompare,
            hashes_since: None,
            keys_at: None,
            compared: 0,
            differences: vec![],
            count: 0,
        };
        // Some servers have no hash at the very revision that they are compacted at.
        if at > oldest {
            found.hashes = members.settled_hashes(at).await?;
        }
        if found.hashes == HashVerdict::Equal && !arguments.all_keys {
            return Ok(found);
        }
        if found.hashes == HashVerdict::Unequal {
            found.hashes_since = Some(members.hashes_since(oldest, at).await?);
        }
        compare_keys(members, &mut found, at, arguments.limit).await?;
        if let (0, Some(Since::Revision(since))) = (found.count, found.hashes_since) {
            // What differed is gone by now.
            compare_keys(members, &mut found, since, arguments.limit).await?;
        }
        Ok(found)
    }

    fn show_findings(&mut self, clients: &[Client], found: &Findings) -> Result<(), ProbeError> {
        let names: Vec<String> = clients.iter().map(|client| client.endpoint().name.clone()).collect();
        if self.output != Output::Text {
            return self.printer.answer(self.findings_json(&names, found));
        }
        let mut lines = vec![format!(
            "compared {} at revision {}; the oldest that can be read is {}\n",
            names.join(", "),
            found.at,
            found.oldest
        )];
        lines.push(match (found.hashes, found.hashes_since) {
            (HashVerdict::Equal, _) => "hashes: equal\n".to_owned(),
            (HashVerdict::Unequal, Some(Since::Revision(since))) => {
                format!("hashes: unequal from revision {since} on, equal before\n")
            }
            (HashVerdict::Unequal, _) => "hashes: unequal at all revisions that can be read\n".to_owned(),
            (HashVerdict::CompactedDifferently, _) => {
                "hashes: not comparable, since members have compacted differently\n".to_owned()
            }
            (HashVerdict::NothingToCompare, _) => "hashes: none at this revision\n".to_owned(),
        });
        if !found.differences.is_empty() {
            lines.push(format!("\n{}\n\n", self.differences_table(names, found).render(self.look)));
        }
        if let Some(at) = found.keys_at {
            let (count, compared) = (found.count, found.compared);
            lines.push(match count {
                0 => format!("no key differs of {compared} at revision {at}\n"),
                1 => format!("1 of {} differs at revision {at}\n", counted(compared, "key")),
                count => format!("{count} of {} differ at revision {at}\n", counted(compared, "key")),
            });
            if count > found.differences.len() as u64 {
                lines.push(format!("the first {} are shown; --limit shows more\n", found.differences.len()));
            }
        }
        self.printer.answer(lines.concat())
    }

    fn differences_table(&self, names: Vec<String>, found: &Findings) -> SideBySide {
        let mut table = SideBySide::new([vec!["since".to_owned()], names].concat());
        for (difference, since) in &found.differences {
            let since = match since {
                Since::Revision(revision) => revision.to_string(),
                Since::Before(revision) => format!("{revision} or before"),
            };
            let each = difference.each.iter().map(|kv| {
                kv.as_ref().map_or_else(|| "is not there".to_owned(), |kv| show::value(kv, self.encoding))
            });
            let label = format!("\"{}\"", self.encoding.show(difference.key.as_slice()));
            table.row(&label, std::iter::once(since).chain(each).map(Some).collect());
        }
        table
    }

    fn findings_json(&self, names: &[String], found: &Findings) -> String {
        let since = |since: &Since| match since {
            Since::Revision(revision) => json!({ "revision": revision }),
            Since::Before(revision) => json!({ "at_or_before": revision }),
        };
        let differences = found.differences.iter().map(|(difference, at)| {
            let each = names.iter().zip(&difference.each);
            let each =
                each.map(|(name, kv)| (name.clone(), json!(kv.as_ref().map(|kv| pair(kv, self.encoding)))));
            json!({
                "key": self.encoding.json(difference.key.as_slice()),
                "since": since(at),
                "members": each.collect::<serde_json::Map<_, _>>(),
            })
        });
        let differences: Vec<Value> = differences.collect();
        let hashes = match found.hashes {
            HashVerdict::Equal => "equal",
            HashVerdict::Unequal => "unequal",
            HashVerdict::CompactedDifferently => "compacted differently",
            HashVerdict::NothingToCompare => "none",
        };
        line(&json!({
            "members": names,
            "at": found.at,
            "oldest": found.oldest,
            "hashes": hashes,
            "hashes_since": found.hashes_since.as_ref().map(since),
            "keys_at": found.keys_at,
            "keys_compared": found.compared,
            "keys_differ": found.count,
            "differences": differences,
        }))
    }
}

/// Compares all keys at a revision, and finds since when the first ones differ.
async fn compare_keys(
    members: &Members<'_>,
    found: &mut Findings,
    at: Revision,
    limit: usize,
) -> Result<(), Unasked> {
    let mut keys = members.keys(at);
    while let Some(difference) = keys.next().await? {
        found.count += 1;
        if found.differences.len() < limit {
            let since = members.key_since(&difference.key, found.oldest, at).await?;
            found.differences.push((difference, since));
        }
    }
    (found.keys_at, found.compared) = (Some(at), keys.compared());
    Ok(())
}
