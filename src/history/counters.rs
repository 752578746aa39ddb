//! Two numbers that all programs of a history folder share and that only grow: the greatest revision that any of
//! them was answered, and the next free process id. In and out go plain numbers; the file is locked for each
//! change, and a program that is killed leaves it whole, since the system drops its lock.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use super::HistoryError;
use crate::types::{ProcessId, Revision};

/// First bytes of the file.
const MAGIC: [u8; 8] = *b"counters";
const REVISION_AT: u64 = 8;
const PROCESS_AT: u64 = 16;
const LENGTH: usize = 24;

/// The shared counters of a history folder.
#[derive(Debug)]
pub struct Counters {
    path: PathBuf,
    /// The file's lock holds between programs only; the mutex does between threads.
    file: Mutex<File>,
}

impl Counters {
    /// Opens the folder's counters; the first program makes folder and file.
    pub fn open(folder: &Path) -> Result<Self, HistoryError> {
        fs::create_dir_all(folder).map_err(HistoryError::io("make the folder", folder))?;
        let path = folder.join("counters");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(HistoryError::io("open the counters", &path))?;
        let counters = Self { path, file: Mutex::new(file) };
        let is_one = counters.locked(|file| {
            if file.metadata()?.len() == 0 {
                let mut first = [0; LENGTH];
                first[..MAGIC.len()].copy_from_slice(&MAGIC);
                file.write_all_at(&first, 0)?;
            }
            let mut magic = [0; MAGIC.len()];
            Ok(file.metadata()?.len() == LENGTH as u64
                && file.read_exact_at(&mut magic, 0).is_ok()
                && magic == MAGIC)
        })?;
        if is_one { Ok(counters) } else { Err(HistoryError::Counters { path: counters.path }) }
    }

    /// The greatest revision that any program was answered; 0 if none was.
    pub fn revision_floor(&self) -> Result<Revision, HistoryError> {
        self.locked(|file| Ok(Revision(read(file, REVISION_AT)?.cast_signed())))
    }

    /// Raises the revision to at least this one.
    pub fn raise_revision_floor(&self, to: Revision) -> Result<(), HistoryError> {
        self.locked(|file| {
            if read(file, REVISION_AT)?.cast_signed() < to.0 {
                file.write_all_at(&to.0.to_le_bytes(), REVISION_AT)?;
            }
            Ok(())
        })
    }

    /// A process id that no other caller ever gets.
    pub fn allocate_process(&self) -> Result<ProcessId, HistoryError> {
        self.locked(|file| {
            let next = read(file, PROCESS_AT)? + 1;
            file.write_all_at(&next.to_le_bytes(), PROCESS_AT)?;
            Ok(ProcessId(next))
        })
    }

    fn locked<T>(&self, work: impl FnOnce(&File) -> io::Result<T>) -> Result<T, HistoryError> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let locked_work = || {
            file.lock()?;
            let result = work(&file);
            file.unlock()?;
            result
        };
        locked_work().map_err(HistoryError::io("update the counters", &self.path))
    }
}

fn read(file: &File, offset: u64) -> io::Result<u64> {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(u64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// The floor never falls, whoever lowers it, and a second opener sees it.
    #[test]
    fn the_floor_only_grows() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (Counters::open(folder.path()).unwrap(), Counters::open(folder.path()).unwrap());
        one.raise_revision_floor(Revision(9)).unwrap();
        two.raise_revision_floor(Revision(4)).unwrap();
        assert_eq!(two.revision_floor().unwrap(), Revision(9));
    }

    /// Two openers with threads of their own never get the same process id.
    #[test]
    fn process_ids_are_unique() {
        let folder = tempfile::tempdir().unwrap();
        let openers = [Counters::open(folder.path()).unwrap(), Counters::open(folder.path()).unwrap()];
        let mut ids: Vec<ProcessId> = thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|n| {
                    scope.spawn({
                        let counters = &openers[n % 2];
                        move || (0..100).map(|_| counters.allocate_process().unwrap()).collect::<Vec<_>>()
                    })
                })
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        ids.sort();
        assert_eq!(ids, (1..=400).map(ProcessId).collect::<Vec<_>>());
    }

    /// Another program's file of that name is not overwritten.
    #[test]
    fn a_foreign_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("counters"), "something else that is here").unwrap();
        assert!(matches!(Counters::open(folder.path()), Err(HistoryError::Counters { .. })));
    }
}
