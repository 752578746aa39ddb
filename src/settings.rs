//! The one place that reads the environment. In come the variables that etcdctl's users know, and the history
//! folder; out come typed settings or an error that names the variable. No file is opened and nothing is dialled.

pub mod mix;

use std::{env, fmt, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use tonic::codegen::http::Uri;

use self::mix::{Mix, Sort};
use crate::capability::{Capability, Lacks};

/// Where etcdctl looks when nothing is said.
const DEFAULT_ENDPOINT: &str = "http://127.0.0.1:2379";
/// Names classes of traffic that are off otherwise.
pub const CLASSES_VARIABLE: &str = "ETCD_ANTITHESIS_CLASSES";
/// What `singleton_driver_mixed_traffic` is made of; see [`Mix`]. Drawn if it is not set.
pub const TRAFFIC_VARIABLE: &str = "ETCD_ANTITHESIS_TRAFFIC";
/// What the server lacks of etcd's protocol, by the names of [`Capability`].
pub const LACKS_VARIABLE: &str = "ETCD_ANTITHESIS_LACKS";
/// The folder of histories and of the counters that all commands of a run share.
pub const HISTORY_VARIABLE: &str = "ETCD_ANTITHESIS_HISTORY";

/// Why the environment can't be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SettingsError {
    /// An endpoint is not a URL of the form that etcd listens on.
    #[error("{from} has the endpoint {endpoint:?}, which {why}; write http://HOST:PORT or https://HOST:PORT")]
    Endpoint {
        /// The variable or flag.
        from: &'static str,
        /// The endpoint as it was written.
        endpoint: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A duration can't be read.
    #[error("{variable} is {value:?}, which is no duration; write for example 2s or 500ms")]
    Duration {
        /// The variable or flag.
        variable: &'static str,
        /// Its value.
        value: String,
    },
    /// Client certificate and key are only of use together.
    #[error("{given} and {missing} belong together, and {missing} is not set")]
    HalfACertificate {
        /// The variable or flag that is there.
        given: &'static str,
        /// The one that is missing.
        missing: &'static str,
    },
    /// A user without a password.
    #[error("{user} has no password; write user:password, or set {password}")]
    NoPassword {
        /// The variable or flag of the user.
        user: &'static str,
        /// Of the password.
        password: &'static str,
    },
    /// A class of traffic that there is not.
    #[error("ETCD_ANTITHESIS_CLASSES names {class:?}; there is: {}", Class::ALL.map(Class::name).join(", "))]
    Class {
        /// The name.
        class: String,
    },
    /// Something is said to be lacking that is no part of the protocol.
    #[error(
        "ETCD_ANTITHESIS_LACKS names {name:?}; there is: {}",
        Capability::ALL.iter().map(|capability| capability.name()).collect::<Vec<_>>().join(", ")
    )]
    Lacks {
        /// The name.
        name: String,
    },
    /// A mix of traffic can't be read.
    #[error(
        "ETCD_ANTITHESIS_TRAFFIC can't be used because of {word:?}; write for example \
         \"budget=15s lanes=4 watches=2 transactions=1\", with weights for any of: {}",
        Sort::ALL.map(Sort::name).join(", ")
    )]
    Traffic {
        /// The part of it.
        word: String,
    },
    /// Users and roles mean nothing where everybody may do everything.
    #[error(
        "ETCD_ANTITHESIS_TRAFFIC has permissions, which are only kept where authentication is on: \
         add {:?} to ETCD_ANTITHESIS_CLASSES", Class::Auth.name()
    )]
    NeedsAuth,
    /// The history folder is not named.
    #[error("ETCD_ANTITHESIS_HISTORY is not set; name a writable folder that all commands of a run share")]
    NoHistory,
}

impl SettingsError {
    /// The same with other names for variables, such as the flags that stood for them.
    #[must_use]
    pub fn renamed(self, name: impl Fn(&'static str) -> &'static str) -> Self {
        match self {
            Self::Duration { variable, value } => Self::Duration { variable: name(variable), value },
            Self::HalfACertificate { given, missing } => {
                Self::HalfACertificate { given: name(given), missing: name(missing) }
            }
            Self::NoPassword { user, password } => {
                Self::NoPassword { user: name(user), password: name(password) }
            }
            other => other,
        }
    }
}

/// One member: a name for people and where it listens for clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The host if no other endpoint has it, else host and port.
    pub name: String,
    /// Scheme, host and port.
    pub uri: Uri,
}

impl Endpoint {
    /// Whether it is to be reached over TLS.
    pub fn is_tls(&self) -> bool {
        self.uri.scheme_str() == Some("https")
    }

