//! What one finding, or one lie, may not hide: what other watches break of the same guarantee, and other gaps.

use super::*;

/// What several watches break of one guarantee is told of each, and of one watch a put and a delete that it lacks.
#[test]
fn one_finding_does_not_hide_another() {
    let found = |streams: Vec<Vec<(Monotonic, Message)>>, guarantee: Guarantee| -> Vec<String> {
        let histories = [history(writes(), streams)];
        let judgements = judge(&Case::of_one(&histories));
        let judgement = judgements.iter().find(|judgement| judgement.guarantee == guarantee).unwrap();
        judgement.all_evidence().map(|evidence| evidence.sentences().join("\n")).collect()
    };
    let mut twice = prefix();
    twice.insert(6, came(7, 7, cancelled("", 0)));
    twice.insert(6, sent(7, Sent::Cancel { watch: WatchId(0) }));
    let mut endless = prefix();
    endless.push(came(7, 7, cancelled("", 0)));
    let lives = found(vec![prefix(), twice, endless.clone(), endless], Guarantee::WatchLife);
    let words = ["is over", "for no reason", "for no reason"];
    assert_eq!(lives.len(), words.len(), "{lives:#?}");
    assert!(lives.iter().zip(words).all(|(life, words)| life.contains(words)), "{lives:#?}");
    // Revisions 4 and 5 are a put and a delete, before 7.
    let mut lacks = prefix();
    lacks.drain(3..6);
    let gaps = found(vec![lacks, everything()], Guarantee::WatchReliable);
    assert_eq!(gaps.len(), 2, "{gaps:#?}");
    assert!(
        gaps[0].contains("a/1 was put at revision 4") && gaps[1].contains("a/1 was deleted at revision 5")
    );
}

/// Equal numbers are no equal sets where one watch tells as a delete what another one tells as a put.
#[test]
fn a_change_told_in_two_kinds_hides_no_gap() {
    let mut lie = everything();
    news(&mut lie[6]).events = vec![Event { delete: true, ..put(pair("a/1", 0, 7, 0), None) }];
    let puts = changed(|messages| {
        asked(messages).no_delete = true;
        messages.remove(4);
        news(&mut messages[2]).events.remove(1);
    });
    let broken = broken(history(writes(), [vec![lie], puts].concat()));
    let gap = broken.iter().find(|(guarantee, _)| *guarantee == Guarantee::WatchReliable);
    assert!(
        gap.is_some_and(|(_, words)| words.join("\n").contains("a/1 was put at revision 3")),
        "{broken:#?}"
    );
}
