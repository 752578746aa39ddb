//! Pure checkers, one file per family of guarantees. A checker takes loaded histories and observations and gives
//! verdicts; it has no runtime, no files, no clock and no SDK, so the same function serves every program.

pub mod assumptions;
pub mod final_state;
pub mod linearizable;
