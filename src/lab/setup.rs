//! How a cluster differs from the usual one of three members: how many there are, their flags, and what the test
//! commands are told. Plain data, which both kinds of cluster carry out when they are brought up.

use std::{collections::BTreeMap, env};

use crate::settings::{CLASSES_VARIABLE, Class, User};

/// As many members as in `docker-compose.yaml`.
pub const USUAL_MEMBERS: usize = 3;

/// The start of every member's name.
const MEMBER: &str = "etcd";

/// The name of a member, by its place from 0.
pub fn member_name(index: usize) -> String {
    format!("{MEMBER}{index}")
}

/// Whether a name is one that a member may have; there are no more than nine.
pub fn is_member_name(name: &str) -> bool {
    name.strip_prefix(MEMBER).is_some_and(|number| number.len() == 1 && number.parse::<u8>().is_ok())
}

/// What a cluster is brought up with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// How many members: 1, 3 or 5.
    pub members: usize,
    /// Flags of the members, by their names without dashes, in place of the usual ones of these names. A version that
    /// has a flag only with `experimental-` before it gets it so, one that lacks it goes without.
    pub flags: BTreeMap<String, String>,
    /// Variables of the test commands, beside those that each run has.
    pub environment: BTreeMap<&'static str, String>,
}

impl Setup {
    /// The names of the members, in order.
    pub fn member_names(&self) -> Vec<String> {
        (0..self.members).map(member_name).collect()
    }

    /// Who may ask members everything, once authentication is on.
    pub fn user(&self) -> Option<User> {
        let classes = self.environment.get(CLASSES_VARIABLE)?;
        classes.split(',').any(|name| name.trim() == Class::Auth.name()).then(User::root)
    }
}

impl Default for Setup {
    /// Three members with their usual flags, and the classes of traffic that the caller's environment names.
    fn default() -> Self {
        let classes = env::var(CLASSES_VARIABLE).ok().map(|classes| (CLASSES_VARIABLE, classes));
        Self { members: USUAL_MEMBERS, flags: BTreeMap::new(), environment: classes.into_iter().collect() }
    }
}
