//! Users whose permissions are narrow and change while they ask for more than that, through all members, while faults
//! are on. Where authentication is off there is nothing to do.

use std::sync::Arc;

use crate::{
    exit::ExitStatus,
    settings::Class,
    traffic::{
        permissions::{self, Plan},
        session::{Session, SessionError},
    },
};

pub(super) async fn run(session: Arc<Session>) -> Result<ExitStatus, SessionError> {
    if !session.has(Class::Auth) {
        println!("authentication is off: ETCD_ANTITHESIS_CLASSES does not name {}", Class::Auth.name());
        return Ok(ExitStatus::Holds);
    }
    let plan = session.plan(Plan::little_of_all, Plan::draw);
    let summary = permissions::run(&session, &plan).await?;
    println!(
        "{} users; {} changes of their permissions, {} requests answered, {} forbidden, {} without an answer",
        plan.users, summary.changes, summary.answered, summary.forbidden, summary.failed
    );
    Ok(ExitStatus::Holds)
}
