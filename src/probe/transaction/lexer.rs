//! Cuts a transaction's text into words, quoted bytes and marks. In goes the text, out come tokens with their byte
//! offsets, or the offset at which the text can't be cut. Which words mean what is not known here.

use std::str::CharIndices;

use crate::probe::encoding::{escaped, from_hex};

use super::{Parsed, Wrong};

/// Marks that stand alone wherever they are.
const MARKS: [char; 6] = ['(', ')', '{', '}', ';', ','];

/// A piece of the text.
#[derive(Debug)]
pub struct Token {
    /// Byte offset of its first character.
    pub at: usize,
    pub kind: Kind,
}

#[derive(Debug)]
pub enum Kind {
    Word(String),
    Quoted(Vec<u8>),
    /// One of the marks, or an operator.
    Mark(String),
}

impl Token {
    /// Whether it is this word or mark; what is quoted is neither.
    pub fn is(&self, text: &str) -> bool {
        match &self.kind {
            Kind::Word(word) | Kind::Mark(word) => word == text,
            Kind::Quoted(_) => false,
        }
    }

    /// For messages.
    pub fn shown(&self) -> String {
        match &self.kind {
            Kind::Word(word) | Kind::Mark(word) => format!("'{}'", escaped(word.as_bytes())),
            Kind::Quoted(bytes) => format!("\"{}\"", escaped(bytes)),
        }
    }
}

/// All tokens of the text.
pub fn tokens(text: &str) -> Parsed<Vec<Token>> {
    let mut characters = text.char_indices();
    let mut found = vec![];
    while let Some((at, character)) = characters.clone().next() {
        if character.is_whitespace() {
            characters.next();
            continue;
        }
        if character == '#' {
            characters.by_ref().find(|(_, character)| *character == '\n');
            continue;
        }
        found.push(Token { at, kind: kind(character, text, &mut characters)? });
    }
    Ok(found)
}

/// The token that begins here.
fn kind(first: char, text: &str, characters: &mut CharIndices<'_>) -> Parsed<Kind> {
    let at = characters.offset();
    if first == '"' {
        characters.next();
        return quoted(at, characters).map(Kind::Quoted);
    }
    let mark = ["!=", "=", "<", ">"].into_iter().find(|operator| text[at..].starts_with(operator));
    let mark = mark.map(str::to_owned).or_else(|| MARKS.contains(&first).then(|| first.to_string()));
    if let Some(mark) = mark {
        advance(characters, at + mark.len());
        return Ok(Kind::Mark(mark));
    }
    let ends = |character: char| character.is_whitespace() || character == '"' || MARKS.contains(&character);
    let length = text[at..].find(ends).unwrap_or(text.len() - at);
    advance(characters, at + length);
    Ok(Kind::Word(text[at..at + length].to_owned()))
}

fn advance(characters: &mut CharIndices<'_>, to: usize) {
    while characters.offset() < to && characters.next().is_some() {}
}

/// What stands between quotes, the first of which is taken.
fn quoted(start: usize, characters: &mut CharIndices<'_>) -> Parsed<Vec<u8>> {
    let mut bytes = vec![];
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok(bytes),
            '\\' => bytes.push(escape(at, characters)?),
            other => bytes.extend(other.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    Err((start, "this quote has no end".to_owned()))
}

fn escape(at: usize, characters: &mut CharIndices<'_>) -> Parsed<u8> {
    let wrong = |what: &str| -> Wrong { (at, what.to_owned()) };
    match characters.next().map(|(_, character)| character) {
        Some('"') => Ok(b'"'),
        Some('\\') => Ok(b'\\'),
        Some('n') => Ok(b'\n'),
        Some('r') => Ok(b'\r'),
        Some('t') => Ok(b'\t'),
        Some('x') => {
            let digits: String = characters.by_ref().take(2).map(|(_, digit)| digit).collect();
            match from_hex(digits.as_bytes()).as_deref() {
                Ok([byte]) => Ok(*byte),
                _ => Err(wrong("\\x wants two hexadecimal digits after it")),
            }
        }
        _ => Err(wrong("no such escape; there are \\\" \\\\ \\n \\r \\t and \\xNN")),
    }
}
