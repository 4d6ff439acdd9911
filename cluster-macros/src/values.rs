//! Values of arguments: numbers, durations, one of several words.

use syn::{Error, Ident, LitInt, LitStr};

use crate::args::Value;

pub(crate) fn number(name: &Ident, int: &LitInt, least: u64, most: u64) -> syn::Result<u64> {
    let message = match int.base10_parse::<u64>() {
        Ok(0) if least > 0 => format!("`{name}` may not be 0"),
        Ok(number) if number <= most => return Ok(number),
        _ => format!("`{name}` may not be more than {most}"),
    };
    Err(Error::new(int.span(), message))
}

pub(crate) fn choice(name: &Ident, text: &LitStr, choices: &[(&str, Value)], or: &str) -> syn::Result<Value> {
    let given = text.value();
    if let Some((_, value)) = choices.iter().find(|(choice, _)| *choice == given) {
        return Ok(value.clone());
    }
    let known: Vec<_> = choices.iter().map(|(choice, _)| format!("\"{choice}\"")).collect();
    let message = format!("`{name}` cannot be \"{given}\": it takes {}{or}", list(&known, "or"));
    Err(Error::new(text.span(), message))
}

/// `30s`, `250ms`, `1m`, `1h`; the error reads on after the argument's name.
pub(crate) fn duration(text: &str) -> Result<Value, String> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = &text[..text.len() - unit.len()];
    if digits.is_empty() || !["", "ms", "s", "m", "h"].contains(&unit) {
        return Err(format!(
            "cannot be \"{text}\": it takes a whole number and one of the units ms, s, m and h, such as \"30s\""
        ));
    }
    let too_long = || format!("cannot be \"{text}\": that is more than can be counted");
    let number: u64 = digits.parse().map_err(|_| too_long())?;
    let seconds = |each: u64| number.checked_mul(each).map(Value::Secs).ok_or_else(too_long);
    match unit {
        _ if number == 0 => Err("may not be 0".to_owned()),
        "" => Err(format!("needs a unit: write \"{text}s\" for seconds")),
        "ms" => Ok(Value::Millis(number)),
        "s" => seconds(1),
        "m" => seconds(60),
        _ => seconds(60 * 60),
    }
}

/// `512MB`, `1GiB`, in bytes; the error reads on after the argument's name.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 6] = [
        ("KB", 1000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
    ];
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = &text[..text.len() - unit.len()];
    let known = UNITS.iter().find(|(name, _)| *name == unit).filter(|_| !digits.is_empty());
    let Some((_, each)) = known else {
        return Err(format!(
            "cannot be \"{text}\": it takes a whole number and one of the units KB, MB, GB, KiB, MiB and GiB, such as \"512MB\""
        ));
    };
    let size = digits.parse().ok().and_then(|number: u64| number.checked_mul(*each));
    match size {
        None => Err(format!("cannot be \"{text}\": that is more than can be counted")),
        Some(0) => Err("may not be 0".to_owned()),
        Some(size) => Ok(size),
    }
}

pub(crate) fn list(items: &[String], word: &str) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [all @ .., last] => format!("{} {word} {last}", all.join(", ")),
    }
}
