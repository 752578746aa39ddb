//! Reads header blocks of HTTP/2 as RFC 7541 compresses them. In go blocks in the order in which they were sent, out
//! come names and values; what earlier blocks put into the table can't be read without them. Any bytes come to an
//! end, and what a block unfolds to is bounded.

use std::collections::VecDeque;

use bytes::Bytes;

/// What one block may unfold to; gRPC's limit for headers is 8 KiB by default.
const BLOCK_AT_MOST_BYTES: usize = 1 << 18;
/// The table's size in the beginning.
const TABLE_BYTES: usize = 4096;
/// The largest that an encoder is followed to.
const TABLE_AT_MOST_BYTES: usize = 1 << 16;
/// What an entry takes besides its bytes: section 4.1.
const ENTRY_BYTES: usize = 32;

/// A header.
pub type Header = (Bytes, Bytes);

/// Why a block can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HpackError {
    /// It ends in the middle of something.
    #[error("it is cut off")]
    Cut,
    /// A number is larger than any that makes sense.
    #[error("a number in it is too large")]
    TooLarge,
    /// It refers to an entry that the table has not.
    #[error(
        "it refers to an earlier header that is not known; the bytes have to begin where the connection does"
    )]
    NoSuchEntry,
    /// What it refers to is not text of the code.
    #[error("a text in it is in no Huffman code")]
    NoCode,
    /// It unfolds to too much.
    #[error("it unfolds to more than {BLOCK_AT_MOST_BYTES} bytes")]
    TooLong,
}

/// Reads the blocks of one direction of a connection.
#[derive(Debug)]
pub struct Decoder {
    table: VecDeque<Header>,
    bytes: usize,
    bytes_at_most: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { table: VecDeque::new(), bytes: 0, bytes_at_most: TABLE_BYTES }
    }
}

impl Decoder {
    /// Reads a block: the headers up to where it can't be read, and why.
    pub fn read(&mut self, block: &[u8]) -> (Vec<Header>, Option<HpackError>) {
        let mut reader = Reader { bytes: block };
        let (mut headers, mut length) = (vec![], 0);
        while !reader.bytes.is_empty() {
            match self.field(&mut reader) {
                Ok(None) => {}
                Ok(Some(header)) => {
                    length += header.0.len() + header.1.len();
                    if length > BLOCK_AT_MOST_BYTES {
                        return (headers, Some(HpackError::TooLong));
                    }
                    headers.push(header);
                }
                Err(error) => return (headers, Some(error)),
            }
        }
        (headers, None)
    }

    /// The next header; none for a change of the table's size. The first bits tell what it is: section 6.
    fn field(&mut self, reader: &mut Reader<'_>) -> Result<Option<Header>, HpackError> {
        let first = reader.bytes.first().copied().ok_or(HpackError::Cut)?;
        if first & 0x80 != 0 {
            let index = reader.number(7)?;
            return self.entry(index).map(Some);
        }
        if first & 0xe0 == 0x20 {
            let size = reader.number(5)?;
            self.bytes_at_most = size.min(TABLE_AT_MOST_BYTES);
            self.shrink();
            return Ok(None);
        }
        let kept = first & 0x40 != 0;
        let index = reader.number(if kept { 6 } else { 4 })?;
        let name = if index == 0 { reader.text()? } else { self.entry(index)?.0 };
        let value = reader.text()?;
        if kept {
            self.bytes += name.len() + value.len() + ENTRY_BYTES;
            self.table.push_front((name.clone(), value.clone()));
            self.shrink();
        }
        Ok(Some((name, value)))
    }

    fn entry(&self, index: usize) -> Result<Header, HpackError> {
        let place = index.checked_sub(1).ok_or(HpackError::NoSuchEntry)?;
        match STATIC.get(place) {
            Some((name, value)) => {
                Ok((Bytes::from_static(name.as_bytes()), Bytes::from_static(value.as_bytes())))
            }
            None => self.table.get(place - STATIC.len()).cloned().ok_or(HpackError::NoSuchEntry),
        }
    }

