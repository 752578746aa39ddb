//! What strikes the system while test commands run: which faults there are, what each does, and how it is
//! undone. A plan drawn from a seed goes in, actions on a cluster come out; verdicts are made elsewhere.

pub mod action;
pub mod compaction;
pub mod conductor;
pub mod coupled;
pub mod delays;
pub mod disk;
pub mod flood;
pub mod journal;
pub mod kind;
pub mod list;
pub mod network;
pub mod packets;
pub mod plan;
pub mod profile;
pub mod quiet;
pub mod requests;
pub mod strike;
pub mod target;
pub mod tasks;
