//! JSON objects as `serde_json` reads them, with members that are repeated.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// The members of an object, as they were written.
pub type RawMembers = Members<Box<RawValue>>;

/// The string that a value is.
pub fn string(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

/// The members of an object, in order, repeated ones too.
pub struct Members<V>(pub Vec<(String, V)>);

impl<V> Members<V> {
    pub fn all(&self, name: &str) -> impl Iterator<Item = &V> {
        self.0.iter().filter(move |(own, _)| own == name).map(|(_, value)| value)
    }

    pub fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// The member of this name, if there is exactly one.
    pub fn only(&self, name: &str) -> Option<&V> {
        let mut found = self.all(name);
        found.next().filter(|_| found.next().is_none())
    }

    /// Whether no two members have the same name.
    pub fn are_unique(&self) -> bool {
        let mut names: Vec<_> = self.0.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.windows(2).all(|pair| pair[0] != pair[1])
    }
}

impl RawMembers {
    /// The members to keep, by their names.
    pub fn sorted(&self, keep: impl Fn(&str) -> bool) -> Vec<(&str, &str)> {
        let kept = self.0.iter().filter(|(name, _)| keep(name));
        let mut sorted: Vec<_> = kept.map(|(name, value)| (name.as_str(), value.get())).collect();
        sorted.sort_unstable();
        sorted
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Members<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All<V>(PhantomData<V>);

        impl<'de, V: Deserialize<'de>> Visitor<'de> for All<V> {
            type Value = Members<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<V>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(All(PhantomData))
    }
}