    fn shrink(&mut self) {
        while self.bytes > self.bytes_at_most {
            let Some((name, value)) = self.table.pop_back() else { return };
            self.bytes -= name.len() + value.len() + ENTRY_BYTES;
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8, HpackError> {
        let (first, rest) = self.bytes.split_first().ok_or(HpackError::Cut)?;
        self.bytes = rest;
        Ok(*first)
    }

    /// A number whose first bits are the last ones of a byte: section 5.1.
    fn number(&mut self, bits: u32) -> Result<usize, HpackError> {
        let most = (1_usize << bits) - 1;
        let mut number = usize::from(self.byte()?) & most;
        if number < most {
            return Ok(number);
        }
        for shift in (0..28).step_by(7) {
            let byte = self.byte()?;
            number += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(HpackError::TooLarge)
    }

    /// A name or a value: section 5.2.
    fn text(&mut self) -> Result<Bytes, HpackError> {
        let coded = self.bytes.first().ok_or(HpackError::Cut)? & 0x80 != 0;
        let length = self.number(7)?;
        let (text, rest) = self.bytes.split_at_checked(length).ok_or(HpackError::Cut)?;
        self.bytes = rest;
        if coded { decode(text).map(Bytes::from) } else { Ok(Bytes::copy_from_slice(text)) }
    }
}

/// Text in the Huffman code of appendix B. The code is canonical: codes of one length count up with their symbols, and
/// the first one of each length follows on the last shorter one. So the lengths say it all.
fn decode(text: &[u8]) -> Result<Vec<u8>, HpackError> {
    let mut decoded = vec![];
    let (mut code, mut length) = (0_u32, 0_u8);
    for bit in text.iter().flat_map(|byte| (0..8).rev().map(move |place| byte >> place & 1)) {
        code = code << 1 | u32::from(bit);
        length += 1;
        if let Some(symbol) = symbol(code, length) {
            decoded.push(u8::try_from(symbol).map_err(|_| HpackError::NoCode)?);
            (code, length) = (0, 0);
        } else if length >= LONGEST {
            return Err(HpackError::NoCode);
        }
    }
    // The rest of the last byte is filled with the beginning of the longest code, which is all ones.
    let filled = length < 8 && code == (1 << length) - 1;
    if filled { Ok(decoded) } else { Err(HpackError::NoCode) }
}

const LONGEST: u8 = 30;

/// The symbol with this code, if it is one.
fn symbol(code: u32, length: u8) -> Option<u16> {
    let Codes { first, count, place } = CODES.0[usize::from(length)];
    let behind = code.checked_sub(first).filter(|behind| *behind < count)?;
    Some(CODES.1[place + behind as usize])
}

/// The codes of one length.
#[derive(Clone, Copy)]
struct Codes {
    first: u32,
    count: u32,
    /// Where the symbol of the first one stands.
    place: usize,
}

/// The codes of each length, and all symbols in the order of their codes.
static CODES: ([Codes; LONGEST as usize + 1], [u16; LENGTHS.len()]) = codes();

const fn codes() -> ([Codes; LONGEST as usize + 1], [u16; LENGTHS.len()]) {
    let mut codes = [Codes { first: 0, count: 0, place: 0 }; LONGEST as usize + 1];
    let mut symbols = [0; LENGTHS.len()];
    let (mut length, mut next, mut place) = (1, 0, 0);
    while length <= LONGEST as usize {
        next <<= 1;
        codes[length] = Codes { first: next, count: 0, place };
        let mut symbol: u16 = 0;
        while (symbol as usize) < LENGTHS.len() {
            if LENGTHS[symbol as usize] as usize == length {
                symbols[place] = symbol;
                codes[length].count += 1;
                next += 1;
                place += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    (codes, symbols)
}

/// How many bits the code of each byte has, and that of the end of text: appendix B.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7,
    7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21,
    23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24,
    21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

/// What both sides know from the beginning: appendix A.
#[rustfmt::skip]
const STATIC: [(&str, &str); 61] = [
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"), (":path", "/index.html"),
    (":scheme", "http"), (":scheme", "https"), (":status", "200"), (":status", "204"),
    (":status", "206"), (":status", "304"), (":status", "400"), (":status", "404"), (":status", "500"),
    ("accept-charset", ""), ("accept-encoding", "gzip, deflate"), ("accept-language", ""),
    ("accept-ranges", ""), ("accept", ""), ("access-control-allow-origin", ""), ("age", ""),
    ("allow", ""), ("authorization", ""), ("cache-control", ""), ("content-disposition", ""),
    ("content-encoding", ""), ("content-language", ""), ("content-length", ""), ("content-location", ""),
    ("content-range", ""), ("content-type", ""), ("cookie", ""), ("date", ""), ("etag", ""),
    ("expect", ""), ("expires", ""), ("from", ""), ("host", ""), ("if-match", ""), ("if-modified-since", ""),
    ("if-none-match", ""), ("if-range", ""), ("if-unmodified-since", ""), ("last-modified", ""),
    ("link", ""), ("location", ""), ("max-forwards", ""), ("proxy-authenticate", ""), ("proxy-authorization", ""),
    ("range", ""), ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""),
    ("set-cookie", ""), ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""),
    ("vary", ""), ("via", ""), ("www-authenticate", ""),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::probe::encoding::from_hex;

    fn read(decoder: &mut Decoder, hex: &str) -> (Vec<String>, Option<HpackError>) {
        let (headers, error) = decoder.read(&from_hex(hex.as_bytes()).unwrap());
        let shown = headers.iter().map(|(name, value)| {
            format!("{}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
        });
        (shown.collect(), error)
    }

    /// The requests of RFC 7541, appendix C.4: Huffman codes, and a table that grows.
    #[test]
    fn the_examples_of_the_rfc_are_read() {
        let mut decoder = Decoder::default();
        let head = |rest: &[&str]| {
            let fixed = [":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"];
            fixed.iter().chain(rest).map(|header| (*header).to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(read(&mut decoder, "828684418cf1e3c2e5f23a6ba0ab90f4ff"), (head(&[]), None));
        assert_eq!(
            read(&mut decoder, "828684be5886a8eb10649cbf"),
            (head(&["cache-control: no-cache"]), None)
        );
        let (headers, error) = read(&mut decoder, "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf");
        assert_eq!((headers.last().unwrap().as_str(), error), ("custom-key: custom-value", None));
        assert_eq!(decoder.bytes, 164);
    }

    #[test]
    fn what_can_not_be_read_is_told() {
        let error = |hex: &str| read(&mut Decoder::default(), hex).1.unwrap();
        assert_eq!(error("be"), HpackError::NoSuchEntry);
        assert_eq!(error("80"), HpackError::NoSuchEntry);
        assert_eq!(error("4103"), HpackError::Cut);
        assert_eq!(error("ffffffffffff"), HpackError::TooLarge);
        assert_eq!(error("4182ffff"), HpackError::NoCode);
        // A header of 4000 bytes in the table, and a hundred times the same.
        let long = format!("417fa11e{}{}", "61".repeat(4000), "be".repeat(100));
        assert_eq!(error(&long), HpackError::TooLong);
    }

    proptest! {
        #[test]
        fn any_blocks_come_to_an_end(blocks in prop::collection::vec(any::<Vec<u8>>(), 0..4)) {
            let mut decoder = Decoder::default();
            for block in blocks {
                decoder.read(&block);
                prop_assert!(decoder.bytes <= TABLE_AT_MOST_BYTES);
            }
        }
    }
}
