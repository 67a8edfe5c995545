//! The machine's PostgreSQL programs.

use std::fs;
use std::path::{Path, PathBuf};

use super::{PrivateClusterError, account::Account};

/// The oldest major version that the ledger's SQL is written for.
pub const MAJOR_MIN: u32 = 15;

/// Where Debian and Ubuntu keep the programs, one directory for each major version and none of them in PATH.
const DEBIAN: &str = "/usr/lib/postgresql";

/// The server programs of one PostgreSQL version.
#[derive(Debug, Clone)]
pub struct Programs {
    bin: PathBuf,
    major: u32,
}

impl Programs {
    /// Finds the newest Debian version, else what PATH has; for an existing cluster exactly the major version that made it.
    pub async fn find(account: &Account, made_by: Option<(PathBuf, u32)>) -> Result<Self, PrivateClusterError> {
        let mut found = Vec::new();
        for bin in debian_directories().into_iter().chain(path_directories()) {
            found.extend(Self::look_at(bin, account).await);
        }
        match made_by {
            _ if found.is_empty() => Err(PrivateClusterError::NotInstalled { user: account.name() }),
            Some((cluster, major)) => Self::exactly(found, major).ok_or(PrivateClusterError::VersionGone { cluster, major }),
            None => Self::first_new_enough(found),
        }
    }

    /// The server.
    pub fn postgres(&self) -> PathBuf {
        self.bin.join("postgres")
    }

    /// The program that creates clusters.
    pub fn initdb(&self) -> PathBuf {
        self.bin.join("initdb")
    }

    /// Asks the server in `bin` for its version, as the user that will run it. Nothing there, or closed to that user: `None`.
    async fn look_at(bin: PathBuf, account: &Account) -> Option<Self> {
        let postgres = bin.join("postgres");
        if !postgres.is_file() || !bin.join("initdb").is_file() {
            return None;
        }
        let output = account.command(&postgres).arg("--version").kill_on_drop(true).output().await.ok()?;
        let major = major_version(&String::from_utf8_lossy(&output.stdout))?;
        Some(Self { bin, major })
    }

    fn exactly(found: Vec<Self>, major: u32) -> Option<Self> {
        found.into_iter().find(|programs| programs.major == major)
    }

    /// `found` is in the order of preference and not empty.
    fn first_new_enough(found: Vec<Self>) -> Result<Self, PrivateClusterError> {
        let mut newest = Self { bin: PathBuf::new(), major: 0 };
        for programs in found {
            if programs.major >= MAJOR_MIN {
                return Ok(programs);
            }
            if programs.major > newest.major {
                newest = programs;
            }
        }
        Err(PrivateClusterError::TooOld { major: newest.major, bin: newest.bin })
    }
}

/// Debian's directories, newest version first.
fn debian_directories() -> Vec<PathBuf> {
    let entries = fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let mut majors: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    majors.sort_unstable();
    majors.into_iter().rev().map(|major| Path::new(DEBIAN).join(major.to_string()).join("bin")).collect()
}

fn path_directories() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // A relative entry would mean another directory for the server, which has a working directory of its own.
    std::env::split_paths(&path).filter(|directory| directory.is_absolute()).collect()
}

/// The major version in "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", also of "17beta1" and "18devel".
fn major_version(text: &str) -> Option<u32> {
    let (_, version) = text.split_once("(PostgreSQL) ")?;
    let digits = version.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(version.len());
    version[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(majors: &[u32]) -> Vec<Programs> {
        majors.iter().map(|major| Programs { bin: PathBuf::from(format!("/{major}")), major: *major }).collect()
    }

    #[test]
    fn the_major_version_is_read_from_what_the_server_says() {
        assert_eq!(major_version("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(major_version("postgres (PostgreSQL) 17beta1\n"), Some(17));
        assert_eq!(major_version("postgres (PostgreSQL) 18"), Some(18));
        assert_eq!(major_version("postgres (EnterpriseDB) 18"), None);
        assert_eq!(major_version("postgres (PostgreSQL) unknown"), None);
    }

    #[test]
    fn the_first_version_that_is_new_enough_is_taken() {
        assert_eq!(Programs::first_new_enough(versions(&[14, 15, 17])).unwrap().major, 15);
        let error = Programs::first_new_enough(versions(&[13, 14])).unwrap_err();
        assert!(matches!(error, PrivateClusterError::TooOld { major: 14, .. }));
        assert!(error.to_string().contains("apt-get install postgresql"));
    }

    #[test]
    fn a_cluster_is_run_only_by_the_version_that_made_it() {
        assert_eq!(Programs::exactly(versions(&[17, 16, 15]), 16).unwrap().major, 16);
        assert!(Programs::exactly(versions(&[17]), 16).is_none());
    }
}
