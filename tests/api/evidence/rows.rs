//! The list of bad input: each of its hundred rows is data beside the page that lists it, or names the tests that have it.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::support::root;

/// The folders of tests/vectors whose pages the list goes through, in its order.
const PARTS: [&str; 4] = ["bad_input", "svm", "merchant_input", "raw_http"];

/// The lines of a page that are rows of the list, with their numbers.
fn rows(page: &str) -> Vec<(u64, &str)> {
    page.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | ")?.0.parse().ok().zip(Some(line))).collect()
}

/// The rows that a file has something of.
fn rows_in(file: &Path) -> BTreeSet<u64> {
    let text = std::fs::read(file).expect("it is readable");
    let cases: Vec<Value> = serde_json::from_slice(&text).expect("a list of cases");
    cases.iter().filter_map(|case| case["row"].as_u64()).collect()
}

/// All rows that are data in a folder.
fn data(folder: &Path) -> BTreeSet<u64> {
    let files = std::fs::read_dir(folder).expect("the folder is there").map(|file| file.expect("a file").path());
    files.filter(|file| is(file, "json")).flat_map(|file| rows_in(&file)).collect()
}

/// The files of a kind that a line names.
fn named<'a>(line: &'a str, kind: &str) -> Vec<&'a str> {
    line.split('`').skip(1).step_by(2).filter(|word| is(Path::new(word), kind)).collect()
}

fn is(file: &Path, kind: &str) -> bool {
    file.extension().is_some_and(|extension| extension == kind)
}

#[test]
fn each_of_a_hundred_rows_is_data_or_names_tests_that_exist() {
    let mut listed = Vec::new();
    for part in PARTS {
        let folder = root().join("tests/vectors").join(part);
        let page = std::fs::read_to_string(folder.join("README.md")).expect("the page is there");
        let (rows, data) = (rows(&page), data(&folder));
        for &(row, line) in &rows {
            for file in named(line, "json") {
                assert!(rows_in(&folder.join(file)).contains(&row), "row {row} is not in {file}");
            }
            let tests = named(line, "rs");
            let missing: Vec<_> = tests.iter().filter(|file| !root().join(file).is_file()).collect();
            assert!(missing.is_empty(), "row {row} names {missing:?}");
            assert!(data.contains(&row) || !tests.is_empty(), "row {row} is nowhere");
        }
        let unlisted: Vec<_> = data.iter().filter(|row| !rows.iter().any(|(listed, _)| listed == *row)).collect();
        assert!(unlisted.is_empty(), "{part} lists no {unlisted:?}");
        listed.extend(rows.into_iter().map(|(row, _)| row));
    }
    assert_eq!(listed, (1..=100).collect::<Vec<u64>>(), "each row once and in order");
}
