//! The feature cache.

use data_loaders::error_chain;
use feature_cache::FeatureCache;
use promise::memory::gib;

use crate::{Area, Question, Report};

pub(crate) fn examine(question: &Question, report: &mut Report) {
    let folder = &question.cache;
    // Opening makes a cache.
    if !folder.root.exists() {
        report.ok(
            Area::Cache,
            format!("none yet; the first run makes it, up to {}", gib(folder.limit)),
        );
        return;
    }
    let survey = FeatureCache::open(&folder.root, folder.limit).and_then(|cache| cache.survey());
    let survey = match survey {
        Ok(survey) => survey,
        Err(error) => {
            report.problem(
                Area::Cache,
                error_chain(&error),
                "`--cache FOLDER` names another folder, `data.feature_cache = \"off\"` does without",
            );
            return;
        }
    };
    let says = format!(
        "{} entries, {} of {} allowed",
        survey.entries,
        gib(survey.bytes),
        gib(survey.limit)
    );
    match survey.bytes > survey.limit / 10 * 9 {
        true => report.warn(
            Area::Cache,
            format!("{says}: nearly full"),
            "what was not used for longest goes for new features; `--cache-limit` allows more",
        ),
        false => report.ok(Area::Cache, says),
    }
    if survey.unreadable > 0 {
        report.warn(
            Area::Cache,
            format!("{} entries cannot be read", survey.unreadable),
            "`cargo xtask cache verify` says why, and removes those that are damaged; they are computed again",
        );
    }
    for other in survey.other_versions {
        report.warn(
            Area::Cache,
            format!("entries of another version of this program: {}", other.display()),
            "`cargo xtask cache clear` removes them (and all others)",
        );
    }
}
