//! What users may have been permitted, and what they certainly were. In go the recorded changes of users and roles; for
//! a user, a need and a stretch of time, out comes whether it was forbidden or permitted all the time.
//!
//! Each thing that is granted or taken back by itself (a role of a user, a range of a role) is a register: in a stretch
//! of time it may have any value that was written before its end, unless that was certainly overwritten before its
//! begin. What is forbidden with every choice of values is forbidden, and what is permitted with every choice is
//! permitted; that some choices never come together only leaves some undecided.

use std::collections::BTreeMap;

use super::{
    super::evidence::{self, Described},
    needs::Need,
    spans,
};
use crate::{
    history::reader::{History, Operation},
    operation::{
        KeyRange, Request,
        auth::{Access, AuthRequest},
    },
    types::Monotonic,
};

/// The role that permits everything.
const ROOT: &str = "root";
/// So many changes are shown beside what they led to.
const SHOWN_AT_MOST: usize = 4;

/// From when on a member must have known what was acknowledged, to the answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub from: Monotonic,
    pub until: Monotonic,
}

/// A change that may have been made.
struct Change<V> {
    call: Monotonic,
    /// When it was acknowledged; none if nobody knows whether it was made.
    acknowledged: Option<Monotonic>,
    value: V,
}

/// One thing that changes.
struct Register<V>(Vec<Change<V>>);

impl<V> Default for Register<V> {
    fn default() -> Self {
        Self(vec![])
    }
}

impl<V: Copy> Register<V> {
    fn write(&mut self, operation: &Operation, value: V) {
        let acknowledged =
            operation.response().and(operation.returned.as_ref()).map(|(returned, _)| *returned);
        self.0.push(Change { call: operation.call, acknowledged, value });
    }

    /// The values that it may have had, and none if that may have been before any.
    fn values(&self, window: Window) -> impl Iterator<Item = Option<V>> {
        // Acknowledged before the window began, and so in force unless something came later.
        let settled = move |change: &&Change<V>| change.acknowledged.is_some_and(|time| time <= window.from);
        let last = self.0.iter().filter(settled).map(|change| change.call).max();
        let is_over = move |change: &&Change<V>| {
            change.acknowledged.is_some_and(|time| last.is_some_and(|last| time < last))
        };
        let may_be = self.0.iter().filter(move |change| change.call < window.until && !is_over(change));
        last.is_none().then_some(None).into_iter().chain(may_be.map(|change| Some(change.value)))
    }

    fn ever(&self, window: Window, is: impl Fn(V) -> bool) -> bool {
        self.values(window).any(|value| value.is_some_and(&is))
    }

    fn always(&self, window: Window, is: impl Fn(V) -> bool) -> bool {
        self.values(window).all(|value| value.is_some_and(&is))
    }
}

#[derive(Default)]
struct User<'h> {
    added: Register<()>,
    roles: BTreeMap<&'h str, Register<bool>>,
}

#[derive(Default)]
struct Role<'h> {
    /// Whether it was made while histories were recorded.
    is_new: bool,
    permissions: Vec<(&'h KeyRange, Register<Option<Access>>)>,
}

impl<'h> Role<'h> {
    fn permission(&mut self, keys: &'h KeyRange) -> &mut Register<Option<Access>> {
        let at = self.permissions.iter().position(|(known, _)| *known == keys).unwrap_or_else(|| {
            self.permissions.push((keys, Register::default()));
            self.permissions.len() - 1
        });
        &mut self.permissions[at].1
    }
}

/// All that was recorded of users and roles.
#[derive(Default)]
pub(super) struct Policy<'h> {
    enabled: Register<()>,
    users: BTreeMap<&'h str, User<'h>>,
    roles: BTreeMap<&'h str, Role<'h>>,
    /// In order of call.
    changes: Vec<(&'h History, &'h Operation, &'h AuthRequest)>,
}

impl<'h> Policy<'h> {
    /// Gathers it.
    pub fn new(histories: &'h [History]) -> Self {
        let mut policy = Self::default();
        for history in histories {
            for operation in &history.operations {
                if let Request::Auth(request) = &operation.request
                    && !operation.did_not_happen()
                {
                    policy.learn(operation, request);
                    policy.changes.push((history, operation, request));
                }
            }
        }
        policy.changes.sort_by_key(|(_, operation, _)| operation.call);
        policy
    }

    fn learn(&mut self, operation: &'h Operation, request: &'h AuthRequest) {
        match request {
            AuthRequest::Enable {} => self.enabled.write(operation, ()),
            AuthRequest::UserAdd { user } => self.users.entry(user).or_default().added.write(operation, ()),
            AuthRequest::UserGrantRole { user, role } => self.held(user, role).write(operation, true),
            AuthRequest::UserRevokeRole { user, role } => self.held(user, role).write(operation, false),
            AuthRequest::RoleAdd { role } => self.roles.entry(role).or_default().is_new = true,
            AuthRequest::RoleGrantPermission { role, access, keys } => {
                self.roles.entry(role).or_default().permission(keys).write(operation, Some(*access));
            }
            AuthRequest::RoleRevokePermission { role, keys } => {
                self.roles.entry(role).or_default().permission(keys).write(operation, None);
            }
        }
    }

