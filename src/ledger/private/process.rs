//! Which processes serve a cluster.
//!
//! A pid alone proves nothing: after a crash of the machine, or in a new container, the pid in an old file belongs to somebody else.
//! So our servers carry a mark in their command line that names the cluster's directory by device and inode. It survives a rename of
//! the directory, all children of the server show it in their titles, and everybody may read it.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{PrivateClusterError, failed, layout::Layout};

/// What the server writes about itself into `postmaster.pid`.
#[derive(Debug, PartialEq, Eq)]
pub struct PidFile {
    /// The server's process.
    pub pid: i32,
    /// The directory of its socket, unless it has not come that far.
    pub socket_directory: Option<PathBuf>,
}

impl PidFile {
    /// Reads the pid file of a cluster. No file, or one that is just being written: `None`.
    pub fn read(layout: &Layout) -> Result<Option<Self>, PrivateClusterError> {
        Ok(read(&layout.pid_file())?.and_then(|text| Self::parse(&text)))
    }

    /// Line 1 is the pid, line 5 the socket directory (src/include/utils/pidfile.h of PostgreSQL).
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let pid = lines.next()?.trim().parse().ok()?;
        let socket_directory = lines.nth(3).map(str::trim).filter(|line| !line.is_empty()).map(PathBuf::from);
        Some(Self { pid, socket_directory })
    }
}

/// The process that holds one of PostgreSQL's lock files, all of which begin with a pid.
pub fn holder(lock_file: &Path) -> Result<Option<i32>, PrivateClusterError> {
    Ok(read(lock_file)?.and_then(|text| PidFile::parse(&text)).map(|parsed| parsed.pid))
}

fn read(file: &Path) -> Result<Option<String>, PrivateClusterError> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", file)(error)),
    }
}

/// The mark in the command lines of a cluster's server, also its `cluster_name`.
pub fn mark(cluster: &Path) -> Result<String, PrivateClusterError> {
    let found = fs::metadata(cluster).map_err(failed("look at", cluster))?;
    // The ending keeps one number from being the beginning of another.
    Ok(format!("quittance-{:x}-{:x}-ledger", found.dev(), found.ino()))
}

/// Whether any process serves the cluster: its server or, for a moment after the server's death, one of its children.
pub fn any_serves(cluster: &Path) -> Result<bool, PrivateClusterError> {
    let mark = mark(cluster)?;
    let processes = Path::new("/proc");
    let entries = fs::read_dir(processes).map_err(failed("list", processes))?;
    let mut pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(pids.any(|pid| command_line(pid).is_some_and(|line| names(&line, &mark, cluster))))
}

/// Whether process `pid` serves the cluster, or `None` if there is no such process or we may not see it.
pub fn serves(pid: i32, cluster: &Path) -> Result<Option<bool>, PrivateClusterError> {
    let mark = mark(cluster)?;
    Ok(command_line(pid).map(|line| names(&line, &mark, cluster)))
}

/// The arguments of a process, each ended by a zero byte. Empty for one that has ended and was not waited for.
fn command_line(pid: i32) -> Option<Vec<u8>> {
    fs::read(format!("/proc/{pid}/cmdline")).ok()
}

/// A server that an operator started by hand has no mark, but the directory as an argument.
fn names(command_line: &[u8], mark: &str, cluster: &Path) -> bool {
    let marked = command_line.windows(mark.len()).any(|window| window == mark.as_bytes());
    marked || command_line.split(|byte| *byte == 0).any(|argument| argument == cluster.as_os_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pid_files_are_read_in_every_stage_of_their_writing() {
        let complete = "4711\n/d/postgres\n1790000000\n5432\n/d/socket\n\n  5432001         3\nready   \n";
        let socket_directory = Some(PathBuf::from("/d/socket"));
        assert_eq!(PidFile::parse(complete), Some(PidFile { pid: 4711, socket_directory }));
        let early = PidFile { pid: 4711, socket_directory: None };
        assert_eq!(PidFile::parse("4711\n/d/postgres\n1790000000\n5432\n"), Some(early));
        assert_eq!(PidFile::parse(""), None);
    }

    #[test]
    fn a_server_is_known_by_its_mark_or_its_directory() {
        let cluster = Path::new("/d/postgres");
        let names = |line: &str| names(line.as_bytes(), "quittance-1-2-ledger", cluster);
        assert!(names("/bin/postgres\0-D\0/moved\0-c\0cluster_name=quittance-1-2-ledger\0"));
        assert!(names("postgres: quittance-1-2-ledger: checkpointer \0"));
        assert!(names("/bin/postgres\0-D\0/d/postgres\0"));
        assert!(!names("postgres: quittance-1-23-ledger: checkpointer \0"));
        assert!(!names("tail\0-f\0/d/postgres.log\0"));
        assert!(!names(""));
    }
}
