//! The language of rules. In goes text as [`GRAMMAR`] says, out come rules, or the place at which it goes wrong. Every
//! name, path and value is held against the protocol here, so that a rule that was read can be followed.

use std::{sync::Mutex, time::Duration};

use h2::Reason;
use prost_reflect::{FieldDescriptor, MethodDescriptor};
use tonic::{
    Code,
    codegen::http::{HeaderName, HeaderValue},
};

use super::{
    edit::{Edit, Literal},
    path::Path,
    rule::{After, Before, Condition, Counts, End, Frequency, Rule, Span, Test},
};
use crate::{
    client::outcome::code_name,
    probe::{
        descriptors,
        proxy::methods::Methods,
        text::{Cursor, Kind, Parsed, Place},
    },
    settings::parse_duration,
};

/// The grammar, for documents and `--help`.
pub const GRAMMAR: &str = "\
  RULE      = on METHODS [at MEMBERS] [where CONDITION {and CONDITION}]
              {FREQUENCY} { ACTION {; ACTION} }
  METHODS   = Put | KV | KV/Put | Put|Range | * | /package.Service/Method
  MEMBERS   = NAME{|NAME}, as the proxy names them when it starts
  CONDITION = [answer.]PATH = | != | < | > | starts VALUE
  FREQUENCY = after N | every N | chance P | times N | once
  PATH      = FIELD[PLACE]{.FIELD[PLACE]}, PLACE from 0 or, from the end, -1;
              **.FIELD is that field anywhere below

Before the request goes on:
  delay TIME [TIME]          it waits; between the two, if there are two
  ask PATH = VALUE           another value goes on; also += and -= a number
  stale N                    a range is read N revisions before the newest
  fail STATUS [WORDS]        answered with an error: fail unavailable \"gone\"
  pretend                    answered as if it had been done
  replay                     answered as the same request was before
  hang | reset | close       never answered; the stream or connection cut
  goaway                     the client is told to connect anew
  header NAME VALUE          the answer's head has this

When the answer, or a message of a stream, has come:
  set PATH = VALUE           also += and -= a number
  clear PATH                 no value
  drop PATH | double PATH    one item of a list: drop events[0]
  reverse PATH               a list from its end
  append PATH [= VALUE]      one item more: a value, or a message to be set
  drop | repeat N            the whole message: none, or N times more
  swap                       it comes after the next message
  merge | split              events with the next message's; each alone
  truncate N | corrupt N     its last N bytes missing; N bits turned over
  cut N                      its last N bytes announced, and never sent
  then delay | fail | hang | reset | close | half-close
                             as above, but the member has done it";

/// Reads rules, which are numbered on from so many earlier ones.
pub fn parse(text: &str, earlier: usize) -> Result<Vec<Rule>, Place> {
    let whole = || {
        let mut parser = Parser { cursor: Cursor::new(text)?, methods: vec![] };
        let mut rules = vec![];
        while parser.cursor.peek().is_some() {
            rules.push(parser.rule(earlier + rules.len() + 1)?);
        }
        Ok(rules)
    };
    whole().map_err(|wrong| Place::of(text, wrong))
}

struct Parser {
    cursor: Cursor,
    /// Those that the rule is about.
    methods: Vec<MethodDescriptor>,
}

impl Parser {
    fn rule(&mut self, number: usize) -> Parsed<Rule> {
        self.cursor.expect("on")?;
        let methods = self.methods()?;
        let members = if self.cursor.accept("at") {
            let names = self.text("a member")?;
            Some(names.split('|').map(str::to_owned).collect())
        } else {
            None
        };
        let conditions = self.conditions()?;
        let frequency = self.frequency()?;
        let mut rule = Rule {
            number,
            methods,
            members,
            conditions,
            frequency,
            before: vec![],
            after: vec![],
            counts: Mutex::new(Counts::default()),
        };
        self.cursor.expect("{")?;
        while !self.cursor.accept("}") {
            self.action(&mut rule)?;
            if !self.cursor.accept(";") && self.cursor.peek().is_none_or(|token| !token.is("}")) {
                return Err(self.cursor.wanted("';' or '}'"));
            }
        }
        Ok(rule)
    }

