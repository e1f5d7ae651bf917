//! What the documents name exists: tests, guides, files and examples.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use syn::visit::{self, Visit};

/// The documents that name the test of each promise: `AREA::NAME` is the test `NAME` in `tests/AREA.rs`, or in
/// `src/AREA.rs`.
const PROMISES: &[&str] = &["SECURITY.md", "src/guides/threats.md"];

#[test]
fn every_test_that_holds_a_promise_exists() {
    for document in PROMISES {
        let text = read(document);
        let names: BTreeSet<_> = code(&text).filter(|code| is_lower_case_path(code)).collect();
        assert!(names.len() >= 30, "{document} names {} tests only", names.len());
        let mut tests_of = BTreeMap::new();
        let missing: Vec<_> = names.into_iter().filter(|name| !is_test(name, &mut tests_of)).collect();
        assert!(missing.is_empty(), "{document} names tests that do not exist: {missing:#?}");
    }
}

#[test]
fn every_link_of_the_documents_leads_somewhere() {
    const GUIDES: &str = "https://docs.rs/axum-ws-auth/latest/axum_ws_auth/guides/";
    for document in ["README.md", "SECURITY.md", "CONTRIBUTING.md"] {
        for target in links(&read(document)) {
            if let Some(page) = target.strip_prefix(GUIDES) {
                let page = page.trim_end_matches('/');
                let files = [".md", ".rs", "/mod.rs"].map(|end| format!("src/guides/{page}{end}"));
                assert!(files.iter().any(|file| path(file).exists()), "{document}: there is no guide {page}");
            } else if let Some(section) = target.strip_prefix('#') {
                let sections: Vec<_> = read(document).lines().filter_map(anchor).collect();
                assert!(sections.contains(&section.to_owned()), "{document}: there is no section {section}");
            } else if !target.starts_with("https://") {
                assert!(path(&target).exists(), "{document}: there is no file {target}");
            }
        }
    }
}

#[test]
fn every_example_is_in_the_readme() {
    let readme = read("README.md");
    let listed: Vec<_> = code(&readme).filter_map(|code| code.split(' ').next()).collect();
    for entry in fs::read_dir(path("examples")).unwrap() {
        let entry = entry.unwrap().path();
        if entry.extension().is_some_and(|extension| extension != "rs") {
            continue;
        }
        let name = entry.file_stem().unwrap().to_str().unwrap();
        assert!(listed.contains(&name), "the README does not list the example {name}");
    }
}

/// The text between backticks, but for blocks of code.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let mut in_block = false;
    text.lines()
        .filter(move |line| {
            let is_fence = line.starts_with("```");
            in_block ^= is_fence;
            !in_block && !is_fence
        })
        .flat_map(|line| line.split('`').skip(1).step_by(2))
}

fn is_lower_case_path(code: &str) -> bool {
    code.contains("::")
        && code.chars().all(|char| matches!(char, 'a'..='z' | '0'..='9' | '_' | ':'))
        && code.split("::").all(|part| !part.is_empty())
}

/// The targets of `[…](target)` and `[…]: target`.
fn links(text: &str) -> Vec<String> {
    let inline = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    let named = text.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: ").map(|(_, target)| target));
    inline.chain(named).map(ToOwned::to_owned).collect()
}

/// The anchor of a heading, as forges make it.
fn anchor(line: &str) -> Option<String> {
    let heading = line.strip_prefix('#')?.trim_start_matches('#').trim();
    let kept = heading.to_lowercase().replace(' ', "-");
    Some(kept.chars().filter(|char| char.is_alphanumeric() || matches!(char, '-' | '_')).collect())
}

fn is_test<'a>(name: &'a str, tests_of: &mut BTreeMap<&'a str, BTreeSet<String>>) -> bool {
    let (area, test) = name.rsplit_once("::").unwrap();
    let tests = tests_of.entry(area).or_insert_with(|| {
        let file = area.replace("::", "/");
        &tests_in(&format!("tests/{file}.rs")) | &tests_in(&format!("src/{file}.rs"))
    });
    tests.contains(test)
}

/// The names of the tests in a file; none if it does not exist.
fn tests_in(file: &str) -> BTreeSet<String> {
    struct Tests(BTreeSet<String>);

    impl<'ast> Visit<'ast> for Tests {
        fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
            let mut attributes = function.attrs.iter().filter_map(|attribute| attribute.path().segments.last());
            if attributes.any(|name| name.ident == "test") {
                self.0.insert(function.sig.ident.to_string());
            }
            visit::visit_item_fn(self, function);
        }

        // `proptest!` has its tests inside.
        fn visit_macro(&mut self, call: &'ast syn::Macro) {
            let tokens = call.tokens.to_string();
            for (before, function) in tokens.split("fn ").zip(tokens.split("fn ").skip(1)) {
                if before.trim_end().ends_with("[test]") {
                    self.0.extend(function.split([' ', '(']).next().map(ToOwned::to_owned));
                }
            }
        }
    }

    let mut tests = Tests(BTreeSet::new());
    if let Ok(source) = fs::read_to_string(path(file)) {
        tests.visit_file(&syn::parse_file(&source).unwrap());
    }
    tests.0
}

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn read(file: &str) -> String {
    fs::read_to_string(path(file)).unwrap()
}
