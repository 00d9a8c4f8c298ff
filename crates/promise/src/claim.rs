//! `[[claim]]`: what an experiment is meant to show.
//!
//! A claim changes nothing about any run. It is checked here against the methods of its file, kept
//! beside the run folders ([`run_record::Outline`]), and decided by `reporting` from case rows.

use metrics::{Better, Measure};
use run_record::{Claim, Side};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    accepted::words_of,
    no_prompt::NO_PROMPT,
    plan::{Method, RunPlan},
    prompt_source::PromptSource,
};

/// `[[claim]]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimSpec {
    /// The statement in words, e.g. `IPS beats frozen SAM`.
    pub name: String,
    /// The side that it calls better.
    pub better: SideSpec,
    /// The side that it is compared with.
    pub than: SideSpec,
    /// What is compared: a measure of the protocol of which more is better, `dice` by default.
    #[serde(default)]
    #[schemars(schema_with = "words_of::<Measure>")]
    pub measure: Measure,
    /// If given, the claim is that `better` is not worse by more than this, above 0 and below 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<f64>,
}

/// One side of a claim: `{ method = "ips", prompts = "ground_truth" }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SideSpec {
    /// A method of the file: a variant, or the experiment itself if it has none.
    pub method: String,
    /// A prompt source that the method is evaluated with.
    pub prompts: PromptSource,
}

impl ClaimSpec {
    /// The claim as it is kept beside the run folders.
    pub(crate) fn claim(&self) -> Claim {
        let side = |side: &SideSpec| Side {
            method: side.method.clone(),
            prompts: side.prompts.to_string(),
        };
        Claim {
            name: self.name.clone(),
            better: side(&self.better),
            than: side(&self.than),
            measure: self.measure,
            margin: self.margin,
        }
    }
}

/// What is wrong with a claim.
#[derive(Debug, Clone)]
pub(crate) struct ClaimProblem {
    /// Its place in the list.
    pub(crate) claim: usize,
    /// The key in it.
    pub(crate) key: &'static str,
    /// What is wrong, and what is accepted.
    pub(crate) reason: String,
}

/// What is wrong with claims about these methods, in the order of the claims.
pub(crate) fn problems(claims: &[ClaimSpec], methods: &[Method]) -> Vec<ClaimProblem> {
    let mut problems = Vec::new();
    for (place, claim) in claims.iter().enumerate() {
        let mut wrong = |key, reason| problems.push(ClaimProblem { claim: place, key, reason });
        if claim.name.trim().is_empty() {
            wrong("name", "says nothing".into());
        }
        if claims[..place].iter().any(|other| other.name == claim.name) {
            wrong("name", format!("`{}` is used twice", claim.name));
        }
        if claim.margin.is_some_and(|margin| !(margin > 0.0 && margin < 1.0)) {
            wrong("margin", "must be above 0 and below 1".into());
        }
        if claim.measure.better() == Better::Lower {
            let name = claim.measure.name();
            wrong(
                "measure",
                format!("less of `{name}` is better; a claim is about a measure of which more is"),
            );
        }
        if claim.better == claim.than {
            wrong("than", "is the same as `better`".into());
        }
        let mut unreported = None;
        for (key, side) in [("better", &claim.better), ("than", &claim.than)] {
            match check_side(side, methods) {
                Err(reason) => wrong(key, reason),
                Ok(method) => {
                    let protocol = method.spec.evaluate.protocol.0;
                    if !protocol.measures().contains(&claim.measure) {
                        unreported = Some(protocol);
                    }
                }
            }
        }
        if let Some(protocol) = unreported {
            let name = claim.measure.name();
            wrong("measure", format!("protocol `{protocol}` does not report `{name}`"));
        }
    }
    problems
}