    fn methods(&mut self) -> Parsed<Methods> {
        let place = self.cursor.place();
        let words = self.text("a method")?;
        let methods = Methods::parse(&words, '|').map_err(|error| (place, error.to_string()))?;
        self.methods = descriptors::methods()
            .filter(|path| methods.contain(path))
            .filter_map(|path| descriptors::method(&path))
            .collect();
        Ok(methods)
    }

    fn conditions(&mut self) -> Parsed<Vec<Condition>> {
        let mut conditions = vec![];
        if self.cursor.accept("where") {
            conditions.push(self.condition()?);
            while self.cursor.accept("and") {
                conditions.push(self.condition()?);
            }
        }
        Ok(conditions)
    }

    fn condition(&mut self) -> Parsed<Condition> {
        const TESTS: [(&str, Test); 5] = [
            ("=", Test::Equal),
            ("!=", Test::NotEqual),
            ("<", Test::Less),
            (">", Test::Greater),
            ("starts", Test::Starts),
        ];
        let of_answer = self.cursor.word().is_some_and(|word| word.starts_with("answer."));
        let (path, field) = self.path(of_answer, if of_answer { "answer." } else { "" })?;
        let test = TESTS.into_iter().find(|(word, _)| self.cursor.accept(word)).map(|(_, test)| test);
        let test = test.ok_or_else(|| self.cursor.wanted("one of = != < > starts"))?;
        let literal = self.literal(&field)?;
        Ok(Condition { of_answer, path, test, literal })
    }

    fn frequency(&mut self) -> Parsed<Frequency> {
        let mut frequency = Frequency::default();
        loop {
            if self.cursor.accept("once") {
                frequency.times = 1;
            } else if self.cursor.accept("times") {
                frequency.times = self.cursor.number("how often")?;
            } else if self.cursor.accept("after") {
                frequency.after = self.cursor.number("how many are spared")?;
            } else if self.cursor.accept("every") {
                let place = self.cursor.place();
                frequency.every = self.cursor.number("which one")?;
                if frequency.every == 0 {
                    return Err((place, "every 0 is never; leave the rule out".to_owned()));
                }
            } else if self.cursor.accept("chance") {
                let place = self.cursor.place();
                frequency.chance = self.cursor.number("a probability")?;
                if !(0.0..=1.0).contains(&frequency.chance) {
                    return Err((place, "a probability lies between 0 and 1".to_owned()));
                }
            } else {
                return Ok(frequency);
            }
        }
    }

    fn action(&mut self, rule: &mut Rule) -> Parsed<()> {
        if let Some(action) = self.before()? {
            rule.before.push(action);
        } else if let Some(action) = self.after()? {
            rule.after.push(action);
        } else {
            return Err(self.cursor.wanted("an action, such as delay, fail, set or drop"));
        }
        // What is decided when the request comes can't know the answer.
        let knows_answer = rule.conditions.iter().any(|condition| condition.of_answer);
        if knows_answer && !rule.before.is_empty() {
            return Err(self
                .cursor
                .unknown("the rule asks for the answer, which is not there before the request goes on"));
        }
        Ok(())
    }

    fn before(&mut self) -> Parsed<Option<Before>> {
        Ok(Some(if self.cursor.accept("delay") {
            Before::Delay(self.span()?)
        } else if self.cursor.accept("ask") {
            Before::Ask(self.assignment(false)?)
        } else if self.cursor.accept("stale") {
            self.only_for("RangeRequest")?;
            Before::Stale(self.cursor.number("how many revisions")?)
        } else if self.cursor.accept("pretend") {
            self.only_unary()?;
            Before::Pretend
        } else if self.cursor.accept("replay") {
            self.only_unary()?;
            Before::Replay
        } else if self.cursor.accept("goaway") {
            Before::GoAway
        } else if self.cursor.accept("header") {
            self.header()?
        } else if let Some(end) = self.end()? {
            Before::End(end)
        } else {
            return Ok(None);
        }))
    }

