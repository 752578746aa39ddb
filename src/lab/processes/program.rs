//! The program of a cluster's members: an etcd with flags that are known here, or another server with a command of its
//! own, in which placeholders stand for what differs from member to member. It starts nothing.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::lab::etcd_binary::{EtcdBinary, EtcdVersion};

/// What members run.
#[derive(Debug, Clone)]
pub enum Program {
    /// An etcd.
    Etcd(EtcdBinary),
    /// Another server.
    Other(Command),
}

impl Program {
    /// The version, if it is an etcd.
    pub fn etcd(&self) -> Option<EtcdVersion> {
        match self {
            Self::Etcd(binary) => Some(binary.version()),
            Self::Other(_) => None,
        }
    }
}

/// What is known of a member when it is started.
#[derive(Debug, Clone, Default)]
pub(super) struct Values {
    pub name: String,
    pub data: String,
    pub client: String,
    pub peer: String,
    pub spare: String,
    pub cluster: String,
    /// Whether it founds the cluster or joins one.
    pub state: &'static str,
}

/// Each placeholder with what it stands for.
pub const PLACEHOLDERS: [(&str, &str); 10] = [
    ("{name}", "the member's name, such as etcd0"),
    ("{data}", "its data folder, which need not exist"),
    ("{client}", "the URL where clients reach it"),
    ("{client-address}", "the same as HOST:PORT"),
    ("{peer}", "the URL where other members reach it"),
    ("{peer-address}", "the same as HOST:PORT"),
    ("{spare}", "a URL that nobody else uses"),
    ("{spare-address}", "the same as HOST:PORT"),
    ("{cluster}", "all members as NAME=PEER-URL, with commas between them"),
    ("{state}", "new, or existing for a member that joins the others"),
];

/// The command of a server: a program and its arguments, with placeholders in them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Command {
    program: PathBuf,
    arguments: Vec<String>,
}

impl TryFrom<Vec<String>> for Command {
    type Error = String;

    fn try_from(words: Vec<String>) -> Result<Self, String> {
        let mut words = words.into_iter();
        let program = words.next().ok_or("the command is empty; write the program and its arguments")?;
        let command = Self { program: program.into(), arguments: words.collect() };
        match command.arguments.iter().find_map(|word| unknown_placeholder(word)) {
            None => Ok(command),
            Some(unknown) => {
                let known = PLACEHOLDERS.map(|(placeholder, _)| placeholder).join(", ");
                Err(format!("the command has {unknown}; what can be put in is {known}"))
            }
        }
    }
}

impl From<Command> for Vec<String> {
    fn from(Command { program, arguments }: Command) -> Self {
        [program.display().to_string()].into_iter().chain(arguments).collect()
    }
}

/// The first word in braces that stands for nothing.
fn unknown_placeholder(word: &str) -> Option<&str> {
    let mut rest = word;
    while let Some(begin) = rest.find('{') {
        let end = begin + rest[begin..].find('}').map_or(rest.len() - begin, |length| length + 1);
        let found = &rest[begin..end];
        if PLACEHOLDERS.iter().all(|(placeholder, _)| *placeholder != found) {
            return Some(found);
        }
        rest = &rest[end..];
    }
    None
}

impl Command {
    /// The same with its program looked for from a folder, if it is named by a relative path.
    #[must_use]
    pub fn from_folder(self, folder: &std::path::Path) -> Self {
        let is_path = self.program.components().count() > 1;
        let from_folder = self.program.strip_prefix(".").unwrap_or(&self.program);
        let program = if is_path { folder.join(from_folder) } else { self.program };
        Self { program, ..self }
    }

    /// The program.
    pub fn program(&self) -> &std::path::Path {
        &self.program
    }

    /// Whether a member can be told to join the others.
    pub fn can_join(&self) -> bool {
        self.arguments.iter().any(|word| word.contains("{state}"))
    }

    /// Whether members can be told of each other.
    pub fn knows_cluster(&self) -> bool {
        self.arguments.iter().any(|word| word.contains("{cluster}"))
    }

    pub(super) fn arguments(&self, values: &Values) -> Vec<String> {
        let address = |url: &str| url.split_once("://").map_or(url, |(_, address)| address).to_owned();
        let filled = |word: &String| {
            PLACEHOLDERS.iter().fold(word.clone(), |word, (placeholder, _)| {
                let value = match *placeholder {
                    "{name}" => values.name.clone(),
                    "{data}" => values.data.clone(),
                    "{client}" => values.client.clone(),
                    "{client-address}" => address(&values.client),
                    "{peer}" => values.peer.clone(),
                    "{peer-address}" => address(&values.peer),
                    "{spare}" => values.spare.clone(),
                    "{spare-address}" => address(&values.spare),
                    "{cluster}" => values.cluster.clone(),
                    _ => values.state.to_owned(),
                };
                word.replace(placeholder, &value)
            })
        };
        self.arguments.iter().map(filled).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn command(words: &[&str]) -> Result<Command, String> {
        words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>().try_into()
    }

    #[test]
    fn placeholders_are_filled_in() {
        let values = Values {
            name: "etcd1".to_owned(),
            client: "http://127.0.0.1:5".to_owned(),
            state: "new",
            ..Values::default()
        };
        let words = ["server", "--at={client-address}", "{client}/{name}", "{state}", "plain"];
        let filled = command(&words).unwrap().arguments(&values);
        assert_eq!(filled, ["--at=127.0.0.1:5", "http://127.0.0.1:5/etcd1", "new", "plain"]);
    }

    #[test]
    fn mistakes_name_what_can_be_written() {
        for (words, expected) in [
            (&[][..], "is empty"),
            (&["server", "{clients}"], "has {clients}; what can be put in is {name}, {data}"),
            (&["server", "{data"], "has {data;"),
        ] {
            let message = command(words).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }

    /// A program by its name alone is looked for where programs are.
    #[test]
    fn relative_paths_are_from_the_files_folder() {
        let from = |program: &str| command(&[program]).unwrap().from_folder(Path::new("/f")).program;
        assert_eq!(from("./server"), Path::new("/f/server"));
        assert_eq!(from("/bin/server"), Path::new("/bin/server"));
        assert_eq!(from("server"), Path::new("server"));
    }
}
