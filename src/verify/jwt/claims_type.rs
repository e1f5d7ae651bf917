//! Finds out what a claims type deserializes from, before there are any claims.

use std::{cell::Cell, fmt};

use serde::{
    Deserializer,
    de::{self, DeserializeOwned, IntoDeserializer, Visitor, value},
};

/// What a claims type deserializes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ClaimsType {
    /// Nothing: `()` or a unit struct.
    Unit,
    /// A value that is never a JSON object: a number, a string, a list.
    NotAnObject,
    /// Anything else.
    Object,
}

impl ClaimsType {
    /// Probes the first method that `C` calls on its deserializer.
    pub(super) fn of<C: DeserializeOwned>() -> Self {
        let requested = Cell::new(Self::Object);
        let _ = C::deserialize(Probe(&requested));
        match requested.get() {
            // A newtype of `()` asks for a unit, but does not deserialize from one.
            Self::Unit if from_unit::<C>().is_none() => Self::NotAnObject,
            requested => requested,
        }
    }
}

/// Deserializes a type from a unit.
pub(super) fn from_unit<C: DeserializeOwned>() -> Option<C> {
    C::deserialize(IntoDeserializer::<value::Error>::into_deserializer(())).ok()
}

/// A deserializer that records the first method called, and always fails.
struct Probe<'a>(&'a Cell<ClaimsType>);

#[derive(Debug)]
struct NoValue;

macro_rules! record {
    ($requested:ident: $($method:ident($($argument:ty),*))*) => {
        $(fn $method<V: Visitor<'de>>(self, $(_: $argument,)* _: V) -> Result<V::Value, NoValue> {
            self.0.set(ClaimsType::$requested);
            Err(NoValue)
        })*
    };
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = NoValue;

    record! { Unit: deserialize_unit() deserialize_unit_struct(&'static str) }

    record! { NotAnObject:
        deserialize_bool()
        deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64() deserialize_i128()
        deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64() deserialize_u128()
        deserialize_f32() deserialize_f64()
        deserialize_char() deserialize_str() deserialize_string() deserialize_identifier()
        deserialize_bytes() deserialize_byte_buf()
        deserialize_seq() deserialize_tuple(usize) deserialize_tuple_struct(&'static str, usize)
    }

    record! { Object:
        deserialize_any() deserialize_ignored_any() deserialize_map()
        deserialize_struct(&'static str, &'static [&'static str]) deserialize_enum(&'static str, &'static [&'static str])
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NoValue> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, NoValue> {
        visitor.visit_newtype_struct(self)
    }
}

impl de::Error for NoValue {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

impl fmt::Display for NoValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a probe has no value")
    }
}

impl std::error::Error for NoValue {}