    /// The host, without the brackets of an IPv6 address.
    pub fn host(&self) -> &str {
        self.uri.host().unwrap_or_default().trim_matches(['[', ']'])
    }

    /// The port; etcd's own default if none was written.
    pub fn port(&self) -> u16 {
        self.uri.port_u16().unwrap_or(2379)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uri.host().unwrap_or_default(), self.port())
    }
}

/// A user and the password; never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// The user's name.
    pub name: String,
    /// The password.
    pub password: String,
}

impl User {
    /// A user that was made for a test, whose password is its name.
    pub fn of_test(name: &str) -> Self {
        Self { name: name.to_owned(), password: name.to_owned() }
    }

    /// The one who may do everything.
    pub fn root() -> Self {
        Self::of_test("root")
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A class of traffic that is off unless the environment names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Writing transactions that read at revisions which they name, or what their user may not. Members of an honest
    /// etcd may come to different results there (etcd issue 18667), and nothing can be decided afterwards.
    PastInWrites,
    /// A little of everything that drivers can do, within seconds, in place of drawn plans: for runs that show that
    /// all is reached, or what lies break.
    LittleOfAll,
    /// Authentication: the first command switches it on in the whole cluster, all commands are `root` then, and users
    /// with narrow permissions are among the traffic.
    Auth,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::PastInWrites, Self::LittleOfAll, Self::Auth];

    /// As the environment names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::PastInWrites => "past-in-writes",
            Self::LittleOfAll => "little-of-all",
            Self::Auth => "auth",
        }
    }
}

/// How members are reached.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The members, in the order written; at least one.
    pub endpoints: Vec<Endpoint>,
    /// PEM file of the authorities that sign the members' certificates; none for the system's.
    pub cacert: Option<PathBuf>,
    /// PEM files of the client's certificate and key.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// The user to authenticate as.
    pub user: Option<User>,
    /// How long a dial may take, TLS and HTTP/2 included.
    pub dial_timeout: Duration,
    /// How long a request may take when its caller sets no other deadline.
    pub command_timeout: Duration,
    /// How long a connection with requests under way may be silent before it is probed.
    pub keepalive_time: Duration,
    /// How long a probe may stay unanswered before the connection is given up.
    pub keepalive_timeout: Duration,
}

impl Settings {
    /// Reads `ETCDCTL_ENDPOINTS`, `_CACERT`, `_CERT`, `_KEY`, `_USER`, `_PASSWORD`, `_DIAL_TIMEOUT`,
    /// `_COMMAND_TIMEOUT`, `_KEEPALIVE_TIME` and `_KEEPALIVE_TIMEOUT`.
    pub fn from_environment() -> Result<Self, SettingsError> {
        Self::from_variables(|name| env::var(name).ok().filter(|value| !value.is_empty()))
    }

    /// The same from any other source of the variables' values.
    pub fn from_variables(get: impl Fn(&'static str) -> Option<String>) -> Result<Self, SettingsError> {
        let endpoints = get("ETCDCTL_ENDPOINTS").unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned());
        let duration = |variable, default| match get(variable) {
            None => Ok(default),
            Some(value) => parse_duration(&value).ok_or(SettingsError::Duration { variable, value }),
        };
        Ok(Self {
            endpoints: parse_endpoints("ETCDCTL_ENDPOINTS", &endpoints)?,
            cacert: get("ETCDCTL_CACERT").map(PathBuf::from),
            certificate: certificate(get("ETCDCTL_CERT"), get("ETCDCTL_KEY"))?,
            user: user(get("ETCDCTL_USER"), get("ETCDCTL_PASSWORD"))?,
            dial_timeout: duration("ETCDCTL_DIAL_TIMEOUT", Duration::from_secs(2))?,
            command_timeout: duration("ETCDCTL_COMMAND_TIMEOUT", Duration::from_secs(5))?,
            // A server of default settings ends connections that are probed more often than every 5 s.
            keepalive_time: duration("ETCDCTL_KEEPALIVE_TIME", Duration::from_secs(6))?,
            keepalive_timeout: duration("ETCDCTL_KEEPALIVE_TIMEOUT", Duration::from_secs(2))?,
        })
    }
}

/// The folder for histories and shared counters, from `ETCD_ANTITHESIS_HISTORY`.
pub fn history_folder() -> Result<PathBuf, SettingsError> {
    env::var_os(HISTORY_VARIABLE)
        .filter(|folder| !folder.is_empty())
        .map(PathBuf::from)
        .ok_or(SettingsError::NoHistory)
}

