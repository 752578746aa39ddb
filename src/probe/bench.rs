//! Load on members, and how they take it. In go a plan and clients, out come figures: how long answers took, from when
//! they were due and from when they were sent, and errors by kind. What figures look like is decided elsewhere.

pub mod figures;
pub mod plan;
mod watchers;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{task::JoinSet, time::Instant};

use self::{
    figures::{Figures, Recorder},
    plan::{Plan, Turns},
    watchers::Watchers,
};
use super::error::AskError;
use crate::{
    client::{CallError, Client, tap::Tape},
    clock,
};

/// How long watchers may take to be told the last event.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// A load under way.
struct Running {
    plan: Plan,
    begun: Instant,
    /// What the times in values count from.
    stamped_from: Instant,
    turns: Mutex<Turns>,
    recorder: Mutex<Recorder>,
}

/// Puts the load on the members until it is over, or somebody stops it; each client of the plan uses one of these
/// connections, in turn.
pub async fn run(
    plan: &Plan,
    connections: &[Client],
    tape: &Tape,
    stop: impl Future<Output = ()>,
) -> Result<Figures, AskError> {
    // Dials are no part of the load.
    for client in connections {
        client.channel().connect().await.map_err(|error| CallError::NotSent(Arc::new(error)))?;
    }
    let watchers = match plan.watchers {
        0 => None,
        count => Some(Watchers::open(count, plan, connections, tape).await?),
    };
    let cpu = clock::process_cpu();
    let running = Arc::new(Running {
        plan: plan.clone(),
        begun: Instant::now(),
        stamped_from: watchers.as_ref().map_or_else(Instant::now, Watchers::begun),
        turns: Mutex::new(Turns::new(plan)),
        recorder: Mutex::default(),
    });
    let mut clients = JoinSet::new();
    for client in connections.iter().cycle().take(plan.clients) {
        clients.spawn(work(client.clone(), Arc::clone(&running)));
    }
    let patience = tokio::select! {
        () = until_done(&mut clients) => plan.patience,
        // Who stops it does not want to wait for what is under way.
        () = stop => Duration::ZERO,
    };
    let took = running.begun.elapsed();
    clients.shutdown().await;
    let cpu = clock::process_cpu().saturating_sub(cpu);
    let recorder = std::mem::take(&mut *running.recorder.lock().unwrap_or_else(PoisonError::into_inner));
    let told = match watchers {
        None => None,
        Some(watchers) => Some(watchers.finish(recorder.answered(), patience).await),
    };
    Ok(Figures { took, cpu, recorder, told })
}

async fn until_done(clients: &mut JoinSet<()>) {
    while clients.join_next().await.is_some() {}
}

/// One client: it takes its turn, waits until the request is due, and sends it.
async fn work(client: Client, running: Arc<Running>) {
    loop {
        let turn = running.turns.lock().unwrap_or_else(PoisonError::into_inner).next(running.begun.elapsed());
        let Some(turn) = turn else { return };
        let mut due = None;
        if let Some(at) = turn.due {
            let at = running.begun + at;
            if Instant::now() < at {
                // The timer's own lateness is not the server's: the request counts from its sending.
                tokio::time::sleep_until(at).await;
            } else {
                due = Some(at);
            }
        }
        let request = running.plan.request(&turn, running.stamped_from.elapsed());
        let sent = Instant::now();
        let answered = client.try_perform(&request).await;
        let now = Instant::now();
        let (latency, service) = (now - due.unwrap_or(sent), now - sent);
        let mut recorder = running.recorder.lock().unwrap_or_else(PoisonError::into_inner);
        match answered {
            Ok(_) => recorder.answer(latency, service),
            Err(error) => recorder.error(&AskError::from(error)),
        }
    }
}
