//! The text form of transactions. In goes text as [`GRAMMAR`] says, out comes the transaction, or an error that
//! shows the place. It knows nothing of members: what etcd itself refuses, such as a key put twice, passes.

use crate::{
    operation::{Compare, DeleteRange, KeyRange, Operator, Put, Range, Request, Target, Txn},
    types::{Blob, LeaseId, Revision, Version},
};

use super::{
    encoding::Encoding,
    text::{Cursor, Kind, Parsed, Place, Token},
};

/// The grammar, for `--help`.
pub const GRAMMAR: &str = "\
Examples:
  etcd-probe txn 'if version(a) = 0 then put a 1; range b else range a'
  etcd-probe txn --file moves.txt --member all
  echo 'put a 1; put b 2' | etcd-probe txn -o json

The text of a transaction:
  TXN      = [if COMPARE {and COMPARE}] then OPS [else OPS]  |  OPS
  COMPARE  = TARGET(KEY [END] [--prefix]) OPERATOR OPERAND
  TARGET   = version | create | mod | value | lease
  OPERATOR = = | != | < | >
  OPS      = OP {; OP}
  OP       = put KEY VALUE [--lease ID] [--prev-kv] [--ignore-value]
                 [--ignore-lease]
           | range KEY [END] [--prefix] [--limit N] [--rev N] [--serializable]
                 [--keys-only] [--count-only]
           | delete KEY [END] [--prefix] [--prev-kv]
           | txn { TXN }

create and mod are revisions; lease IDs are hexadecimal, as etcd prints them.
Words end at white space and at ( ) { } , ; and \". Keys and values that hold one
of these, begin with = ! < > # or --, or are a word of the grammar, stand in
double quotes, where \\\" \\\\ \\n \\r \\t and \\xNN mean what they mean in C.
A # begins a comment. A transaction that does nothing is written then.

  if version(a) = 0 and value(b) != \"x y\" then put a 1; range b else range a";

/// Transactions nest no deeper; etcd itself refuses more operations than --max-txn-ops.
const DEPTH_AT_MOST: usize = 32;
/// Words that only mean themselves in quotes.
const RESERVED: [&str; 9] = ["if", "and", "then", "else", "put", "range", "delete", "txn", "}"];

