//! Where the project lies and which programs stand for its images. It looks at folders and calls cargo;
//! it starts nothing of the system itself.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use crate::lab::{
    compose::COMPOSE_FILE,
    docker::{self, DockerError},
};

/// Programs that a cluster of processes needs, beside etcd.
const PROGRAMS: [&str; 2] = ["test-command", "health-checker"];

/// Why the project's files can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// The present folder is gone.
    #[error("failed to find the present folder: {0}")]
    NoFolder(io::Error),
    /// Containers need their sources.
    #[error(
        "{} is no folder of this project ({COMPOSE_FILE} and containers/ are not in it or above it): go there, or use `--cluster processes`",
        folder.display()
    )]
    NoSources {
        /// The present folder.
        folder: PathBuf,
    },
    /// Neither sources nor programs.
    #[error("{} is missing: build it with `cargo build --release --bins` in the project's folder", path.display())]
    NoProgram {
        /// The program.
        path: PathBuf,
    },
    /// cargo failed.
    #[error("failed to build the test commands: {source}\n(all of it: {})", log.display())]
    Build {
        /// What cargo said.
        source: DockerError,
        /// The log.
        log: PathBuf,
    },
}

/// The project's folder, or the present one where there are no sources.
#[derive(Debug, Clone)]
pub struct Project {
    root: PathBuf,
    has_sources: bool,
}

impl Project {
    /// Looks in the present folder and those above it.
    pub fn find() -> Result<Self, ProjectError> {
        let folder = env::current_dir().map_err(ProjectError::NoFolder)?;
        let root = folder.ancestors().find(|folder| is_project(folder)).map(Path::to_owned);
        Ok(match root {
            Some(root) => Self { root, has_sources: true },
            None => Self { root: folder, has_sources: false },
        })
    }

    /// Where `.lab` belongs.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether images and programs can be built here.
    pub fn has_sources(&self) -> bool {
        self.has_sources
    }

    /// The folder again, where sources are needed.
    pub fn sources(&self) -> Result<&Path, ProjectError> {
        if self.has_sources {
            Ok(&self.root)
        } else {
            Err(ProjectError::NoSources { folder: self.root.clone() })
        }
    }

    /// The folder of the programs, built if there are sources, else beside this program.
    pub async fn programs(&self, log: &Path) -> Result<PathBuf, ProjectError> {
        let folder = if self.has_sources { self.build(log).await? } else { own_folder()? };
        match PROGRAMS.iter().map(|name| folder.join(name)).find(|path| !path.exists()) {
            Some(path) => Err(ProjectError::NoProgram { path }),
            None => Ok(folder),
        }
    }

    async fn build(&self, log: &Path) -> Result<PathBuf, ProjectError> {
        let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| self.root.join("target"), PathBuf::from);
        let target_text = target.display().to_string();
        let mut words = vec![cargo.as_str(), "build", "--release", "--target-dir", &target_text];
        words.extend(PROGRAMS.iter().flat_map(|name| ["--bin", *name]));
        docker::run_logged(&words, &self.root, log)
            .await
            .map_err(|source| ProjectError::Build { source, log: log.to_owned() })?;
        Ok(target.join("release"))
    }
}

fn is_project(folder: &Path) -> bool {
    folder.join(COMPOSE_FILE).is_file() && folder.join("containers").is_dir()
}

fn own_folder() -> Result<PathBuf, ProjectError> {
    let own = env::current_exe().and_then(fs::canonicalize).map_err(ProjectError::NoFolder)?;
    Ok(own.parent().map(Path::to_owned).unwrap_or_default())
}
