//! The command that puts load on members.

use super::{ALL, Probe, answers::line, exit_status};
use crate::{
    client::Client,
    exit::ExitStatus,
    probe::{
        arguments::{Output, bench::BenchArguments},
        bench::{self, plan::Plan},
        error::ProbeError,
    },
};

impl Probe<'_> {
    pub(super) async fn bench(&mut self, arguments: &BenchArguments) -> Result<ExitStatus, ProbeError> {
        if matches!(self.output, Output::Proto | Output::Hex) {
            return Err(ProbeError::NoBytes { command: "bench" });
        }
        let endpoints = self.endpoints(ALL)?;
        let endpoints = endpoints.into_iter().cycle().take(arguments.conns as usize);
        let connections: Vec<Client> =
            endpoints.map(|endpoint| self.client_of(endpoint)).collect::<Result<_, _>>()?;
        let plan = Plan::new(arguments, bench::PATIENCE);
        let mut stopped = None;
        let stop = async { stopped = Some(tokio::signal::ctrl_c().await) };
        let figures = bench::run(&plan, &connections, &self.tape, stop).await;
        let is_stopped = stopped.transpose().map_err(ProbeError::Runtime)?.is_some();
        self.show_wire();
        let figures = match figures {
            Ok(figures) => figures,
            Err(error) => {
                self.printer.aside(&format!("error: {}\n", error.reason()));
                return Ok(exit_status(&[&error], 1));
            }
        };
        self.printer.answer(match self.output {
            Output::Text => figures.text(arguments.rate > 0.0),
            _ => line(&figures.json()),
        })?;
        Ok(match figures.is_clean() {
            _ if is_stopped => ExitStatus::Interrupted,
            true => ExitStatus::Holds,
            false => ExitStatus::Broken,
        })
    }
}
