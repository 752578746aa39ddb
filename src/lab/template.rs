//! Test templates, discovered as the platform does: by the prefix and the run bit of the files in each
//! template's folder. In go listings, one per container, out come templates or all that is wrong with them.
//! It looks at no file itself.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

/// When and beside what a command runs, which the prefix of its name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// One of them, before everything else.
    First,
    /// Again and again, many at once.
    ParallelDriver,
    /// Again and again, without another driver beside it.
    SerialDriver,
    /// Once, as the only driver of its timeline.
    SingletonDriver,
    /// Again and again beside the drivers.
    Anytime,
    /// Ends whatever runs, and then the timeline.
    Eventually,
    /// Waits for whatever runs, and ends the timeline.
    Finally,
}

const PREFIXES: [(&str, Role); 7] = [
    ("first_", Role::First),
    ("parallel_driver_", Role::ParallelDriver),
    ("serial_driver_", Role::SerialDriver),
    ("singleton_driver_", Role::SingletonDriver),
    ("anytime_", Role::Anytime),
    ("eventually_", Role::Eventually),
    ("finally_", Role::Finally),
];

/// Files and folders of this prefix are no commands.
const HELPER: &str = "helper_";

impl Role {
    /// What the prefix of a file name says.
    pub fn of(file_name: &str) -> Option<Self> {
        PREFIXES.iter().find(|(prefix, _)| file_name.starts_with(prefix)).map(|(_, role)| *role)
    }

    /// Whether a command of this role drives the system, rather than looks at it.
    pub fn is_driver(self) -> bool {
        matches!(self, Self::ParallelDriver | Self::SerialDriver | Self::SingletonDriver)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "runs once, first, with faults off",
            Self::ParallelDriver => "runs again and again, many at once",
            Self::SerialDriver => "runs again and again, without another driver beside it",
            Self::SingletonDriver => "runs once, as the only driver",
            Self::Anytime => "runs again and again beside the drivers",
            Self::Eventually => "ends what runs, with faults off, and then the timeline",
            Self::Finally => "runs when all others have ended, with faults off, and ends the timeline",
        })
    }
}

/// A command in one container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TestCommand {
    /// The container, or what stands for it.
    pub container: String,
    /// The name of the template's folder.
    pub template: String,
    /// The name of the file.
    pub name: String,
    /// What the name's prefix says.
    pub role: Role,
}

impl TestCommand {
    /// The command without its container: `template/name`.
    pub fn path(&self) -> String {
        format!("{}/{}", self.template, self.name)
    }
}

/// All commands of one name of a template, over all containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// The folder's name.
    pub name: String,
    /// In order of name and container.
    pub commands: Vec<TestCommand>,
}

impl Template {
    /// The places in `commands` of those with `role`.
    pub fn with_role(&self, role: Role) -> Vec<usize> {
        (0..self.commands.len()).filter(|index| self.commands[*index].role == role).collect()
    }
}

/// What an entry of a template's folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A file that may be run.
    Executable,
    /// A file without a run bit.
    NotExecutable,
    /// A folder.
    Folder,
}

/// One entry of a template's folder in one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The container.
    pub container: String,
    /// The template's name.
    pub template: String,
    /// The entry's name.
    pub name: String,
    /// File or folder.
    pub kind: EntryKind,
}

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The platform would not know when to run it.
    #[error(
        "{container}: {template}/{name} has an unknown prefix (use one of {}, helper_)",
        PREFIXES.map(|(prefix, _)| prefix).join(", ")
    )]
    UnknownPrefix {
        /// The container.
        container: String,
        /// The template.
        template: String,
        /// The file or folder.
        name: String,
    },
    /// A command that can't be run.
    #[error("{container}: {template}/{name} has no run bit (chmod +x)")]
    NoRunBit {
        /// The container.
        container: String,
        /// The template.
        template: String,
        /// The file.
        name: String,
    },
    /// A folder with a command's prefix.
    #[error("{container}: {template}/{name} is a folder (only helper_ folders may be there)")]
    CommandIsFolder {
        /// The container.
        container: String,
        /// The template.
        template: String,
        /// The folder.
        name: String,
    },
    /// Nothing in it would ever load the system.
    #[error("template {template} has neither a driver nor an anytime command")]
    NoDriver {
        /// The template.
        template: String,
    },
    /// Nothing at all.
    #[error("no container holds a test template (expected files in /opt/antithesis/test/v1/<template>/)")]
    NoTemplate,
}

/// A template folder that the platform would refuse, with everything that is wrong.
#[derive(Debug, thiserror::Error)]
#[error("the test template can't be run:\n  {}", faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n  "))]
pub struct TemplateError {
    /// At least one.
    pub faults: Vec<Fault>,
}

