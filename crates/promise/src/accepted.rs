//! The words that keys of experiment files accept where other crates know them, for the book's page of keys.

use metrics::Protocol;
use sam_backbone::Variant;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::de::{
    DeserializeOwned, Error as _,
    value::{Error, StrDeserializer},
};

use toml_diagnostics::names_behind;

/// What an enum of another crate accepts: the parser knows it, and says so of a word that it does not know.
pub(crate) fn words_of<T: DeserializeOwned>(_: &mut SchemaGenerator) -> Schema {
    let unknown = T::deserialize(StrDeserializer::<Error>::new("?"));
    let message = unknown.err().unwrap_or_else(|| Error::custom("")).to_string();
    let words = names_behind(&message, "expected ");
    json_schema!({ "enum": words })
}

pub(crate) fn backbones(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "enum": Variant::ALL.map(|variant| variant.name()) })
}

pub(crate) fn protocols(_: &mut SchemaGenerator) -> Schema {
    let word = |protocol: &Protocol| json_schema!({ "const": protocol.name(), "description": protocol.summary() });
    json_schema!({ "oneOf": Protocol::ALL.iter().map(word).collect::<Vec<_>>() })
}

/// A default is described also where it is not written into files.
pub(crate) const fn never<T>(_: &T) -> bool {
    false
}
