//! serde: documents as the text that they are, checked on the way in as if it had come from the
//! network.
//!
//! A descriptor's text may hold any bytes in items that Tor does not know, so it is written as a
//! string where it is UTF-8 and as bytes where it is not. Private keys and cookies cannot be
//! serialized: whoever means to write one has `to_pem` and `to_text`.

use core::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{ClientName, Descriptor, IntroductionPoint, MAX_DESCRIPTOR_LEN, PublicKey, UnverifiedDescriptor};
use crate::Error;

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Text::deserialize(deserializer)?;
        Self::from_pem(text.as_str()?).map_err(D::Error::custom)
    }
}

impl Serialize for IntroductionPoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for IntroductionPoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Text::deserialize(deserializer)?;
        match <[Self; 1]>::try_from(Self::parse_list(&text.0).map_err(D::Error::custom)?) {
            Ok([point]) => Ok(point),
            Err(points) => Err(D::Error::invalid_length(points.len(), &"one introduction point")),
        }
    }
}

impl Serialize for UnverifiedDescriptor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_text(self.text(), serializer)
    }
}

impl<'de> Deserialize<'de> for UnverifiedDescriptor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Text::deserialize(deserializer)?;
        Self::parse(&text.0).map_err(D::Error::custom)
    }
}

impl Serialize for Descriptor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_text(self.text(), serializer)
    }
}

/// Verifies the descriptor.
impl<'de> Deserialize<'de> for Descriptor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let unverified = UnverifiedDescriptor::deserialize(deserializer)?;
        unverified.verify().map_err(D::Error::custom)
    }
}

impl Serialize for ClientName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ClientName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Text::deserialize(deserializer)?;
        text.as_str()?.parse().map_err(|error: Error| D::Error::custom(error))
    }
}

fn serialize_text<S: Serializer>(text: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    match std::str::from_utf8(text) {
        Ok(text) if serializer.is_human_readable() => serializer.serialize_str(text),
        _ => serializer.serialize_bytes(text),
    }
}

/// Content that was serialized, whether as a string or as bytes.
struct Text(Vec<u8>);

impl Text {
    fn as_str<E: serde::de::Error>(&self) -> Result<&str, E> {
        std::str::from_utf8(&self.0).map_err(E::custom)
    }

    fn within_limit<E: serde::de::Error>(bytes: &[u8]) -> Result<Self, E> {
        match bytes.len() {
            0..=MAX_DESCRIPTOR_LEN => Ok(Self(bytes.to_vec())),
            len => Err(E::invalid_length(len, &"at most 20480 bytes")),
        }
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the text of a document")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Text, E> {
                Text::within_limit(text.as_bytes())
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Text, E> {
                Text::within_limit(bytes)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut bytes: A) -> Result<Text, A::Error> {
                let mut text = Vec::new();
                while let Some(byte) = bytes.next_element()? {
                    text.push(byte);
                    if text.len() > MAX_DESCRIPTOR_LEN {
                        return Text::within_limit(&text);
                    }
                }
                Ok(Text(text))
            }
        }

        if deserializer.is_human_readable() {
            deserializer.deserialize_any(TextVisitor)
        } else {
            deserializer.deserialize_byte_buf(TextVisitor)
        }
    }
}
