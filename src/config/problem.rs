//! What can be wrong with a configuration, and how it is told.

use std::fmt;

use crate::domain::address::ParseAddressError;
use crate::domain::amount::ParseAmountError;
use crate::domain::network::ParseNetworkError;

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    /// The key as a path, for example `networks[0].signers[0].key`. Empty if the file as a whole cannot be read.
    pub key: String,
    /// The file or variable that the value came from. Absent for a key that stands nowhere.
    pub origin: Option<String>,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a key. No variant carries a value that could be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The file cannot be read at all.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// The file is not TOML.
    #[error("not valid TOML: {0}")]
    Syntax(String),
    /// No such setting.
    #[error("unknown key")]
    Unknown,
    /// What is missing may stand in a file that nobody named.
    #[error("no file was named with --config, and the environment does not say everything")]
    NoFile,
    /// A setting that has no default.
    #[error("missing")]
    Missing,
    /// A list or a text that must not be empty.
    #[error("must not be empty")]
    Empty,
    /// Another kind of value, or another form.
    #[error("expected {0}")]
    Expected(&'static str),
    /// A number outside its range.
    #[error("must be between {min} and {max}")]
    OutOfRange {
        /// The smallest that is allowed.
        min: u64,
        /// The largest that is allowed.
        max: u64,
    },
    /// Not a network, or one of a family that is not offered.
    #[error(transparent)]
    Network(#[from] ParseNetworkError),
    /// Not an address.
    #[error(transparent)]
    Address(#[from] ParseAddressError),
    /// Not an amount.
    #[error(transparent)]
    Amount(#[from] ParseAmountError),
    /// The same thing again.
    #[error("the same as {0}")]
    Duplicate(String),
    /// Two settings of which only one may be there.
    #[error("set together with {0}; keep one of them")]
    Conflict(String),
    /// The variable behind `env:NAME` does not exist.
    #[error("the environment variable {0} is not set")]
    VariableMissing(String),
    /// The file behind a `*_file` setting cannot be read.
    #[error("the file {path} cannot be read: {reason}")]
    FileMissing {
        /// The file.
        path: String,
        /// What the system says.
        reason: String,
    },
    /// A key that stands in every developer's documentation, on a network that strangers can reach.
    #[error("this private key is public knowledge: whatever it holds is stolen within seconds")]
    PublicKey,
    /// A network without known tokens, and none listed.
    #[error("no token of this network is known here: list at least one under assets")]
    NoAssets,
    /// Two nodes must agree, and there is only one.
    #[error("needs at least two nodes under rpc")]
    NodesTooFew,
    /// The tiers do not begin at zero and end nowhere, in rising order.
    #[error("tiers must rise in amount and never sink in level; only the last has no `below`")]
    Tiers,
    /// Metrics and administration would stand on the public port.
    #[error("must not be the address of server.listen: metrics and administration are not for the public")]
    SharedListener,
    /// The log filter has no meaning.
    #[error("not a log filter: {0}")]
    Filter(String),
}

/// Everything that is wrong with a configuration, one line each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(Vec<ConfigProblem>);

impl ConfigErrors {
    pub(super) fn new(problems: Vec<ConfigProblem>) -> Self {
        Self(problems)
    }

    /// The same, of a configuration without a file: what stands nowhere may stand in one.
    pub(super) fn without_file(mut self) -> Self {
        if self.0.iter().any(|problem| problem.origin.is_none()) {
            self.0.push(ConfigProblem { key: "configuration".to_owned(), origin: None, fault: Fault::NoFile });
        }
        self
    }

    /// The problems, in the order in which they were found. Never empty.
    #[must_use]
    pub fn problems(&self) -> &[ConfigProblem] {
        &self.0
    }
}

impl From<ConfigProblem> for ConfigErrors {
    fn from(problem: ConfigProblem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_str("\n")?;
            }
            problem.fmt(formatter)?;
        }
        Ok(())
    }
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.key.as_str(), &self.origin) {
            ("", Some(origin)) => write!(formatter, "{origin}: {}", self.fault),
            (key, Some(origin)) => write!(formatter, "{key}: {} (in {origin})", self.fault),
            (key, None) => write!(formatter, "{key}: {}", self.fault),
        }
    }
}
