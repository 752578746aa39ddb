//! The form in which bytes are typed or kept in a file. In goes what was read, out come the bytes that were meant;
//! where nothing is said, the form is found out.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use clap::ValueEnum;

use crate::probe::encoding::from_hex;

/// A form of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// Hex if there is nothing but its digits, white space and colons, else base64 if it is that, else raw
    #[default]
    Auto,
    /// Two digits a byte; white space and colons between them are left out, and so is 0x
    Hex,
    /// With or without padding; white space is left out
    Base64,
    /// As they are
    Raw,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Hex => "hex",
            Self::Base64 => "base64",
            Self::Raw => "raw",
        })
    }
}

/// The bytes that were meant, and the form that they were in.
pub fn read(input: &[u8], form: Form) -> Result<(Bytes, Form), String> {
    match form {
        Form::Raw => Ok((Bytes::copy_from_slice(input), Form::Raw)),
        Form::Hex => {
            hex(input).map(|bytes| (bytes, Form::Hex)).map_err(|why| format!("this is not hex: {why}"))
        }
        Form::Base64 => base64(input)
            .map(|bytes| (bytes, Form::Base64))
            .map_err(|why| format!("this is not base64: {why}")),
        Form::Auto => Ok(hex(input)
            .map(|bytes| (bytes, Form::Hex))
            .or_else(|_| base64(input).map(|bytes| (bytes, Form::Base64)))
            .unwrap_or_else(|_| (Bytes::copy_from_slice(input), Form::Raw))),
    }
}

fn hex(input: &[u8]) -> Result<Bytes, &'static str> {
    let input = input.trim_ascii();
    let input = input.strip_prefix(b"0x").unwrap_or(input);
    let digits: Vec<u8> =
        input.iter().copied().filter(|byte| !byte.is_ascii_whitespace() && *byte != b':').collect();
    from_hex(&digits).map(Bytes::from)
}

fn base64(input: &[u8]) -> Result<Bytes, String> {
    let mut letters: Vec<u8> = input.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    while !letters.len().is_multiple_of(4) {
        letters.push(b'=');
    }
    STANDARD.decode(letters).map(Bytes::from).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_found_out() {
        for (input, form, bytes) in [
            ("0A 01:6b\n", Form::Hex, &b"\n\x01k"[..]),
            ("0x0a016b", Form::Hex, b"\n\x01k"),
            ("", Form::Hex, b""),
            ("CgFrEgF2\n", Form::Base64, b"\n\x01k\x12\x01v"),
            ("CgFr\nEgE", Form::Base64, b"\n\x01k\x12\x01"),
            ("\n\x01k", Form::Raw, b"\n\x01k"),
        ] {
            let (read, found) = read(input.as_bytes(), Form::Auto).unwrap();
            assert_eq!((&read[..], found), (bytes, form), "{input:?}");
        }
        assert!(read(b"xyz", Form::Hex).unwrap_err().contains("not hex"));
        assert!(read(b"\x01", Form::Base64).unwrap_err().contains("not base64"));
    }
}
