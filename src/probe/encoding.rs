//! Keys and values between people and bytes. In goes what was typed, or bytes of the store; out come bytes, or
//! text that is safe on a terminal, hex or base64. Nothing is lost on the way: each form can be read back.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::{Value, json};

/// How keys and values are typed and shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// As they are; what can't be printed is shown as `\xNN`, a backslash as `\\`.
    #[default]
    Text,
    /// Two digits a byte.
    Hex,
    /// The alphabet of RFC 4648, section 4, padded.
    Base64,
}

/// What was typed is not in the encoding that was asked for.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text} is not {encoding}: {why}")]
pub struct EncodingError {
    text: String,
    encoding: &'static str,
    why: String,
}

impl Encoding {
    /// The bytes that were meant.
    pub fn decode(self, typed: &[u8]) -> Result<Bytes, EncodingError> {
        let wrong = |encoding, why: String| EncodingError { text: quoted(typed), encoding, why };
        match self {
            Self::Text => Ok(Bytes::copy_from_slice(typed)),
            Self::Hex => from_hex(typed).map(Bytes::from).map_err(|why| wrong("hex", why.to_owned())),
            Self::Base64 => {
                STANDARD.decode(typed).map(Bytes::from).map_err(|error| wrong("base64", error.to_string()))
            }
        }
    }

    /// The bytes for people, on one line.
    pub fn show(self, bytes: &[u8]) -> String {
        match self {
            Self::Text => escaped(bytes),
            Self::Hex => to_hex(bytes),
            Self::Base64 => STANDARD.encode(bytes),
        }
    }

    /// The bytes for programs: a string; as text `{"base64": …}` where they are not UTF-8.
    pub fn json(self, bytes: &[u8]) -> Value {
        match (self, std::str::from_utf8(bytes)) {
            (Self::Text, Ok(text)) => json!(text),
            (Self::Text, Err(_)) => json!({ "base64": STANDARD.encode(bytes) }),
            (Self::Hex | Self::Base64, _) => json!(self.show(bytes)),
        }
    }
}

/// Bytes as text that can't steer a terminal.
pub fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().for_each(|character| push_escaped(&mut text, character));
        chunk.invalid().iter().for_each(|byte| push_byte(&mut text, *byte));
    }
    text
}

/// What was typed, in quotes: with the backslashes that were typed, and nothing that can steer a terminal.
pub fn quoted(typed: impl AsRef<[u8]>) -> String {
    format!("\"{}\"", escaped(typed.as_ref()).replace(r"\\", r"\"))
}

fn push_escaped(text: &mut String, character: char) {
    match character {
        '\'' | '"' => text.push(character),
        '\\' | '\n' | '\r' | '\t' => text.extend(character.escape_default()),
        _ if character.escape_debug().len() == 1 => text.push(character),
        _ => character.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| push_byte(text, byte)),
    }
}

fn push_byte(text: &mut String, byte: u8) {
    write!(text, "\\x{byte:02x}").expect("a string takes all that is written to it");
}

/// Two digits a byte.
pub fn to_hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a string takes all that is written to it");
    }
    text
}

/// The bytes of two digits each.
pub fn from_hex(typed: &[u8]) -> Result<Vec<u8>, &'static str> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = typed.as_chunks::<2>();
    if !rest.is_empty() {
        return Err("the number of digits is odd");
    }
    pairs
        .iter()
        .map(|[high, low]| Some((digit(*high)? << 4) | digit(*low)?))
        .collect::<Option<_>>()
        .ok_or("there is something other than the digits 0-9 and a-f")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_shows_what_can_be_printed_and_escapes_the_rest() {
        assert_eq!(escaped("grün \"q\"".as_bytes()), "grün \"q\"");
        assert_eq!(escaped(b"a\\b\n\x1b[31m\0\xff"), "a\\\\b\\n\\x1b[31m\\x00\\xff");
        assert_eq!(escaped("\u{202e}".as_bytes()), "\\xe2\\x80\\xae");
    }

    #[test]
    fn what_is_not_in_the_encoding_is_an_error_that_shows_it() {
        for (encoding, typed, why) in [
            (Encoding::Hex, "abc", "odd"),
            (Encoding::Hex, "zz", "digits 0-9"),
            (Encoding::Base64, "a", "\"a\" is not base64"),
            (Encoding::Hex, r"\x00", r#""\x00" is not hex"#),
            (Encoding::Hex, "\\\x1b", r#""\\x1b" is not hex"#),
        ] {
            let error = encoding.decode(typed.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    proptest! {
        #[test]
        fn hex_and_base64_bring_back_any_bytes(bytes in any::<Vec<u8>>()) {
            for encoding in [Encoding::Hex, Encoding::Base64] {
                prop_assert_eq!(&encoding.decode(encoding.show(&bytes).as_bytes()).unwrap()[..], &bytes[..]);
            }
        }

        #[test]
        fn shown_text_is_one_printable_line(bytes in any::<Vec<u8>>()) {
            prop_assert!(!escaped(&bytes).chars().any(char::is_control));
        }
    }
}
