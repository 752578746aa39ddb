//! What the platform would refuse in test templates, or would silently make nothing of, found before a run. In goes
//! a folder of templates or the name of a container that has them, and perhaps SDK output of their commands; out come
//! findings. No command is run, and nothing is changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs, io,
    path::{Path, PathBuf},
};

use object::{
    Endianness,
    elf::{EM_X86_64, FileHeader64},
    read::elf::{FileHeader, ProgramHeader},
};

use crate::lab::{
    docker::{self, DockerError},
    local::{self, LocalError},
    sdk_output::{self, Line, SdkOutputError},
    template::{self, Entry, EntryKind, Role},
};

/// Where templates lie in a container.
const TEMPLATES: &str = "/opt/antithesis/test/v1";
const ELF: &[u8] = b"\x7fELF";
/// What a program that calls the SDK's setup-complete has in it, in any language.
const SETUP_COMPLETE: [&[u8]; 3] = [b"antithesis_setup", b"setup_complete(", b"setupComplete("];

/// Why a template can't be looked at.
#[derive(Debug, thiserror::Error)]
pub enum LintError {
    /// The folder of templates.
    #[error(transparent)]
    Folder(#[from] LocalError),
    /// The container.
    #[error("no folder and no container {name}: {source}")]
    Container {
        /// What was named.
        name: String,
        /// What Docker says.
        source: DockerError,
    },
    /// A file in it.
    #[error("failed to read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// SDK output.
    #[error(transparent)]
    SdkOutput(#[from] SdkOutputError),
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The platform refuses it, or it can't work.
    Error,
    /// It runs, and is probably not what was meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One thing that should be otherwise.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What, where, and what to do.
    pub text: String,
}

/// What was looked at, and what was found.
#[derive(Debug, Default)]
pub struct Linted {
    /// `template/name` of each command, with its role.
    pub commands: Vec<(String, Role)>,
    /// The worst first.
    pub findings: Vec<Finding>,
}

/// Lints the templates in the folder `place`, or in the container of that name.
pub fn lint(place: &str, sdk_output: &[PathBuf]) -> Result<Linted, LintError> {
    let path = Path::new(place);
    let mut linted = if path.is_dir() { lint_folder(place, path)? } else { lint_container(place)? };
    linted.findings.extend(duplicates(sdk_output)?);
    linted.findings.sort();
    Ok(linted)
}

/// A copy is looked at, links resolved, so that the container needs neither a shell nor to be running.
fn lint_container(name: &str) -> Result<Linted, LintError> {
    let failed = |source| LintError::Container { name: name.to_owned(), source };
    let copy = std::env::temp_dir().join(format!("etcd-lab-template-{}", std::process::id()));
    let target = copy.display().to_string();
    let result = docker::run(&["docker", "cp", &format!("{name}:{TEMPLATES}"), &target])
        .map_err(failed)
        .and_then(|_| {
            resolve_links(name, &copy)?;
            lint_folder(name, &copy)
        });
    // Nothing was copied if the container is not there.
    let _ = fs::remove_dir_all(&copy);
    result
}

/// A link of a container points to a file of the container: that file takes its place.
fn resolve_links(container: &str, copy: &Path) -> Result<(), LintError> {
    for path in files_below(copy)? {
        if path.is_symlink() {
            let inside = path.strip_prefix(copy).unwrap_or(&path).display().to_string();
            let target = path.display().to_string();
            fs::remove_file(&path).map_err(|source| LintError::File { path: path.clone(), source })?;
            let from = format!("{container}:{TEMPLATES}/{inside}");
            docker::run(&["docker", "cp", "--follow-link", &from, &target])
                .map_err(|source| LintError::Container { name: container.to_owned(), source })?;
        }
    }
    Ok(())
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>, LintError> {
    let failed = |path: &Path, source| LintError::File { path: path.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(|source| failed(folder, source))? {
        let path = entry.map_err(|source| failed(folder, source))?.path();
        if path.is_dir() && !path.is_symlink() { files.extend(files_below(&path)?) } else { files.push(path) }
    }
    Ok(files)
}

fn lint_folder(place: &str, folder: &Path) -> Result<Linted, LintError> {
    let entries: Vec<Entry> = local::list(folder)?
        .into_iter()
        .map(|entry| Entry { container: place.to_owned(), ..entry })
        .collect();
    let mut linted = Linted::default();
    match template::discover(&entries) {
        Ok(templates) => {
            let commands = templates.into_iter().flat_map(|template| template.commands);
            linted.commands = commands.map(|command| (command.path(), command.role)).collect();
        }
        Err(error) => {
            let errors = error.faults.iter().map(|fault| finding(Severity::Error, fault.to_string()));
            linted.findings.extend(errors);
        }
    }
    for entry in entries.iter().filter(|entry| entry.kind == EntryKind::Executable) {
        if Role::of(&entry.name).is_some() {
            let name = format!("{}/{}", entry.template, entry.name);
            let path = folder.join(&name);
            let bytes = fs::read(&path).map_err(|source| LintError::File { path, source })?;
            linted.findings.extend(
                program(&bytes).map(|(severity, text)| finding(severity, format!("{place}: {name} {text}"))),
            );
        }
    }
    Ok(linted)
}

fn finding(severity: Severity, text: String) -> Finding {
    Finding { severity, text }
}

/// What is wrong with an executable file.
fn program(bytes: &[u8]) -> impl Iterator<Item = (Severity, &'static str)> {
    let form = if bytes.starts_with(ELF) {
        elf(bytes)
    } else if bytes.starts_with(b"#!") {
        None
    } else {
        Some((Severity::Error, "is neither a program nor a script with a first line like #!/bin/sh"))
    };
    let emits = SETUP_COMPLETE.iter().any(|call| bytes.windows(call.len()).any(|window| window == *call));
    let setup = emits.then_some((
        Severity::Warning,
        "seems to emit setup-complete, which only an entrypoint may do, once, when the system is ready",
    ));
    form.into_iter().chain(setup)
}

/// The SDK loads the platform's library at run time, which only a dynamic program on glibc can do.
fn elf(bytes: &[u8]) -> Option<(Severity, &'static str)> {
    let damaged = Some((Severity::Error, "is damaged: it begins like a 64-bit ELF program, and is none"));
    let Ok(header) = FileHeader64::<Endianness>::parse(bytes) else { return damaged };
    let Ok(endian) = header.endian() else { return damaged };
    if header.e_machine(endian) != EM_X86_64 {
        return Some((Severity::Error, "is built for another processor than x86-64, the platform's"));
    }
    let Ok(segments) = header.program_headers(endian, bytes) else { return damaged };
    let interpreter = segments.iter().find_map(|segment| segment.interpreter(endian, bytes).ok().flatten());
    match interpreter {
        None => Some((
            Severity::Warning,
            "is linked statically: the SDK in it can't load the platform's library and stays silent there",
        )),
        Some(name) if name.windows(4).any(|window| window == b"musl") => Some((
            Severity::Warning,
            "is linked against musl: the platform's library needs glibc, so the SDK in it stays silent there",
        )),
        Some(_) => None,
    }
}

/// Messages that stand at more than one place: the platform takes them for one property.
fn duplicates(files: &[PathBuf]) -> Result<Vec<Finding>, LintError> {
    let mut places: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in files {
        sdk_output::read(file, |line| {
            if let Line::Assertion(assertion) = line {
                let place = format!("{}:{}", assertion.location.file, assertion.location.begin_line);
                places.entry(assertion.message).or_default().insert(place);
            }
        })?;
    }
    let twice = places.into_iter().filter(|(_, places)| places.len() > 1);
    Ok(twice
        .map(|(message, places)| {
            let places = places.into_iter().collect::<Vec<_>>().join(", ");
            finding(Severity::Warning, format!("the message {message:?} stands at several places ({places}): the platform takes them for one property"))
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn said(bytes: &[u8]) -> Vec<&'static str> {
        program(bytes).map(|(_, text)| text).collect()
    }

    #[test]
    fn scripts_are_fine_and_need_a_first_line() {
        assert_eq!(said(b"#!/usr/bin/env python3\nprint()\n"), [""; 0]);
        assert!(said(b"print()\n")[0].starts_with("is neither a program nor a script"));
        assert!(said(b"#!/bin/sh\necho '{\"antithesis_setup\":{}}'\n")[0].contains("setup-complete"));
    }

    #[test]
    fn this_very_program_is_dynamic() {
        let bytes = fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(elf(&bytes), None);
        assert!(elf(&bytes[..100]).unwrap().1.starts_with("is damaged"));
    }

    /// The fields that are asked for, at the offsets that the ELF specification gives them.
    fn program_of(machine: u16, interpreter: Option<&[u8]>) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        bytes[18..20].copy_from_slice(&machine.to_le_bytes());
        if let Some(interpreter) = interpreter {
            bytes[32] = 64; // program headers follow
            bytes[54] = 56; // the size of one
            bytes[56] = 1; // their number
            let mut segment = [0; 56];
            segment[0] = 3; // PT_INTERP
            segment[8] = 120; // its offset
            segment[32] = u8::try_from(interpreter.len()).unwrap();
            bytes.extend(segment);
            bytes.extend(interpreter);
        }
        bytes
    }

    #[test]
    fn what_keeps_the_sdk_silent_is_told() {
        let glibc = program_of(EM_X86_64.0, Some(b"/lib64/ld-linux-x86-64.so.2\0"));
        assert_eq!(elf(&glibc), None);
        let musl = program_of(EM_X86_64.0, Some(b"/lib/ld-musl-x86_64.so.1\0"));
        assert!(elf(&musl).unwrap().1.contains("musl"));
        assert!(elf(&program_of(EM_X86_64.0, None)).unwrap().1.contains("statically"));
        assert!(elf(&program_of(183, None)).unwrap().1.contains("another processor"));
    }

    #[test]
    fn a_folder_is_linted_as_the_platform_finds_it() {
        let root = tempfile::tempdir().unwrap();
        let main = root.path().join("main");
        fs::create_dir(&main).unwrap();
        for (name, mode) in [("parallel_driver_a", 0o755), ("serial_driver_b", 0o644), ("notes.txt", 0o644)] {
            fs::write(main.join(name), "#!/bin/sh\n").unwrap();
            fs::set_permissions(main.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        let linted = lint(root.path().to_str().unwrap(), &[]).unwrap();
        let texts: Vec<_> = linted.findings.iter().map(|finding| finding.text.as_str()).collect();
        assert_eq!(texts.len(), 2, "{texts:?}");
        assert!(texts[0].contains("notes.txt has an unknown prefix"), "{texts:?}");
        assert!(texts[1].contains("serial_driver_b has no run bit"), "{texts:?}");
    }

    #[test]
    fn one_message_at_two_places_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sdk.jsonl");
        let line = |message: &str, line: u32| {
            format!(
                r#"{{"antithesis_assert":{{"assert_type":"always","condition":false,"details":null,"display_type":"Always","hit":false,"id":"x","location":{{"file":"a.rs","begin_line":{line}}},"message":"{message}","must_hit":true}}}}"#
            )
        };
        fs::write(&path, [line("one", 1), line("two", 2), line("one", 3), line("two", 2)].join("\n") + "\n")
            .unwrap();
        let found = duplicates(&[path]).unwrap();
        assert_eq!(found.len(), 1);
        assert!(found[0].text.contains("\"one\" stands at several places (a.rs:1, a.rs:3)"), "{found:?}");
    }
}
