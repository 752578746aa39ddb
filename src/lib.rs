//! An Antithesis test project for etcd. Data flows one way, and the modules are named after the stages:
//! request → client → outcome → recorder → history → checkers → verdicts → assertions and report.

pub mod exit;
pub mod lab;
pub mod proto;
pub mod report;