/// Endpoints as etcdctl takes them: comma separated, the scheme optional. `from` is the flag or variable to blame.
pub fn parse_endpoints(from: &'static str, list: &str) -> Result<Vec<Endpoint>, SettingsError> {
    let uris: Vec<Uri> = list
        .split(',')
        .map(|endpoint| {
            let endpoint = endpoint.trim();
            parse_endpoint(endpoint).map_err(|why| SettingsError::Endpoint {
                from,
                endpoint: endpoint.to_owned(),
                why,
            })
        })
        .collect::<Result<_, _>>()?;
    let named = |uri: &Uri| {
        let host = uri.host().unwrap_or_default();
        if uris.iter().filter(|other| other.host() == Some(host)).count() == 1 {
            return host.to_owned();
        }
        format!("{host}:{}", uri.port_u16().unwrap_or(2379))
    };
    let endpoints: Vec<Endpoint> =
        uris.iter().map(|uri| Endpoint { name: named(uri), uri: uri.clone() }).collect();
    for (position, endpoint) in endpoints.iter().enumerate() {
        if endpoints[..position].iter().any(|other| other.name == endpoint.name) {
            let endpoint = endpoint.uri.to_string();
            return Err(SettingsError::Endpoint { from, endpoint, why: "is there twice" });
        }
    }
    Ok(endpoints)
}

fn parse_endpoint(text: &str) -> Result<Uri, &'static str> {
    if text.is_empty() {
        return Err("is empty");
    }
    let (scheme, authority) = text.split_once("://").unwrap_or(("http", text));
    if !matches!(scheme, "http" | "https") {
        return Err("has a scheme other than http and https");
    }
    let uri: Uri = format!("{scheme}://{authority}").parse().map_err(|_| "can't be parsed")?;
    if uri.path() != "/" || uri.query().is_some() {
        return Err("has a path");
    }
    let port = authority.trim_end_matches('/').rsplit_once(':').filter(|(_, port)| !port.ends_with(']'));
    match (uri.host(), port) {
        (None | Some(""), _) => Err("has no host"),
        (_, None) => Err("has no port"),
        (_, Some(_)) if uri.port_u16().is_none_or(|port| port == 0) => Err("has a port outside 1 to 65535"),
        _ => Ok(uri),
    }
}

/// The classes of traffic that `ETCD_ANTITHESIS_CLASSES` switches on.
pub fn classes() -> Result<Vec<Class>, SettingsError> {
    match env::var(CLASSES_VARIABLE) {
        Ok(list) if !list.is_empty() => parse_classes(&list),
        _ => Ok(vec![]),
    }
}

/// What the server lacks, by `ETCD_ANTITHESIS_LACKS`.
pub fn lacks() -> Result<Lacks, SettingsError> {
    match env::var(LACKS_VARIABLE) {
        Ok(names) if !names.is_empty() => Lacks::parse(&names).map_err(|name| SettingsError::Lacks { name }),
        _ => Ok(Lacks::default()),
    }
}

/// The mix of traffic that `ETCD_ANTITHESIS_TRAFFIC` asks for, if it does.
pub fn traffic() -> Result<Option<Mix>, SettingsError> {
    match env::var(TRAFFIC_VARIABLE) {
        Ok(text) if !text.is_empty() => text.parse().map(Some),
        _ => Ok(None),
    }
}

/// Names of classes, comma separated.
fn parse_classes(list: &str) -> Result<Vec<Class>, SettingsError> {
    let class = |name: &str| {
        let known = Class::ALL.into_iter().find(|class| class.name() == name.trim());
        known.ok_or_else(|| SettingsError::Class { class: name.to_owned() })
    };
    list.split(',').map(class).collect()
}

fn certificate(
    cert: Option<String>,
    key: Option<String>,
) -> Result<Option<(PathBuf, PathBuf)>, SettingsError> {
    match (cert, key) {
        (None, None) => Ok(None),
        (Some(cert), Some(key)) => Ok(Some((cert.into(), key.into()))),
        (None, Some(_)) => Err(half("ETCDCTL_KEY", "ETCDCTL_CERT")),
        (Some(_), None) => Err(half("ETCDCTL_CERT", "ETCDCTL_KEY")),
    }
}

fn half(given: &'static str, missing: &'static str) -> SettingsError {
    SettingsError::HalfACertificate { given, missing }
}

fn user(user: Option<String>, password: Option<String>) -> Result<Option<User>, SettingsError> {
    let Some(user) = user else { return Ok(None) };
    if let Some(password) = password {
        return Ok(Some(User { name: user, password }));
    }
    let (name, password) = user
        .split_once(':')
        .ok_or(SettingsError::NoPassword { user: "ETCDCTL_USER", password: "ETCDCTL_PASSWORD" })?;
    Ok(Some(User { name: name.to_owned(), password: password.to_owned() }))
}

