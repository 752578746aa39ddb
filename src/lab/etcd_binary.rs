//! Where the etcd binary of a cluster of local processes comes from: `$ETCD`, `PATH`, or a package that
//! `containers/etcd/fetch-etcd` unpacks into `target/etcd/VERSION/`. What comes out has been run and has told
//! its version. Nothing outside `target/etcd/` is written.

use std::{
    env,
    ffi::{OsStr, OsString},
    fmt,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Command, Output},
    str::FromStr,
};

/// A version of etcd, such as 3.5.30; what follows the patch number (`-rc.0`) is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EtcdVersion {
    /// Major version.
    pub major: u16,
    /// Minor version.
    pub minor: u16,
    /// Patch level.
    pub patch: u16,
}

impl EtcdVersion {
    /// The versions that `fetch-etcd` knows, oldest first.
    pub const PACKAGED: [Self; 4] =
        [Self::new(3, 4, 23), Self::new(3, 5, 1), Self::new(3, 5, 16), Self::new(3, 5, 30)];
    /// What is fetched if nothing else is asked for and there is no etcd.
    pub const DEFAULT: Self = Self::new(3, 5, 30);

    /// The version `major.minor.patch`.
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Self { major, minor, patch }
    }
}

impl fmt::Display for EtcdVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl FromStr for EtcdVersion {
    type Err = EtcdBinaryError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let release = text.split(['-', '+']).next().unwrap_or(text);
        let numbers: Vec<u16> = release.split('.').map_while(|part| part.parse().ok()).collect();
        match numbers[..] {
            [major, minor, patch] if release.split('.').count() == 3 => Ok(Self::new(major, minor, patch)),
            _ => Err(EtcdBinaryError::NotAVersion { text: text.to_owned() }),
        }
    }
}

/// An etcd binary that runs on this machine.
#[derive(Debug, Clone)]
pub struct EtcdBinary {
    path: PathBuf,
    version: EtcdVersion,
    help: String,
}

impl EtcdBinary {
    /// `$ETCD` if set. Else, for a requested version, the package of that version, or the etcd on `PATH` if
    /// the package can't be had and the version is the same; and if none is requested, the etcd on `PATH`, or
    /// the package of [`EtcdVersion::DEFAULT`].
    pub fn locate(requested: Option<EtcdVersion>) -> Result<Self, EtcdBinaryError> {
        locate_in(requested, env::var_os("ETCD"), env::var_os("PATH").as_deref())
    }

    /// The packaged etcd of `version`, fetched unless an earlier call left it in `target/etcd/VERSION/`.
    /// Processes that ask at once wait for one of them to fetch it.
    pub fn fetch(version: EtcdVersion) -> Result<Self, EtcdBinaryError> {
        let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/etcd");
        let folder = cache.join(version.to_string());
        let lock_path = cache.join(format!("{version}.lock"));
        let unusable = |source| EtcdBinaryError::Cache { path: lock_path.clone(), source };
        fs::create_dir_all(&cache).map_err(unusable)?;
        let lock = File::create(&lock_path).map_err(unusable)?;
        lock.lock().map_err(unusable)?;
        if !folder.join("etcd").exists() {
            run_fetch_etcd(version, &folder)?;
        }
        Self::at(folder.join("etcd"))
    }

