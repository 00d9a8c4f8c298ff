//! One self-contained HTML page about runs: tables, claims, figures, pictures, settings, sources.

mod gallery;
mod html;

use std::collections::{BTreeMap, BTreeSet};

use crate::figure::style_sheet;
use crate::{
    ClaimReport, FigureError, FigureKind, FigureOptions, PaperTable, Provenance, ResultTable, Run,
    Scope, TableError, TableOptions,
};

use self::gallery::gallery;
use self::html::{escape, from_markdown};

const STYLE: &str = include_str!("../assets/report.css");
const SCRIPT: &str = include_str!("../assets/report.js");

/// A page about runs.
///
/// It asks nothing of the network: style, script, font, figures and pictures are inside, and a content
/// security policy forbids the rest. The same runs give the same bytes.
#[derive(Debug, Clone)]
pub struct Report {
    title: String,
    sections: Vec<Section>,
    provenance: Provenance,
}

#[derive(Debug, Clone)]
struct Section {
    /// Name of the anchor.
    id: &'static str,
    title: &'static str,
    html: String,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The results make no table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A figure, or a picture of a case, cannot be made.
    #[error(transparent)]
    Figure(#[from] FigureError),
}

impl Report {
    /// Makes the page.
    ///
    /// A figure that these runs have nothing for is left out, and the page says why.
    ///
    /// # Errors
    ///
    /// [`ReportError::Table`] if results must not be compared (see [`ResultTable::new`]) or claims cannot be
    /// decided, [`ReportError::Figure`] if a file or picture of a run is broken.
    pub fn new(runs: &[Run], scope: &Scope) -> Result<Self, ReportError> {
        let options = TableOptions { scope: scope.clone(), ..TableOptions::default() };
        let experiments: BTreeSet<&str> =
            runs.iter().map(|run| run.record.experiment.as_str()).collect();
        let experiments: Vec<&str> = experiments.into_iter().collect();
        let all: Vec<&Run> = runs.iter().collect();

        let mut sections = vec![
            section(
                "results",
                "Results",
                from_markdown(&ResultTable::new(runs, &options)?.markdown()),
            ),
            section(
                "paper",
                "As a paper",
                from_markdown(&PaperTable::new(runs, &options)?.markdown()),
            ),
        ];
        let claims: String = ClaimReport::new(runs, scope)?
            .iter()
            .map(|one| from_markdown(&one.markdown()))
            .collect();
        if !claims.is_empty() {
            sections.push(section("claims", "Claims", claims));
        }
        sections.push(section("figures", "Figures", figures(runs, scope)?));
        let pictures = gallery(runs, scope)?;
        if !pictures.is_empty() {
            sections.push(section("gallery", "Gallery", pictures));
        }
        sections.push(section("settings", "Settings", settings(runs)));
        sections.push(section("environment", "Environment", environment(runs)));
        Ok(Self {
            title: experiments.join(", "),
            sections,
            provenance: Provenance::new(&all, "report", &scope.options()),
        })
    }

    /// The runs behind the page, and the command that makes it again.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// The page.
    pub fn html(&self) -> String {
        let title = escape(&self.title);
        let links: String = self
            .sections
            .iter()
            .map(|one| format!("<a href=\"#{}\">{}</a>\n", one.id, one.title))
            .collect();
        let sections: String = self
            .sections
            .iter()
            .map(|one| {
                format!(
                    "<section id=\"{}\">\n<h2>{}</h2>\n{}</section>\n",
                    one.id, one.title, one.html
                )
            })
            .collect();
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
             img-src data:; font-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n\
             <title>{title}</title>\n<style>\n{}\n{STYLE}</style>\n</head>\n<body>\n\
             <h1>{title}</h1>\n<p>Made by <code>{}</code></p>\n<nav>\n{links}</nav>\n{sections}\
             <script>\n{SCRIPT}</script>\n</body>\n</html>\n",
            style_sheet(),
            escape(self.provenance.command()),
        )
    }
}

fn section(id: &'static str, title: &'static str, html: String) -> Section {
    Section { id, title, html }
}