/// A duration as Go writes it, in one unit: `1.5s`, `200ms`, `2m`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| c.is_ascii_alphabetic() || c == 'µ')?;
    let (number, unit) = text.split_at(split);
    let seconds_per_unit = match unit {
        "ns" => 1e-9,
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    let number: f64 = number.parse().ok()?;
    Duration::try_from_secs_f64(number * seconds_per_unit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        Settings::from_variables(|name| {
            variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
        })
    }

    /// Without a word, the endpoint is etcdctl's default.
    #[test]
    fn an_empty_environment_means_etcdctls_default() {
        let settings = read(&[]).unwrap();
        assert_eq!(settings.endpoints[0].to_string(), "127.0.0.1:2379");
        assert!(settings.user.is_none() && settings.certificate.is_none());
    }

    /// Members are named by host where that tells them apart, else by host and port.
    #[test]
    fn members_get_names_that_tell_them_apart() {
        let names = |list: &str| -> Vec<String> {
            parse_endpoints("--endpoints", list).unwrap().into_iter().map(|endpoint| endpoint.name).collect()
        };
        assert_eq!(names("http://etcd0:2379, etcd1:2379"), ["etcd0", "etcd1"]);
        assert_eq!(names("localhost:1,localhost:2"), ["localhost:1", "localhost:2"]);
        assert_eq!(names("https://[::1]:2379"), ["[::1]"]);
    }

    /// Each wrong endpoint is named with what is wrong with it.
    #[test]
    fn wrong_endpoints_are_named() {
        for (list, expected) in [
            ("", "is empty"),
            ("http://a:1,,http://b:1", "is empty"),
            ("ftp://etcd0:2379", "has a scheme other than http and https"),
            ("http://etcd0", "has no port"),
            ("http://[::1]", "has no port"),
            ("http://:2379", "has no host"),
            ("http://etcd0:0", "has a port outside 1 to 65535"),
            ("http://etcd0:99999", "has a port outside 1 to 65535"),
            ("http://etcd0:2379/v3", "has a path"),
            ("http://et cd:2379", "can't be parsed"),
            ("a:1,a:1", "is there twice"),
        ] {
            match parse_endpoints("ETCDCTL_ENDPOINTS", list) {
                Err(SettingsError::Endpoint { why, .. }) => assert_eq!(why, expected, "for {list:?}"),
                other => panic!("{list:?} gave {other:?}"),
            }
        }
    }

    /// A password may hold colons, may stand alone, and is never shown.
    #[test]
    fn users_are_read_and_passwords_hidden() {
        let user = read(&[("ETCDCTL_USER", "root:a:b")]).unwrap().user.unwrap();
        assert_eq!((user.name.as_str(), user.password.as_str()), ("root", "a:b"));
        assert!(!format!("{user:?}").contains("a:b"));
        let user = read(&[("ETCDCTL_USER", "root"), ("ETCDCTL_PASSWORD", "x")]).unwrap().user.unwrap();
        assert_eq!((user.name.as_str(), user.password.as_str()), ("root", "x"));
        let error = read(&[("ETCDCTL_USER", "root")]).unwrap_err();
        assert!(error.to_string().starts_with("ETCDCTL_USER has no password"), "{error}");
    }

    /// Half a certificate and an unreadable duration are errors that name the variable.
    #[test]
    fn other_mistakes_name_the_variable() {
        let error = read(&[("ETCDCTL_CERT", "c.pem")]).unwrap_err();
        let words = "ETCDCTL_CERT and ETCDCTL_KEY belong together, and ETCDCTL_KEY is not set";
        assert_eq!(error.to_string(), words);
        let flags = |variable| if variable == "ETCDCTL_CERT" { "--cert" } else { "--key" };
        assert_eq!(
            error.renamed(flags).to_string(),
            "--cert and --key belong together, and --key is not set"
        );
        let error = read(&[("ETCDCTL_DIAL_TIMEOUT", "2 sec")]).unwrap_err();
        assert!(error.to_string().contains("ETCDCTL_DIAL_TIMEOUT"));
        assert_eq!(parse_duration("1.5s"), Some(Duration::from_millis(1500)));
        assert_eq!(parse_duration("-1s"), None);
    }

    /// Classes are switched on by name, and an unknown name is told with those that there are.
    #[test]
    fn classes_are_switched_on_by_name() {
        assert_eq!(parse_classes("past-in-writes"), Ok(vec![Class::PastInWrites]));
        let error = parse_classes("past-in-writes,all").unwrap_err();
        assert!(error.to_string().contains("\"all\"; there is: past-in-writes, little-of-all"), "{error}");
    }
}
