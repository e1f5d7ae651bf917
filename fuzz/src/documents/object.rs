//! The rules for members of JSON objects.

use serde_json::{Map, Value, value::RawValue};

use super::refused::{Outcome, refused};
use crate::json::Members;

/// The members of an object. Their values are not read, because the crate does not read those that it does not need.
pub struct Object<'a>(Members<&'a RawValue>);

impl<'a> Object<'a> {
    pub fn read(json: &'a [u8]) -> Outcome<Self> {
        let Ok(json) = str::from_utf8(json) else { return refused("not UTF-8") };
        serde_json::from_str(json).map(Self).or_else(|_| refused("not an object"))
    }

    /// The text of the member of this name.
    pub fn raw(&self, name: &str) -> Outcome<Option<&'a str>> {
        let mut found = self.0.all(name).map(|value| value.get());
        let first = found.next();
        if found.next().is_some() { refused("a member occurs twice") } else { Ok(first) }
    }

    /// The value of the member of this name. `null` is a value.
    pub fn value(&self, name: &str) -> Outcome<Option<Value>> {
        let Some(raw) = self.raw(name)? else { return Ok(None) };
        // In an object, because `serde_json` limits how deep values are nested.
        let object: Result<Map<String, Value>, _> = serde_json::from_str(&format!("{{\"\":{raw}}}"));
        object.map(|mut object| object.remove("")).or_else(|_| refused("not a value"))
    }

    /// The text of the member of this name. `null` counts as absent.
    pub fn text(&self, name: &str) -> Outcome<Option<String>> {
        match self.value(name)? {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => refused("not a string"),
        }
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.has(name)
    }
}
