//! The dashboard names only what is exported, and all of it.

use std::{collections::BTreeSet, fs, path::Path};

use axum_ws_auth::metrics::describe_metrics;
use serde_json::Value;

use crate::{exercise, scrape::Recording};

/// A metric that an expression names, with the labels that it uses of it.
type Use = (String, BTreeSet<String>);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn dashboard() -> Value {
    serde_json::from_str(&fs::read_to_string(root().join("examples/grafana.json")).unwrap()).unwrap()
}

/// The values of the public constants.
fn constants() -> BTreeSet<String> {
    let source = fs::read_to_string(root().join("src/metrics/mod.rs")).unwrap();
    let lines = source.lines().filter(|line| line.starts_with("pub const "));
    let names: BTreeSet<String> = lines.map(|line| line.split('"').nth(1).unwrap().to_owned()).collect();
    assert!(names.len() >= 15, "{names:?}");
    names
}

/// The expressions of all panels and variables, with the labels that their legends use.
fn expressions(dashboard: &Value) -> Vec<(String, BTreeSet<String>)> {
    let mut found = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let legend = target["legendFormat"].as_str().unwrap_or_default();
            let labels = legend.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap().trim().to_owned());
            found.push((target["expr"].as_str().unwrap().to_owned(), labels.collect()));
        }
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if variable["type"] == "query" {
            let query = variable["query"]["query"].as_str().unwrap();
            // `label_values(metric, label)`
            let inner = query.strip_prefix("label_values(").unwrap().strip_suffix(')').unwrap();
            let (metric, label) = inner.split_once(", ").unwrap();
            found.push((metric.to_owned(), BTreeSet::from([label.to_owned()])));
        }
    }
    found
}

/// The metrics of an expression, and the labels that it names: in matchers, in `by (…)`, and in its legend.
fn uses(expression: &str, legend: &BTreeSet<String>) -> Vec<Use> {
    let mut labels = legend.clone();
    for part in expression.split(" by (").skip(1) {
        labels.extend(part.split(')').next().unwrap().split(',').map(|label| label.trim().to_owned()));
    }
    for part in expression.split('{').skip(1) {
        let matchers = part.split('}').next().unwrap();
        labels.extend(matchers.split(',').filter_map(|matcher| {
            let name: String = matcher.trim().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            Some(name).filter(|name| !name.is_empty())
        }));
    }
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let names = expression.split(|c: char| !is_name(c)).filter(|word| word.starts_with("axum_ws_auth"));
    names.map(|name| (name.to_owned(), labels.clone())).collect()
}

/// Labels that Prometheus adds.
const OF_PROMETHEUS: [&str; 2] = ["instance", "job"];

#[tokio::test(start_paused = true)]
async fn panels_and_constants_agree_with_what_is_exported() {
    let recording = Recording::start();
    describe_metrics();
    exercise::everything().await;
    let (text, samples) = (recording.text(), recording.samples());

    let mut shown = BTreeSet::new();
    for (expression, legend) in expressions(&dashboard()) {
        let uses = uses(&expression, &legend);
        assert!(!uses.is_empty(), "no metric in {expression}");
        for (name, labels) in uses {
            let of_name: Vec<_> = samples.iter().filter(|sample| sample.name == name).collect();
            assert!(!of_name.is_empty(), "{expression}: nothing exports {name}\n{text}");
            for label in labels.iter().filter(|label| !OF_PROMETHEUS.contains(&label.as_str())) {
                let has = of_name.iter().all(|sample| sample.labels.contains_key(label));
                assert!(has, "{expression}: {name} has no label {label}");
            }
            shown.insert(name);
        }
    }
    for constant in constants() {
        let is_shown = shown.iter().any(|name| {
            name.strip_prefix(&*constant).is_some_and(|rest| ["", "_bucket", "_sum", "_count"].contains(&rest))
        });
        assert!(is_shown, "no panel shows {constant}");
        assert!(text.contains(&format!("# HELP {constant} ")), "nothing describes {constant}\n{text}");
    }
    // Nothing is exported that has no constant.
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = line.split(' ').next().unwrap();
        assert!(constants().contains(name), "{name} is no constant");
    }
}

#[test]
fn every_panel_has_its_place_and_its_source() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        let place = &panel["gridPos"];
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|name| place[name].as_u64().unwrap());
        assert!(x + w <= 24, "{}", panel["title"]);
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{} overlaps another panel", panel["title"]);
        }
        if panel["type"] != "row" {
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
        }
    }
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert!(variables.iter().any(|variable| variable["name"] == "datasource" && variable["type"] == "datasource"));
}
