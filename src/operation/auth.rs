//! Requests about users, roles and what they are permitted. Plain data with a JSON form; it must not know protobuf,
//! connections or files, and has no passwords: a user's password is its name, since all users are made for a test.

use serde::{Deserialize, Serialize};

use super::KeyRange;

/// A request of the auth service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthRequest {
    /// From now on, requests have to be permitted.
    Enable {},
    /// A new user, without roles.
    UserAdd {
        /// Its name.
        user: String,
    },
    /// The user has what the role is permitted.
    UserGrantRole {
        /// Whose.
        user: String,
        /// Which.
        role: String,
    },
    /// The user has the role no more.
    UserRevokeRole {
        /// Whose.
        user: String,
        /// Which.
        role: String,
    },
    /// A new role, without permissions.
    RoleAdd {
        /// Its name.
        role: String,
    },
    /// The role may do this with these keys. It replaces what was granted for exactly this range.
    RoleGrantPermission {
        /// Whose.
        role: String,
        /// What.
        access: Access,
        /// With which keys.
        keys: KeyRange,
    },
    /// What was granted to the role for exactly this range is taken back.
    RoleRevokePermission {
        /// Whose.
        role: String,
        /// Which.
        keys: KeyRange,
    },
}

/// What a permission is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// To read keys and to watch them.
    Read,
    /// To put and delete keys.
    Write,
    /// Both.
    ReadWrite,
}

impl Access {
    /// Whether who has this may do that.
    pub fn includes(self, other: Self) -> bool {
        self == Self::ReadWrite || self == other
    }
}
