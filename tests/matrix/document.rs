//! docs/properties.md, made of the table. In goes the table, out comes the document, which the test holds against the
//! file, or writes if `MATRIX_WRITE` is set.

use std::{collections::BTreeSet, env, fmt::Write as _, fs};

use etcd_antithesis::properties::NEEDS_FAULTS;

use crate::table::{Lie, Section, Table};

const HEAD: &str = "\
# Properties

Each is an assertion with this message, made in `src/properties.rs` or below it. \"Always\" properties fail if they are ever false or
never reached; \"sometimes\" properties show that the others had something to chew on, and fail if they are never true.

This page is made of `tests/matrix/*.toml` by `MATRIX_WRITE=1 cargo test --test matrix document`. `cargo test --test matrix`
runs every lie of the last section: the real commands against a real cluster, through a proxy that lies
([proxy.md](proxy.md)), with `ETCD_ANTITHESIS_CLASSES=little-of-all`, by which each driver does a little of everything.
Through an honest proxy nothing fails; under a lie fails what the table says, and nothing else. A property that no lie
breaks fails the tests.
";

const TAIL: &str = "
## Of the lab itself
These are no assertions of commands, but judged by the lab from what it sees (`src/lab/built_in.rs`, where tests show of
each that it can fail). Every command exits with 0, ends within its bound, and succeeds at least once; setup-complete comes
once in a timeline, from no command; no member or other service stops by itself; history files are well-formed.

## What an error says
Only errors that the server raises before it proposes or changes anything count as *did not happen*; all else is
*unknown* (`src/client/outcome.rs`, tested row by row against real servers). Two that look definite are not:
`mvcc: database space exceeded` is also the answer to a write that exceeded the quota and was applied, and a compacted or
future revision inside of a writing transaction may leave members with different results (etcd issue 18667).
";

fn names<'a>(lies: impl Iterator<Item = &'a Lie>) -> Vec<String> {
    lies.map(|lie| lie.name.clone()).collect()
}

fn section(table: &Table, section: &Section) -> String {
    let mut text = format!("\n## {}\n", section.title);
    if !section.words.is_empty() {
        writeln!(text, "{}\n", section.words).unwrap();
    }
    if !section.always.is_empty() {
        text += "| always | promises | source | broken by |\n|---|---|---|---|\n";
    }
    for property in &section.always {
        let source = &table.properties.source[&property.source];
        let lies = names(table.breaking(&property.message)).join("; ");
        let (message, promise, title, address) =
            (&property.message, &property.promise, &source.title, &source.address);
        let chapter = &property.chapter;
        writeln!(text, "| {message} | {promise} | [{title}]({address}): {chapter} | {lies} |").unwrap();
    }
    if !section.sometimes.is_empty() {
        text += "| sometimes | shows | never with |\n|---|---|---|\n";
    }
    for property in &section.sometimes {
        let mut lies = names(table.breaking(&property.message));
        if NEEDS_FAULTS.contains(&property.message.as_str()) {
            let brought = names(table.bringing(&property.message)).join("; ");
            lies.push(format!("no fault at all (brought about by: {brought})"));
        }
        writeln!(text, "| {} | {} | {} |", property.message, property.shows, lies.join("; ")).unwrap();
    }
    text.replace(" |  |", " | |")
}

fn lie(lie: &Lie) -> String {
    let mut text = format!("\n### {}\n```rules\n{}\n```\n", lie.name, lie.rule.trim());
    let with: Vec<String> = lie.with.iter().map(|name| format!("`{name}`")).collect();
    writeln!(
        text,
        "With {}.\n",
        if with.is_empty() { "no other command".to_owned() } else { with.join(", ") }
    )
    .unwrap();
    for (what, messages) in [("breaks", &lie.breaks), ("brings about", &lie.brings), ("may break", &lie.may)]
    {
        for message in messages {
            writeln!(text, "- {what}: {message}").unwrap();
        }
    }
    if !lie.because.is_empty() {
        writeln!(text, "\n{}", lie.because).unwrap();
    }
    text
}

fn document(table: &Table) -> String {
    let mut text = HEAD.to_owned();
    for properties in &table.properties.section {
        text += &section(table, properties);
    }
    text += "\nThose that need faults are reported as *not exercised* by runs without faults, and those that only some draws of \
             traffic\nbring about (`RARE` in `src/properties.rs`) by runs of fewer than ten timelines.\n";
    text += TAIL;
    text += "\n## The lies\nRules of the proxy, the commands that run beside the first and the last one, and what fails.\n";
    for undecided in &table.lies.undecided {
        let list = |messages: &BTreeSet<String>| {
            messages.iter().fold(String::new(), |list, message| list + "- " + message + "\n")
        };
        writeln!(text, "\n{} So where one of these is broken:\n", undecided.because).unwrap();
        text += &list(&undecided.broken);
        text += "\nthese are not judged, and never true:\n\n";
        text += &list(&undecided.these);
    }
    text + &table.lies.lie.iter().map(lie).collect::<String>()
}

/// The document is what the table says.
#[test]
fn the_document_is_that_of_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/properties.md");
    let made = document(&Table::read());
    if env::var_os("MATRIX_WRITE").is_some() {
        fs::write(path, &made).unwrap();
    }
    let written = fs::read_to_string(path).unwrap();
    let differs = made.lines().zip(written.lines()).find(|(made, written)| made != written);
    assert!(
        made == written,
        "docs/properties.md is not what tests/matrix/*.toml say, at {differs:?}: \
         write it anew by MATRIX_WRITE=1 cargo test --test matrix document"
    );
}
