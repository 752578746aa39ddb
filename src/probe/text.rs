//! Texts of the probe's small languages: cut into words, quoted bytes and marks, and read token by token. In goes the
//! text, out come tokens, or the place at which it goes wrong, to be shown with a caret below it. Which words mean what
//! is not known here.

use std::str::{CharIndices, FromStr};

use super::encoding::{escaped, from_hex};

/// A byte offset and what is wrong there.
pub type Wrong = (usize, String);
/// What was read, or where it goes wrong.
pub type Parsed<T> = Result<T, Wrong>;

/// Where a text goes wrong.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {line}, column {column}: {what}\n  {text}\n  {}^", " ".repeat(column - 1))]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What was found and what could be there.
    pub what: String,
    /// The line.
    pub text: String,
}

impl Place {
    /// Of this offset in the whole text.
    pub fn of(text: &str, (at, what): Wrong) -> Self {
        let before = &text[..at];
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = text[start..].lines().next().unwrap_or_default();
        Self {
            line: before.matches('\n').count() + 1,
            column: text[start..at].chars().count() + 1,
            what,
            // A tab takes one column here, so that the caret stands below its place.
            text: line.replace(|character: char| character.is_control(), " "),
        }
    }
}

/// Reads tokens one by one.
pub struct Cursor {
    tokens: Vec<Token>,
    at: usize,
    end: usize,
}

impl Cursor {
    /// At the start of a text.
    pub fn new(text: &str) -> Parsed<Self> {
        Ok(Self { tokens: tokens(text)?, at: 0, end: text.len() })
    }

    /// The next token.
    pub fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    /// Takes the token that [`Cursor::peek`] shows.
    pub fn advance(&mut self) {
        self.at += 1;
    }

    /// Where the next token is, or the end.
    pub fn place(&self) -> usize {
        self.peek().map_or(self.end, |token| token.at)
    }

    /// The next token is not this.
    pub fn wanted(&self, what: &str) -> Wrong {
        match self.peek() {
            None => (self.end, format!("it ends, where {what} should be")),
            Some(token) => (token.at, format!("there is {}, where {what} should be", token.shown())),
        }
    }

    /// The token just taken is wrong.
    pub fn unknown(&self, what: &str) -> Wrong {
        match self.at.checked_sub(1).and_then(|at| self.tokens.get(at)) {
            Some(token) => (token.at, format!("{} does not belong here: {what}", token.shown())),
            None => (0, what.to_owned()),
        }
    }

    /// The next token, if it is a word.
    pub fn word(&self) -> Option<&str> {
        match &self.peek()?.kind {
            Kind::Word(word) => Some(word),
            Kind::Quoted(_) | Kind::Mark(_) => None,
        }
    }

    /// The bytes of the next token, quoted or not, if it is no mark.
    pub fn bytes(&self) -> Option<&[u8]> {
        match &self.peek()?.kind {
            Kind::Word(word) => Some(word.as_bytes()),
            Kind::Quoted(bytes) => Some(bytes),
            Kind::Mark(_) => None,
        }
    }

    /// Takes the next token, which must be a number.
    pub fn number<N: FromStr>(&mut self, what: &str) -> Parsed<N> {
        let number = self.word().and_then(|word| word.parse().ok());
        let number = number.ok_or_else(|| self.wanted(&format!("{what}, a number")))?;
        self.advance();
        Ok(number)
    }

    /// Takes the next token if it is this word or mark.
    pub fn accept(&mut self, word: &str) -> bool {
        let found = self.peek().is_some_and(|token| token.is(word));
        self.at += usize::from(found);
        found
    }

    /// Takes the next token, which must be this word or mark.
    pub fn expect(&mut self, word: &str) -> Parsed<()> {
        if self.accept(word) { Ok(()) } else { Err(self.wanted(&format!("'{word}'"))) }
    }
}

/// Marks that stand alone wherever they are.
const MARKS: [char; 6] = ['(', ')', '{', '}', ';', ','];

/// A piece of the text.
#[derive(Debug)]
pub struct Token {
    /// Byte offset of its first character.
    pub at: usize,
    /// What it is.
    pub kind: Kind,
}

/// What a token is.
#[derive(Debug)]
pub enum Kind {
    /// Anything that stands without quotes.
    Word(String),
    /// What stood between quotes.
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
fn tokens(text: &str) -> Parsed<Vec<Token>> {
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