    fn after(&mut self) -> Parsed<Option<After>> {
        Ok(Some(if self.cursor.accept("then") {
            if self.cursor.accept("delay") {
                After::Delay(self.span()?)
            } else if self.cursor.accept("half-close") {
                After::End(End::HalfClose)
            } else {
                let end = self.end()?;
                After::End(
                    end.ok_or_else(|| self.cursor.wanted("delay, fail, hang, reset, close or half-close"))?,
                )
            }
        } else if self.cursor.accept("set") {
            After::Edit(self.assignment(true)?)
        } else if self.cursor.accept("clear") {
            After::Edit(self.edit(Edit::Clear)?)
        } else if self.cursor.accept("double") {
            After::Edit(self.edit(Edit::Double)?)
        } else if self.cursor.accept("reverse") {
            After::Edit(self.edit(Edit::Reverse)?)
        } else if self.cursor.accept("append") {
            After::Edit(self.append()?)
        } else if self.cursor.accept("drop") {
            if self.cursor.word().is_some() { After::Edit(self.edit(Edit::Remove)?) } else { After::Drop }
        } else {
            return self.after_whole();
        }))
    }

    /// What is done to whole messages.
    fn after_whole(&mut self) -> Parsed<Option<After>> {
        Ok(Some(if self.cursor.accept("repeat") {
            After::Repeat(self.cursor.number("how many times more")?)
        } else if self.cursor.accept("truncate") {
            After::Truncate(self.cursor.number("how many bytes")?)
        } else if self.cursor.accept("corrupt") {
            After::Corrupt(self.cursor.number("how many bits")?)
        } else if self.cursor.accept("cut") {
            After::CutOff(self.cursor.number("how many bytes")?)
        } else if self.cursor.accept("swap") {
            After::Swap
        } else if self.cursor.accept("merge") {
            self.only_for("WatchRequest")?;
            After::Merge
        } else if self.cursor.accept("split") {
            self.only_for("WatchRequest")?;
            After::Split
        } else {
            return Ok(None);
        }))
    }

    fn end(&mut self) -> Parsed<Option<End>> {
        Ok(Some(if self.cursor.accept("fail") {
            let code = self.code()?;
            let words = self.cursor.peek().is_some_and(|token| matches!(token.kind, Kind::Quoted(_)));
            End::Fail(code, if words { self.text("words")? } else { "the proxy says so".to_owned() })
        } else if self.cursor.accept("hang") {
            End::Hang
        } else if self.cursor.accept("reset") {
            End::Reset(Reason::INTERNAL_ERROR)
        } else if self.cursor.accept("close") {
            End::Close
        } else {
            return Ok(None);
        }))
    }

    fn code(&mut self) -> Parsed<Code> {
        let codes = || (1..=16).map(Code::from_i32);
        let code = self.cursor.word().and_then(|word| codes().find(|code| code_name(*code) == word));
        let names: Vec<&str> = codes().map(code_name).collect();
        let code = code.ok_or_else(|| self.cursor.wanted(&format!("one of {}", names.join(", "))))?;
        self.cursor.advance();
        Ok(code)
    }

    fn header(&mut self) -> Parsed<Before> {
        let place = self.cursor.place();
        let name = HeaderName::try_from(self.text("a header's name")?)
            .map_err(|error| (place, error.to_string()))?;
        let place = self.cursor.place();
        let value =
            HeaderValue::try_from(self.text("its value")?).map_err(|error| (place, error.to_string()))?;
        Ok(Before::Header(name, value))
    }

    fn assignment(&mut self, of_answer: bool) -> Parsed<Edit> {
        let place = self.cursor.place();
        let (path, field) = self.path(of_answer, "")?;
        let edit = if self.cursor.accept("=") {
            Edit::Set(path, self.bytes()?)
        } else if self.cursor.accept("+=") {
            Edit::Add(path, self.cursor.number("how much")?)
        } else if self.cursor.accept("-=") {
            Edit::Add(path, -self.cursor.number::<i64>("how much")?)
        } else {
            return Err(self.cursor.wanted("one of = += -="));
        };
        Self::fitting(edit, &field, place)
    }

    fn edit(&mut self, edit: fn(Path) -> Edit) -> Parsed<Edit> {
        let place = self.cursor.place();
        let (path, field) = self.path(true, "")?;
        Self::fitting(edit(path), &field, place)
    }

    fn append(&mut self) -> Parsed<Edit> {
        let place = self.cursor.place();
        let (path, field) = self.path(true, "")?;
        let literal = if self.cursor.accept("=") { Some(self.bytes()?) } else { None };
        Self::fitting(Edit::Append(path, literal), &field, place)
    }

