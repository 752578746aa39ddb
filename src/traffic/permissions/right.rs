//! What a user may, as far as `root` was told that it is done: enough to choose requests that lie within it, at its
//! edge or beyond it. In go acknowledged changes, out come changes and ranges of keys drawn at random. Nothing is
//! asked or judged here.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use super::{any_access, any_key, any_keys, from, is_open};
use crate::{
    operation::{
        KeyRange,
        auth::{Access, AuthRequest},
    },
    random,
    settings::User,
    types::LeaseId,
};

/// Roles of a user.
const ROLES: u64 = 2;
/// With more, everything would be permitted.
const PERMISSIONS_AT_MOST: usize = 3;

/// A user with its roles and permissions, which all that ask as this user share.
pub(super) struct Rights {
    pub user: User,
    known: Mutex<Known>,
    is_over: AtomicBool,
}

#[derive(Default)]
struct Known {
    /// Those that the user has.
    roles: Vec<String>,
    granted: Vec<Granted>,
    leases: Vec<LeaseId>,
}

struct Granted {
    role: String,
    keys: KeyRange,
    access: Access,
}

impl Rights {
    pub fn new(user: User) -> Self {
        Self { user, known: Mutex::default(), is_over: AtomicBool::new(false) }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The names of its roles, whether it has them or not.
    pub fn roles(&self) -> Vec<String> {
        (1..=ROLES).map(|number| format!("{}-role-{number}", self.user.name)).collect()
    }

    /// Nobody is to ask as this user any more.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Mostly permissions are granted and taken back, now and then a role.
    pub fn draw_change(&self) -> AuthRequest {
        let known = self.known();
        let user = self.user.name.clone();
        let lacking = self.roles().into_iter().find(|role| !known.roles.contains(role));
        if let Some(role) = lacking.filter(|_| random::chance(0.5)) {
            return AuthRequest::UserGrantRole { user, role };
        }
        if !known.roles.is_empty() && random::chance(0.1) {
            let role = random::choice(&known.roles).clone();
            return AuthRequest::UserRevokeRole { user, role };
        }
        let is_full = known.granted.len() >= PERMISSIONS_AT_MOST;
        if !known.granted.is_empty() && (is_full || random::chance(0.3)) {
            let Granted { role, keys, .. } = random::choice(&known.granted);
            return AuthRequest::RoleRevokePermission { role: role.clone(), keys: keys.clone() };
        }
        let role = random::choice(&self.roles()).clone();
        let keys = if random::chance(0.1) { from(any_key()) } else { any_keys() };
        AuthRequest::RoleGrantPermission { role, access: any_access(), keys }
    }

    /// A change was acknowledged.
    pub fn learn(&self, change: &AuthRequest) {
        let mut known = self.known();
        match change.clone() {
            AuthRequest::UserGrantRole { role, .. } => known.roles.push(role),
            AuthRequest::UserRevokeRole { role, .. } => known.roles.retain(|other| *other != role),
            AuthRequest::RoleGrantPermission { role, access, keys } => {
                known.granted.retain(|granted| granted.role != role || granted.keys != keys);
                known.granted.push(Granted { role, keys, access });
            }
            AuthRequest::RoleRevokePermission { role, keys } => {
                known.granted.retain(|granted| granted.role != role || granted.keys != keys);
            }
            AuthRequest::Enable {} | AuthRequest::UserAdd { .. } | AuthRequest::RoleAdd { .. } => {}
        }
    }

    pub fn leases(&self) -> usize {
        self.known().leases.len()
    }

    pub fn add_lease(&self, lease: LeaseId) {
        self.known().leases.push(lease);
    }

    pub fn any_lease(&self) -> Option<LeaseId> {
        let known = self.known();
        (!known.leases.is_empty()).then(|| *random::choice(&known.leases))
    }

    /// Keys that the user may have such access to.
    fn granted(&self, access: Access) -> Option<KeyRange> {
        let known = self.known();
        let is_held =
            |granted: &&Granted| known.roles.contains(&granted.role) && granted.access.includes(access);
        let held: Vec<&Granted> = known.granted.iter().filter(is_held).collect();
        (!held.is_empty()).then(|| random::choice(&held).keys.clone())
    }

    /// Keys to read or to watch: those of a permission, what lies from its first key on, or any.
    pub fn to_read(&self) -> KeyRange {
        match (self.granted(Access::Read), random::between(0, 9)) {
            (Some(keys), 0..=4) => keys,
            (Some(keys), 5 | 6) => from(keys.key),
            (_, 7) => from(any_key()),
            _ => any_keys(),
        }
    }

    /// Keys to write, of which none is anybody else's.
    pub fn to_write(&self) -> KeyRange {
        let granted = self.granted(Access::Write).filter(|keys| !is_open(keys));
        granted.filter(|_| random::chance(0.5)).unwrap_or_else(any_keys)
    }
}