/// The text is no transaction.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the transaction goes wrong at {0}")]
pub struct TransactionError(#[from] pub Place);

/// Reads a transaction; keys and values are in this encoding.
pub fn parse(text: &str, encoding: Encoding) -> Result<Txn, TransactionError> {
    let whole = || {
        let mut parser = Parser { cursor: Cursor::new(text)?, encoding };
        if parser.cursor.peek().is_none() {
            return Err((
                parser.cursor.place(),
                "there is nothing; a transaction without operations is: then".to_owned(),
            ));
        }
        let txn = parser.txn(0)?;
        if parser.cursor.peek().is_none() {
            Ok(txn)
        } else {
            Err(parser.cursor.wanted("';', else or the end"))
        }
    };
    Ok(whole().map_err(|wrong| Place::of(text, wrong))?)
}

struct Parser {
    cursor: Cursor,
    encoding: Encoding,
}

impl Parser {
    fn txn(&mut self, depth: usize) -> Parsed<Txn> {
        if depth > DEPTH_AT_MOST {
            return Err((self.cursor.place(), "it nests too deep".to_owned()));
        }
        let mut txn = Txn::default();
        let has_compares = self.cursor.accept("if");
        if has_compares {
            txn.compare.push(self.compare()?);
            while self.cursor.accept("and") {
                txn.compare.push(self.compare()?);
            }
        }
        if !self.cursor.accept("then") && has_compares {
            return Err(self.cursor.wanted("'and' or 'then'"));
        }
        txn.success = self.ops(depth)?;
        if self.cursor.accept("else") {
            txn.failure = self.ops(depth)?;
        }
        Ok(txn)
    }

    fn compare(&mut self) -> Parsed<Compare> {
        const TARGETS: [&str; 5] = ["version", "create", "mod", "value", "lease"];
        let target = TARGETS.into_iter().find(|target| self.cursor.accept(target));
        let target = target.ok_or_else(|| self.cursor.wanted("version, create, mod, value or lease"))?;
        self.cursor.expect("(")?;
        let mut keys = self.keys()?;
        while !self.cursor.accept(")") {
            match self.option().as_deref() {
                Some("--prefix") => keys = self.prefix(keys)?,
                _ => return Err(self.cursor.wanted("')'")),
            }
        }
        let operator = self.operator()?;
        let target = match target {
            "version" => Target::Version(Version(self.cursor.number("a version")?)),
            "create" => Target::CreateRevision(Revision(self.cursor.number("a revision")?)),
            "mod" => Target::ModRevision(Revision(self.cursor.number("a revision")?)),
            "lease" => Target::Lease(self.lease()?),
            _ => Target::Value(self.blob("a value")?),
        };
        Ok(Compare { keys, operator, target })
    }

    fn operator(&mut self) -> Parsed<Operator> {
        let operators = [
            ("=", Operator::Equal),
            ("!=", Operator::NotEqual),
            ("<", Operator::Less),
            (">", Operator::Greater),
        ];
        let found = operators.into_iter().find(|(mark, _)| self.cursor.accept(mark));
        found.map(|(_, operator)| operator).ok_or_else(|| self.cursor.wanted("one of = != < >"))
    }

    fn ops(&mut self, depth: usize) -> Parsed<Vec<Request>> {
        let mut ops = vec![];
        loop {
            let ended = |token: &Token| token.is("else") || token.is("}");
            // A branch may be empty, and a ';' may also stand after the last operation.
            if self.cursor.peek().is_none_or(ended) {
                return Ok(ops);
            }
            ops.push(self.op(depth)?);
            if !self.cursor.accept(";") {
                return match self.cursor.peek() {
                    Some(token) if !ended(token) => Err(self.cursor.wanted("';', else or the end")),
                    _ => Ok(ops),
                };
            }
        }
    }

    fn op(&mut self, depth: usize) -> Parsed<Request> {
        const OPS: [&str; 4] = ["put", "range", "delete", "txn"];
        match OPS.into_iter().find(|op| self.cursor.accept(op)) {
            Some("put") => Ok(Request::Put(self.put()?)),
            Some("range") => Ok(Request::Range(self.range()?)),
            Some("delete") => Ok(Request::DeleteRange(self.delete()?)),
            Some(_) => {
                self.cursor.expect("{")?;
                let txn = self.txn(depth + 1)?;
                self.cursor.expect("}")?;
                Ok(Request::Txn(txn))
            }
            None => Err(self.cursor.wanted("put, range, delete or txn")),
        }
    }

    fn put(&mut self) -> Parsed<Put> {
        let mut put = Put { key: self.blob("a key")?, value: self.blob("a value")?, ..Put::default() };
        while let Some(option) = self.option() {
            match option.as_str() {
                "--lease" => put.lease = self.lease()?,
                "--prev-kv" => put.prev_kv = true,
                "--ignore-value" => put.ignore_value = true,
                "--ignore-lease" => put.ignore_lease = true,
                _ => {
                    return Err(self
                        .cursor
                        .unknown("put takes --lease, --prev-kv, --ignore-value and --ignore-lease"));
                }
            }
        }
        Ok(put)
    }

    fn range(&mut self) -> Parsed<Range> {
        let mut range = Range { keys: self.keys()?, ..Range::default() };
        while let Some(option) = self.option() {
            match option.as_str() {
                "--prefix" => range.keys = self.prefix(range.keys)?,
                "--limit" => range.limit = self.cursor.number("a limit")?,
                "--rev" => range.revision = Some(Revision(self.cursor.number("a revision")?)),
                "--serializable" => range.serializable = true,
                "--keys-only" => range.keys_only = true,
                "--count-only" => range.count_only = true,
                _ => {
                    return Err(self.cursor.unknown(
                        "range takes --prefix, --limit, --rev, --serializable, --keys-only and --count-only",
                    ));
                }
            }
        }
        Ok(range)
    }

    fn delete(&mut self) -> Parsed<DeleteRange> {
        let mut delete = DeleteRange { keys: self.keys()?, ..DeleteRange::default() };
        while let Some(option) = self.option() {
            match option.as_str() {
                "--prefix" => delete.keys = self.prefix(delete.keys)?,
                "--prev-kv" => delete.prev_kv = true,
                _ => return Err(self.cursor.unknown("delete takes --prefix and --prev-kv")),
            }
        }
        Ok(delete)
    }

    /// A key, and the range's end if there is one.
    fn keys(&mut self) -> Parsed<KeyRange> {
        let key = self.blob("a key")?;
        let range_end = if self.at_word() { Some(self.blob("the range's end")?) } else { None };
        Ok(KeyRange { key, range_end })
    }

    fn prefix(&self, keys: KeyRange) -> Parsed<KeyRange> {
        match keys.range_end {
            None => Ok(KeyRange::prefix(keys.key)),
            Some(_) => Err(self.cursor.unknown("a range has an end or --prefix, not both")),
        }
    }

    fn at_word(&self) -> bool {
        self.cursor.peek().is_some_and(|token| match &token.kind {
            Kind::Word(word) => !RESERVED.contains(&word.as_str()) && !word.starts_with("--"),
            Kind::Quoted(_) => true,
            Kind::Mark(_) => false,
        })
    }

    fn option(&mut self) -> Option<String> {
        let option = self.cursor.peek().and_then(|token| match &token.kind {
            Kind::Word(word) if word.starts_with("--") => Some(word.clone()),
            _ => None,
        });
        if option.is_some() {
            self.cursor.advance();
        }
        option
    }

    fn blob(&mut self, what: &str) -> Parsed<Blob> {
        if !self.at_word() {
            return Err(self.cursor.wanted(&format!("{what} (quote it if it is a word of the grammar)")));
        }
        let place = self.cursor.place();
        let bytes = self.cursor.bytes().unwrap_or_default();
        let decoded = self.encoding.decode(bytes).map_err(|error| (place, error.to_string()))?;
        self.cursor.advance();
        Ok(decoded.into())
    }

    fn lease(&mut self) -> Parsed<LeaseId> {
        let id = self.cursor.word().and_then(|word| i64::from_str_radix(word, 16).ok());
        let id = id.ok_or_else(|| self.cursor.wanted("a lease's ID, hexadecimal"))?;
        self.cursor.advance();
        Ok(LeaseId(id))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Txn {
        parse(text, Encoding::Text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
    }

    fn put(key: &str, value: &str) -> Request {
        Request::Put(Put { key: key.into(), value: value.into(), ..Put::default() })
    }

    fn range(key: &str) -> Request {
        Request::Range(Range { keys: KeyRange::single(key.into()), ..Range::default() })
    }

    fn compare(key: &str, operator: Operator, target: Target) -> Compare {
        Compare { keys: KeyRange::single(key.into()), operator, target }
    }

    #[test]
    fn compares_and_both_branches_are_read() {
        let txn = read("if version(a) = 0 and value(b)!=\"x y\" then put a 1; range b; else range a");
        assert_eq!(
            txn.compare,
            [
                compare("a", Operator::Equal, Target::Version(Version(0))),
                compare("b", Operator::NotEqual, Target::Value("x y".into())),
            ]
        );
        assert_eq!((txn.success, txn.failure), (vec![put("a", "1"), range("b")], vec![range("a")]));
    }

    #[test]
    fn operations_alone_are_a_transaction_without_compares() {
        assert_eq!(read("put a 1; put b=c \"\"").success, [put("a", "1"), put("b=c", "")]);
        assert_eq!(read("then"), Txn::default());
        assert!(parse("", Encoding::Text).is_err());
        assert_eq!(
            read("if lease(a) < 1f then else").compare,
            [compare("a", Operator::Less, Target::Lease(LeaseId(31)))]
        );
    }

    #[test]
    fn ranges_options_comments_and_nesting_are_read() {
        let txn = read(
            "if mod(a z) > 7 and create(p --prefix) = 1 # both\n\
             then delete a --prefix --prev-kv;\n  txn { if value(k) = v then put k w };\n\
             range a b --limit 3 --rev 2 --serializable --keys-only --count-only;\n\
             put k v --lease 1f --prev-kv --ignore-value --ignore-lease",
        );
        let ends: Vec<_> =
            txn.compare.iter().map(|compare| compare.keys.range_end.clone().unwrap()).collect();
        assert_eq!(ends, ["z".into(), "q".into()]);
        let [Request::DeleteRange(delete), Request::Txn(nested), Request::Range(range), Request::Put(put)] =
            &txn.success[..]
        else {
            panic!("{txn:?}")
        };
        assert_eq!((delete.prev_kv, delete.keys.range_end.clone()), (true, Some("b".into())));
        assert_eq!(nested.success.len(), 1);
        assert_eq!((range.limit, range.revision, range.serializable), (3, Some(Revision(2)), true));
        assert_eq!((put.lease, put.prev_kv, put.ignore_lease), (LeaseId(31), true, true));
    }

    #[test]
    fn quotes_escapes_and_encodings_give_any_bytes() {
        assert_eq!(
            read(r#"put "if\x00\xff\"\\\n" "then""#).success,
            [Request::Put(Put {
                key: b"if\0\xff\"\\\n".to_vec().into(),
                value: "then".into(),
                ..Put::default()
            })]
        );
        assert_eq!(parse("put 6b 00", Encoding::Hex).unwrap().success, [put("k", "\0")]);
        assert_eq!(parse("put aw== AA==", Encoding::Base64).unwrap().success, [put("k", "\0")]);
    }

    #[test]
    fn errors_name_the_place_and_what_could_be_there() {
        for (text, line, column, words) in [
            ("if version(a) = 0", 1, 18, "it ends, where 'and' or 'then' should be"),
            ("if version(a) 0 then", 1, 15, "one of = != < >"),
            ("if age(a) = 0 then", 1, 4, "version, create, mod, value or lease"),
            ("if version(a) = x then", 1, 17, "a version, a number"),
            ("put a", 1, 6, "it ends, where a value"),
            ("put a 1\n put b 2", 2, 2, "';', else or the end"),
            ("put then 1", 1, 5, "there is 'then', where a key"),
            ("range a --limt 3", 1, 9, "range takes --prefix"),
            ("range a b --prefix", 1, 11, "an end or --prefix"),
            ("grün; get a", 1, 1, "put, range, delete or txn"),
            ("put é \"x", 1, 7, "has no end"),
            ("put a \"\\y\"", 1, 8, "no such escape"),
            ("put a \"\\x4\"", 1, 8, "two hexadecimal digits"),
            ("txn { put a 1", 1, 14, "'}'"),
            ("put a 1 }", 1, 9, "'}'"),
        ] {
            let error = parse(text, Encoding::Text).unwrap_err();
            assert_eq!((error.0.line, error.0.column), (line, column), "{text:?}: {error}");
            assert!(error.0.what.contains(words), "{text:?}: {error}");
        }
        let error = parse("put a zz", Encoding::Hex).unwrap_err();
        assert!(error.0.column == 5 && error.0.what.contains("not hex"), "{error}");
        assert!(parse(&"txn { ".repeat(100), Encoding::Text).unwrap_err().0.what.contains("too deep"));
    }

    #[test]
    fn the_caret_stands_below_the_place() {
        let error = parse("put a 1;\n  get b", Encoding::Text).unwrap_err().to_string();
        assert!(error.ends_with("\n    get b\n    ^"), "{error}");
    }

    proptest! {
        #[test]
        fn any_text_gives_a_transaction_or_an_error(text in "[ifputhenels{}()=;\"\\\\x \né-]{0,60}") {
            if let Err(error) = parse(&text, Encoding::Text) {
                prop_assert!(!error.to_string().is_empty());
            }
        }

        #[test]
        fn any_bytes_can_be_quoted(bytes in any::<Vec<u8>>()) {
            let quoted = bytes.iter().fold(String::new(), |text, byte| text + &format!("\\x{byte:02x}"));
            let txn = read(&format!("put k \"{quoted}\""));
            let Request::Put(put) = &txn.success[0] else { panic!("{txn:?}") };
            prop_assert_eq!(put.value.as_slice(), &bytes[..]);
        }
    }
}
