//! What the test commands ask. In come random choices, out go operations through the recorder, each answer held
//! against the revisions and values known so far. All loops are bounded in count and time.

pub mod contend;
pub mod deletes;
pub mod follow;
pub mod generate;
pub mod keys;
pub mod known;
pub mod kubernetes;
pub mod leases;
pub mod locks;
pub mod maintenance;
pub mod mixed;
pub mod paced;
pub mod permissions;
pub mod requests;
pub mod session;
pub mod transactions;
pub mod watches;
