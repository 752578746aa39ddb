//! Debugs etcd at the level of its protocol. Only wiring: arguments in, runtime up, text and exit status out.

use std::{
    env,
    io::{self, IsTerminal as _},
};

use clap::Parser as _;
use etcd_antithesis::{
    exit::ExitStatus,
    probe::{arguments::Arguments, commands, error::ProbeError, printer::Printer, table::Look},
    report::text::Colour,
};

/// The narrowest table that still reads.
const MIN_WIDTH: u16 = 60;

fn main() -> ExitStatus {
    match run(Arguments::parse()) {
        Ok(status) => status,
        Err(error) => {
            if error.status() != ExitStatus::Holds {
                eprintln!("error: {error}");
            }
            error.status()
        }
    }
}

fn run(arguments: Arguments) -> Result<ExitStatus, ProbeError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(ProbeError::Runtime)?;
    let (mut out, mut asides) = (io::stdout(), io::stderr());
    runtime.block_on(commands::run(arguments, look(), Printer::new(&mut out, &mut asides)))
}

/// Colours and lines as wide as the terminal, if it is one and wants them.
fn look() -> Look {
    let terminal = io::stdout().is_terminal();
    let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
    let colour = if terminal && !refused { Colour::On } else { Colour::Off };
    // Some terminals say that they have no columns at all.
    let width = comfy_table::Table::new().width().filter(|width| terminal && *width > 0);
    let width = width.map(|width| width.max(MIN_WIDTH));
    Look { colour, width }
}
