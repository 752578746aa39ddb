//! Several futures that borrow from one place and make progress together on one thread. It knows nothing of what
//! they do.

use std::{future::Future, pin::Pin, task::Poll};

/// Futures under way.
pub struct Tasks<'a, T> {
    futures: Vec<Pin<Box<dyn Future<Output = T> + 'a>>>,
}

impl<T> Default for Tasks<'_, T> {
    fn default() -> Self {
        Self { futures: Vec::new() }
    }
}

impl<'a, T> Tasks<'a, T> {
    /// One more; it begins when [`Self::next`] is awaited.
    pub fn add(&mut self, future: impl Future<Output = T> + 'a) {
        self.futures.push(Box::pin(future));
    }

    /// Whether none is under way.
    pub fn is_empty(&self) -> bool {
        self.futures.is_empty()
    }

    /// The outcome of the next that is done; waits for ever while there is none. Nothing is lost if the wait is
    /// given up.
    pub async fn next(&mut self) -> T {
        std::future::poll_fn(|context| {
            for index in 0..self.futures.len() {
                if let Poll::Ready(outcome) = self.futures[index].as_mut().poll(context) {
                    drop(self.futures.swap_remove(index));
                    return Poll::Ready(outcome);
                }
            }
            Poll::Pending
        })
        .await
    }

    /// The outcomes of all, in the order in which they are done.
    pub async fn all(mut self) -> Vec<T> {
        let mut outcomes = Vec::new();
        while !self.is_empty() {
            outcomes.push(self.next().await);
        }
        outcomes
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::sleep;

    use super::*;

    #[tokio::test]
    async fn they_run_side_by_side_and_a_wait_that_is_given_up_loses_nothing() {
        let mut tasks = Tasks::default();
        for millis in [60, 20, 40] {
            tasks.add(async move {
                sleep(Duration::from_millis(millis)).await;
                millis
            });
        }
        let wait = tokio::time::timeout(Duration::from_millis(1), tasks.next()).await;
        assert!(wait.is_err());
        assert_eq!(tasks.all().await, [20, 40, 60]);
    }
}