/// Every figure that the runs have something for, and why the others are missing.
fn figures(runs: &[Run], scope: &Scope) -> Result<String, ReportError> {
    let mut html = String::from("<div class=\"drawings\">\n");
    let mut missing = String::new();
    // The gallery has the pictures of single cases.
    for &kind in FigureKind::ALL.iter().filter(|kind| **kind != FigureKind::Qualitative) {
        let options = FigureOptions { scope: scope.clone(), ..FigureOptions::default() };
        match kind.draw_with(runs, &options) {
            Ok(figure) => html.push_str(&format!(
                "<figure>\n{}<figcaption>{}. <code>{}</code></figcaption>\n</figure>\n",
                figure.svg_element(),
                escape(kind.summary()),
                escape(figure.provenance().command()),
            )),
            Err(reason) if reason.is_for_want_of_data() => missing.push_str(&format!(
                "<li>{}: {}</li>\n",
                kind.name(),
                escape(&reason.to_string())
            )),
            Err(error) => return Err(error.into()),
        }
    }
    html.push_str("</div>\n");
    if !missing.is_empty() {
        html.push_str(&format!("<h3>Not drawn</h3>\n<ul>\n{missing}</ul>\n"));
    }
    Ok(html)
}

/// The settings of every run; those of runs that share them once.
fn settings(runs: &[Run]) -> String {
    let mut by_text: BTreeMap<&str, Vec<&Run>> = BTreeMap::new();
    let mut without = Vec::new();
    for run in runs {
        match run.settings.as_ref().map(|settings| settings.toml()) {
            Some(toml) if !toml.is_empty() => by_text.entry(toml).or_default().push(run),
            _ => without.push(run.id()),
        }
    }
    let mut groups: Vec<(Vec<&Run>, &str)> =
        by_text.into_iter().map(|(toml, runs)| (runs, toml)).collect();
    groups.sort_by_key(|(runs, _)| runs[0].id());
    let mut html = String::new();
    for (runs, toml) in groups {
        let names: Vec<String> = runs.iter().map(|run| escape(&run.id())).collect();
        html.push_str(&format!(
            "<details>\n<summary>{}</summary>\n<p>SHA-256 <code>{}</code></p>\n<pre>{}</pre>\n\
             </details>\n",
            names.join(", "),
            escape(&runs[0].record.experiment_sha256),
            escape(toml)
        ));
    }
    if !without.is_empty() {
        html.push_str(&format!(
            "<p>No settings were kept with {}.</p>\n",
            escape(&without.join(", "))
        ));
    }
    html
}

