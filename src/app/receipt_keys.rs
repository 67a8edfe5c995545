//! Where the keys of receipts come from: the configuration, or a file beside the private database that is made once.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};

use crate::config::Config;
use crate::signing::Issuer;
use crate::signing::keyring::{Keyring, KeyringError};

/// The file in the private database's directory.
const FILE: &str = "receipt-keys.json";

/// Why there are no keys for receipts.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptKeysError {
    /// The text under `receipts.keys`, or in the file that `receipts.keys_file` names, is not a keyring.
    #[error("receipts.keys cannot be used")]
    Configured(#[source] KeyringError),
    /// A file holds something else.
    #[error("{} holds no keys for receipts", path.display())]
    Stored {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: KeyringError,
    },
    /// Keys could not be made.
    #[error("no keys for receipts can be made")]
    Made(#[source] KeyringError),
    /// A file could not be used.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A new keyring never takes the place of another one.
    #[error("{} exists already", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
}

/// Makes the error of a failed action on `path`, for `map_err`.
fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ReceiptKeysError {
    move |source| ReceiptKeysError::Io { action, path: path.to_owned(), source }
}

/// Who signs receipts with this configuration. Nobody, if the database is an external one and no keys are configured: keys beside it
/// would be other ones in each replica.
///
/// # Errors
/// See [`ReceiptKeysError`].
pub fn issuer(config: &Config, now: DateTime<Utc>) -> Result<Option<Issuer>, ReceiptKeysError> {
    issuer_with(config, |path| read_or_make(path, now))
}

/// The same for a service that runs, which had its keys from the start: none are made.
///
/// # Errors
/// See [`ReceiptKeysError`].
pub fn existing_issuer(config: &Config) -> Result<Option<Issuer>, ReceiptKeysError> {
    issuer_with(config, read)
}

fn issuer_with(
    config: &Config,
    find: impl FnOnce(&Path) -> Result<Keyring, ReceiptKeysError>,
) -> Result<Option<Issuer>, ReceiptKeysError> {
    let keyring = match (&config.receipts.keys, &config.database.url) {
        (Some(text), _) => Keyring::parse(text).map_err(ReceiptKeysError::Configured)?,
        (None, None) => find(&config.database.data_dir.join(FILE))?,
        (None, Some(_)) => return Ok(None),
    };
    Ok(Some(Issuer::new(config.server.public_url.clone(), keyring)))
}

/// Reads the keyring in a file, or makes one. Of several processes that do this at once one makes it, and the others read that.
fn read_or_make(path: &Path, now: DateTime<Utc>) -> Result<Keyring, ReceiptKeysError> {
    if !path.exists() {
        let made = Keyring::generate(now).map_err(ReceiptKeysError::Made)?;
        match create(path, &made.to_text()) {
            Ok(()) => tracing::info!(file = %path.display(), "keys for receipts were made"),
            Err(ReceiptKeysError::Exists { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    read(path)
}

/// Reads the keyring in a file.
///
/// # Errors
/// See [`ReceiptKeysError`].
pub fn read(path: &Path) -> Result<Keyring, ReceiptKeysError> {
    let text = SecretString::from(fs::read_to_string(path).map_err(failed("read", path))?);
    Keyring::parse(&text).map_err(|source| ReceiptKeysError::Stored { path: path.to_owned(), source })
}

/// Writes a new file that only its owner can read. It appears as a whole.
///
/// # Errors
/// [`ReceiptKeysError::Exists`] if there is such a file, which then stays as it is. See also the others.
pub fn create(path: &Path, text: &SecretString) -> Result<(), ReceiptKeysError> {
    let draft = draft(path, text)?;
    // A second name for the file is given only where there is none yet, which renaming it would not care about.
    let named = fs::hard_link(&draft, path);
    fs::remove_file(&draft).map_err(failed("remove", &draft))?;
    match named {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(ReceiptKeysError::Exists { path: path.to_owned() }),
        named => named.map_err(failed("create", path)),
    }
}

/// Writes a file anew, as a whole: whoever reads it meanwhile reads either text.
///
/// # Errors
/// See [`ReceiptKeysError`].
pub fn replace(path: &Path, text: &SecretString) -> Result<(), ReceiptKeysError> {
    let draft = draft(path, text)?;
    fs::rename(&draft, path).map_err(failed("replace", path))
}

/// Writes a text beside `path`, where only its owner can read it.
fn draft(path: &Path, text: &SecretString) -> Result<PathBuf, ReceiptKeysError> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{:016x}", rand::random::<u64>()));
    let draft = PathBuf::from(name);
    let write = |mut file: File| {
        file.write_all(text.expose_secret().as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()
    };
    let opened = File::options().write(true).create_new(true).mode(0o600).open(&draft);
    opened.and_then(write).map_err(failed("write", &draft))?;
    Ok(draft)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn names(directory: &Path) -> Vec<String> {
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn keys_are_made_once_and_are_their_owners_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);

        let first = read_or_make(&path, at(1_000)).unwrap();
        let second = read_or_make(&path, at(2_000)).unwrap();

        assert_eq!(first.public(), second.public());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(names(directory.path()), [FILE]);
    }

    #[test]
    fn of_many_who_make_keys_at_once_all_have_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);

        let made: Vec<_> = std::thread::scope(|scope| {
            let makers: Vec<_> = (0..8).map(|_| scope.spawn(|| read_or_make(&path, at(1_000)).unwrap().public())).collect();
            makers.into_iter().map(|maker| maker.join().unwrap()).collect()
        });

        assert!(made.iter().all(|keys| *keys == made[0]));
        assert_eq!(names(directory.path()), [FILE]);
    }

    #[test]
    fn a_file_is_replaced_only_where_that_is_meant() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys.json");
        let [first, second] = [1_000, 2_000].map(|seconds| Keyring::generate(at(seconds)).unwrap());

        create(&path, &first.to_text()).unwrap();
        assert!(matches!(create(&path, &second.to_text()), Err(ReceiptKeysError::Exists { .. })));
        assert_eq!(read(&path).unwrap().public(), first.public());
        replace(&path, &second.to_text()).unwrap();
        assert_eq!(read(&path).unwrap().public(), second.public());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(names(directory.path()), ["keys.json"]);
        fs::write(&path, "{}").unwrap();
        assert!(matches!(read(&path), Err(ReceiptKeysError::Stored { .. })));
    }
}
