//! Verdicts for people and machines. In go properties with their verdicts, out comes text;
//! nothing here runs anything, reads a file or judges.

pub mod property;
pub mod text;
