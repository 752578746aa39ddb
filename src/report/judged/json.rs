//! Verdicts on histories for machines. Its fields are described in `docs/check.md`; the version is raised whenever a
//! reader of the old would misunderstand the new.

use serde::Serialize;

use super::{Figures, Judged, Summary, worst};
use crate::{
    check::{evidence::Evidence, judgement::Judgement, reduce::Reduced},
    verdict::Verdict,
};

/// The version of the format.
pub const FORMAT_VERSION: u32 = 1;

#[derive(Serialize)]
struct Out<'a> {
    format_version: u32,
    verdict: Summary,
    histories: Vec<SetOut<'a>>,
}

#[derive(Serialize)]
struct SetOut<'a> {
    path: String,
    verdict: Summary,
    #[serde(flatten)]
    figures: Figures,
    read_ms: f64,
    check_ms: f64,
    reduce_ms: f64,
    malformed: &'a [String],
    guarantees: Vec<JudgementOut<'a>>,
}

#[derive(Serialize)]
struct JudgementOut<'a> {
    name: String,
    message: &'static str,
    verdict: Summary,
    reason: Option<&'a str>,
    looked_at: u64,
    evidence: Option<&'a Evidence>,
    others: &'a [Evidence],
    reduced: Option<&'a Reduced>,
}

/// All sets in one document.
pub fn render(all: &[Judged]) -> serde_json::Result<String> {
    let out =
        Out { format_version: FORMAT_VERSION, verdict: worst(all), histories: all.iter().map(set).collect() };
    serde_json::to_string_pretty(&out)
}

fn set(judged: &Judged) -> SetOut<'_> {
    SetOut {
        path: judged.path.display().to_string(),
        verdict: judged.summary(),
        figures: judged.figures,
        read_ms: judged.read_ms,
        check_ms: judged.check_ms,
        reduce_ms: judged.reduce_ms,
        malformed: &judged.malformed,
        guarantees: judged.judgements.iter().map(|of| judgement(judged, of)).collect(),
    }
}

fn judgement<'a>(judged: &'a Judged, judgement: &'a Judgement) -> JudgementOut<'a> {
    JudgementOut {
        name: judgement.guarantee.name(),
        message: judgement.guarantee.message(),
        verdict: Summary::from(&judgement.verdict),
        reason: match &judgement.verdict {
            Verdict::Undecided(reason) => Some(reason),
            Verdict::Holds | Verdict::Broken(_) => None,
        },
        looked_at: judgement.looked_at,
        evidence: judgement.evidence.as_ref(),
        others: &judgement.others,
        reduced: judged.reduced(judgement.guarantee),
    }
}
