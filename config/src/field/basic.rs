//! Plain values: booleans, numbers, names, words, paths, dates.

use std::path::{Path, PathBuf};

use toml::de::DeValue;

use crate::model::{HospitalMode, Priority, Profile, Release, Sync};
use crate::name::{DeviceName, RoleName, RuleName, ServiceName};
use crate::problem::Fault;
use crate::section::{Field, Text, word, wrong_type};

/// An absolute path.
#[derive(Clone, Debug)]
pub(crate) struct AbsolutePath(pub(crate) PathBuf);

/// A path that may be relative to the configuration directory.
#[derive(Clone, Debug)]
pub(crate) struct FilePath(pub(crate) PathBuf);

/// The name of the gateway in records.
#[derive(Clone, Debug)]
pub(crate) struct GatewayName(pub(crate) String);

impl Field for bool {
    const WHAT: &'static str = "`true` or `false`";
    fn read(value: &DeValue<'_>) -> Result<Self, Fault> {
        value.as_bool().ok_or_else(|| wrong_type::<Self>(value))
    }
}

/// Reads an integer of any of our sizes.
pub(crate) fn integer<T: TryFrom<i64>>(value: &DeValue<'_>) -> Option<Result<T, Fault>> {
    let number = value.as_integer()?;
    let parsed = i64::from_str_radix(number.as_str(), number.radix()).ok();
    Some(
        parsed
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| Fault::new("the number is out of range")),
    )
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl Field for $type {
            const WHAT: &'static str = "a whole number";
            fn read(value: &DeValue<'_>) -> Result<Self, Fault> {
                integer(value).unwrap_or_else(|| Err(wrong_type::<Self>(value)))
            }
        }
    )*};
}
integers!(u16, u32, u64, i64);

macro_rules! names {
    ($($type:ty: $what:literal),*) => {$(
        impl Text for $type {
            const WHAT: &'static str = $what;
            fn parse(text: &str) -> Result<Self, Fault> {
                name(text)
            }
        }
    )*};
}
names!(
    DeviceName: "the name of a device",
    RoleName: "the name of a role",
    RuleName: "the name of a rule"
);

/// Names of things, with advice for those that cannot be one.
pub(crate) fn name<T: TryFrom<String, Error = crate::name::InvalidName>>(
    text: &str,
) -> Result<T, Fault> {
    T::try_from(text.to_owned()).map_err(|invalid| {
        let lower: String = text
            .to_lowercase()
            .chars()
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        let near = T::try_from(lower.clone()).is_ok();
        Fault::new("not a name")
            .help(invalid.to_string())
            .maybe(near.then(|| format!("did you mean `{lower}`?")))
    })
}

impl Text for ServiceName {
    const WHAT: &'static str = "the name of a service";
    fn parse(text: &str) -> Result<Self, Fault> {
        name(text)
    }
}

impl Text for String {
    const WHAT: &'static str = "a string";
    fn parse(text: &str) -> Result<Self, Fault> {
        if text.chars().any(char::is_control) || text.len() > 1000 {
            return Err(Fault::new(
                "the text must have at most 1000 bytes and no control characters",
            ));
        }
        Ok(text.to_owned())
    }
}

impl Text for GatewayName {
    const WHAT: &'static str = "a name like \"chu-nord-1\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if (1..=63).contains(&text.len()) && text.bytes().all(good) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Fault::new("not a name for a gateway")
                .help("1 to 63 ASCII letters, digits, `-`, `_` and `.`"))
        }
    }
}

impl Text for AbsolutePath {
    const WHAT: &'static str = "an absolute path like \"/var/lib/lazaret\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        let FilePath(path) = FilePath::parse(text)?;
        if path.is_absolute() {
            Ok(Self(path))
        } else {
            Err(Fault::new("the path must be absolute").help("it begins with `/`"))
        }
    }
}

impl Text for FilePath {
    const WHAT: &'static str = "the path of a file";
    fn parse(text: &str) -> Result<Self, Fault> {
        if text.is_empty() || text.chars().any(char::is_control) {
            return Err(Fault::new("not a path"));
        }
        Ok(Self(Path::new(text).to_owned()))
    }
}

impl Field for jiff::civil::Date {
    const WHAT: &'static str = "a date like 2027-03-31";
    fn read(value: &DeValue<'_>) -> Result<Self, Fault> {
        let Some(datetime) = value.as_datetime() else {
            let quoted = value.as_str().and_then(|text| text.parse::<Self>().ok());
            return Err(wrong_type::<Self>(value)
                .maybe(quoted.map(|date| format!("write it without quotes: {date}"))));
        };
        let (Some(date), None) = (datetime.date, datetime.time) else {
            return Err(
                Fault::new("expected a date without a time").help("the whole day is included")
            );
        };
        let parsed = i16::try_from(date.year)
            .ok()
            .zip(i8::try_from(date.month).ok())
            .zip(i8::try_from(date.day).ok())
            .and_then(|((year, month), day)| Self::new(year, month, day).ok());
        parsed.ok_or_else(|| Fault::new("there is no such day"))
    }
}

impl Text for Profile {
    const WHAT: &'static str = "`standard` or `strict`";
    fn parse(text: &str) -> Result<Self, Fault> {
        word(
            text,
            &[("standard", Self::Standard), ("strict", Self::Strict)],
        )
    }
}

impl Text for HospitalMode {
    const WHAT: &'static str = "`snat` or `routed`";
    fn parse(text: &str) -> Result<Self, Fault> {
        word(text, &[("snat", Self::Snat), ("routed", Self::Routed)])
    }
}

impl Text for Priority {
    const WHAT: &'static str = "`bulk`, `normal` or `critical`";
    fn parse(text: &str) -> Result<Self, Fault> {
        let words = [
            ("bulk", Self::Bulk),
            ("normal", Self::Normal),
            ("critical", Self::Critical),
        ];
        word(text, &words)
    }
}

impl Text for Sync {
    const WHAT: &'static str = "`batch` or `second`";
    fn parse(text: &str) -> Result<Self, Fault> {
        word(text, &[("batch", Self::Batch), ("second", Self::Second)])
    }
}

impl Text for Release {
    const WHAT: &'static str = "`verified` or `streaming`";
    fn parse(text: &str) -> Result<Self, Fault> {
        let words = [("verified", Self::Verified), ("streaming", Self::Streaming)];
        word(text, &words)
    }
}
