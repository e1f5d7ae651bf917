//! Imports inside the crate point one way: a module uses modules below it, and none above.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use syn::{
    UseTree,
    spanned::Spanned,
    visit::{self, Visit},
};

/// The modules directly under `src/`, lowest first. Each may use those before it.
const MODULES: &[&str] = &[
    "lock",
    "json",
    "time",
    "error",
    "id",
    "metrics",
    "telemetry",
    "http_client",
    "websocket",
    "token",
    "forwarded",
    "address_limits",
    "origin",
    "verify",
    "store",
    "revocation",
    "session",
    "rejection",
    "resource",
    "socket",
    "stream",
    "handshake",
    "refresh",
    "future",
    "service",
    "layer",
    "extract",
    "ticket",
    "dpop",
    "signals",
    "redis",
    "health",
    "test_util",
    "guides",
];

/// Libraries, and the modules that may use them.
const LIBRARIES: &[(&str, &[&str])] = &[
    (
        "axum",
        &[
            "websocket",
            "verify::path",
            "session",
            "rejection",
            "resource",
            "socket",
            "stream",
            "handshake",
            "refresh",
            "future",
            "service",
            "layer",
            "extract",
            "ticket",
            "signals",
            "health",
            "test_util",
        ],
    ),
    ("jsonwebtoken", &["verify::keys", "test_util"]),
    ("metrics", &["metrics", "telemetry"]),
    ("redis", &["redis"]),
    ("reqwest", &["http_client"]),
    ("shuttle", &["lock"]),
];

#[test]
fn imports_point_downward() {
    let uses = uses();
    assert!(uses.len() > 500, "only {} uses were found", uses.len());
    let faults: Vec<_> = uses.iter().filter_map(Use::fault).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn every_module_has_a_place_in_the_order() {
    let found: BTreeSet<_> = modules().into_iter().filter_map(|(path, _)| path.first().cloned()).collect();
    assert_eq!(found, MODULES.iter().map(|&module| module.to_owned()).collect());
}

/// A folder and its parent folder may use each other, because `mod.rs` reexports its submodules.
#[test]
fn folders_form_no_cycle() {
    let folders: BTreeSet<_> = modules().into_iter().map(|(module, file)| folder_of(&module, &file)).collect();
    let mut uses_of: BTreeMap<Vec<String>, BTreeSet<Vec<String>>> = BTreeMap::new();
    for used in uses() {
        let Target::Crate(path) = &used.target else { continue };
        let folder = folder_of(&used.module, &used.file);
        let target = folders.iter().filter(|folder| path.starts_with(folder)).max_by_key(|folder| folder.len());
        let Some(target) = target.filter(|target| !target.starts_with(&folder) && !folder.starts_with(target)) else {
            continue;
        };
        uses_of.entry(folder).or_default().insert(target.clone());
    }
    // A folder that uses no remaining folder is in no cycle.
    loop {
        let is_free = |used: &BTreeSet<_>| used.iter().all(|folder| !uses_of.contains_key(folder));
        let free: Vec<_> = uses_of.iter().filter(|(_, used)| is_free(used)).map(|(folder, _)| folder.clone()).collect();
        if free.is_empty() {
            break;
        }
        uses_of.retain(|folder, _| !free.contains(folder));
    }
    assert!(uses_of.is_empty(), "a cycle among {uses_of:#?}");
}

fn folder_of(module: &[String], file: &Path) -> Vec<String> {
    let depth = if file.ends_with("mod.rs") { module.len() } else { module.len() - 1 };
    module[..depth].to_vec()
}

/// A path that a module of the crate uses.
struct Use {
    file: PathBuf,
    line: usize,
    module: Vec<String>,
    target: Target,
}

impl Use {
    fn fault(&self) -> Option<String> {
        let problem = match &self.target {
            Target::Library(library) => {
                let (_, allowed) = LIBRARIES.iter().find(|(name, _)| name == library)?;
                let module = self.module.join("::");
                if allowed.iter().any(|name| module == *name || module.starts_with(&format!("{name}::"))) {
                    return None;
                }
                format!("`{module}` must not use `{library}`")
            }
            Target::Crate(path) => match (self.module.first()?, path.first()) {
                (_, None) => "the crate root is for users: name a module".to_owned(),
                (from, Some(to)) => match (rank(from), rank(to)) {
                    (Some(user), Some(used)) if used <= user => return None,
                    (Some(_), Some(_)) => format!("`{from}` is below `{to}` and must not use it"),
                    _ => format!("`crate::{to}` is not a module: name the module that it comes from"),
                },
            },
        };
        let file = self.file.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(&self.file);
        Some(format!("{}:{}: {problem}", file.display(), self.line))
    }
}

fn rank(module: &str) -> Option<usize> {
    MODULES.iter().position(|&name| name == module)
}

/// All modules with their files, except the crate root and unit tests.
fn modules() -> Vec<(Vec<String>, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut modules) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let module = path.strip_prefix(&root).unwrap().with_extension("");
            let mut module: Vec<_> = module.iter().map(|name| name.to_str().unwrap().to_owned()).collect();
            if path.is_dir() {
                if module.last().is_some_and(|name| name != "tests") {
                    folders.push(path);
                }
                continue;
            }
            // Guides have text files too.
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            module.pop_if(|name| name == "mod");
            if module != ["lib"] && module.last().is_some_and(|name| name != "tests") {
                modules.push((module, path));
            }
        }
    }
    modules
}

