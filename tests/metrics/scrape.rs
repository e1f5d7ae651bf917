//! A recorder of one test, and what it exports.

use std::collections::BTreeMap;

use metrics::LocalRecorderGuard;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// Records what this thread does, until it is dropped. A test's runtime has one thread.
pub(crate) struct Recording {
    handle: PrometheusHandle,
    _guard: LocalRecorderGuard<'static>,
}

/// A line of the text format.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

impl Recording {
    pub(crate) fn start() -> Self {
        let recorder = Box::leak(Box::new(
            PrometheusBuilder::new().set_buckets(&[0.001, 1.0, 60.0, 3600.0]).unwrap().build_recorder(),
        ));
        Self { handle: recorder.handle(), _guard: metrics::set_default_local_recorder(recorder) }
    }

    pub(crate) fn text(&self) -> String {
        self.handle.render()
    }

    pub(crate) fn samples(&self) -> Vec<Sample> {
        self.text().lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(Sample::parse).collect()
    }

    /// The sum of all samples with this name and at least these labels.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has =
            |sample: &Sample| labels.iter().all(|(name, value)| sample.labels.get(*name).is_some_and(|v| v == value));
        self.samples().iter().filter(|sample| sample.name == name && has(sample)).map(|sample| sample.value).sum()
    }

    /// The values of this label, of the samples with this name that are not zero, each as often as it was counted.
    pub(crate) fn values(&self, name: &str, label: &str) -> Vec<String> {
        let samples = self.samples();
        let counted = samples.iter().filter(|sample| sample.name == name);
        let times = |sample: &Sample| sample.value.to_string().parse().unwrap();
        let mut values: Vec<_> = counted.flat_map(|sample| vec![sample.labels[label].clone(); times(sample)]).collect();
        values.sort_unstable();
        values
    }
}

impl Sample {
    fn parse(line: &str) -> Self {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels.strip_suffix('}').unwrap();
        let labels = labels.split("\",").filter(|label| !label.is_empty()).map(|label| {
            let (name, value) = label.split_once("=\"").unwrap();
            (name.to_owned(), value.trim_end_matches('"').to_owned())
        });
        Self { name: name.to_owned(), labels: labels.collect(), value: value.parse().unwrap() }
    }
}