/// Merges what was found in all containers into templates, in order of name.
pub fn discover(entries: &[Entry]) -> Result<Vec<Template>, TemplateError> {
    let mut templates: BTreeMap<&str, Vec<TestCommand>> = BTreeMap::new();
    let mut faults = Vec::new();
    for entry in entries.iter().filter(|entry| !is_helper(entry)) {
        match command(entry) {
            Ok(command) => templates.entry(&entry.template).or_default().push(command),
            Err(fault) => faults.push(fault),
        }
    }
    for (template, commands) in &templates {
        if !commands.iter().any(|command| command.role.is_driver() || command.role == Role::Anytime) {
            faults.push(Fault::NoDriver { template: (*template).to_owned() });
        }
    }
    if templates.is_empty() && faults.is_empty() {
        faults.push(Fault::NoTemplate);
    }
    if !faults.is_empty() {
        return Err(TemplateError { faults });
    }
    Ok(templates
        .into_iter()
        .map(|(name, mut commands)| {
            commands.sort_by(|a, b| (&a.name, &a.container).cmp(&(&b.name, &b.container)));
            Template { name: name.to_owned(), commands }
        })
        .collect())
}

fn is_helper(entry: &Entry) -> bool {
    entry.template.starts_with(HELPER) || entry.name.starts_with(HELPER)
}

fn command(entry: &Entry) -> Result<TestCommand, Fault> {
    let Entry { container, template, name, kind } = entry.clone();
    let Some(role) = Role::of(&name) else { return Err(Fault::UnknownPrefix { container, template, name }) };
    match kind {
        EntryKind::Executable => Ok(TestCommand { container, template, name, role }),
        EntryKind::NotExecutable => Err(Fault::NoRunBit { container, template, name }),
        EntryKind::Folder => Err(Fault::CommandIsFolder { container, template, name }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(container: &str, path: &str, kind: EntryKind) -> Entry {
        let (template, name) = path.split_once('/').unwrap();
        Entry { container: container.to_owned(), template: template.to_owned(), name: name.to_owned(), kind }
    }

    fn executables(paths: &[(&str, &str)]) -> Vec<Entry> {
        paths.iter().map(|(container, path)| entry(container, path, EntryKind::Executable)).collect()
    }

    fn faults(entries: &[Entry]) -> Vec<Fault> {
        discover(entries).unwrap_err().faults
    }

    #[test]
    fn one_name_in_two_containers_is_one_template() {
        let templates = discover(&executables(&[
            ("client2", "main/parallel_driver_a"),
            ("client1", "main/parallel_driver_a"),
            ("client1", "other/anytime_b"),
        ]))
        .unwrap();
        assert_eq!(templates.len(), 2);
        let containers: Vec<_> = templates[0].commands.iter().map(|c| c.container.as_str()).collect();
        assert_eq!(containers, ["client1", "client2"]);
    }

    #[test]
    fn every_prefix_is_known() {
        let entries: Vec<_> = PREFIXES
            .iter()
            .map(|(prefix, _)| entry("c", &format!("t/{prefix}x"), EntryKind::Executable))
            .collect();
        let mut roles: Vec<_> =
            discover(&entries).unwrap().remove(0).commands.iter().map(|command| command.role).collect();
        roles.sort_unstable();
        assert_eq!(roles, PREFIXES.map(|(_, role)| role));
    }

    #[test]
    fn helpers_are_ignored_whatever_they_are() {
        let mut entries = executables(&[("c", "t/serial_driver_x"), ("c", "helper_lib/whatever")]);
        entries.push(entry("c", "t/helper_data", EntryKind::Folder));
        entries.push(entry("c", "t/helper_notes.txt", EntryKind::NotExecutable));
        assert_eq!(discover(&entries).unwrap()[0].commands.len(), 1);
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        let mut entries = executables(&[("c", "t/serial_driver_x"), ("c", "t/README")]);
        entries.push(entry("c", "t/anytime_y", EntryKind::NotExecutable));
        entries.push(entry("c", "t/first_z", EntryKind::Folder));
        assert_eq!(faults(&entries).len(), 3);
        let message = discover(&entries).unwrap_err().to_string();
        assert!(message.contains("c: t/README has an unknown prefix (use one of first_, "), "{message}");
        assert!(message.contains("c: t/anytime_y has no run bit"), "{message}");
        assert!(message.contains("c: t/first_z is a folder"), "{message}");
    }

    #[test]
    fn a_template_needs_a_driver_or_an_anytime_command() {
        let fault = Fault::NoDriver { template: "t".to_owned() };
        assert_eq!(faults(&executables(&[("c", "t/first_x"), ("c", "t/finally_x")])), [fault]);
        assert_eq!(faults(&[]), [Fault::NoTemplate]);
    }
}
