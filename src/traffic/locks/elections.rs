//! Candidates, leaders and observers of elections. In come workers, out come what they did. Whatever is told of
//! leaders is judged later.

use std::time::Instant;

use super::{Summary, WAITED, Worker, pause};
use crate::{
    history::HistoryError,
    operation::{
        Answer, Outcome, Request,
        service::{ElectionAnswer, ElectionRequest, LeaderKey, LeaseRequest},
        stream::Sent,
    },
    properties, random,
    recorder::stream::Next,
    types::{Blob, LeaseId},
};

/// Names of elections begin so; their candidates' keys are below the names.
const ELECTIONS: &str = "elections/";
const NAMES: u64 = 2;
const PROCLAMATIONS_AT_MOST: u64 = 4;

impl Worker {
    pub(super) async fn campaign_again_and_again(mut self) -> Result<Summary, HistoryError> {
        while !self.paced.is_over() {
            let Some(lease) = self.grant().await? else { continue };
            let name = name();
            let Some(leader) = self.campaign(&name, lease).await? else { continue };
            self.summary.elected += 1;
            if random::chance(0.1) {
                // Whoever leads is elected again at once, and says something else.
                self.campaign(&name, lease).await?;
            }
            self.lead(&leader).await?;
            self.step_down(leader).await?;
        }
        Ok(self.done())
    }

    fn value(&mut self) -> Blob {
        self.paced.worker.unique_value().into()
    }

    async fn campaign(&mut self, name: &Blob, lease: LeaseId) -> Result<Option<LeaderKey>, HistoryError> {
        let (start, value) = (Instant::now(), self.value());
        let request = ElectionRequest::Campaign { name: name.clone(), lease, value };
        let outcome = self.ask(&Request::Election(request)).await?;
        Ok(match outcome.as_ref().and_then(Outcome::response).map(|response| &response.answer) {
            Some(Answer::Election(ElectionAnswer::Campaign { leader })) => {
                properties::campaign_waited_for(start.elapsed() > WAITED);
                Some(LeaderKey::clone(leader))
            }
            _ => None,
        })
    }

    async fn lead(&mut self, leader: &LeaderKey) -> Result<(), HistoryError> {
        for _ in 0..random::between(0, PROCLAMATIONS_AT_MOST) {
            self.keep_alive(leader.lease).await?;
            let value = self.value();
            let proclaim = ElectionRequest::Proclaim { leader: Box::new(leader.clone()), value };
            self.ask(&Request::Election(proclaim)).await?;
            if random::chance(0.5) {
                let name = leader.name.clone();
                self.ask(&Request::Election(ElectionRequest::Leader { name })).await?;
            }
            pause().await;
        }
        Ok(())
    }

    async fn step_down(&mut self, leader: LeaderKey) -> Result<(), HistoryError> {
        if random::chance(self.plan.abandon) {
            return Ok(());
        }
        let request = if random::chance(0.3) {
            Request::Lease(LeaseRequest::Revoke { lease: leader.lease })
        } else {
            Request::Election(ElectionRequest::Resign { leader: Box::new(leader) })
        };
        self.ask(&request).await.map(|_| ())
    }

    /// Listens to elections until the time is over, now and then through another member.
    pub(super) async fn observe(mut self) -> Result<Summary, HistoryError> {
        while !self.paced.is_over() {
            let member = self.paced.worker.session().any_member();
            let client = self.paced.worker.client(member).clone();
            let mut stream = self.paced.worker.open_stream(&client, &Sent::Observe { name: name() })?;
            for _ in 0..random::between(1, 20) {
                let left = self.until.saturating_duration_since(Instant::now());
                match stream.next(left).await? {
                    Next::Message(_) => self.summary.observed += 1,
                    Next::Silence | Next::End(_) => break,
                }
            }
            stream.close()?;
            pause().await;
        }
        Ok(self.done())
    }
}

fn name() -> Blob {
    format!("{ELECTIONS}{}", random::between(0, NAMES - 1)).into()
}
