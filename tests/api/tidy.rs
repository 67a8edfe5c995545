//! The order of the rooms: who imports whom, and which library lives where. Reads the sources, and starts nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use quittance::domain::reason::{Reason, Version};

use crate::support::root;

/// The layers in whose order src/lib.rs lists the rooms, lowest first. A module imports only from layers below its own.
const LAYERS: [&[&str]; 7] = [
    &["domain"],
    &["config", "files", "keys", "metrics", "supervisor", "telemetry", "x402"],
    &["chain", "ledger", "signing", "webhook"],
    &["flow"],
    &["api"],
    &["grpc", "http", "lane", "watcher", "worker"],
    &["app", "check", "cli", "main"],
];

/// Imports inside a layer, as they stand: importer and imported.
const NEIGHBOURS: [(&str, &str); 7] = [
    ("keys", "config"),
    ("metrics", "keys"),
    ("telemetry", "config"),
    ("supervisor", "metrics"),
    ("check", "app"),
    ("cli", "app"),
    ("cli", "check"),
];

/// A library, and the only places that may know of it; `app` wires what others hold. One that ends in `_` stands for all that begin so.
const HOMES: [(&str, &[&str]); 18] = [
    ("alloy", &["chain/evm", "keys", "signing"]),
    ("solana_", &["chain/solana"]),
    ("spl_", &["chain/solana"]),
    ("bs58", &["chain/solana", "domain/address"]),
    ("curve25519_dalek", &["chain/solana"]),
    ("ed25519_dalek", &["chain/solana", "keys", "signing"]),
    ("sqlx", &["ledger"]),
    ("actix_web", &["http", "app"]),
    ("actix_http", &["http"]),
    ("askama", &["http/pages"]),
    ("qrcodegen", &["http/pages"]),
    ("lru", &["flow/limits"]),
    ("tonic", &["grpc"]),
    ("tonic_", &["grpc"]),
    ("prost", &["grpc"]),
    ("prost_", &["grpc"]),
    ("prometheus", &["metrics"]),
    ("figment", &["config"]),
];

struct Source {
    /// From `src`, without the extension: `chain/evm/rpc`.
    place: String,
    text: String,
}

impl Source {
    /// The module at the top: `chain` for `chain/evm/rpc`.
    fn room(&self) -> &str {
        self.place.split('/').next().expect("a path is not empty")
    }