/// Where and how every run was made, and its hashes.
fn environment(runs: &[Run]) -> String {
    let mut html = String::from("<div class=\"wide\"><table>\n<thead><tr>");
    let headers = [
        "run",
        "revision",
        "package",
        "Burn",
        "device",
        "threads",
        "system",
        "processor",
        "backbone",
        "weights",
        "frozen tensors",
        "record.json",
        "command",
    ];
    for header in headers {
        html.push_str(&format!("<th>{header}</th>"));
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for run in runs {
        let unknown = || "unknown".to_owned();
        let record = &run.record;
        let of = |value: fn(&run_record::Environment) -> String| {
            run.environment.as_ref().map_or_else(unknown, value)
        };
        let cells = [
            run.id(),
            of(|e| {
                let dirty = if e.dirty == Some(true) { " with changes" } else { "" };
                e.revision.as_ref().map_or_else(|| "none".to_owned(), |r| format!("{r}{dirty}"))
            }),
            of(|e| e.package_version.clone()),
            of(|e| e.burn_version.clone()),
            of(|e| e.device.clone()),
            of(|e| e.threads.to_string()),
            of(|e| e.os.clone()),
            of(|e| e.cpu.clone().unwrap_or_else(|| "unknown".to_owned())),
            record.backbone.variant.clone(),
            record.backbone.weights_sha256.clone(),
            record.frozen_hash_after.clone(),
            run.record_sha256.clone(),
            of(|e| e.command.join(" ")),
        ];
        html.push_str("<tr>");
        for cell in cells {
            html.push_str(&format!("<td>{}</td>", escape(&cell)));
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody>\n</table></div>\n");
    html
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::testing::study;

    /// The page of a study, and the hash of its first record.
    static PAGE: LazyLock<(String, String)> = LazyLock::new(|| {
        let folder = tempfile::tempdir().unwrap();
        let runs = study(folder.path());
        let html = Report::new(&runs, &Scope::default()).unwrap().html();
        (html, runs[0].record_sha256.clone())
    });

    #[test]
    fn the_page_is_whole_and_asks_nothing_of_the_network() {
        let (html, hash) = &*PAGE;
        for id in ["results", "paper", "figures", "gallery", "settings", "environment"] {
            assert!(html.contains(&format!("<section id=\"{id}\">")), "{id} is missing");
            assert!(html.contains(&format!("href=\"#{id}\"")), "{id} has no link");
        }
        // Addresses in attributes are data or anchors; names of XML are no addresses.
        for attribute in ["src=\"", "href=\"", "url("] {
            for rest in html.split(attribute).skip(1) {
                assert!(rest.starts_with("data:") || rest.starts_with('#'), "{}", &rest[..40]);
            }
        }
        assert!(!html.contains("@import") && html.contains("default-src 'none'"));
        assert!(html.contains(hash.as_str()));
        assert!(html.contains("Made by <code>cargo xtask report runs/polyps</code>"));
    }

    #[test]
    fn every_element_that_is_opened_is_closed() {
        let html = &PAGE.0;
        let mut open: Vec<&str> = Vec::new();
        let (before, script) = html.rsplit_once("<script>").unwrap();
        assert_eq!(script.matches("</script>").count(), 1);
        for piece in before.split('<').skip(1) {
            let tag = piece.split('>').next().unwrap();
            let name = tag.trim_start_matches('/').split([' ', '\n']).next().unwrap();
            if tag.starts_with('!')
                || tag.ends_with('/')
                || ["meta", "img", "input", "rect", "image"].contains(&name)
            {
                continue;
            }
            if tag.starts_with('/') {
                assert_eq!(open.pop(), Some(name));
            } else {
                open.push(name);
            }
        }
        assert_eq!(open, ["html", "body"]);
    }

    #[test]
    fn names_from_files_are_text_and_never_elements() {
        let folder = tempfile::tempdir().unwrap();
        let mut runs = study(folder.path());
        let evil = "<img src=x onerror=alert(1)>\"'&";
        for run in &mut runs {
            run.record.experiment = evil.into();
            for panel in &mut run.panels {
                panel.file = evil.into();
            }
            for row in &mut run.record.rows {
                row.method = evil.into();
            }
            run.settings = None;
        }
        // One run only: the others would claim the same rows.
        let html = Report::new(&runs[..1], &Scope::default()).unwrap().html();
        assert!(!html.contains("<img src=x"), "a name became an element");
        assert!(html.contains("&lt;img src=x onerror=alert(1)&gt;"));
    }

    #[test]
    fn cards_carry_what_they_are_filtered_by() {
        let html = &PAGE.0;
        // Six runs with four pictures each.
        assert_eq!(html.matches("<figure class=\"card\"").count(), 24);
        assert!(html.contains(
            "data-dice=\"0.8125\" data-data=\"kvasir\" data-method=\"frozen\" data-prompts=\"grid\""
        ));
        // The third panel has no Dice.
        assert!(html.contains("data-dice=\"\""));
        assert!(html.contains("<option>apm_16_points</option>"));
    }

    #[test]
    fn a_figure_that_cannot_be_drawn_is_named_with_its_reason() {
        let folder = tempfile::tempdir().unwrap();
        let mut runs = study(folder.path());
        runs.truncate(1);
        let html = Report::new(&runs, &Scope::default()).unwrap().html();
        assert!(html.contains("<li>training-curves: none of the 1 runs has a training curve</li>"));
    }

    #[test]
    fn the_same_runs_give_the_same_page_wherever_they_lie() {
        let folder = tempfile::tempdir().unwrap();
        let html = Report::new(&study(folder.path()), &Scope::default()).unwrap().html();
        assert!(html == PAGE.0);
    }
}
