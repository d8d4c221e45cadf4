//! Secrets in configuration files and between processes: as text.

use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::Password;
#[cfg(feature = "hmac")]
use crate::hmac;

/// Octets as hexadecimal digits.
struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

/// Reads hexadecimal digits into `octets`. Returns how many octets there are.
fn read_hex(text: &str, octets: &mut [u8]) -> Option<usize> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() || pairs.len() > octets.len() {
        return None;
    }
    for (octet, pair) in octets.iter_mut().zip(pairs) {
        let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
        *octet = u8::try_from(high? << 4 | low?).ok()?;
    }
    Some(pairs.len())
}

/// Text without control characters is written unchanged, anything else as `0x` and hexadecimal
/// digits.
impl Serialize for Password {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let octets = self.octets();
        // A password has at least one octet, also if all are zero.
        let length = octets
            .iter()
            .rposition(|it| *it != 0)
            .map_or(1, |it| it + 1);
        let text = octets.get(..length).unwrap_or_default();
        match core::str::from_utf8(text) {
            Ok(text) if !text.starts_with("0x") && !text.contains(char::is_control) => {
                serializer.serialize_str(text)
            }
            _ => serializer.collect_str(&format_args!("0x{}", Hex(text))),
        }
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl de::Visitor<'_> for Text {
            type Value = Password;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a password of 1 to 8 octets, as text or as 0x and hexadecimal digits")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Password, E> {
                let Some(digits) = text.strip_prefix("0x") else {
                    return Password::new(text.as_bytes()).map_err(E::custom);
                };
                let mut octets = [0; 8];
                let length = read_hex(digits, &mut octets);
                // Invalid digits become an empty password, which is rejected. Zeros at the end do
                // not count.
                let octets = length.and_then(|length| octets.get(..length));
                Password::new(octets.unwrap_or_default()).map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

#[cfg(feature = "hmac")]
#[derive(Serialize)]
struct WrittenKey<T> {
    id: u8,
    /// 32 to 64 octets as hexadecimal digits.
    secret: T,
}

#[cfg(feature = "hmac")]
impl Serialize for hmac::Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Text<'a>(Hex<'a>);

        impl Serialize for Text<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&self.0)
            }
        }

        let key = WrittenKey {
            id: self.id(),
            // Zeros at the end do not change the key.
            secret: Text(Hex(self.block())),
        };
        key.serialize(serializer)
    }
}

#[cfg(feature = "hmac")]
impl<'de> Deserialize<'de> for hmac::Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Octets([u8; 64], usize);

        impl<'de> Deserialize<'de> for Octets {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(Digits)
            }
        }

        struct Digits;

        impl de::Visitor<'_> for Digits {
            type Value = Octets;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key of 32 to 64 octets as hexadecimal digits")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Octets, E> {
                let mut octets = [0; 64];
                let length = read_hex(text, &mut octets);
                // The error must not contain the text, which is a secret.
                let length =
                    length.ok_or_else(|| E::custom("a key is 64 to 128 hexadecimal digits"))?;
                Ok(Octets(octets, length))
            }
        }

        #[derive(Deserialize)]
        struct Read {
            id: u8,
            secret: Octets,
        }

        let Read {
            id,
            secret: Octets(octets, length),
        } = Read::deserialize(deserializer)?;
        let octets = octets.get(..length).unwrap_or_default();
        hmac::Key::new(id, octets).map_err(de::Error::custom)
    }
}