fn uses() -> Vec<Use> {
    let mut found = Vec::new();
    for (module, file) in modules() {
        let source = syn::parse_file(&fs::read_to_string(&file).unwrap()).unwrap();
        let mut paths = Paths { module: module.clone(), found: Vec::new() };
        paths.visit_file(&source);
        for (line, target) in paths.found {
            found.push(Use { file: file.clone(), line, module: module.clone(), target });
        }
    }
    found
}

enum Target {
    /// A path from the crate root.
    Crate(Vec<String>),
    Library(String),
}

/// Collects the paths that a file uses, except in its unit tests.
struct Paths {
    module: Vec<String>,
    found: Vec<(usize, Target)>,
}

impl Paths {
    fn add(&mut self, line: usize, path: &[String]) {
        let Some((first, rest)) = path.split_first() else { return };
        let target = match first.as_str() {
            "crate" => Target::Crate(rest.to_vec()),
            "self" if !rest.is_empty() => Target::Crate([&self.module, rest].concat()),
            "super" => {
                let up = path.iter().take_while(|name| *name == "super").count();
                let Some(depth) = self.module.len().checked_sub(up) else { return };
                // In a file directly under `src/`, `super::Name` names the crate root.
                Target::Crate([&self.module[..depth], &path[up..]].concat())
            }
            _ => Target::Library(first.clone()),
        };
        self.found.push((line, target));
    }

    fn flatten(&mut self, tree: &UseTree, path: &mut Vec<String>) {
        let len = path.len();
        match tree {
            UseTree::Path(part) => {
                path.push(part.ident.to_string());
                self.flatten(&part.tree, path);
            }
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.flatten(tree, path)),
            UseTree::Name(name) => {
                path.push(name.ident.to_string());
                self.add(name.span().start().line, path);
            }
            UseTree::Rename(name) => {
                path.push(name.ident.to_string());
                self.add(name.span().start().line, path);
            }
            UseTree::Glob(glob) => self.add(glob.span().start().line, path),
        }
        path.truncate(len);
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.flatten(&item.tree, &mut Vec::new());
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            let names: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.add(path.span().start().line, &names);
        }
        visit::visit_path(self, path);
    }

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        // Unit tests may use every module.
        if item.ident != "tests" {
            visit::visit_item_mod(self, item);
        }
    }
}