/// The method of a side, which is evaluated with its prompt source.
fn check_side<'a>(side: &SideSpec, methods: &'a [Method]) -> Result<&'a Method, String> {
    let quoted = |names: Vec<String>| -> String {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        names.join(", ")
    };
    let Some(method) = methods.iter().find(|method| method.name == side.method) else {
        let known = quoted(methods.iter().map(|method| method.name.clone()).collect());
        return Err(format!("unknown method `{}`, expected one of {known}", side.method));
    };
    let has_module = method.spec.prompt.module != NO_PROMPT;
    let usable = |source: &&PromptSource| has_module || **source != PromptSource::Auto;
    let known: Vec<&PromptSource> = method.spec.evaluate.prompts.iter().filter(usable).collect();
    if known.contains(&&side.prompts) {
        return Ok(method);
    }
    let known = quoted(known.into_iter().map(PromptSource::to_string).collect());
    let (method, prompts) = (&side.method, side.prompts);
    Err(format!("`{method}` is not evaluated with `{prompts}`, expected one of {known}"))
}

/// The methods of some runs, each once, in the order of the file.
pub(crate) fn methods(runs: &[RunPlan]) -> Vec<String> {
    let mut methods: Vec<String> = Vec::new();
    for run in runs {
        if !methods.contains(&run.method) {
            methods.push(run.method.clone());
        }
    }
    methods
}

#[cfg(test)]
mod tests {
    use std::{error::Error as _, fs, path::Path};

    use super::*;
    use crate::plan::{Experiment, SpecError};

    const QUICKSTART: &str = include_str!("../../../experiments/quickstart.toml");

