//! The members of a JSON object, read with the type that the protocol demands of each.
//!
//! Every failure names the member by its path, because "invalid payload" alone helps nobody to fix a client.

use std::fmt::Display;

use serde_json::{Map, Value};

use crate::domain::reason::{Reason, Refusal};

/// An object of a request: its place in the body, and the code with which faults in it are answered.
///
/// A member that is `null` counts as missing: serializers of several languages write absent members that way.
pub(super) struct Members<'a> {
    object: Option<&'a Map<String, Value>>,
    path: &'static str,
    reason: Reason,
}

impl<'a> Members<'a> {
    /// Reads `value`, which stands at `path` and must be an object.
    pub(super) fn of(value: &'a Value, path: &'static str, reason: Reason) -> Result<Self, Refusal> {
        let object = value.as_object().ok_or_else(|| Refusal::because(reason, format!("{path}: must be an object")))?;
        Ok(Self { object: Some(object), path, reason })
    }

    /// The member's value, unless it is missing or `null`.
    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.object?.get(name).filter(|value| !value.is_null())
    }

    /// A refusal that blames the member `name`.
    pub(super) fn blame(&self, name: &str, problem: impl Display) -> Refusal {
        Refusal::because(self.reason, format!("{}.{name}: {problem}", self.path))
    }

    /// A value that must be there.
    pub(super) fn required(&self, name: &str) -> Result<&'a Value, Refusal> {
        self.get(name).ok_or_else(|| self.blame(name, "is missing"))
    }

    /// A string that must be there.
    pub(super) fn text(&self, name: &str) -> Result<&'a str, Refusal> {
        self.required(name)?.as_str().ok_or_else(|| self.blame(name, "must be a string"))
    }

    /// A string that may be missing.
    pub(super) fn optional_text(&self, name: &str) -> Result<Option<&'a str>, Refusal> {
        self.get(name).map(|value| value.as_str().ok_or_else(|| self.blame(name, "must be a string"))).transpose()
    }

    /// A string that must be there and has a form of its own.
    pub(super) fn parsed<T, E: Display>(&self, name: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Result<T, Refusal> {
        parse(self.text(name)?).map_err(|problem| self.blame(name, problem))
    }

    /// An object that must be there; `path` is its full path.
    pub(super) fn object(&self, name: &str, path: &'static str) -> Result<Self, Refusal> {
        Self::of(self.required(name)?, path, self.reason)
    }

    /// An object that may be missing, in which case it has no members.
    pub(super) fn optional_object(&self, name: &str, path: &'static str) -> Result<Self, Refusal> {
        match self.get(name) {
            Some(value) => Self::of(value, path, self.reason),
            None => Ok(Self { object: None, path, reason: self.reason }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_fault_is_blamed_on_its_path() {
        let value = json!({"text": 1, "object": [], "nothing": null});
        let members = Members::of(&value, "body", Reason::InvalidPayload).unwrap();
        for (refused, detail) in [
            (members.text("text").err(), "body.text: must be a string"),
            (members.text("absent").err(), "body.absent: is missing"),
            (members.text("nothing").err(), "body.nothing: is missing"),
            (members.optional_text("text").err(), "body.text: must be a string"),
            (members.object("object", "body.object").err(), "body.object: must be an object"),
            (members.optional_object("object", "body.object").err(), "body.object: must be an object"),
            (members.object("nothing", "body.nothing").err(), "body.nothing: is missing"),
        ] {
            assert_eq!(refused, Some(Refusal::because(Reason::InvalidPayload, detail)));
        }
    }

    #[test]
    fn null_counts_as_missing() {
        let value = json!({"nothing": null});
        let members = Members::of(&value, "body", Reason::InvalidPayload).unwrap();
        assert_eq!(members.optional_text("nothing"), Ok(None));
        assert_eq!(members.optional_object("nothing", "body.nothing").unwrap().optional_text("deeper"), Ok(None));
    }
}
