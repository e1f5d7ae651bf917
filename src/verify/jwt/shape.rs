//! What a claims type asks its deserializer for, without any claims.

use std::{cell::Cell, fmt};

use serde::{
    Deserializer,
    de::{self, DeserializeOwned, IntoDeserializer, Visitor, value},
};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Nothing: `()`, or a unit struct.
    Unit,
    /// Something that no JSON object is: a number, a text, a list.
    NotAnObject,
    /// Anything else.
    Object,
}

/// What this type is read from, as far as it says so before it has seen anything.
pub(super) fn of<C: DeserializeOwned>() -> Shape {
    let asked = Cell::new(Shape::Object);
    let _ = C::deserialize(Probe(&asked));
    match asked.get() {
        // A newtype of `()` asks for one and does not take it.
        Shape::Unit if from_nothing::<C>().is_none() => Shape::NotAnObject,
        shape => shape,
    }
}

/// Reads a type that asks for nothing.
pub(super) fn from_nothing<C: DeserializeOwned>() -> Option<C> {
    C::deserialize(IntoDeserializer::<value::Error>::into_deserializer(())).ok()
}

/// Notes the first question, and answers none.
struct Probe<'a>(&'a Cell<Shape>);

#[derive(Debug)]
struct NoAnswer;

macro_rules! note {
    ($shape:ident: $($method:ident($($argument:ty),*))*) => {
        $(fn $method<V: Visitor<'de>>(self, $(_: $argument,)* _: V) -> Result<V::Value, NoAnswer> {
            self.0.set(Shape::$shape);
            Err(NoAnswer)
        })*
    };
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = NoAnswer;

    note! { Unit: deserialize_unit() deserialize_unit_struct(&'static str) }

    note! { NotAnObject:
        deserialize_bool()
        deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64() deserialize_i128()
        deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64() deserialize_u128()
        deserialize_f32() deserialize_f64()
        deserialize_char() deserialize_str() deserialize_string() deserialize_identifier()
        deserialize_bytes() deserialize_byte_buf()
        deserialize_seq() deserialize_tuple(usize) deserialize_tuple_struct(&'static str, usize)
    }

    note! { Object:
        deserialize_any() deserialize_ignored_any() deserialize_map()
        deserialize_struct(&'static str, &'static [&'static str]) deserialize_enum(&'static str, &'static [&'static str])
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NoAnswer> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, NoAnswer> {
        visitor.visit_newtype_struct(self)
    }
}

impl de::Error for NoAnswer {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing is read here")
    }
}

impl std::error::Error for NoAnswer {}
