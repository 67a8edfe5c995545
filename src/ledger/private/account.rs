//! The user that runs the server: ourselves, or an unprivileged one when we are root, because PostgreSQL refuses root.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::{PrivateClusterError, failed};

/// The uid and gid of nobody, where /etc/passwd has no user `postgres`.
const NOBODY: u32 = 65534;

/// Who runs the server's programs and owns its files.
#[derive(Debug, Clone, Copy)]
pub struct Account {
    uid: u32,
    gid: u32,
    /// Whether we are root and have to become this user first.
    switch: bool,
}

impl Account {
    /// The user for the cluster at `cluster`: its present owner, or for a new one `postgres`, nobody, or ourselves.
    pub fn for_cluster(cluster: &Path) -> Result<Self, PrivateClusterError> {
        let ourselves = rustix::process::geteuid().as_raw();
        let switch = ourselves == 0;
        // An empty directory, made by an operator or a mount, is not a cluster yet and says nothing about its owner.
        match fs::metadata(cluster.join("PG_VERSION")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::for_new_cluster(switch)),
            // Whatever else went wrong in there, the owner of the directory explains it best.
            _ => {}
        }
        let found = fs::metadata(cluster).map_err(failed("look at", cluster))?;
        if usable(found.uid(), ourselves) {
            return Ok(Self { uid: found.uid(), gid: found.gid(), switch });
        }
        Err(PrivateClusterError::WrongOwner { cluster: cluster.to_owned(), owner: found.uid() })
    }

    fn for_new_cluster(switch: bool) -> Self {
        if switch {
            let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
            let (uid, gid) = look_up(&passwd, "postgres").filter(|(uid, _)| *uid != 0).unwrap_or((NOBODY, NOBODY));
            return Self { uid, gid, switch };
        }
        Self { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw(), switch }
    }

    /// Prepares a program that runs as this user.
    ///
    /// Our environment may hold signing keys, so the program gets none of it. Its working directory is the root because ours may be
    /// closed to that user. Root's other groups go too: the standard library drops them together with the uid.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs([("PATH", "/usr/local/bin:/usr/bin:/bin"), ("LC_ALL", "C"), ("TZ", "UTC")]);
        command.current_dir("/").stdin(Stdio::null());
        if self.switch {
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// Gives a file or directory to this user and closes it to all others.
    pub fn hand_over(&self, path: &Path, mode: u32) -> Result<(), PrivateClusterError> {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed("set the mode of", path))?;
        if self.switch {
            chown(path, Some(self.uid), Some(self.gid)).map_err(failed("change the owner of", path))
        } else {
            Ok(())
        }
    }

    /// The outermost directory on the way to `directory` that this user may not enter, or `None` if the way is free.
    ///
    /// Nothing is computed from mode bits, which neither capabilities nor access lists nor mounts obey: a real process of that user
    /// goes there. `program` is any that ends at once when asked for its version.
    pub async fn blocked_at(&self, directory: &Path, program: &Path) -> Result<Option<PathBuf>, PrivateClusterError> {
        if self.can_enter(directory, program).await? {
            return Ok(None);
        }
        let mut way: Vec<&Path> = directory.ancestors().collect();
        way.reverse();
        for step in way {
            if !self.can_enter(step, program).await? {
                return Ok(Some(step.to_owned()));
            }
        }
        Ok(Some(directory.to_owned()))
    }

    async fn can_enter(&self, directory: &Path, program: &Path) -> Result<bool, PrivateClusterError> {
        // The standard library changes the directory after the user, so this fails exactly where the server would.
        let result = self.command(program).arg("--version").current_dir(directory).kill_on_drop(true).output().await;
        match result {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(false),
            Err(error) => Err(failed("enter", directory)(error)),
        }
    }

    /// How messages name this user.
    pub fn name(&self) -> String {
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        name_of(&passwd, self.uid).map_or_else(|| self.uid.to_string(), str::to_owned)
    }
}

/// Root can become anybody but must not stay root; everybody else can only be themselves.
const fn usable(owner: u32, ourselves: u32) -> bool {
    if ourselves == 0 { owner != 0 } else { owner == ourselves }
}

/// The uid and gid of a name in the text of /etc/passwd.
fn look_up(passwd: &str, name: &str) -> Option<(u32, u32)> {
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut ids = line.split(':').skip(2);
    Some((ids.next()?.parse().ok()?, ids.next()?.parse().ok()?))
}

/// The name of a uid in the text of /etc/passwd.
fn name_of(passwd: &str, uid: u32) -> Option<&str> {
    let line = passwd.lines().find(|line| line.split(':').nth(2).and_then(|text| text.parse().ok()) == Some(uid))?;
    line.split(':').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/bash\npostgresql:x:7:8::/:\npostgres:x:101:104:PostgreSQL,,,:/var/lib:/bin/bash\nbroken\n";

    #[test]
    fn users_are_found_by_their_whole_name() {
        assert_eq!(look_up(PASSWD, "postgres"), Some((101, 104)));
        assert_eq!(look_up(PASSWD, "postgre"), None);
        assert_eq!(look_up(PASSWD, "broken"), None);
        assert_eq!(name_of(PASSWD, 101), Some("postgres"));
        assert_eq!(name_of(PASSWD, 104), None);
    }

    #[test]
    fn root_never_runs_the_server_and_others_run_only_their_own() {
        assert!(usable(101, 0) && usable(1000, 1000));
        assert!(!usable(0, 0) && !usable(0, 1000) && !usable(101, 1000));
    }
}