    fn held(&mut self, user: &'h str, role: &'h str) -> &mut Register<bool> {
        self.users.entry(user).or_default().roles.entry(role).or_default()
    }

    /// Whether there is nobody to judge.
    pub fn is_empty(&self) -> bool {
        self.enabled.0.is_empty()
    }

    /// Whether it is one to judge.
    pub fn has_user(&self, name: &str) -> bool {
        self.user(name).is_some()
    }

    /// One that was made while histories were recorded, and is not `root`.
    fn user(&self, name: &str) -> Option<&User<'h>> {
        let user = self.users.get(name)?;
        (!user.added.0.is_empty() && !user.roles.contains_key(ROOT)).then_some(user)
    }

    /// Whether it had no permission at any time.
    pub fn forbids(&self, name: &str, need: &Need, window: Window) -> bool {
        let Some(user) = self.user(name).filter(|_| self.enabled.always(window, |()| true)) else {
            return false;
        };
        let Need::Keys(access, keys) = need else { return true };
        match self.possible(user, *access, window) {
            Some(ranges) => !spans::cover(ranges.into_iter(), keys),
            None => false,
        }
    }

    /// Which keys it may have had such access to; none if nobody can tell.
    fn possible(&self, user: &User<'h>, access: Access, window: Window) -> Option<Vec<&'h KeyRange>> {
        let mut ranges = vec![];
        for (role, held) in &user.roles {
            if held.ever(window, |held| held) {
                let role = self.roles.get(role).filter(|role| role.is_new)?;
                let may = |register: &Register<Option<Access>>| {
                    register.ever(window, |had| had.is_some_and(|had| had.includes(access)))
                };
                ranges.extend(role.permissions.iter().filter(|(_, had)| may(had)).map(|(keys, _)| *keys));
            }
        }
        Some(ranges)
    }

    /// Whether it had the permission all the time.
    pub fn permits(&self, name: &str, need: &Need, window: Window) -> bool {
        let Some(user) = self.user(name).filter(|user| user.added.always(window, |()| true)) else {
            return false;
        };
        let Need::Keys(access, keys) = need else { return false };
        let held = user.roles.iter().filter(|(_, held)| held.always(window, |held| held));
        let roles = held.filter_map(|(role, _)| self.roles.get(role));
        let may = |register: &Register<Option<Access>>| {
            register.always(window, |had| had.is_some_and(|had| had.includes(*access)))
        };
        let ranges = roles.flat_map(|role| role.permissions.iter().filter(|(_, had)| may(had)));
        !spans::is_empty(keys) && spans::cover(ranges.map(|(keys, _)| *keys), keys)
    }

    /// What it may have been permitted, for people.
    pub fn words(&self, name: &str, window: Window) -> String {
        let Some(user) = self.user(name) else { return String::new() };
        let list = |access| {
            let mut ranges: Vec<_> = self.possible(user, access, window).unwrap_or_default();
            ranges.sort_by_key(|keys| (&keys.key, &keys.range_end));
            ranges.dedup();
            let ranges: Vec<_> = ranges.into_iter().map(evidence::keys).collect();
            if ranges.is_empty() { "nothing".to_owned() } else { ranges.join(", ") }
        };
        format!("read {}; write {}", list(Access::Read), list(Access::Write))
    }

    /// How the user came to be, and what was changed last of its roles.
    pub fn changes(&self, name: &str, window: Window) -> Vec<Described> {
        let Some(user) = self.user(name) else { return vec![] };
        let is_of_user = |request: &AuthRequest| match request {
            AuthRequest::UserAdd { user }
            | AuthRequest::UserGrantRole { user, .. }
            | AuthRequest::UserRevokeRole { user, .. } => user == name,
            AuthRequest::RoleGrantPermission { role, .. }
            | AuthRequest::RoleRevokePermission { role, .. } => user.roles.contains_key(role.as_str()),
            AuthRequest::Enable {} | AuthRequest::RoleAdd { .. } => false,
        };
        let before = self.changes.iter().filter(|(_, operation, _)| operation.call < window.until);
        let of_user: Vec<_> = before.filter(|(_, _, request)| is_of_user(request)).collect();
        let (first, rest) = of_user.split_at(of_user.len().min(1));
        let last = &rest[rest.len().saturating_sub(SHOWN_AT_MOST)..];
        first
            .iter()
            .chain(last)
            .map(|(history, operation, _)| evidence::describe_operation(history, operation))
            .collect()
    }
}
