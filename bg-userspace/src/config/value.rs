//! Single values: how a duration, a size, a name is written, and what is said about one that
//! is written wrong.

use std::{ops::RangeInclusive, time::Duration};

use toml::de::DeValue;

use super::section::{Complaint, kind, suggest};

/// A value, or what is wrong with it.
pub(super) type Read<T> = Result<T, Complaint>;

pub(super) fn string<'v>(value: &'v DeValue<'_>, example: &str) -> Read<&'v str> {
    value.as_str().ok_or_else(|| {
        Complaint::new(
            format!("must be a string, not {}", kind(value)),
            format!("write it in quotes, such as \"{example}\""),
        )
    })
}

pub(super) fn integer(value: &DeValue<'_>, bounds: RangeInclusive<u64>) -> Read<u64> {
    let (low, high) = (bounds.start(), bounds.end());
    let help = || format!("a whole number from {low} to {high}");
    let Some(integer) = value.as_integer() else {
        return Err(Complaint::new(format!("must be an integer, not {}", kind(value)), help()));
    };
    match u64::from_str_radix(integer.as_str(), integer.radix()) {
        Ok(number) if bounds.contains(&number) => Ok(number),
        _ => Err(Complaint::new(format!("is {integer}, which is out of bounds"), help())),
    }
}

pub(super) fn integer_u32(value: &DeValue<'_>, bounds: RangeInclusive<u32>) -> Read<u32> {
    let wide = u64::from(*bounds.start())..=u64::from(*bounds.end());
    integer(value, wide).map(|number| number as u32)
}

/// A share from 0 to 1.
pub(super) fn boolean(value: &DeValue<'_>) -> Read<bool> {
    value
        .as_bool()
        .ok_or_else(|| Complaint::new(format!("must be true or false, not {}", kind(value)), "no quotes"))
}

pub(super) fn fraction(value: &DeValue<'_>) -> Read<f64> {
    let text = match value {
        DeValue::Float(float) => float.as_str(),
        DeValue::Integer(integer) => integer.as_str(),
        _ => "",
    };
    match text.parse::<f64>() {
        Ok(number) if (0.0..=1.0).contains(&number) => Ok(number),
        Ok(_) => Err(Complaint::new(
            format!("is {text}, which is no share"),
            "a number from 0.0 (none) to 1.0 (all)",
        )),
        Err(_) => Err(Complaint::new(
            format!("must be a number, not {}", kind(value)),
            "a number from 0.0 (none) to 1.0 (all), without quotes",
        )),
    }
}

pub(super) fn one_of<T: Copy>(value: &DeValue<'_>, choices: &[(&str, T)]) -> Read<T> {
    let text = string(value, choices.first().map_or("", |(word, _)| word))?;
    if let Some((_, choice)) = choices.iter().find(|(word, _)| *word == text) {
        return Ok(*choice);
    }
    let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
    Err(Complaint::new(format!("is \"{text}\", which is not supported"), suggest(text, &words, "\"")))
}

/// A duration such as `500ms`, `10s`, `2h`.
pub(super) fn duration(value: &DeValue<'_>, bounds: RangeInclusive<Duration>) -> Read<Duration> {
    let show = |duration: &Duration| humantime::format_duration(*duration).to_string();
    let text = string(value, "10s").map_err(|complaint| match value {
        DeValue::Integer(number) => {
            Complaint::new("needs a unit", format!("such as \"{number}s\" or \"{number}ms\", in quotes"))
        }
        _ => complaint,
    })?;
    let parsed = humantime::parse_duration(text).map_err(|error| {
        Complaint::new(
            format!("is \"{text}\", which is no duration: {error}"),
            "a number with a unit, such as \"500ms\", \"10s\", \"30m\", \"2h\"",
        )
    })?;
    if bounds.contains(&parsed) {
        return Ok(parsed);
    }
    let (low, high) = (show(bounds.start()), show(bounds.end()));
    Err(Complaint::new(
        format!("is {text}, which is out of bounds"),
        format!("a duration from {low} to {high}"),
    ))
}

/// A size such as `8MiB`, in bytes.
pub(super) fn size(value: &DeValue<'_>) -> Read<u64> {
    const HELP: &str = "a number with KiB or MiB, such as \"8MiB\"";
    let text = string(value, "8MiB")?;
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let wrong = || Complaint::new(format!("is \"{text}\", which is no size"), HELP);
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let unit = match text[digits.len()..].trim() {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit).ok_or_else(wrong)
}

/// What the kernel accepts as the name of an interface.
pub(super) fn interface(value: &DeValue<'_>) -> Read<String> {
    let text = string(value, "eth0")?;
    let allowed = |c: char| c.is_ascii_graphic() && c != '/' && c != ':';
    if matches!(text.len(), 1..=15) && text.chars().all(allowed) && text != "." && text != ".." {
        return Ok(text.to_owned());
    }
    Err(Complaint::new(
        format!("is \"{text}\", which cannot be an interface's name"),
        "at most 15 characters; `ip link` lists the interfaces",
    ))
}

/// The form of deployment and service names.
pub(super) fn is_name(name: &str) -> bool {
    let letter = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = name.as_bytes();
    matches!(bytes.len(), 1..=31) && letter(bytes[0]) && bytes.iter().all(|&c| letter(c) || c == b'-')
}

pub(super) fn is_prime(number: u32) -> bool {
    number >= 2 && (2..=number.isqrt()).all(|divisor| !number.is_multiple_of(divisor))
}

/// The smallest prime that is at least `number`.
pub(super) fn next_prime(number: u32) -> u32 {
    (number..=u32::MAX).find(|&candidate| is_prime(candidate)).unwrap_or(4_294_967_291)
}
