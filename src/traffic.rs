//! What the test commands ask. In come random choices, out go operations through the recorder, each answer held
//! against the revisions and values known so far. All loops are bounded in count and time.

pub mod deletes;
pub mod generate;
pub mod session;
