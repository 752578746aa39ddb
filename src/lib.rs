//! An Antithesis test project for etcd. Data flows one way, and the modules are named after the stages:
//! request → client → outcome → recorder → history → checkers → verdicts → assertions and report.

pub mod capability;
pub mod check;
pub mod client;
pub mod clock;
pub mod commands;
pub mod exit;
pub mod health;
pub mod history;
pub mod lab;
pub mod memory;
pub mod model;
pub mod operation;
pub mod probe;
pub mod properties;
pub mod proto;
pub mod random;
pub mod recorder;
pub mod report;
pub mod revision;
pub mod settings;
pub mod traffic;
pub mod types;
pub mod verdict;
