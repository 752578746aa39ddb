//! Pure checkers, one file per family of guarantees. A checker takes loaded histories and observations and gives
//! verdicts; it has no runtime, no files, no clock and no SDK, so the same function serves every program.

pub mod assumptions;
pub mod case;
pub mod evidence;
pub mod final_state;
pub mod judgement;
pub mod leases;
pub mod linearizable;
pub mod locks;
#[cfg(test)]
pub(crate) mod made_up;
pub mod members;
pub mod permissions;
pub mod reduce;
mod reign;
pub mod watch;

use self::{case::Case, judgement::Judgement};

/// Judges one family of guarantees by everything that was recorded of one cluster.
pub type Family = fn(&Case<'_>) -> Vec<Judgement>;

/// All families, in the order in which their verdicts are shown.
pub const FAMILIES: &[Family] = &[
    linearizable::judge,
    final_state::judge,
    members::judge,
    watch::judge,
    leases::judge,
    locks::judge,
    permissions::judge,
];

/// Judges all guarantees.
pub fn all(case: &Case<'_>) -> Vec<Judgement> {
    FAMILIES.iter().flat_map(|family| family(case)).collect()
}
