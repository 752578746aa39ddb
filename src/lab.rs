//! A test template run on one's own machine: a cluster (containers or local processes), the schedule of
//! its test commands, and the verdicts over what they wrote. What is pure (discovery, composer, judge)
//! knows nothing of processes, files and time.

pub mod composer;
pub mod etcd_binary;
pub mod judge;
pub mod processes;
pub mod sdk_output;
pub mod template;
