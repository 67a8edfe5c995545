//! Secrets: in the setting itself, in a variable, or in a file.

use std::ops::Deref;

use figment::value::Value;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use super::problem::Fault;
use super::sources::Environment;
use super::table::{Reported, Table};
use super::value::some_text;

/// A secret that can be compared with another one, to see whether it was changed.
#[derive(Debug, Clone)]
pub struct Secret(SecretString);

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose_secret().as_bytes().ct_eq(other.expose_secret().as_bytes()).into()
    }
}

impl Deref for Secret {
    type Target = SecretString;

    fn deref(&self) -> &SecretString {
        &self.0
    }
}

/// What a setting begins with whose value stands in a variable.
const VARIABLE: &str = "env:";

/// Reads the setting `key`, or the file that `key_file` names.
pub(super) fn secret(table: &Table, key: &str) -> Result<Option<Secret>, Reported> {
    let file_key = format!("{key}_file");
    let written = table.optional(key, |value| resolve(value, table.report.environment));
    let filed = table.optional(&file_key, contents);
    match (written?, filed?) {
        (Some(_), Some(_)) => table.refuse(&file_key, Fault::Conflict(table.path_of(key))),
        (written, filed) => Ok(written.or(filed).map(|text| Secret(text.into()))),
    }
}

/// The text itself, or what the variable holds that it names.
pub(super) fn resolve(value: &Value, environment: &Environment) -> Result<String, Fault> {
    let text = some_text(value)?;
    let Some(name) = text.strip_prefix(VARIABLE) else { return Ok(text) };
    let secret = environment.variable(name).ok_or_else(|| Fault::VariableMissing(name.to_owned()))?;
    full(secret)
}

/// What stands in the file, without the line break that editors put at its end.
pub(super) fn contents(value: &Value) -> Result<String, Fault> {
    let path = some_text(value)?;
    let secret = std::fs::read_to_string(&path).map_err(|error| Fault::FileMissing { path, reason: error.to_string() })?;
    full(&secret)
}

fn full(secret: &str) -> Result<String, Fault> {
    match secret.trim() {
        "" => Err(Fault::Empty),
        secret => Ok(secret.to_owned()),
    }
}
