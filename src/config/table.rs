//! Reading a tree of settings key by key, without stopping at the first problem.
//!
//! Serde ends at the first wrong value. Here every key is asked for by name, what is wrong goes into the [`Report`], and a key
//! that nobody asked for is an unknown one. So a reader asks for all its keys first and only then uses `?` on the answers.

use std::cell::RefCell;
use std::collections::BTreeSet;

use figment::value::{Dict, Value};

use super::problem::{ConfigErrors, ConfigProblem, Fault};
use super::signers::SigningKeys;
use super::sources::{Document, Environment, is_index, items};

/// The value is not there or not good, and the report says why.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reported;

/// The items of a list, each with its path.
pub(super) type Items<T> = Vec<(String, Result<T, Reported>)>;

/// Collects the problems, and the keys that exist.
pub(super) struct Report<'a> {
    document: &'a Document,
    /// The variables that secrets may stand in.
    pub(super) environment: &'a Environment,
    /// Whether the keys of signers are read.
    pub(super) signing_keys: SigningKeys,
    problems: RefCell<Vec<ConfigProblem>>,
    asked: RefCell<BTreeSet<String>>,
}

impl<'a> Report<'a> {
    pub(super) fn new(document: &'a Document, environment: &'a Environment, signing_keys: SigningKeys) -> Self {
        Self { document, environment, signing_keys, problems: RefCell::default(), asked: RefCell::default() }
    }

    /// Reports every key that no reader asked for.
    pub(super) fn refuse_unknown_keys(&self, tree: &Dict) {
        for (key, value) in tree {
            self.refuse_unknown("", key, value);
        }
    }

    fn refuse_unknown(&self, parent: &str, key: &str, value: &Value) {
        let path = join(parent, key);
        if !self.asked.borrow().contains(&path) {
            return self.add(path, Some(value), Fault::Unknown);
        }
        // A value of the wrong kind was never looked into, so nothing inside it counts as unknown.
        if self.problems.borrow().iter().any(|problem| problem.key == path) {
            return;
        }
        match value {
            Value::Dict(_, table) => table.iter().for_each(|(key, value)| self.refuse_unknown(&path, key, value)),
            value => items(value).for_each(|(index, value)| self.refuse_unknown(&path, &index, value)),
        }
    }

    fn leave(&self, path: &str, value: &Value) {
        if let Value::Dict(_, table) = value {
            for (key, value) in table {
                let path = join(path, key);
                self.asked.borrow_mut().insert(path.clone());
                self.leave(&path, value);
            }
        }
    }

    /// The configuration, if nothing was wrong with it.
    pub(super) fn conclude<T>(self, result: Result<T, Reported>) -> Result<T, ConfigErrors> {
        match (self.problems.into_inner(), result) {
            (problems, Ok(value)) if problems.is_empty() => Ok(value),
            (problems, _) => Err(ConfigErrors::new(problems)),
        }
    }

    /// Every key that was asked for, which is every key there is.
    #[cfg(test)]
    pub(super) fn asked(&self) -> BTreeSet<String> {
        self.asked.borrow().clone()
    }

    fn add(&self, key: String, value: Option<&Value>, fault: Fault) {
        let origin = value.and_then(|value| self.document.origin(value));
        self.problems.borrow_mut().push(ConfigProblem { key, origin, fault });
    }
}

/// A key below a path: `server` and `listen` make `server.listen`, `networks` and `0` make `networks[0]`.
fn join(parent: &str, key: &str) -> String {
    match parent {
        "" => key.to_owned(),
        parent if is_index(key) => format!("{parent}[{key}]"),
        parent => format!("{parent}.{key}"),
    }
}

/// One table of the tree.
pub(super) struct Table<'a> {
    path: String,
    settings: &'a Dict,
    /// Where problems go.
    pub(super) report: &'a Report<'a>,
}

impl<'a> Table<'a> {
    pub(super) fn root(settings: &'a Dict, report: &'a Report<'a>) -> Self {
        Self { path: String::new(), settings, report }
    }

    /// A setting that must be there, by the operator's hand or by default.
    pub(super) fn required<T>(&self, key: &str, parse: impl FnOnce(&Value) -> Result<T, Fault>) -> Result<T, Reported> {
        match self.optional(key, parse)? {
            Some(value) => Ok(value),
            None => self.refuse(key, Fault::Missing),
        }
    }

    /// A setting that may be absent.
    pub(super) fn optional<T>(&self, key: &str, parse: impl FnOnce(&Value) -> Result<T, Fault>) -> Result<Option<T>, Reported> {
        match self.find(key).map(parse).transpose() {
            Ok(value) => Ok(value),
            Err(fault) => self.refuse(key, fault),
        }
    }

