//! The verdicts for machines, in the XML that CI servers read: one test case per property. A broken one is a failure with
//! its evidence, one that was not exercised is skipped. `docs/report.md` says which field goes where.

use quick_xml::{
    Writer,
    events::{BytesCData, BytesDecl, BytesEnd, BytesStart, BytesText, Event},
};

use crate::report::{
    load::Run,
    property::{Counts, Evidence, Outcome, Property},
};

/// The XML of a run.
pub fn render(run: &Run) -> String {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    write(&mut writer, run).expect("writing to memory does not fail");
    let mut text = String::from_utf8_lossy(&writer.into_inner()).into_owned();
    text.push('\n');
    text
}

type Xml = Writer<Vec<u8>>;

fn write(xml: &mut Xml, run: &Run) -> std::io::Result<()> {
    let counts = Counts::of(&run.properties);
    let numbers = [
        ("tests", run.properties.len().to_string()),
        ("failures", counts.broken.to_string()),
        ("errors", "0".to_owned()),
        ("skipped", counts.not_exercised.to_string()),
        ("time", format!("{:.3}", run.events.seconds)),
    ];
    let sums = || numbers.iter().map(|(name, value)| (*name, value.as_str()));
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let suites = BytesStart::new("testsuites").with_attributes([("name", "etcd-lab")]);
    xml.write_event(Event::Start(suites.with_attributes(sums())))?;
    let mut suite = BytesStart::new("testsuite").with_attributes([("name", "etcd-lab")]);
    suite = suite.with_attributes(sums());
    if let Some(started) = &run.events.started {
        suite.push_attribute(("timestamp", legal(started.trim_end_matches('Z')).as_str()));
    }
    xml.write_event(Event::Start(suite))?;
    if let Some(seed) = run.events.seed {
        let seed = seed.to_string();
        xml.write_event(Event::Start(BytesStart::new("properties")))?;
        let property = BytesStart::new("property");
        let property = property.with_attributes([("name", "seed"), ("value", seed.as_str())]);
        xml.write_event(Event::Empty(property))?;
        xml.write_event(Event::End(BytesEnd::new("properties")))?;
    }
    for property in &run.properties {
        case(xml, property)?;
    }
    xml.write_event(Event::End(BytesEnd::new("testsuite")))?;
    xml.write_event(Event::End(BytesEnd::new("testsuites")))
}

fn case(xml: &mut Xml, property: &Property) -> std::io::Result<()> {
    let (class, name) = (format!("etcd-lab.{}", property.kind), legal(&property.message));
    let case = BytesStart::new("testcase");
    let case = case.with_attributes([("classname", class.as_str()), ("name", name.as_str())]);
    if property.outcome == Outcome::Holds {
        return xml.write_event(Event::Empty(case));
    }
    xml.write_event(Event::Start(case))?;
    let reason = legal(&property.reason);
    if property.outcome == Outcome::NotExercised {
        let skipped = BytesStart::new("skipped").with_attributes([("message", reason.as_str())]);
        xml.write_event(Event::Empty(skipped))?;
    } else {
        let message = if reason.is_empty() { "it was seen not to hold" } else { reason.as_str() };
        let failure = BytesStart::new("failure").with_attributes([("message", message), ("type", "broken")]);
        xml.write_event(Event::Start(failure))?;
        let text = legal(&property.first_failure.as_ref().map(evidence).unwrap_or_default());
        if text.contains(['<', '&']) {
            for part in BytesCData::escaped(&text) {
                xml.write_event(Event::CData(part))?;
            }
        } else {
            xml.write_event(Event::Text(BytesText::new(&text)))?;
        }
        xml.write_event(Event::End(BytesEnd::new("failure")))?;
    }
    xml.write_event(Event::End(BytesEnd::new("testcase")))
}

fn evidence(evidence: &Evidence) -> String {
    let Evidence { source, location, details } = evidence;
    let details = serde_json::to_string_pretty(details).unwrap_or_default();
    format!("source: {source}\nlocation: {location}\ndetails: {details}")
}

/// XML 1.0 has no way at all to write most control characters.
fn legal(text: &str) -> String {
    let is_legal = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    text.chars().map(|c| if is_legal(c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}
