//! Inside the crate, imports point one way: a room uses rooms below it, and never one above.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

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

/// The rooms under `src/`, lowest first. Each may use those before it.
const ROOMS: &[&str] = &[
    "lock",
    "time",
    "error",
    "id",
    "telemetry",
    "websocket",
    "token",
    "origin",
    "verify",
    "store",
    "revocation",
    "session",
    "rejection",
    "socket",
    "handshake",
    "future",
    "service",
    "layer",
    "extract",
    "ticket",
    "redis",
    "test_util",
];

/// Where these crates may be named.
const LIBRARIES: &[(&str, &[&str])] = &[
    (
        "axum",
        &[
            "websocket",
            "verify::path",
            "session",
            "rejection",
            "socket",
            "handshake",
            "future",
            "service",
            "layer",
            "extract",
            "ticket",
            "test_util",
        ],
    ),
    ("jsonwebtoken", &["verify::keys", "test_util"]),
    ("redis", &["redis"]),
    ("reqwest", &["verify::jwks"]),
];

#[test]
fn imports_point_downward() {
    let uses = uses();
    assert!(uses.len() > 500, "only {} uses were found", uses.len());
    let faults: Vec<_> = uses.iter().filter_map(Use::fault).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn every_room_has_its_place() {
    let there: BTreeSet<_> = modules().into_iter().filter_map(|(path, _)| path.first().cloned()).collect();
    assert_eq!(there, ROOMS.iter().map(|&room| room.to_owned()).collect());
}

/// One use of a path, by a module of the crate.
struct Use {
    file: PathBuf,
    line: usize,
    module: Vec<String>,
    folder: Vec<String>,
    /// The path in the crate; empty for a path into a library.
    target: Vec<String>,
    library: Option<String>,
}

impl Use {
    fn fault(&self) -> Option<String> {
        let problem = match (&self.library, self.target.first()) {
            (Some(library), _) => {
                let (_, allowed) = LIBRARIES.iter().find(|(name, _)| name == library)?;
                let module = self.module.join("::");
                if allowed.iter().any(|room| module == *room || module.starts_with(&format!("{room}::"))) {
                    return None;
                }
                format!("`{module}` must not use `{library}`")
            }
            (None, Some(target)) => {
                let room = self.module.first()?;
                match (rank(room), rank(target)) {
                    (Some(from), Some(to)) if to <= from => return None,
                    (Some(_), Some(_)) => format!("`{room}` is below `{target}` and must not use it"),
                    _ => format!("`crate::{target}` is no room: name the room that it comes from"),
                }
            }
            (None, None) => "the crate root is for users: name a room".to_owned(),
        };
        Some(format!("{}:{}: {problem}", self.file.display(), self.line))
    }
}

fn rank(room: &str) -> Option<usize> {
    ROOMS.iter().position(|&name| name == room)
}

/// All modules but the crate root and unit tests, with their files.
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
            module.pop_if(|name| name == "mod");
            if module != ["lib"] && module.last().is_some_and(|name| name != "tests") {
                modules.push((module, path));
            }
        }
    }
    modules
}

fn folder_of(module: &[String], file: &Path) -> Vec<String> {
    let depth = if file.ends_with("mod.rs") { module.len() } else { module.len() - 1 };
    module[..depth].to_vec()
}

fn uses() -> Vec<Use> {
    let mut found = Vec::new();
    for (module, file) in modules() {
        let source = syn::parse_file(&fs::read_to_string(&file).unwrap()).unwrap();
        let mut paths = Paths { module: module.clone(), found: Vec::new() };
        paths.visit_file(&source);
        let folder = folder_of(&module, &file);
        for (line, path) in paths.found {
            let (target, library) = match path {
                Target::Crate(target) => (target, None),
                Target::Library(name) => (Vec::new(), Some(name)),
            };
            found.push(Use {
                file: file.clone(),
                line,
                module: module.clone(),
                folder: folder.clone(),
                target,
                library,
            });
        }
    }
    found
}

enum Target {
    Crate(Vec<String>),
    Library(String),
}

/// Gathers the paths that a file uses, outside of its unit tests.
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
                // A `use super::Name` in a file of the crate root would name the crate root.
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
        // Unit tests may use what they like.
        if item.ident != "tests" {
            visit::visit_item_mod(self, item);
        }
    }
}