    fn fitting(edit: Edit, field: &FieldDescriptor, place: usize) -> Parsed<Edit> {
        match edit.misfit(field) {
            Some(why) => Err((place, format!("{} can't be changed so: {why}", field.full_name()))),
            None => Ok(edit),
        }
    }

    /// A path that a message of the rule's methods has, after this prefix.
    fn path(&mut self, of_answer: bool, prefix: &str) -> Parsed<(Path, FieldDescriptor)> {
        let place = self.cursor.place();
        let text = self.text("a field")?;
        let path = Path::parse(text.strip_prefix(prefix).unwrap_or(&text)).map_err(|why| (place, why))?;
        let messages =
            self.methods.iter().map(|method| if of_answer { method.output() } else { method.input() });
        let field = messages.clone().find_map(|message| path.field(&message));
        let field = field.ok_or_else(|| {
            let names: Vec<String> = messages.take(3).map(|message| message.name().to_owned()).collect();
            (place, format!("there is no field {text:?} in {}", names.join(", ")))
        })?;
        Ok((path, field))
    }

    fn literal(&mut self, field: &FieldDescriptor) -> Parsed<Literal> {
        let place = self.cursor.place();
        let literal = self.bytes()?;
        match literal.value(&field.kind()) {
            Some(_) => Ok(literal),
            None => Err((place, format!("that is no value of {}", field.full_name()))),
        }
    }

    fn bytes(&mut self) -> Parsed<Literal> {
        let quoted = self.cursor.peek().is_some_and(|token| matches!(token.kind, Kind::Quoted(_)));
        let bytes = self.cursor.bytes().ok_or_else(|| self.cursor.wanted("a value"))?.to_vec();
        self.cursor.advance();
        Ok(Literal { bytes, quoted })
    }

    fn text(&mut self, what: &str) -> Parsed<String> {
        let place = self.cursor.place();
        let bytes = self.cursor.bytes().ok_or_else(|| self.cursor.wanted(what))?.to_vec();
        self.cursor.advance();
        String::from_utf8(bytes).map_err(|_| (place, format!("{what} has to be UTF-8")))
    }

    fn span(&mut self) -> Parsed<Span> {
        let from = self.duration()?;
        let has_end = self.cursor.word().is_some();
        let place = self.cursor.place();
        let to = if has_end { self.duration()? } else { from };
        if to < from {
            Err((place, "the longer time comes second".to_owned()))
        } else {
            Ok(Span { from, to })
        }
    }

    fn duration(&mut self) -> Parsed<Duration> {
        let time = self.cursor.word().and_then(parse_duration);
        let time = time.ok_or_else(|| self.cursor.wanted("a time, such as 50ms or 2s"))?;
        self.cursor.advance();
        Ok(time)
    }

    fn only_unary(&self) -> Parsed<()> {
        let streams =
            |method: &MethodDescriptor| method.is_client_streaming() || method.is_server_streaming();
        match self.methods.iter().find(|method| streams(method)) {
            Some(method) => Err(self.cursor.unknown(&format!("{} is a stream", method.name()))),
            None => Ok(()),
        }
    }

