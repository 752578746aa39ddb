//! Which methods are meant: words as `KV/Put`, `Watch`, `Put` or `*` against the paths that calls go to. In goes a
//! list of such words, out comes a test of paths, or the word that no method has. It looks at names alone.

use std::fmt;

use crate::probe::descriptors;

/// Some methods of the protocol, or of any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Methods(Vec<Word>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    All,
    /// `/package.Service/Method` as it stands.
    Path(String),
    /// A service, without its package.
    Service(String),
    /// A method of whichever service.
    Method(String),
    Both(String, String),
}

/// A word that no method has.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("etcd has neither a service nor a method {0:?}; write for example KV, KV/Put, Put or *")]
pub struct NoSuchMethod(pub String);

impl Methods {
    /// Words, separated by `between`.
    pub fn parse(text: &str, between: char) -> Result<Self, NoSuchMethod> {
        text.split(between).map(|word| Word::parse(word.trim())).collect::<Result<_, _>>().map(Self)
    }

    /// Whether the method that calls of this path go to is among them.
    pub fn contain(&self, path: &str) -> bool {
        self.0.iter().any(|word| word.is(path))
    }
}

impl Word {
    fn parse(word: &str) -> Result<Self, NoSuchMethod> {
        let parsed = match word.split_once('/') {
            _ if word == "*" => return Ok(Self::All),
            Some(("", _)) => return Ok(Self::Path(word.to_owned())),
            Some((service, "*")) => Self::Service(service.to_owned()),
            Some((service, method)) => Self::Both(service.to_owned(), method.to_owned()),
            None if word.is_empty() => return Err(NoSuchMethod(String::new())),
            None if descriptors::methods().any(|path| Self::Service(word.to_owned()).is(&path)) => {
                Self::Service(word.to_owned())
            }
            None => Self::Method(word.to_owned()),
        };
        if descriptors::methods().any(|path| parsed.is(&path)) {
            Ok(parsed)
        } else {
            Err(NoSuchMethod(word.to_owned()))
        }
    }

    fn is(&self, path: &str) -> bool {
        let (service, method) = short(path);
        match self {
            Self::All => true,
            Self::Path(word) => word == path,
            Self::Service(word) => word == service,
            Self::Method(word) => word == method,
            Self::Both(one, other) => one == service && other == method,
        }
    }
}

/// The service without its package, and the method.
pub fn short(path: &str) -> (&str, &str) {
    let (service, method) = path.rsplit_once('/').unwrap_or_default();
    (service.rsplit(['.', '/']).next().unwrap_or_default(), method)
}

/// A path for people: `KV/Put`.
pub struct Short<'p>(pub &'p str);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (service, method) = short(self.0);
        write!(f, "{service}/{method}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_mean_the_methods_that_they_name_and_no_others() {
        let are = |words: &str, path: &str| Methods::parse(words, ',').unwrap().contain(path);
        for words in ["Put", "KV", "KV/Put", "KV/*", "*", "Range, Put", "/etcdserverpb.KV/Put"] {
            assert!(are(words, "/etcdserverpb.KV/Put"), "{words}");
        }
        for words in ["Range", "Watch", "Lease/*", "/etcdserverpb.KV/Range"] {
            assert!(!are(words, "/etcdserverpb.KV/Put"), "{words}");
        }
        // The service and its method of the same name.
        assert!(are("Watch", "/etcdserverpb.Watch/Watch") && are("Lock", "/v3lockpb.Lock/Unlock"));
        assert!(are("*", "") && are("/x/Y", "/x/Y"));
        for wrong in ["", "put", "KV/Watch", "KV/", "Put,"] {
            assert!(Methods::parse(wrong, ',').is_err(), "{wrong:?}");
        }
    }
}
