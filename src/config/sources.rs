//! The layers of a configuration and how they become one tree, in which every value remembers where it came from.

use std::collections::BTreeMap;
use std::path::Path;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Tag, Value};
use figment::{Error, Figment, Metadata, Profile, Provider};

use super::problem::{ConfigProblem, Fault};
use crate::domain::network::{Family, Network};

/// Every setting that has a default.
const DEFAULTS: &str = include_str!("default.toml");

/// What a network has before anything is said about it.
const NETWORK_DEFAULTS: &str = include_str!("network.toml");

/// What the names of our variables begin with.
const PREFIX: &str = "QUITTANCE_";

/// What separates the keys in a variable's name.
///
/// A variable without it is not a setting: Kubernetes makes `QUITTANCE_SERVICE_HOST` and `QUITTANCE_PORT` of a service that is
/// called quittance.
const SEPARATOR: &str = "__";

/// The setting that is a list, and may be replaced as a whole by one variable.
const NETWORKS: &str = "networks";

/// Variables, of this process or of a test.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The variables of this process. This is the only place that reads them.
    #[must_use]
    pub fn of_process() -> Self {
        // A name or value that is not Unicode cannot be a setting of ours.
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
    }

    /// The variable's value.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The settings among the variables: name, path and value. Shorter keys come first, so that item 10 follows item 9.
    fn settings(&self) -> Vec<(&str, Vec<String>, &str)> {
        let mut settings: Vec<_> =
            self.0.iter().filter_map(|(name, text)| Some((name.as_str(), setting(name)?, text.as_str()))).collect();
        settings.sort_by_cached_key(|(_, path, _)| path.iter().map(|key| (key.len(), key.clone())).collect::<Vec<_>>());
        settings
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Values may be secrets.
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

/// The path that a variable sets, or `None` if it is no setting.
fn setting(name: &str) -> Option<Vec<String>> {
    let path = name.strip_prefix(PREFIX)?.to_ascii_lowercase();
    let known = path == NETWORKS || path.contains(SEPARATOR);
    known.then(|| path.split(SEPARATOR).map(str::to_owned).collect())
}

/// A file of settings, already in memory.
pub(super) struct File {
    name: String,
    text: String,
}

impl File {
    /// Takes a text as a file of this name.
    pub(super) fn named(name: &str, text: &str) -> Self {
        Self { name: name.to_owned(), text: text.to_owned() }
    }

    /// Reads a file.
    pub(super) fn read(path: &Path) -> Result<Self, ConfigProblem> {
        let name = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Self { name, text }),
            Err(error) => Err(whole(name, Fault::Unreadable(error.to_string()))),
        }
    }
}

fn whole(name: String, fault: Fault) -> ConfigProblem {
    ConfigProblem { key: String::new(), origin: Some(name), fault }
}

/// One source of settings under a name that an operator recognises.
struct Layer {
    name: String,
    settings: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(Profile::Default.collect(self.settings.clone()))
    }
}

/// All layers as one tree.
pub(super) struct Document {
    /// The merged settings.
    pub(super) tree: Dict,
    layers: Vec<Figment>,
}

impl Document {
    /// Lays the layers over each other, then puts under each network what networks have by default.
    pub(super) fn merge(file: Option<File>, environment: &Environment) -> Result<Self, ConfigProblem> {
        let mut document = Self { tree: Dict::new(), layers: Vec::new() };
        document.lay(layer(File::named("built-in defaults", DEFAULTS))?);
        if let Some(file) = file {
            document.lay(layer(file)?);
        }
        for (name, path, text) in environment.settings() {
            document.lay(Layer { name: name.to_owned(), settings: nested(&path, variable_value(text)) });
        }
        document.complete_networks()?;
        Ok(document)
    }

    /// Where a value came from.
    pub(super) fn origin(&self, value: &Value) -> Option<String> {
        let metadata = self.layers.iter().find_map(|figment| figment.get_metadata(value.tag()))?;
        Some(metadata.name.to_string())
    }

    fn lay(&mut self, layer: Layer) {
        let settings = self.tagged(layer);
        overlay(&mut self.tree, settings);
    }

    /// Marks every value of the layer with the layer it stands in.
    fn tagged(&mut self, layer: Layer) -> Dict {
        let figment = Figment::from(layer);
        let settings = figment.data().expect("a layer holds parsed settings").remove(&Profile::Default).unwrap_or_default();
        self.layers.push(figment);
        settings
    }

    fn complete_networks(&mut self) -> Result<(), ConfigProblem> {
        let defaults = layer(File::named("built-in network defaults", NETWORK_DEFAULTS))?;
        let defaults = self.tagged(defaults);
        for network in self.tree.get_mut(NETWORKS).into_iter().flat_map(items_mut) {
            if let Value::Dict(_, said) = network {
                let mut whole = network_defaults(&defaults, said.get("id").and_then(Value::as_str));
                overlay(&mut whole, std::mem::take(said));
                *said = whole;
            }
        }
        Ok(())
    }
}

