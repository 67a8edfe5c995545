//! Where the cluster's files are.
//!
//! Usually all of them are in the data directory. When we are root, the server runs as another user, who has to get there: below
//! `/root` or any other closed directory that is impossible, and opening somebody's directory is not ours to do. A new cluster then
//! gets a home under `/var/lib/quittance`, and `data_dir/postgres` is a link to it. The link, not a hash of the path, is what ties
//! the two together: the data directory may be renamed and still finds its ledger, and one that is deleted and made again begins
//! with an empty ledger instead of meeting the old one. The file `belongs-to` tells an operator whose home it was.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::{PrivateClusterError, account::Account, failed, programs::Programs};

/// The name of the cluster in its home, and of the link in the data directory if that is elsewhere.
pub const CLUSTER: &str = "postgres";

/// The homes of clusters whose data directory is closed to the server's user.
const HOMES: &str = "/var/lib/quittance";

/// The port is only the number in the socket's name: there is no TCP.
pub const PORT: u16 = 5432;

/// A socket's path has 108 bytes on Linux and 104 elsewhere; this stays well below both.
const SOCKET_PATH_MAX: usize = 99;

/// The paths of one cluster.
#[derive(Debug, Clone)]
pub struct Layout {
    data_dir: PathBuf,
    cluster: PathBuf,
}

impl Layout {
    /// The paths as they are. The cluster itself may still be missing.
    pub fn existing(data_dir: &Path) -> Result<Self, PrivateClusterError> {
        let name = data_dir.join(CLUSTER);
        let cluster = match fs::read_link(&name) {
            Ok(target) => target,
            // InvalidInput is how the system says "not a link".
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::NotFound) => name,
            Err(error) => return Err(failed("read the link", &name)(error)),
        };
        Ok(Self { data_dir: data_dir.to_owned(), cluster })
    }

    /// The paths where `account` can work; decides where a new cluster will be.
    pub async fn choose(data_dir: &Path, account: &Account, programs: &Programs) -> Result<Self, PrivateClusterError> {
        let layout = Self::existing(data_dir)?;
        if !layout.home().is_dir() {
            return Err(PrivateClusterError::HomeMissing { link: data_dir.join(CLUSTER), target: layout.cluster });
        }
        let closed = account.blocked_at(layout.home(), &programs.postgres()).await?;
        match closed {
            None => Ok(layout),
            Some(directory) if layout.cluster.exists() || layout.is_elsewhere() => {
                Err(PrivateClusterError::Unreachable { user: account.name(), directory })
            }
            Some(closed) => layout.move_out(&closed, account, programs).await,
        }
    }

    /// Makes a home for the cluster that the server's user can reach, and leaves a link to it.
    async fn move_out(self, closed: &Path, account: &Account, programs: &Programs) -> Result<Self, PrivateClusterError> {
        let home = Path::new(HOMES).join(random_name());
        make_traversable(Path::new(HOMES))?;
        make_traversable(&home)?;
        if let Some(directory) = account.blocked_at(&home, &programs.postgres()).await? {
            return Err(PrivateClusterError::Unreachable { user: account.name(), directory });
        }
        let note = home.join("belongs-to");
        fs::write(&note, format!("{}\n", self.data_dir.display())).map_err(failed("write", &note))?;
        let cluster = home.join(CLUSTER);
        let link = self.data_dir.join(CLUSTER);
        symlink(&cluster, &link).map_err(failed("create the link", &link))?;
        tracing::warn!(closed = %closed.display(), home = %home.display(), user = account.name(),
            "the database server may not enter the data directory, so the cluster gets a home elsewhere and a link to it");
        Ok(Self { cluster, ..self })
    }

    fn is_elsewhere(&self) -> bool {
        self.home() != self.data_dir
    }

    /// The directory that `initdb` filled.
    pub fn cluster(&self) -> &Path {
        &self.cluster
    }

    /// The directory in which the cluster is.
    pub fn home(&self) -> &Path {
        self.cluster.parent().unwrap_or(&self.data_dir)
    }

    /// The password's file.
    pub fn password_file(&self) -> PathBuf {
        self.data_dir.join("postgres.password")
    }

    /// The server's log.
    pub fn log(&self) -> PathBuf {
        self.data_dir.join("postgres.log")
    }

    /// The file in which the server says where it is.
    pub fn pid_file(&self) -> PathBuf {
        self.cluster.join("postmaster.pid")
    }

    /// Whether the cluster is there. It appears by one rename, so it is there as a whole.
    pub fn is_initialised(&self) -> bool {
        self.cluster.join("PG_VERSION").exists()
    }

    /// The cluster and the major version that made it, if there is one.
    pub fn major(&self) -> Result<Option<(PathBuf, u32)>, PrivateClusterError> {
        let file = self.cluster.join("PG_VERSION");
        match fs::read_to_string(&file) {
            Ok(text) => Ok(text.trim().parse().ok().map(|major| (self.cluster.clone(), major))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &file)(error)),
        }
    }

    /// Makes the directory for the socket: in the cluster's home, or a new one with a short name under /run or /tmp.
    ///
    /// Nobody has to remember which: the server writes it into its pid file.
    pub fn make_socket_directory(&self, account: &Account) -> Result<PathBuf, PrivateClusterError> {
        let preferred = self.own_socket_directory();
        if is_good_for_a_socket(&preferred) {
            if !preferred.is_dir() {
                fs::create_dir(&preferred).map_err(failed("create", &preferred))?;
            }
            account.hand_over(&preferred, 0o700)?;
            return Ok(preferred);
        }
        // The name is random and must be new, so nobody can have prepared it for us.
        let places = ["/run", "/tmp"].map(|place| Path::new(place).join(format!("quittance-{}", random_name())));
        let made = places.into_iter().find(|place| fs::DirBuilder::new().mode(0o700).create(place).is_ok());
        let directory = made.ok_or(PrivateClusterError::NoSocketDirectory { preferred })?;
        account.hand_over(&directory, 0o700)?;
        Ok(directory)
    }

    /// Removes a socket directory that was made for one run of the server.
    pub fn remove_socket_directory(&self, directory: &Path) {
        if directory != self.own_socket_directory()
            && let Err(error) = fs::remove_dir(directory)
        {
            tracing::debug!(directory = %directory.display(), error = %error, "the socket directory stays");
        }
    }

    /// PostgreSQL's lock on the socket in the cluster's own home. A directory for one run never holds an old one.
    pub fn socket_lock(&self) -> PathBuf {
        self.own_socket_directory().join(format!("{}.lock", socket_name()))
    }

    fn own_socket_directory(&self) -> PathBuf {
        self.home().join("socket")
    }
}

