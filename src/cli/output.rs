//! How commands tell what they found: in lines for people, or as JSON for programs.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use serde::Serialize;
use serde_json::json;

/// For whom a command prints.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Output {
    /// Prints JSON instead of lines for people.
    #[arg(long)]
    json: bool,
}

impl Output {
    /// Whether a program reads it.
    pub(super) const fn is_json(self) -> bool {
        self.json
    }

    /// Prints what was found.
    pub(super) fn tell(self, found: &(impl Serialize + fmt::Display)) {
        if self.json {
            println!("{:#}", json!(found));
        } else {
            println!("{found}");
        }
    }
}

/// A time as people and programs read it.
pub(super) fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Lines below each other.
pub(super) struct Lines<'a, T>(pub(super) &'a [T]);

impl<T: fmt::Display> fmt::Display for Lines<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, line) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(formatter)?;
            }
            write!(formatter, "{line}")?;
        }
        Ok(())
    }
}
