//! The crate docs list every string that a program may compare, and every event.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use syn::visit::{self, Visit};

#[test]
fn crate_docs_list_every_stable_name() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let docs = fs::read_to_string(root.join("lib.rs")).unwrap();
    let (_, section) = docs.split_once("//! # Stable names\n").unwrap();
    let (section, _) = section.split_once("//! # ").unwrap();

    let mut names = Names::default();
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                names.visit_file(&syn::parse_file(&fs::read_to_string(path).unwrap()).unwrap());
            }
        }
    }
    assert!(names.found.len() >= 9, "too few types: {:?}", names.found.keys());
    for (owner, names) in names.found {
        let row = section.lines().find(|line| line.contains(&format!("{owner}::"))).unwrap_or_default();
        for name in names {
            assert!(row.contains(&format!("`{name}`")), "{owner}: `{name}` is not in the row {row:?}");
        }
    }
}

/// `examples/grafana.json` and the recorder are compared in `tests/metrics/`.
#[test]
fn crate_docs_list_every_metric_with_its_labels() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let docs = fs::read_to_string(root.join("lib.rs")).unwrap();
    let (_, section) = docs.split_once("//! # Metrics\n").unwrap();
    let (section, _) = section.split_once("//! # ").unwrap();
    let listed: Vec<String> = section.lines().filter(|line| line.contains("| `axum_ws_auth_")).map(shorten).collect();

    let module = syn::parse_file(&fs::read_to_string(root.join("metrics/mod.rs")).unwrap()).unwrap();
    let constants: Vec<String> = module.items.iter().filter_map(metric).collect();
    assert!(constants.len() >= 15, "too few constants: {constants:?}");
    assert_eq!(listed, constants);
}

/// A row of the table, in the form that [`metric`] returns.
fn shorten(row: &str) -> String {
    let cells: Vec<&str> = row.split('|').map(|cell| cell.trim_matches([' ', '`'])).collect();
    let labels: Vec<&str> = cells[3].split("`, `").filter(|label| !label.is_empty()).collect();
    format!("{} {}: {}", cells[1], cells[2], labels.join(" "))
}

/// A public constant: its value, and the type and the labels that its docs name.
fn metric(item: &syn::Item) -> Option<String> {
    let syn::Item::Const(constant) = item else { return None };
    let (syn::Visibility::Public(_), syn::Expr::Lit(value)) = (&constant.vis, &*constant.expr) else { return None };
    let syn::Lit::Str(name) = &value.lit else { return None };
    let mut literals = Literals(Vec::new());
    constant.attrs.iter().for_each(|attribute| literals.visit_attribute(attribute));
    let kind = literals.0.first().unwrap().split([':', ',']).next().unwrap().trim().to_lowercase();
    let labels: Vec<&str> =
        literals.0.iter().filter_map(|line| line.trim().strip_prefix("| `")?.split('`').next()).collect();
    Some(format!("{} {kind}: {}", name.value(), labels.join(" ")))
}

/// A row may have the start of a message and `…`.
#[test]
fn crate_docs_list_every_event() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let docs = fs::read_to_string(root.join("lib.rs")).unwrap();
    let (_, section) = docs.split_once("//! # Events\n").unwrap();
    let (section, _) = section.split_once("//! # ").unwrap();
    let rows: BTreeSet<_> = section.lines().filter_map(|row| row.strip_prefix("//! | `")?.split('`').next()).collect();
    let mut messages = BTreeSet::new();
    for entry in fs::read_dir(root.join("telemetry")).unwrap() {
        // Folders have no events.
        let Ok(source) = fs::read_to_string(entry.unwrap().path()) else { continue };
        // The message is the last string, if it is not the definition of the macro.
        let events = source.split("event!(").skip(1).map(|event| event.split_once(");\n").unwrap().0);
        messages.extend(events.filter_map(|event| event.rsplit('"').nth(1).map(str::to_owned)));
    }
    assert!(messages.len() > 40, "too few events: {messages:?}");
    let is_row_of = |row: &str, message: &str| match row.strip_suffix('…') {
        Some(start) => message.starts_with(start),
        None => row == message,
    };
    let missing: Vec<_> = messages.iter().filter(|message| !rows.iter().any(|row| is_row_of(row, message))).collect();
    assert!(missing.is_empty(), "no row for {missing:?}");
    let stale: Vec<_> = rows.iter().filter(|row| !messages.iter().any(|message| is_row_of(row, message))).collect();
    assert!(stale.is_empty(), "no event for {stale:?}");
}

/// The strings that public functions `as_str` and `reason` return, by type.
#[derive(Default)]
struct Names {
    owner: String,
    found: BTreeMap<String, Vec<String>>,
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if let (syn::Type::Path(owner), None) = (&*item.self_ty, &item.trait_) {
            self.owner = owner.path.segments.last().unwrap().ident.to_string();
            visit::visit_item_impl(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        let is_public = matches!(function.vis, syn::Visibility::Public(_));
        if is_public && (function.sig.ident == "as_str" || function.sig.ident == "reason") {
            let mut literals = Literals(Vec::new());
            literals.visit_block(&function.block);
            if !literals.0.is_empty() {
                self.found.insert(self.owner.clone(), literals.0);
            }
        }
    }
}

struct Literals(Vec<String>);

impl<'ast> Visit<'ast> for Literals {
    fn visit_lit_str(&mut self, literal: &'ast syn::LitStr) {
        self.0.push(literal.value());
    }
}
