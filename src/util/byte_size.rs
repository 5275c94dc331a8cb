//! [`ByteSize`], a size in bytes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

const KIB: u64 = 1 << 10;
const MIB: u64 = KIB << 10;
const GIB: u64 = MIB << 10;
const TIB: u64 = GIB << 10;

/// A size in bytes, such as `ByteSize::gib(4)`.
///
/// As text it is a whole number with the largest of the units B, KiB, MiB and GiB that divides it:
///
/// ```
/// use jasmin_arc::ByteSize;
///
/// let size: ByteSize = "4 GiB".parse()?;
/// assert_eq!(size, ByteSize::gib(4));
/// assert_eq!(size.to_string(), "4 GiB");
/// assert_eq!(ByteSize::mib(1500).to_string(), "1500 MiB");
/// # Ok::<(), jasmin_arc::ParseByteSizeError>(())
/// ```
///
/// # Serde form
///
/// The number of bytes, as an integer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ByteSize(u64);

impl ByteSize {
    /// `bytes` bytes.
    pub const fn new(bytes: u64) -> ByteSize {
        ByteSize(bytes)
    }

    /// `kib` KiB of 1024 bytes each, saturating at `u64::MAX` bytes.
    pub const fn kib(kib: u64) -> ByteSize {
        ByteSize(kib.saturating_mul(KIB))
    }

    /// `mib` MiB of 1024 KiB each, saturating at `u64::MAX` bytes.
    pub const fn mib(mib: u64) -> ByteSize {
        ByteSize(mib.saturating_mul(MIB))
    }

    /// `gib` GiB of 1024 MiB each, saturating at `u64::MAX` bytes.
    pub const fn gib(gib: u64) -> ByteSize {
        ByteSize(gib.saturating_mul(GIB))
    }

    /// The number of bytes.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The size in MiB, ARC's unit, rounded up.
    pub(crate) fn in_mib(self) -> u64 {
        self.0.div_ceil(MIB)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")];
        match units.into_iter().find(|(unit, _)| self.0 != 0 && self.0 % *unit == 0) {
            Some((unit, name)) => write!(f, "{} {name}", self.0 / unit),
            None => write!(f, "{} B", self.0),
        }
    }
}

/// Reads a whole number followed by one of the units `B`, `KiB`, `MiB`, `GiB` and `TiB`.
///
/// Blanks between number and unit are optional, and a number without a unit is in bytes. Decimal units (`GB`) and
/// fractions are an error.
impl FromStr for ByteSize {
    type Err = ParseByteSizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let failed = |reason| ParseByteSizeError { text: text.into(), reason };
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, unit) = text.split_at(end);
        let unit = match unit.trim_start() {
            "" if unit.is_empty() => 1,
            "B" => 1,
            "KiB" => KIB,
            "MiB" => MIB,
            "GiB" => GIB,
            "TiB" => TIB,
            _ => return Err(failed(BadByteSize::Form)),
        };
        if digits.is_empty() {
            return Err(failed(BadByteSize::Form));
        }
        let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
        bytes.map(ByteSize).ok_or_else(|| failed(BadByteSize::TooLarge))
    }
}

/// The error of [`ByteSize`]'s `FromStr`: the text is not a size, or is more than `u64::MAX` bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} {reason}")]
pub struct ParseByteSizeError {
    text: String,
    reason: BadByteSize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum BadByteSize {
    #[error("is not a size: use a whole number and B, KiB, MiB, GiB or TiB, such as \"4 GiB\"")]
    Form,
    #[error("is too large: the largest size is {} bytes", u64::MAX)]
    TooLarge,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_exact_and_bounded() {
        assert_eq!(ByteSize::gib(u64::MAX).get(), u64::MAX);
        assert_eq!((ByteSize::new(0).to_string(), ByteSize::new(1025).to_string()), ("0 B".into(), "1025 B".into()));
        assert_eq!([0, 1, 1 << 20, (1 << 20) + 1].map(|bytes| ByteSize::new(bytes).in_mib()), [0, 1, 1, 2]);
        assert_eq!(serde_json::to_string(&ByteSize::kib(1)).unwrap(), "1024");
    }

    #[test]
    fn sizes_are_parsed() {
        for (text, size) in [
            ("4 GiB", ByteSize::gib(4)),
            ("500MiB", ByteSize::mib(500)),
            ("7 B", ByteSize::new(7)),
            ("1024", ByteSize::kib(1)),
            ("3\t KiB", ByteSize::kib(3)),
            ("2TiB", ByteSize::gib(2048)),
            ("0 GiB", ByteSize::new(0)),
            ("18446744073709551615", ByteSize::new(u64::MAX)),
        ] {
            assert_eq!(text.parse(), Ok(size), "{text:?}");
            assert_eq!(size.to_string().parse(), Ok(size));
        }
        for text in ["", "GiB", "-1", "+1", "1.5 GiB", "4 GB", "4 gib", "4G", " 4", "4 ", "4 GiB ", "1e3", "0x10"] {
            let error = text.parse::<ByteSize>().unwrap_err().to_string();
            assert!(error.contains("is not a size: use a whole number") && error.contains("\"4 GiB\""), "{error}");
        }
        for text in ["18446744073709551616", "18014398509481984 KiB"] {
            let error = text.parse::<ByteSize>().unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("{text:?} is too large: the largest size is 18446744073709551615 bytes")
            );
        }
    }
}
