//! Advisory locks on files (flock): the kernel releases them when their process ends, however it ends.

use std::fs::{File, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use super::{PrivateClusterError, failed};

/// A lock file. Never removed: two processes must not lock two files of one name.
///
/// The file is closed on exec, so that neither the server nor any other child keeps our lock alive.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Opens the lock file without locking it.
    pub fn open(path: PathBuf) -> Result<Self, PrivateClusterError> {
        let opened = File::options().create(true).append(true).mode(0o600).open(&path);
        let file = opened.map_err(failed("open", &path))?;
        Ok(Self { file, path })
    }

    /// Takes the lock for us alone, if nobody holds it.
    pub fn try_exclusive(&self) -> Result<bool, PrivateClusterError> {
        self.outcome(self.file.try_lock())
    }

    /// Takes the lock together with others, if nobody holds it alone.
    pub fn try_shared(&self) -> Result<bool, PrivateClusterError> {
        self.outcome(self.file.try_lock_shared())
    }

    /// Gives the lock back.
    pub fn release(&self) -> Result<(), PrivateClusterError> {
        self.file.unlock().map_err(failed("unlock", &self.path))
    }

    fn outcome(&self, result: Result<(), TryLockError>) -> Result<bool, PrivateClusterError> {
        match result {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(source)) => Err(failed("lock", &self.path)(source)),
        }
    }
}
