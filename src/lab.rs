//! A test template run on one's own machine: a cluster (containers or local processes), the schedule of
//! its test commands, and the verdicts over what they wrote. What is pure (template, composer, judge)
//! knows nothing of processes, files and time.

pub mod built_in;
pub mod check;
pub mod cluster;
pub mod commands;
pub mod compose;
pub mod composer;
pub mod docker;
pub mod error;
pub mod etcd_binary;
pub mod evaluate;
pub mod events;
pub mod fault;
pub mod finding;
pub mod hunt;
pub mod judge;
pub mod known;
pub mod lint;
pub mod local;
pub mod log_tail;
pub mod manual;
pub mod not_ready;
pub mod observer;
pub mod prepare;
pub mod processes;
pub mod progress;
pub mod project;
pub mod retention;
pub mod run;
mod say;
pub mod sdk_output;
pub mod server;
pub mod setup;
pub mod template;
pub mod timeline;
pub mod workspace;
