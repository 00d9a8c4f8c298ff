//! Pictures of cases, to be filtered by score and by name.

use std::collections::BTreeSet;

use super::html::escape;
use crate::figure::{FigureError, Sample, samples};
use crate::{Run, Scope};

/// Cases on one page, at most; the page says how many there are.
const MAX_CASES: usize = 300;

/// The cards with their controls; nothing if no run has pictures.
pub(super) fn gallery(runs: &[Run], scope: &Scope) -> Result<String, FigureError> {
    let (samples, all) = samples(runs, scope, MAX_CASES)?;
    if samples.is_empty() {
        return Ok(String::new());
    }
    let names = |of: fn(&Sample) -> &str| samples.iter().map(of).collect::<BTreeSet<&str>>();
    let mut html = String::from("<div class=\"controls\">\n");
    for (id, label, value) in [("least", "Dice from", "0"), ("most", "to", "1")] {
        html.push_str(&format!(
            "<label>{label}<input id=\"{id}\" type=\"number\" min=\"0\" max=\"1\" step=\"0.01\" \
             value=\"{value}\"></label>\n"
        ));
    }
    for (id, choices) in [
        ("data", names(|sample| &sample.data)),
        ("method", names(|sample| &sample.method)),
        ("prompts", names(|sample| &sample.prompts)),
    ] {
        let choices: String =
            choices.iter().map(|choice| format!("<option>{}</option>", escape(choice))).collect();
        html.push_str(&format!(
            "<label>{id}<select id=\"{id}\"><option value=\"\">all</option>{choices}</select></label>\n"
        ));
    }
    html.push_str(
        "<label>order<select id=\"order\"><option value=\"\">as evaluated</option>\
         <option value=\"best\">best first</option><option value=\"worst\">worst first</option>\
         </select></label>\n<span id=\"shown\"></span>\n</div>\n",
    );
    if all > samples.len() {
        html.push_str(&format!(
            "<p>The first {} of {all} cases with pictures.</p>\n",
            samples.len()
        ));
    }
    html.push_str(
        "<p>Left the true outline (yellow), right the prediction (blue) with the true outline and the \
         prompts: discs are foreground, crosses background.</p>\n<div class=\"cards\">\n",
    );
    for sample in &samples {
        html.push_str(&card(sample));
    }
    html.push_str("</div>\n");
    Ok(html)
}

fn card(sample: &Sample) -> String {
    let dice = sample.dice.map_or_else(String::new, |dice| dice.to_string());
    let score = |value: Option<f64>| {
        value.map_or_else(|| "undefined".to_owned(), |value| format!("{value:.3}"))
    };
    let oracle = if sample.oracle { " (oracle)" } else { "" };
    format!(
        "<figure class=\"card\" data-dice=\"{dice}\" data-data=\"{}\" data-method=\"{}\" \
         data-prompts=\"{}\">\n<div class=\"pair\">\
         <div><img alt=\"ground truth\" loading=\"lazy\" src=\"data:image/jpeg;base64,{}\"></div>\
         <div><img alt=\"prediction\" loading=\"lazy\" src=\"data:image/jpeg;base64,{}\">{}</div></div>\n\
         <figcaption>{}, {}{oracle}, seed {}: {} {} {} \u{b7} Dice {} \u{b7} IoU {}</figcaption>\n\
         </figure>\n",
        escape(&sample.data),
        escape(&sample.method),
        escape(&sample.prompts),
        sample.truth_jpeg,
        sample.prediction_jpeg,
        sample.prompts_svg,
        escape(&sample.method),
        escape(&sample.prompts),
        sample.seed,
        escape(&sample.data),
        escape(&sample.split),
        escape(&sample.file),
        score(sample.dice),
        score(sample.iou),
    )
}
