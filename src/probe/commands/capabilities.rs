//! The command that finds out what of etcd's protocol a server has, and writes what it lacks as a file that hunts read.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Probe, answers::line};
use crate::{
    capability::Capability,
    exit::ExitStatus,
    probe::{
        arguments::{Output, services::CapabilitiesArguments},
        capabilities::{self, Found},
        error::{AskError, ProbeError},
    },
};

/// What a file may also say.
const START: &str = "
# For a server that isn't started as etcd is; docs/hunt.md says what can be put in.
# [start]
# command = [\"./server\", \"--data={data}\", \"--listen={client-address}\"]
# members = [1]
";

impl Probe<'_> {
    pub(super) async fn capabilities(
        &mut self,
        arguments: &CapabilitiesArguments,
    ) -> Result<ExitStatus, ProbeError> {
        if matches!(self.output, Output::Proto | Output::Hex) {
            return Err(ProbeError::NoBytes { command: "capabilities" });
        }
        let client = self.client(arguments.member.as_deref())?;
        let found = match capabilities::of(&client).await {
            Ok(found) => found,
            Err(error) => {
                let error = AskError::from(error);
                self.show_error(client.endpoint(), &error);
                return Ok(super::exit_status(&[&error], 1));
            }
        };
        let words = if self.output == Output::Text {
            file(&client.endpoint().to_string(), &found)
        } else {
            let of = |(capability, lacking): (&Capability, &Option<String>)| {
                (capability.name(), json!({"has": lacking.is_none(), "reason": lacking}))
            };
            line(&json!(found.iter().map(of).collect::<BTreeMap<_, _>>()))
        };
        self.printer.answer(words)?;
        Ok(ExitStatus::Holds)
    }
}

/// What hunts read, with what there is in a comment.
fn file(server: &str, found: &Found) -> String {
    let has: Vec<_> =
        found.iter().filter(|(_, lacking)| lacking.is_none()).map(|(it, _)| it.name()).collect();
    let lacks: BTreeMap<_, _> = found
        .iter()
        .filter_map(|(capability, lacking)| Some((capability.name(), lacking.as_ref()?)))
        .collect();
    let lacks = toml::to_string(&BTreeMap::from([("lacks", lacks)])).expect("names and reasons are text");
    format!("# What {server} has of etcd's protocol: {}.\n\n{lacks}{START}", has.join(", "))
}
