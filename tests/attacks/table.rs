//! The form of the files; `README.md` explains it to those who write them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::token::TokenSpec;

/// One file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Topic {
    /// What the cases have in common.
    #[serde(rename = "about")]
    _about: String,
    /// The service of cases that name none.
    service: String,
    /// The transports of cases that name none, each with the reason.
    #[serde(default)]
    only: BTreeMap<Transport, String>,
    pub(crate) cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// The rule that decides.
    #[serde(rename = "rfc")]
    _rfc: String,
    pub(crate) why: String,
    #[serde(default)]
    pub(crate) service: String,
    pub(crate) token: Option<TokenSpec>,
    pub(crate) other: Option<TokenSpec>,
    pub(crate) method: Option<String>,
    #[serde(default = "root")]
    pub(crate) target: String,
    pub(crate) version: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) headers: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) without: Vec<String>,
    pub(crate) behind: Option<String>,
    #[serde(default)]
    pub(crate) only: BTreeMap<Transport, String>,
    expect: Expected,
    #[serde(default)]
    differs: BTreeMap<Transport, Difference>,
    pub(crate) selects: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    Oneshot,
    Http1,
    Http2,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum Expected {
    /// `101` for a socket, or the status of an answer that is not the layer's.
    Status(u16),
    /// A refusal by the layer: status, kind, reason.
    Refused(u16, String, String),
}

/// What another transport does, and why.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Difference {
    expect: Expected,
    #[serde(rename = "why")]
    _why: String,
}

impl Topic {
    /// Reads a file, and fills in its defaults.
    pub(crate) fn parse(json: &str) -> Self {
        let mut topic: Self = serde_json::from_str(json).expect("a file of cases");
        for case in &mut topic.cases {
            if case.service.is_empty() {
                case.service.clone_from(&topic.service);
            }
            if case.only.is_empty() {
                case.only.clone_from(&topic.only);
            }
        }
        topic
    }
}

impl Case {
    pub(crate) fn runs_over(&self, transport: Transport) -> bool {
        self.only.is_empty() || self.only.contains_key(&transport)
    }

    pub(crate) fn expected(&self, transport: Transport) -> &Expected {
        self.differs.get(&transport).map_or(&self.expect, |difference| &difference.expect)
    }

    /// Whether the case shows what must pass.
    pub(crate) fn is_control(&self) -> bool {
        self.expect == Expected::Status(101)
    }
}

fn root() -> String {
    "/".to_owned()
}

/// The members of an object.
pub(crate) fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().expect("an object").iter()
}
