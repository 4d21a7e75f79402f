//! Reads JSON strictly. serde_json's own value keeps the last of several values of one name, and says so to nobody.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Reads a value.
///
/// # Errors
/// What is wrong, without anything of the text.
pub(super) fn read(text: &[u8]) -> Result<Value, String> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let read = Strict.deserialize(&mut deserializer);
    let read = read.and_then(|value| deserializer.end().map(|()| value));
    read.map_err(|error| {
        let (line, column) = (error.line(), error.column());
        if error.is_data() {
            format!("gives a name twice, at line {line}, column {column}")
        } else {
            format!("is not valid JSON, at line {line}, column {column}")
        }
    })
}

struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = pairs.next_key_seed(Name)? {
            if map.contains_key(&name) {
                return Err(A::Error::custom("a name is given twice"));
            }
            let value = pairs.next_value_seed(Self)?;
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}

struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        String::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_as_serde_json_reads_it() {
        for text in [
            "null",
            "[1, -2, 3.5, true, \"a\", {}, []]",
            "{\"a\": {\"b\": [null]}, \"c\": 9007199254740993}",
            " 18446744073709551615 ",
        ] {
            let expected: Value = serde_json::from_str(text).expect("JSON");
            assert_eq!(read(text.as_bytes()), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_not_plain_json_is_refused_without_repeating_it() {
        let deep = "[".repeat(10_000);
        for (text, fault) in [
            (
                "{\"a\": 1, \"a\": 2}",
                "gives a name twice, at line 1, column",
            ),
            (
                "{\"a\": {\"b\": 1,\n \"b\": 2}}",
                "gives a name twice, at line 2, column",
            ),
            ("{\"secret\"", "is not valid JSON, at line 1, column"),
            ("{} {}", "is not valid JSON, at line 1, column"),
            ("1e400", "is not valid JSON, at line 1, column"),
            ("\"\\ud800\"", "is not valid JSON, at line 1, column"),
            ("", "is not valid JSON, at line 1, column"),
            (&deep, "is not valid JSON, at line 1, column"),
        ] {
            let refused = read(text.as_bytes()).expect_err("refused");
            assert!(refused.starts_with(fault), "{refused}");
        }
    }
}