    fn load(text: &str, settings: &[&str]) -> Result<Experiment, SpecError> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("experiment.toml");
        fs::write(&path, text).expect("written");
        let settings: Vec<String> = settings.iter().map(|&setting| setting.to_owned()).collect();
        Experiment::load(&path, &settings)
    }

    fn refused(text: &str, settings: &[&str]) -> String {
        let error = load(text, settings).expect_err("refused");
        error.source().map_or_else(|| error.to_string(), |source| source.to_string())
    }

    /// The file without its last claim, and that claim.
    fn last_claim() -> (&'static str, &'static str) {
        QUICKSTART.split_at(QUICKSTART.rfind("[[claim]]").expect("claims"))
    }

    /// How a problem with a key of the last claim begins.
    fn place(key: &str) -> String {
        let (before, claim) = last_claim();
        let line = claim.lines().position(|line| line.starts_with(key)).expect("a key") + 1;
        format!("line {}, column 1, `claim.{key}`", before.lines().count() + line)
    }

    #[test]
    fn an_unknown_method_is_refused_with_the_known_ones_and_its_line() {
        let (before, claim) = last_claim();
        let text = refused(&format!("{before}{}", claim.replacen("apm_ips", "apm_isp", 1)), &[]);
        assert!(text.starts_with(&place("better")), "{text}");
        assert!(text.contains("`claim.better`: of `After training"), "{text}");
        let known = "unknown method `apm_isp`, expected one of `frozen`, `apm`, `ips`, `apm_ips`";
        assert!(text.contains(known), "{text}");
    }

    #[test]
    fn prompts_that_a_method_is_not_evaluated_with_are_refused() {
        let (before, claim) = last_claim();
        let replaced = claim.replace(
            "method = \"apm_ips\", prompts = \"auto\"",
            "method = \"ips\", prompts = \"auto\"",
        );
        let text = refused(&format!("{before}{replaced}"), &[]);
        assert!(text.starts_with(&place("than")), "{text}");
        assert!(
            text.contains("`ips` is not evaluated with `auto`, expected one of `ground_truth`, `grid`, `center`"),
            "{text}"
        );
        let fewer = QUICKSTART.replace(", \"grid\", \"center\"]", "]");
        let text = refused(&fewer, &[]);
        assert!(text.contains("`frozen` is not evaluated with `grid`"), "{text}");
        assert!(text.contains("`frozen` is not evaluated with `center`"), "all at once: {text}");
    }

    #[test]
    fn a_claim_about_what_only_a_setting_took_away_stays() {
        let fewer_prompts = "evaluate.prompts=[\"auto\", \"ground_truth\"]";
        for settings in [&[fewer_prompts][..], &["prompt={ module = \"none\" }"], &[]] {
            let loaded = load(QUICKSTART, settings).expect("valid");
            assert_eq!(loaded.outline().claims.len(), 6, "{settings:?}");
        }
    }

    #[test]
    fn a_claim_that_is_wrong_in_the_file_is_refused_whatever_is_set() {
        let (before, claim) = last_claim();
        let typo = format!("{before}{}", claim.replacen("apm_ips", "apm_isp", 1));
        let settings = ["evaluate.prompts=[\"auto\", \"ground_truth\"]"];
        let text = refused(&typo, &settings);
        assert!(text.starts_with(&place("better")), "{text}");
        assert!(text.contains("unknown method `apm_isp`"), "{text}");
        assert!(!text.contains("`grid`"), "only what is wrong without the setting: {text}");
        // What a setting adds may be claimed.
        let fewer = QUICKSTART.replace(", \"center\"]", "]");
        assert!(refused(&fewer, &[]).contains("`frozen` is not evaluated with `center`"));
        let added = "evaluate.prompts=[\"auto\", \"ground_truth\", \"grid\", \"center\"]";
        assert_eq!(load(&fewer, &[added]).expect("valid").claims.len(), 6);
    }

    #[test]
    fn typos_in_a_claim_are_refused_with_the_accepted_names() {
        let (before, claim) = last_claim();
        for (from, to, expected) in [
            ("better =", "beter =", "unknown key `beter`"),
            ("prompts = \"auto\"", "prompts = \"automatic\"", "`ground_truth`"),
            ("prompts = \"auto\"", "prompt = \"auto\"", "unknown key `prompt`"),
            ("than =", "measure = \"Dice\"\nthan =", "expected one of `dice`, `iou`"),
        ] {
            let text = refused(&format!("{before}{}", claim.replacen(from, to, 1)), &[]);
            assert!(text.contains(expected) && text.contains("line "), "{to}: {text}");
        }
    }

    #[test]
    fn claims_that_say_nothing_are_refused() {
        let (before, claim) = last_claim();
        for (from, to, expected) in [
            ("prompts = \"auto\"", "prompts = \"ground_truth\"", "is the same as `better`"),
            ("than =", "margin = 0.0\nthan =", "must be above 0 and below 1"),
            ("than =", "margin = nan\nthan =", "must be above 0 and below 1"),
            ("than =", "measure = \"mae\"\nthan =", "less of `mae` is better"),
            (
                "than =",
                "measure = \"s_measure\"\nthan =",
                "protocol `default` does not report `s_measure`",
            ),
            (
                "After training, oracle points beat automatic ones",
                "APM + IPS is at least as good as APM alone",
                "is used twice",
            ),
            ("After training, oracle points beat automatic ones", " ", "says nothing"),
        ] {
            let text = refused(&format!("{before}{}", claim.replacen(from, to, 1)), &[]);
            assert!(text.contains(expected), "{to}: {text}");
        }
        let text = refused(QUICKSTART, &["claim=[]"]);
        assert!(text.contains("cannot be set"), "{text}");
    }

    #[test]
    fn claims_are_no_settings_of_a_run() {
        let start = QUICKSTART.find("\n# What the runs are meant to show").expect("claims");
        let with = load(QUICKSTART, &[]).expect("valid");
        let without = load(&QUICKSTART[..start], &[]).expect("valid");
        assert_eq!((with.claims.len(), without.claims.len()), (6, 0));
        for (with, without) in with.runs.iter().zip(&without.runs) {
            assert_eq!(with.sha256(), without.sha256());
            assert!(with.spec.claims.is_empty());
        }
        let outline = with.outline();
        assert_eq!(outline.methods, ["frozen", "apm", "ips", "apm_ips"]);
        assert_eq!(
            outline.claims[2].better,
            Side { method: "ips".into(), prompts: "ground_truth".into() }
        );
        assert_eq!((outline.claims[2].margin, outline.claims[3].margin), (None, Some(0.01)));
    }

    #[test]
    fn the_quickstart_with_three_seeds_is_the_quickstart() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../experiments/main/quickstart_3_seeds.toml");
        let text = fs::read_to_string(path).expect("the file");
        let [mut one, mut three] =
            [QUICKSTART, &text].map(|text| text.parse::<toml::Table>().expect("TOML"));
        let seeds = three.remove("seeds").expect("seeds");
        assert_eq!(seeds.as_array().map(Vec::len), Some(3));
        for key in ["name", "seeds"] {
            one.remove(key);
            three.remove(key);
        }
        assert_eq!(one, three);
    }
}
