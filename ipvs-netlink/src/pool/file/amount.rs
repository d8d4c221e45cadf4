//! Numbers and shares: `3`, `"50%"`.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::pool::{Capacity, Limit, Panic, Quorum};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Amount {
    Number(u32),
    Percent(u32),
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_u32(*number),
            Self::Percent(percent) => serializer.collect_str(&format_args!("{percent}%")),
        }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

struct Visitor;

impl de::Visitor<'_> for Visitor {
    type Value = Amount;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or a share such as \"50%\"")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Amount, E> {
        let value = u32::try_from(number).map(Amount::Number);
        value.map_err(|_| E::invalid_value(de::Unexpected::Unsigned(number), &self))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Amount, E> {
        let value = u32::try_from(number).map(Amount::Number);
        value.map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Amount, E> {
        let percent = text.strip_suffix('%').map(str::trim_end);
        let percent = percent.and_then(|percent| percent.parse().ok());
        percent
            .map(Amount::Percent)
            .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

impl From<Capacity> for Amount {
    fn from(capacity: Capacity) -> Self {
        match capacity {
            Capacity::Weight(weight) => Self::Number(weight),
            Capacity::Percent(percent) => Self::Percent(percent),
        }
    }
}

impl From<Amount> for Capacity {
    fn from(amount: Amount) -> Self {
        match amount {
            Amount::Number(weight) => Self::Weight(weight),
            Amount::Percent(percent) => Self::Percent(percent),
        }
    }
}

/// `3`, `"50%"`, or a table with `at_least` and `hysteresis`.
pub(crate) mod quorum {
    use super::{Amount, Deserialize, Deserializer, Quorum, Serialize, Serializer};

    #[derive(Deserialize, Serialize)]
    #[serde(
        untagged,
        expecting = "a weight, a share such as \"50%\", or at_least and hysteresis"
    )]
    enum Form {
        Amount(Amount),
        #[serde(rename_all = "snake_case")]
        Whole(Whole),
    }

    #[derive(Deserialize, Serialize)]
    #[serde(deny_unknown_fields)]
    struct Whole {
        at_least: Amount,
        #[serde(default)]
        hysteresis: u32,
    }

    pub(crate) fn serialize<S: Serializer>(
        quorum: &Quorum,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let at_least = quorum.at_least.into();
        let form = match quorum.hysteresis {
            0 => Form::Amount(at_least),
            hysteresis => Form::Whole(Whole {
                at_least,
                hysteresis,
            }),
        };
        form.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Quorum, D::Error> {
        let (at_least, hysteresis) = match Form::deserialize(deserializer)? {
            Form::Amount(at_least) => (at_least, 0),
            Form::Whole(whole) => (whole.at_least, whole.hysteresis),
        };
        Ok(Quorum {
            at_least: at_least.into(),
            hysteresis,
        })
    }
}

/// `2` or `"30%"`.
pub(crate) mod brake {
    use super::{Amount, Deserialize, Deserializer, Limit, Serialize, Serializer};

    // The signature is serde's.
    #[allow(clippy::ref_option, clippy::trivially_copy_pass_by_ref)]
    pub(crate) fn serialize<S: Serializer>(
        brake: &Option<Limit>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let amount = brake.map(|brake| match brake {
            Limit::Servers(servers) => Amount::Number(servers),
            Limit::Percent(percent) => Amount::Percent(percent),
        });
        amount.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Limit>, D::Error> {
        let amount = Option::<Amount>::deserialize(deserializer)?;
        Ok(amount.map(|amount| match amount {
            Amount::Number(servers) => Limit::Servers(servers),
            Amount::Percent(percent) => Limit::Percent(percent),
        }))
    }
}

/// `"off"`, `"when-none-is-left"`, or a share such as `"50%"`.
pub(crate) mod panic {
    use super::{Amount, Deserialize, Deserializer, Panic, Serialize, Serializer};

    #[derive(Deserialize, Serialize)]
    #[serde(
        untagged,
        expecting = "\"off\", \"when-none-is-left\", or a share such as \"50%\""
    )]
    enum Form {
        Word(Word),
        Amount(Amount),
    }

    #[derive(Deserialize, Serialize)]
    #[serde(rename_all = "kebab-case")]
    enum Word {
        Off,
        WhenNoneIsLeft,
    }

    // The signature is serde's.
    #[allow(clippy::trivially_copy_pass_by_ref)]
    pub(crate) fn serialize<S: Serializer>(
        panic: &Panic,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let form = match panic {
            Panic::Off => Form::Word(Word::Off),
            Panic::WhenNoneIsLeft => Form::Word(Word::WhenNoneIsLeft),
            Panic::BelowPercent(percent) => Form::Amount(Amount::Percent(*percent)),
        };
        form.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Panic, D::Error> {
        match Form::deserialize(deserializer)? {
            Form::Word(Word::Off) => Ok(Panic::Off),
            Form::Word(Word::WhenNoneIsLeft) => Ok(Panic::WhenNoneIsLeft),
            Form::Amount(Amount::Percent(percent)) => Ok(Panic::BelowPercent(percent)),
            Form::Amount(Amount::Number(_)) => Err(serde::de::Error::custom(
                "expected a share such as \"50%\", not a number",
            )),
        }
    }
}
