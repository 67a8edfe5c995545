//! Where the server listens and what it answers.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use sqlx::{Connection, PgConnection};

use super::{PrivateClusterError, failed, layout, layout::Layout, process};

/// The one role of the cluster, and the name of its database.
pub const USER: &str = "quittance";

/// SQLSTATE `cannot_connect_now`: the server starts, recovers or stops.
const CANNOT_CONNECT_NOW: &str = "57P03";
/// SQLSTATE `invalid_catalog_name`: there is no such database.
const NO_SUCH_DATABASE: &str = "3D000";
/// SQLSTATE `invalid_password`.
const INVALID_PASSWORD: &str = "28P01";

/// What a server says to a connection attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It takes connections to our database.
    Ready,
    /// It takes connections, but our database is not there yet.
    NoDatabase,
    /// Nobody answers, or not yet, or not any more.
    NotNow,
}

/// A socket and the password for it.
#[derive(Debug)]
pub struct Endpoint {
    socket_directory: PathBuf,
    password: SecretString,
    password_file: PathBuf,
}

impl Endpoint {
    /// The endpoint with its socket in `socket_directory`.
    pub fn new(layout: &Layout, socket_directory: PathBuf) -> Result<Self, PrivateClusterError> {
        Ok(Self { socket_directory, password: read_password(layout)?, password_file: layout.password_file() })
    }

    /// The endpoint that the pid file names, if there is such a file. Its server may be long gone.
    pub fn running(layout: &Layout) -> Result<Option<Self>, PrivateClusterError> {
        match process::PidFile::read(layout)?.and_then(|pid_file| pid_file.socket_directory) {
            Some(directory) => Self::new(layout, directory).map(Some),
            None => Ok(None),
        }
    }

    /// The directory of the socket.
    pub fn socket_directory(&self) -> &Path {
        &self.socket_directory
    }

    /// The URL of our database.
    pub fn url(&self) -> SecretString {
        self.url_of(USER)
    }

    /// Nothing needs escaping: the password is hexadecimal and the directory was chosen to be plain.
    fn url_of(&self, database: &str) -> SecretString {
        let (password, directory, port) = (self.password.expose_secret(), self.socket_directory.display(), layout::PORT);
        SecretString::from(format!(
            "postgres://{USER}:{password}@localhost/{database}?host={directory}&port={port}&sslmode=disable"
        ))
    }

    /// Tries to connect to our database.
    pub async fn probe(&self) -> Result<Answer, PrivateClusterError> {
        match PgConnection::connect(self.url().expose_secret()).await {
            Ok(connection) => {
                // The answer is known; how the goodbye is received does not matter.
                connection.close().await.ok();
                Ok(Answer::Ready)
            }
            Err(error) => self.read_refusal(error),
        }
    }

    fn read_refusal(&self, error: sqlx::Error) -> Result<Answer, PrivateClusterError> {
        let code = error.as_database_error().and_then(|error| error.code().map(Cow::into_owned));
        match (code.as_deref(), &error) {
            (Some(NO_SUCH_DATABASE), _) => Ok(Answer::NoDatabase),
            (Some(CANNOT_CONNECT_NOW), _) => Ok(Answer::NotNow),
            (Some(INVALID_PASSWORD), _) => Err(PrivateClusterError::PasswordRefused { file: self.password_file.clone() }),
            // A closed door is no answer to us, but without the right to knock none will ever come.
            (None, sqlx::Error::Io(io)) if io.kind() != io::ErrorKind::PermissionDenied => Ok(Answer::NotNow),
            _ => Err(error.into()),
        }
    }

    /// Creates our database unless it is there. Only the owner calls this.
    pub async fn ensure_database(&self) -> Result<(), PrivateClusterError> {
        if self.probe().await? == Answer::NoDatabase {
            let mut connection = PgConnection::connect(self.url_of("postgres").expose_secret()).await?;
            sqlx::query("CREATE DATABASE quittance").execute(&mut connection).await?;
            connection.close().await?;
        }
        Ok(())
    }
}

/// Reads the password of the cluster.
pub fn read_password(layout: &Layout) -> Result<SecretString, PrivateClusterError> {
    let file = layout.password_file();
    match fs::read_to_string(&file) {
        Ok(password) => Ok(SecretString::from(password.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(PrivateClusterError::PasswordMissing { file }),
        Err(error) => Err(failed("read", &file)(error)),
    }
}
