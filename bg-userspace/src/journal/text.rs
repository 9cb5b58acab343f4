//! How words, the key and environments are written in the journal: as text that a person can read, and that
//! no reader of JSON rounds to 53 bits.

use bg_common::control::Environment;
use serde::{Deserializer, Serializer};

/// Exactly sixteen lower-case hexadecimal digits.
fn number(digits: &str) -> Option<u64> {
    let fits = digits.len() == 16 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    u64::from_str_radix(digits, 16).ok().filter(|_| fits)
}

/// A control word: `0x` and sixteen digits.
pub(super) mod word {
    use super::{Deserializer, Serializer};
    use serde::{Deserialize as _, de::Error as _};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form of it")]
    pub(in crate::journal) fn serialize<S: Serializer>(word: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format!("0x{word:016x}"))
    }

    pub(in crate::journal) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<u64, D::Error> {
        let text = String::deserialize(from)?;
        let number = text.strip_prefix("0x").and_then(super::number);
        number.ok_or_else(|| D::Error::custom("a control word is 0x and sixteen hexadecimal digits"))
    }
}

/// The key: sixty-four digits.
pub(super) mod key {
    use super::{Deserializer, Serializer};
    use serde::{Deserialize as _, de::Error as _};

    pub(in crate::journal) fn serialize<S: Serializer>(key: &[u64; 4], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&key.map(|part| format!("{part:016x}")).concat())
    }

    pub(in crate::journal) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<[u64; 4], D::Error> {
        let text = String::deserialize(from)?;
        let part = |at: usize| text.get(16 * at..16 * (at + 1)).and_then(super::number);
        match (part(0), part(1), part(2), part(3), text.len()) {
            (Some(a), Some(b), Some(c), Some(d), 64) => Ok([a, b, c, d]),
            _ => Err(D::Error::custom("the key is sixty-four hexadecimal digits")),
        }
    }
}

/// An environment, by its name.
pub(super) mod environment {
    use super::{Deserializer, Environment, Serializer};
    use serde::{Deserialize as _, de::Error as _};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form of it")]
    pub(in crate::journal) fn serialize<S: Serializer>(
        environment: &Environment,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(environment.name())
    }

    pub(in crate::journal) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Environment, D::Error> {
        match String::deserialize(from)?.as_str() {
            "blue" => Ok(Environment::Blue),
            "green" => Ok(Environment::Green),
            _ => Err(D::Error::custom("the environments are blue and green")),
        }
    }
}
