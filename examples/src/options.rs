//! Options of the command line.

use std::{
    num::{IntErrorKind, ParseIntError},
    ops::RangeInclusive,
};

use clap::{Error, Parser};

/// Parses the program's options.
pub(crate) fn parse<O: Parser>() -> Result<O, Error> {
    // A negative number is the value of its option, which refuses it, and not an option itself.
    let command = O::command().mut_args(|arg| {
        let has_value = arg.get_action().takes_values() && !arg.is_positional();
        arg.allow_negative_numbers(has_value)
    });
    O::from_arg_matches(&command.try_get_matches()?)
}

/// A parser of whole numbers in `range`.
pub fn number(range: RangeInclusive<u32>) -> impl Fn(&str) -> Result<u32, String> + Clone {
    move |text| {
        let (least, most) = (*range.start(), *range.end());
        let number = text
            .parse()
            .or_else(|error: ParseIntError| match error.kind() {
                IntErrorKind::PosOverflow => Ok(i64::MAX),
                IntErrorKind::NegOverflow => Ok(i64::MIN),
                _ => Err("expected a whole number".to_string()),
            })?;
        match u32::try_from(number) {
            Ok(number) if range.contains(&number) => Ok(number),
            _ if number < least.into() => Err(format!("must be at least {least}")),
            _ => Err(format!("must be at most {most}")),
        }
    }
}
