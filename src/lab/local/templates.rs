//! Folders of templates on this machine: read as the platform reads those of a container, and made for the
//! commands of this project.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::LocalError;
use crate::lab::template::{Entry, EntryKind};

/// What lies in a folder of templates, without the name of a container.
pub fn list(templates: &Path) -> Result<Vec<Entry>, LocalError> {
    let mut entries = Vec::new();
    for (template, path) in read_folder(templates)? {
        if !path.is_dir() {
            continue;
        }
        for (name, path) in read_folder(&path)? {
            let metadata = fs::metadata(&path).map_err(|source| LocalError::File {
                action: "look at",
                path: path.clone(),
                source,
            })?;
            let kind = match metadata.permissions().mode() & 0o111 {
                _ if metadata.is_dir() => EntryKind::Folder,
                0 => EntryKind::NotExecutable,
                _ => EntryKind::Executable,
            };
            entries.push(Entry { container: String::new(), template: template.clone(), name, kind });
        }
    }
    Ok(entries)
}

fn read_folder(path: &Path) -> Result<Vec<(String, PathBuf)>, LocalError> {
    let failed = |source| LocalError::File { action: "list", path: path.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        found.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
    }
    found.sort_unstable();
    Ok(found)
}

/// Makes the template that the client image carries: `test-command` under the name of each of its commands.
pub fn make_template(test_command: &Path, commands: &[&str], templates: &Path) -> Result<(), LocalError> {
    let folder = templates.join("main");
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| LocalError::File { action, path, source }
    };
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(failed("remove", &folder))?;
    }
    fs::create_dir_all(&folder).map_err(failed("make the folder", &folder))?;
    for command in commands {
        let link = folder.join(command);
        std::os::unix::fs::symlink(test_command, &link).map_err(failed("link", &link))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_template_lists_as_executables() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("test-command");
        fs::write(&program, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let templates = folder.path().join("v1");
        for _ in 0..2 {
            make_template(&program, &["first_a", "anytime_b"], &templates).unwrap();
        }
        let entries = list(&templates).unwrap();
        let seen: Vec<_> = entries.iter().map(|entry| (entry.name.as_str(), entry.kind)).collect();
        assert_eq!(seen, [("anytime_b", EntryKind::Executable), ("first_a", EntryKind::Executable)]);
    }

    #[test]
    fn a_missing_template_folder_is_named() {
        let error = list(Path::new("/nowhere/v1")).unwrap_err().to_string();
        assert!(error.starts_with("failed to list /nowhere/v1"), "{error}");
    }
}