    /// The binary at `path`, asked for its version and its flags.
    pub fn at(path: impl Into<PathBuf>) -> Result<Self, EtcdBinaryError> {
        let path = path.into();
        let said = ask(&path, "--version")?;
        let version = said
            .lines()
            .find_map(|line| line.strip_prefix("etcd Version: "))
            .and_then(|version| version.trim().parse().ok())
            .ok_or_else(|| EtcdBinaryError::NotEtcd {
                path: path.clone(),
                said: said.lines().next().unwrap_or_default().to_owned(),
            })?;
        let help = ask(&path, "--help")?;
        Ok(Self { path, version, help })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the binary says it is.
    pub fn version(&self) -> EtcdVersion {
        self.version
    }

    /// Whether the binary has the flag (`name` without dashes), by its own help text.
    pub fn has_flag(&self, name: &str) -> bool {
        self.help.split_whitespace().any(|word| word.strip_prefix("--") == Some(name))
    }
}

/// Variables of this environment that etcd would take for flags of its own.
pub(super) fn etcd_variables() -> impl Iterator<Item = OsString> {
    env::vars_os().map(|(name, _)| name).filter(|name| name.as_encoded_bytes().starts_with(b"ETCD_"))
}

fn locate_in(
    requested: Option<EtcdVersion>,
    etcd: Option<OsString>,
    path: Option<&OsStr>,
) -> Result<EtcdBinary, EtcdBinaryError> {
    if let Some(etcd) = etcd.filter(|value| !value.is_empty()) {
        return EtcdBinary::at(PathBuf::from(etcd));
    }
    let on_path = || {
        env::split_paths(path.unwrap_or_default())
            .map(|folder| folder.join("etcd"))
            .filter(|file| file.is_file())
            .find_map(|file| EtcdBinary::at(file).ok())
    };
    match requested {
        None => on_path().map_or_else(|| EtcdBinary::fetch(EtcdVersion::DEFAULT), Ok),
        Some(version) => EtcdBinary::fetch(version)
            .or_else(|error| on_path().filter(|binary| binary.version == version).ok_or(error)),
    }
}

fn ask(path: &Path, flag: &str) -> Result<String, EtcdBinaryError> {
    let mut command = Command::new(path);
    etcd_variables().for_each(|name| {
        command.env_remove(name);
    });
    let not_runnable = |source| EtcdBinaryError::NotRunnable { path: path.to_owned(), source };
    // 3.4 prints its help on stderr.
    let Output { stdout, stderr, .. } = command.arg(flag).output().map_err(not_runnable)?;
    Ok(String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

fn run_fetch_etcd(version: EtcdVersion, folder: &Path) -> Result<(), EtcdBinaryError> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("containers/etcd/fetch-etcd");
    let Output { status, stderr, .. } =
        Command::new(&script)
            .arg(version.to_string())
            .arg(folder)
            .output()
            .map_err(|source| EtcdBinaryError::NotRunnable { path: script, source })?;
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&stderr);
    let reason = said.split_once("error: ").map_or(said.as_ref(), |(_, reason)| reason).trim();
    Err(EtcdBinaryError::Fetch { version, reason: reason.to_owned() })
}

/// Why there is no etcd binary.
#[derive(Debug, thiserror::Error)]
pub enum EtcdBinaryError {
    /// The text is no version.
    #[error("{text:?} is no version of etcd; write one such as {}", EtcdVersion::DEFAULT)]
    NotAVersion {
        /// What was given.
        text: String,
    },
    /// The file can't be executed.
    #[error("cannot run {path}: {source}; set ETCD to an etcd binary that runs on this machine")]
    NotRunnable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file runs, but is something else.
    #[error("{path} is no etcd: asked for its version, it says {said:?}; set ETCD to an etcd binary")]
    NotEtcd {
        /// The file.
        path: PathBuf,
        /// First line of its output.
        said: String,
    },
    /// The folder of fetched binaries can't be used.
    #[error("cannot write {path}, where fetched etcd binaries are kept: {source}")]
    Cache {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// `fetch-etcd` gave up.
    #[error("cannot fetch etcd {version}: {reason}")]
    Fetch {
        /// The version that was asked for.
        version: EtcdVersion,
        /// What `fetch-etcd` said.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_etcd_writes_them() {
        let cases = [
            ("3.5.30", Some(EtcdVersion::new(3, 5, 30))),
            ("3.6.0-rc.1", Some(EtcdVersion::new(3, 6, 0))),
            ("3.5", None),
            ("3.5.x", None),
            ("3.5.1.2", None),
            ("", None),
        ];
        for (text, version) in cases {
            assert_eq!(text.parse::<EtcdVersion>().ok(), version, "{text:?}");
        }
    }

    #[test]
    fn versions_are_ordered_as_numbers() {
        assert!(EtcdVersion::PACKAGED.is_sorted());
        assert!(EtcdVersion::new(3, 5, 9) < EtcdVersion::new(3, 5, 10));
    }

    #[test]
    fn the_variable_etcd_comes_before_all_and_is_never_ignored() {
        let error = locate_in(Some(EtcdVersion::DEFAULT), Some("/nowhere/etcd".into()), None).unwrap_err();
        assert!(matches!(error, EtcdBinaryError::NotRunnable { .. }), "{error}");
    }

    #[test]
    fn another_program_is_not_taken_for_etcd() {
        let error = locate_in(None, Some("true".into()), None).unwrap_err();
        assert!(matches!(error, EtcdBinaryError::NotEtcd { .. }), "{error}");
    }

    #[test]
    fn an_unknown_version_names_the_known_ones() {
        let error = locate_in(Some(EtcdVersion::new(3, 3, 0)), None, None).unwrap_err().to_string();
        for version in EtcdVersion::PACKAGED {
            assert!(error.contains(&version.to_string()), "{error}");
        }
    }

    #[test]
    fn a_fetched_binary_is_used_from_path_without_fetching_again() {
        let fetched = EtcdBinary::fetch(EtcdVersion::new(3, 4, 23)).unwrap();
        let folder = fetched.path().parent().unwrap().as_os_str();
        let found = locate_in(None, None, Some(folder)).unwrap();
        assert_eq!(found.path(), fetched.path());
        assert_eq!(found.version(), EtcdVersion::new(3, 4, 23));
        assert!(found.has_flag("snapshot-count") && !found.has_flag("tls-min-version"));
    }
}