    fn only_for(&self, request: &str) -> Parsed<()> {
        match self.methods.iter().find(|method| method.input().name() != request) {
            Some(method) => Err(self.cursor.unknown(&format!("it is not for {}", method.name()))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rules_are_read_as_they_are_meant() {
        let text = "
            # A comment.
            on Put|DeleteRange at etcd0|etcd1 where key starts \"a/\" and lease > 0 after 3 every 2 times 5
              { delay 10ms 1s; ask lease = 0 }
            on Watch where answer.events > 1 and answer.events.type = DELETE chance 0.5 {
              drop events[-1]; set header.revision -= 2; split; then reset;
            }
            on * once { then fail unavailable \"etcdserver: request timed out\" }
            on KV/Range { set kvs.value = \"\\x00\"; clear kvs[0].lease; reverse kvs; truncate 3; cut 1 }
            on Status|HashKV { header content-type text/html; goaway }
            on Txn where **.key = k { pretend; set succeeded = false }
            on /some.Other/Method { hang }";
        let rules = parse(text, 10).unwrap_or_else(|place| panic!("{place}"));
        assert_eq!(rules.iter().map(|rule| rule.number).collect::<Vec<_>>(), (11..=17).collect::<Vec<_>>());
        let first = &rules[0];
        assert!(
            first.is_about("etcd1", "/etcdserverpb.KV/Put")
                && !first.is_about("etcd2", "/etcdserverpb.KV/Put")
        );
        assert!(!first.is_about("etcd1", "/etcdserverpb.KV/Range"));
        assert_eq!((first.conditions.len(), first.before.len(), first.after.len()), (2, 2, 0));
        let Frequency { after, every, times, .. } = first.frequency;
        assert_eq!((after, every, times), (3, 2, 5));
        let seconds = Duration::from_secs;
        assert!(matches!(first.before[0], Before::Delay(Span { from, to }) if from < to && to == seconds(1)));
        assert!(rules[1].conditions.iter().all(|condition| condition.of_answer));
        assert_eq!(rules[1].after.len(), 4);
        assert!(
            matches!(&rules[2].after[0], After::End(End::Fail(Code::Unavailable, words)) if words.ends_with("out"))
        );
        assert!(rules[6].is_about("any", "/some.Other/Method"));
    }

    #[test]
    fn mistakes_are_shown_where_they_are() {
        for (text, column, words) in [
            ("Put { hang }", 1, "'on' should be"),
            ("on Pot { hang }", 4, "neither a service nor a method \"Pot\""),
            ("on Put hang", 8, "'{' should be"),
            ("on Put { }; on", 11, "'on' should be"),
            ("on Put { hung }", 10, "an action"),
            ("on Put { hang", 14, "';' or '}'"),
            ("on Put where kee = 1 { hang }", 14, "no field \"kee\" in PutRequest"),
            ("on Put where lease = x { hang }", 22, "no value of etcdserverpb.PutRequest.lease"),
            ("on Put where lease ~ 1 { hang }", 20, "one of = != < > starts"),
            ("on Put where answer.prev_kv = 1 { hang }", 35, "the answer, which is not there"),
            ("on Put every 0 { hang }", 14, "every 0 is never"),
            ("on Put chance 1.5 { hang }", 15, "between 0 and 1"),
            ("on Put { delay 5 }", 16, "a time"),
            ("on Put { delay 5s 1s }", 19, "the longer time comes second"),
            ("on Put { set header = 1 }", 14, "it is a message"),
            ("on Put { set header.revision = x }", 14, "does not fit"),
            ("on Range { set kvs.key += 1 }", 16, "it is no number"),
            ("on Range { drop kvs }", 17, "which item of which list"),
            ("on Range { set kvs[x].key = 1 }", 16, "no whole number"),
            ("on Status { append version = x }", 20, "it is no list"),
            ("on Status { append errors }", 20, "it is of values"),
            ("on Alarm { append alarms = 1 }", 19, "it is of messages"),
            ("on Range { append kvs[0] }", 19, "without an item"),
            ("on Put { fail sometimes }", 15, "one of cancelled"),
            ("on Put { stale 3 }", 10, "it is not for Put"),
            ("on Watch { pretend }", 12, "Watch is a stream"),
            ("on Put { then set }", 15, "delay, fail, hang"),
            ("on Put { header \"a b\" c }", 17, "invalid"),
        ] {
            let place = parse(text, 0).unwrap_err();
            assert!(place.what.contains(words), "{text}: {place}");
            assert_eq!((place.line, place.column), (1, column), "{place}");
        }
        assert_eq!(parse("on Put {\n hang;\n oops }", 0).unwrap_err().line, 3);
        assert!(parse("", 0).unwrap().is_empty());
    }

    /// What the help shows is understood.
    #[test]
    fn the_documented_rules_are_rules() {
        let document = include_str!("../../../../docs/proxy.md");
        let blocks = document.split("```rules\n").skip(1).map(|rest| rest.split("```").next().unwrap());
        let rules: usize =
            blocks.map(|text| parse(text, 0).unwrap_or_else(|place| panic!("{place}")).len()).sum();
        assert!(rules > 20, "only {rules} rules are documented");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(on|Put|[{};]|where|answer|\\.|set|kvs|=|[a-z0-9\"\\[\\]*|\\\\# -]| ){0,30}") {
            let _ = parse(&text, 0);
        }
    }
}