    /// The lines that are neither comments nor tests, with their numbers.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let is_test = self.place.ends_with("/tests");
        let lines = self.text.lines().enumerate().map(|(index, line)| (index + 1, line));
        // A test module stands at the end of its file; `mod tests;` alone has a file of its own.
        let lines = lines.take_while(move |(_, line)| !is_test && !line.contains("mod tests {"));
        lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

fn sources() -> Vec<Source> {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(directory).expect("the sources are readable") {
            let path = entry.expect("the sources are readable").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let (directory, mut found) = (root().join("src"), Vec::new());
    walk(&directory, &mut found);
    found.sort();
    let source = |path: PathBuf| Source {
        place: path.strip_prefix(&directory).expect("it is below").with_extension("").to_str().expect("Unicode").to_owned(),
        text: std::fs::read_to_string(&path).expect("the sources are readable"),
    };
    found.into_iter().map(source).collect()
}

fn layer(room: &str) -> usize {
    LAYERS.iter().position(|rooms| rooms.contains(&room)).unwrap_or_else(|| panic!("{room} has no place in a layer"))
}

/// What a line says behind `crate::`, wherever it stands in it.
fn imports(line: &str) -> impl Iterator<Item = &str> {
    // A macro's `$crate::` and a path's `in crate::` are the same crate; `pub(in crate::x)` imports nothing.
    line.match_indices("crate::").filter(|(at, _)| !line[..*at].ends_with("in ")).map(|(at, word)| &line[at + word.len()..])
}

fn name(path: &str) -> &str {
    path.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next().unwrap_or_default()
}

#[test]
fn every_room_imports_only_from_below() {
    let sources = sources();
    let mut faults = Vec::new();
    let mut used = BTreeSet::new();
    for source in sources.iter().filter(|source| source.place != "lib") {
        let room = source.room();
        for (number, line) in source.code() {
            for path in imports(line) {
                let other = name(path);
                let from_below = other == room || layer(other) < layer(room);
                let neighbour = NEIGHBOURS.contains(&(room, other));
                if neighbour {
                    used.insert((room.to_owned(), other.to_owned()));
                }
                if !from_below && !neighbour {
                    faults.push(format!("src/{}.rs:{number}: {room} must not know {other}: {}", source.place, line.trim()));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let wanted: BTreeSet<_> = NEIGHBOURS.iter().map(|(one, other)| ((*one).to_owned(), (*other).to_owned())).collect();
    assert_eq!(used, wanted, "an exception that nobody needs any more goes");
}

#[test]
fn every_library_has_its_home() {
    let mut faults = Vec::new();
    for source in sources() {
        for (number, line) in source.code() {
            for (library, homes) in HOMES {
                let at_home = homes.iter().any(|home| source.place == *home || source.place.starts_with(&format!("{home}/")));
                let mentioned = line.match_indices(library).any(|(at, _)| {
                    let before = line[..at].chars().next_back();
                    let behind = &line[at + library.len()..];
                    let behind = if library.ends_with('_') { &behind[name(behind).len()..] } else { behind };
                    before.is_none_or(|letter| !letter.is_alphanumeric() && letter != '_' && letter != '"')
                        && behind.starts_with("::")
                });
                if mentioned && !at_home {
                    faults.push(format!("src/{}.rs:{number}: {library} does not belong here: {}", source.place, line.trim()));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent: Vec<_> =
        sources().into_iter().filter(|source| !source.text.starts_with("//! ")).map(|source| source.place).collect();
    assert!(silent.is_empty(), "no `//!` in {silent:?}");
}

#[test]
fn every_room_is_in_a_layer_and_in_lib_in_their_order() {
    let lib = std::fs::read_to_string(root().join("src/lib.rs")).expect("it is readable");
    let rooms: Vec<_> = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    let layers: Vec<_> = rooms.iter().map(|room| layer(room)).collect();
    assert!(rooms.len() >= 14 && layers.is_sorted(), "{rooms:?}");
    let mut files: BTreeMap<_, usize> = BTreeMap::new();
    for source in sources() {
        *files.entry(source.room().to_owned()).or_default() += 1;
    }
    let known: BTreeSet<_> = rooms.iter().map(|room| (*room).to_owned()).chain(["lib".to_owned(), "main".to_owned()]).collect();
    assert_eq!(files.keys().cloned().collect::<BTreeSet<_>>(), known);
}

/// The codes in the first column of the document's tables.
fn documented_codes(document: &str) -> Vec<&str> {
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    rows.map(|(code, _)| code).collect()
}

#[test]
fn errors_md_lists_every_reason_in_order_and_invents_none() {
    let document = std::fs::read_to_string(root().join("docs/ERRORS.md")).expect("docs/ERRORS.md is readable");
    let listed = documented_codes(&document);
    // A code of version 1 stands below that of version 2, unless it is that of another reason.
    let of = |reason: &Reason| {
        let (v2, v1) = (reason.code(), reason.code_in(Version::V1));
        std::iter::once(v2).chain(Some(v1).filter(|code| *code != v2 && Reason::from_code(code).is_none()))
    };
    let expected: Vec<_> = Reason::ALL.iter().flat_map(of).collect();
    let reasons: Vec<_> = listed.iter().copied().filter(|code| expected.contains(code)).collect();
    assert_eq!(reasons, expected);
    let sources = sources();
    let invented: Vec<_> =
        listed.iter().filter(|code| !sources.iter().any(|source| source.text.contains(&format!("\"{code}\"")))).collect();
    assert!(invented.is_empty(), "no source has {invented:?}");
}

/// What a line of the log says, wherever one is written that wants attention.
fn warnings(text: &str) -> Vec<String> {
    let calls = ["tracing::warn!(", "tracing::error!("].into_iter().flat_map(|call| text.split(call).skip(1));
    let said = |call: &str| {
        let call = &call[..call.find(");").expect("it ends")];
        call.split('"').rev().nth(1).expect("it says something").to_owned()
    };
    calls.map(said).collect()
}

#[test]
fn operations_md_explains_every_line_of_the_log_that_wants_attention() {
    let page = std::fs::read_to_string(root().join("docs/OPERATIONS.md")).expect("it is readable");
    // A long line stands there up to its ellipsis, and one that only adds to another begins with one.
    let explained: Vec<_> = page.split('`').skip(1).step_by(2).map(|words| words.trim_matches(['…', ' '])).collect();
    let says = |line: &str| explained.iter().any(|words| words.len() > 6 && (line.starts_with(words) || line.ends_with(words)));
    let unexplained: Vec<_> = sources().iter().flat_map(|source| warnings(&source.text)).filter(|line| !says(line)).collect();

    assert_eq!(unexplained, Vec::<String>::new());
}

/// What a killed migration leaves behind is named where an operator looks for it at night.
#[test]
fn operations_md_names_every_index_that_no_transaction_holds() {
    let page = std::fs::read_to_string(root().join("docs/OPERATIONS.md")).expect("it is readable");
    let named: BTreeSet<_> = page.lines().filter(|line| line.starts_with("| `2")).map(str::to_owned).collect();
    let migrations = std::fs::read_dir(root().join("migrations")).expect("migrations").map(|file| file.expect("a file").path());
    let built: BTreeSet<_> = migrations
        .filter_map(|file| {
            let text = std::fs::read_to_string(&file).expect("it is readable");
            let index = text.split_once("CREATE INDEX CONCURRENTLY ")?.1.split(' ').next()?.to_owned();
            Some(format!("| `{}` | `{index}` |", file.file_stem()?.to_str()?))
        })
        .collect();

    assert_eq!(named, built);
}