fn layer(file: File) -> Result<Layer, ConfigProblem> {
    match Toml::string(&file.text).data() {
        Ok(mut data) => Ok(Layer { name: file.name, settings: data.remove(&Profile::Default).unwrap_or_default() }),
        Err(error) => Err(whole(file.name, Fault::Syntax(without_quotation(&error.to_string())))),
    }
}

/// The parser quotes the line it stumbled over, which may hold a secret. Keeps the position and the explanation.
fn without_quotation(message: &str) -> String {
    let quoted =
        |line: &str| line.trim_start().trim_start_matches(|digit: char| digit.is_ascii_digit()).trim_start().starts_with('|');
    message.lines().filter(|line| !quoted(line)).collect::<Vec<_>>().join(", ")
}

/// What a network has by default: the table `every`, over it that of its family, and over that each table `some` that lists its
/// identifier.
fn network_defaults(defaults: &Dict, id: Option<&str>) -> Dict {
    let table = |value: &Value| value.as_dict().cloned().unwrap_or_default();
    let mut whole = defaults.get("every").map(table).unwrap_or_default();
    // Where the identifier names no family, the rest is judged by the rules of the first.
    let family = id.and_then(|id| id.parse().ok()).map_or(Family::Eip155, |network: Network| network.family());
    overlay(&mut whole, defaults.get(family.namespace()).map(table).unwrap_or_default());
    for some in defaults.get("some").into_iter().flat_map(items).map(|(_, some)| table(some)) {
        let lists = |id| some.get("ids").is_some_and(|ids| items(ids).any(|(_, item)| item.as_str() == Some(id)));
        if id.is_some_and(lists) {
            overlay(&mut whole, some.into_iter().filter(|(key, _)| key != "ids").collect());
        }
    }
    whole
}

/// A variable holds a text, a number, a truth value, or a list or table as TOML would write it in one line.
///
/// Numbers with a point stay texts: amounts of money are never floating point, and nobody writes quotes into a variable.
fn variable_value(text: &str) -> Value {
    let text = text.trim();
    match (text, text.parse::<u64>()) {
        ("true", _) => true.into(),
        ("false", _) => false.into(),
        (_, Ok(number)) => number.into(),
        _ if text.starts_with(['[', '{']) => text.parse().unwrap_or_else(|_| text.into()),
        _ => text.into(),
    }
}

fn nested(path: &[String], value: Value) -> Dict {
    match path {
        [] => Dict::new(),
        [key] => Dict::from([(key.clone(), value)]),
        [key, rest @ ..] => Dict::from([(key.clone(), Value::Dict(Tag::Default, nested(rest, value)))]),
    }
}

fn overlay(below: &mut Dict, above: Dict) {
    for (key, value) in above {
        match below.get_mut(&key) {
            Some(place) => overlay_value(place, value),
            None => {
                below.insert(key, value);
            }
        }
    }
}

/// Tables are merged key by key. A table of numbers over a list changes the items with these numbers; anything else replaces.
fn overlay_value(below: &mut Value, above: Value) {
    match (&mut *below, above) {
        (Value::Dict(_, below), Value::Dict(_, above)) => overlay(below, above),
        (Value::Array(_, below), Value::Dict(_, above)) if is_numbered(&above) => overlay_items(below, above),
        (_, above) => *below = above,
    }
}

fn overlay_items(below: &mut Vec<Value>, above: Dict) {
    for (index, value) in above {
        match index.parse::<usize>().ok().and_then(|index| below.get_mut(index)) {
            Some(place) => overlay_value(place, value),
            None => below.push(value),
        }
    }
}

/// Whether a key of a table is the position of an item.
pub(super) fn is_index(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_numbered(table: &Dict) -> bool {
    !table.is_empty() && table.keys().all(|key| is_index(key))
}

/// The items of a list with their positions. A list that only variables made is a table of numbers.
pub(super) fn items(value: &Value) -> Box<dyn Iterator<Item = (String, &Value)> + '_> {
    match value {
        Value::Array(_, items) => Box::new(items.iter().enumerate().map(|(index, item)| (index.to_string(), item))),
        Value::Dict(_, table) if is_numbered(table) => Box::new(table.iter().map(|(index, item)| (index.clone(), item))),
        _ => Box::new(std::iter::empty()),
    }
}

fn items_mut(value: &mut Value) -> Box<dyn Iterator<Item = &mut Value> + '_> {
    match value {
        Value::Array(_, items) => Box::new(items.iter_mut()),
        Value::Dict(_, table) if is_numbered(table) => Box::new(table.values_mut()),
        _ => Box::new(std::iter::empty()),
    }
}
