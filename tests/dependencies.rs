//! What the crate depends on: each dependency has its reason in the docs, and the tree does not grow unnoticed.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use serde_json::Value;

const PAGE: &str = include_str!("../src/guides/dependencies.md");
/// The same rules for cargo-deny.
const DENY: &str = include_str!("../deny.toml");

/// Licences that a closed product may use without publishing its source. Those of an `OR` are a choice.
const LICENCES: &[&str] = &[
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates that are in the tree twice, because libraries disagree about the version.
const DUPLICATES: &[&str] = &[
    // hyper-util and reqwest have 0.23 already; axum and jsonwebtoken do not.
    "base64",
    // The RustCrypto crates of jsonwebtoken have older ones than axum's tungstenite.
    "getrandom",
    "rand",
    "rand_chacha",
    "rand_core",
    // Procedural macros: nothing of it is in the program.
    "syn",
    // aws-lc-rs and rustls-webpki.
    "untrusted",
];

const BANNED: &[&str] = &["anyhow", "async-trait", "native-tls", "openssl", "openssl-sys", "ring"];

#[test]
fn every_dependency_has_its_reason() {
    let documented: BTreeMap<_, _> =
        rows("| crate | why | with |").map(|row| (row[0].clone(), row[2].clone())).collect();
    assert_eq!(documented, direct_dependencies());
    assert!(rows("| crate | why | with |").all(|row| row[1].len() > 10), "a reason is a phrase");
}

#[test]
fn tree_has_the_documented_size() {
    let counted: Vec<_> = rows("| features | crates |")
        .map(|row| {
            // "the default" has none.
            let arguments: Vec<_> = row[0].split('`').nth(1).unwrap_or_default().split_whitespace().collect();
            vec![row[0].clone(), tree(&arguments, "{p}").len().to_string()]
        })
        .collect();
    let documented: Vec<_> = rows("| features | crates |").collect();
    assert_eq!(documented, counted);
    let count = |arguments: &[&str]| tree(arguments, "{p}").len();
    assert!(count(&[]) <= 93, "the default features must stay light");
    assert!(count(&["--no-default-features"]) <= 71, "the core must stay light");
}

#[test]
fn every_licence_is_permissive() {
    for line in tree(&["--all-features"], "{p}|{l}") {
        let (package, licence) = line.split_once('|').unwrap();
        assert!(is_permitted(licence), "{package} has the licence {licence:?}");
    }
    assert!(is_permitted("(MIT OR GPL-3.0) AND Unicode-3.0") && is_permitted("MIT/Apache-2.0"));
    assert!(!is_permitted("GPL-3.0") && !is_permitted("MIT AND GPL-3.0") && !is_permitted(""));
}

#[test]
fn every_source_is_the_registry() {
    let lock = include_str!("../Cargo.lock");
    let sources: BTreeSet<_> = lock.lines().filter(|line| line.starts_with("source = ")).collect();
    assert_eq!(sources, BTreeSet::from([r#"source = "registry+https://github.com/rust-lang/crates.io-index""#]));
}

/// OpenSSL would be a second TLS library, with headers to install.
#[test]
fn tree_has_no_openssl_and_few_duplicates() {
    let tree = tree(&["--all-features"], "{p}");
    let mut versions: BTreeMap<&str, usize> = BTreeMap::new();
    for package in &tree {
        *versions.entry(package.split_once(' ').unwrap().0).or_default() += 1;
    }
    for banned in BANNED {
        assert!(!versions.contains_key(banned), "{banned} is in the tree");
    }
    let duplicates: Vec<_> = versions.iter().filter(|(_, count)| **count > 1).map(|(name, _)| *name).collect();
    assert_eq!(duplicates, DUPLICATES);
}

#[test]
fn cargo_deny_has_the_same_lists() {
    for (name, expected) in [("allow", LICENCES), ("skip", DUPLICATES), ("deny", BANNED)] {
        let (_, list) = DENY.split_once(&format!("\n{name} = [")).unwrap();
        let (list, _) = list.split_once(']').unwrap();
        let listed: Vec<_> = list.split('"').skip(1).step_by(2).collect();
        assert_eq!(listed, expected, "{name}");
    }
}

/// `forbid`, unlike `deny`, cannot be lifted in a file.
#[test]
fn compiler_forbids_unsafe_code() {
    let manifest = include_str!("../Cargo.toml");
    let (_, lints) = manifest.split_once("[lints.rust]").unwrap();
    assert!(lints.lines().any(|line| line == r#"unsafe_code = "forbid""#));
}

/// An SPDX expression: each part of an `AND` needs a permitted choice.
fn is_permitted(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    let is_one = |choice: &str| LICENCES.contains(&choice.trim_matches([' ', '(', ')']));
    expression.split(" AND ").all(|part| part.split(" OR ").any(is_one))
}

/// The direct dependencies, and the features that enable them.
fn direct_dependencies() -> BTreeMap<String, String> {
    let output = cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    let metadata: Value = serde_json::from_str(&output).unwrap();
    let package = &metadata["packages"][0];
    let features: BTreeMap<String, Vec<String>> = serde_json::from_value(package["features"].clone()).unwrap();
    let enabled_by = |name: &str| {
        let wanted = format!("dep:{name}");
        let by =
            features.iter().filter(|(_, enables)| enables.contains(&wanted)).map(|(feature, _)| format!("`{feature}`"));
        by.collect::<Vec<_>>().join(", ")
    };
    let dependencies =
        package["dependencies"].as_array().unwrap().iter().filter(|dependency| dependency["kind"].is_null());
    dependencies
        .map(|dependency| {
            let name = dependency["name"].as_str().unwrap();
            (format!("`{name}`"), enabled_by(name))
        })
        .collect()
}

/// The packages that a program has in it, without the crate itself.
fn tree(arguments: &[&str], format: &str) -> BTreeSet<String> {
    let output = cargo(&[&["tree", "--edges", "normal", "--prefix", "none", "--format", format], arguments].concat());
    let packages = output.lines().map(|line| line.trim_end_matches(" (*)").replace(" (proc-macro)", ""));
    packages.filter(|line| !line.is_empty()).collect()
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .args(["--locked", "--offline", "--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The rows of the page's table with this head.
fn rows(head: &str) -> impl Iterator<Item = Vec<String>> {
    let (_, table) = PAGE.split_once(head).unwrap_or_else(|| panic!("no table {head}"));
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
}
