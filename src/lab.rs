//! A test template run on one's own machine: a cluster (containers or local processes), the schedule of
//! its test commands, and the verdicts over what they wrote. What is pure (discovery, composer, judge)
//! knows nothing of processes, files and time.

pub mod composer;
pub mod judge;
pub mod sdk_output;
pub mod template;