/// How PostgreSQL calls its socket.
fn socket_name() -> String {
    format!(".s.PGSQL.{PORT}")
}

/// The path must fit into the socket address, and mean itself both in PostgreSQL's list of directories and in a URL.
fn is_good_for_a_socket(directory: &Path) -> bool {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-".contains(letter);
    let is_plain = directory.to_str().is_some_and(|text| text.chars().all(plain));
    is_plain && directory.join(socket_name()).as_os_str().len() <= SOCKET_PATH_MAX
}

/// Sixteen hexadecimal digits that nobody can guess.
pub fn random_name() -> String {
    format!("{:016x}", rand::random::<u64>())
}

/// Creates a directory through which everybody may pass and whose entries only root sees, whatever the umask is.
fn make_traversable(directory: &Path) -> Result<(), PrivateClusterError> {
    fs::create_dir_all(directory).map_err(failed("create", directory))?;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o711)).map_err(failed("set the mode of", directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_short_plain_paths_hold_a_socket() {
        let path = |length: usize| PathBuf::from(format!("/{}", "d".repeat(length - 1)));
        let name = "/.s.PGSQL.5432".len();
        assert!(is_good_for_a_socket(&path(SOCKET_PATH_MAX - name)));
        assert!(!is_good_for_a_socket(&path(SOCKET_PATH_MAX - name + 1)));
        assert!(is_good_for_a_socket(Path::new("/srv/quittance_1/data.d/socket-x")));
        for odd in ["/a b", "/a,b", "/a\"b", "/a+b", "/a%20b", "/ä", "/a?b", "/a&b"] {
            assert!(!is_good_for_a_socket(Path::new(odd)), "{odd}");
        }
    }
}