    /// A list of plain values. A single value is a list of one, and an absent list is empty.
    pub(super) fn list<T>(&self, key: &str, parse: impl Fn(&Value) -> Result<T, Fault>) -> Result<Items<T>, Reported> {
        let Some(value) = self.find(key) else { return Ok(Vec::new()) };
        if value.as_str().is_some() {
            return Ok(vec![(self.path_of(key), self.required(key, parse))]);
        }
        let item = |index: String, item| {
            let path = self.item(key, &index);
            let parsed = parse(item).map_err(|fault| self.refuse_at(path.clone(), Some(item), fault));
            (path, parsed)
        };
        self.items(key).map(|items| items.into_iter().map(|(index, value)| item(index, value)).collect())
    }

    /// A table inside this one.
    pub(super) fn table(&self, key: &str) -> Result<Table<'a>, Reported> {
        match self.find(key) {
            Some(Value::Dict(_, settings)) => Ok(Table { path: self.path_of(key), settings, report: self.report }),
            Some(_) => self.refuse(key, Fault::Expected("a table")),
            None => self.refuse(key, Fault::Missing),
        }
    }

    /// A list of tables. An absent list is empty.
    pub(super) fn tables(&self, key: &str) -> Result<Items<Table<'a>>, Reported> {
        let table = |index: String, value: &'a Value| {
            let path = self.item(key, &index);
            let table = match value {
                Value::Dict(_, settings) => Ok(Table { path: path.clone(), settings, report: self.report }),
                _ => Err(self.refuse_at(path.clone(), Some(value), Fault::Expected("a table"))),
            };
            (path, table)
        };
        self.items(key).map(|items| items.into_iter().map(|(index, value)| table(index, value)).collect())
    }

    /// Whether the setting is there and a plain text.
    pub(super) fn holds_text(&self, key: &str) -> bool {
        self.find(key).is_some_and(|value| value.as_str().is_some())
    }

    /// Reports a fault of a key.
    pub(super) fn refuse<T>(&self, key: &str, fault: Fault) -> Result<T, Reported> {
        Err(self.refuse_at(self.path_of(key), self.settings.get(key), fault))
    }

    /// Reports a fault at a path below this table.
    pub(super) fn refuse_at(&self, path: String, value: Option<&Value>, fault: Fault) -> Reported {
        self.report.add(path, value, fault);
        Reported
    }

    /// The whole path of a key.
    pub(super) fn path_of(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// Whether the setting is there at all.
    pub(super) fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// Leaves settings, with all that is in them, as they are: they are somebody's, but not this process's.
    pub(super) fn leave(&self, keys: &[&str]) {
        for key in keys {
            if let Some(value) = self.find(key) {
                self.report.leave(&self.path_of(key), value);
            }
        }
    }

    fn find(&self, key: &str) -> Option<&'a Value> {
        self.report.asked.borrow_mut().insert(self.path_of(key));
        self.settings.get(key)
    }

    fn item(&self, key: &str, index: &str) -> String {
        let path = join(&self.path_of(key), index);
        self.report.asked.borrow_mut().insert(path.clone());
        path
    }

    fn items(&self, key: &str) -> Result<Vec<(String, &'a Value)>, Reported> {
        match self.find(key) {
            None => Ok(Vec::new()),
            Some(Value::Dict(_, table)) if table.keys().any(|key| !is_index(key)) => self.refuse(key, Fault::Expected("a list")),
            Some(value @ (Value::Array(..) | Value::Dict(..))) => Ok(items(value).collect()),
            Some(_) => self.refuse(key, Fault::Expected("a list")),
        }
    }

    /// Reports every item that is the same as an earlier one.
    pub(super) fn distinct<T: PartialEq>(&self, items: impl IntoIterator<Item = (String, T)>) -> Result<(), Reported> {
        let mut seen: Vec<(String, T)> = Vec::new();
        let mut result = Ok(());
        for (path, value) in items {
            match seen.iter().find(|(_, earlier)| *earlier == value) {
                Some((earlier, _)) => result = Err(self.refuse_at(path, None, Fault::Duplicate(earlier.clone()))),
                None => seen.push((path, value)),
            }
        }
        result
    }
}

/// The values of a list, if all of them are good.
pub(super) fn all<T>(items: Items<T>) -> Result<Vec<T>, Reported> {
    items.into_iter().map(|(_, item)| item).collect()
}

/// The good values of a list with their paths, for comparing them with each other.
pub(super) fn good<T>(items: &Items<T>) -> impl Iterator<Item = (String, &T)> {
    items.iter().filter_map(|(path, item)| Some((path.clone(), item.as_ref().ok()?)))
}
