//! HTML of texts, and of the Markdown that this crate writes.

/// Text inside an element or an attribute in double quotes.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Tags that this crate's Markdown has; every other `<` is text.
const TAGS: [&str; 4] = ["<sup>", "</sup>", "<ins>", "</ins>"];

/// The Markdown of tables and claims as HTML, so that a page says what the files say.
///
/// It knows what this crate writes: paragraphs, tables, lists, code, bold, and escapes.
pub(super) fn from_markdown(markdown: &str) -> String {
    let mut html = String::new();
    let mut lines = markdown.lines().peekable();
    while let Some(line) = lines.next() {
        if line.starts_with('|') {
            let head = cells(line);
            let numbers: Vec<bool> = lines
                .next()
                .map(|rule| cells(rule).iter().map(|cell| cell.ends_with(':')).collect())
                .unwrap_or_default();
            html.push_str("<div class=\"wide\"><table>\n<thead>");
            row(&mut html, "th", &head, &numbers);
            html.push_str("</thead>\n<tbody>\n");
            while let Some(line) = lines.next_if(|line| line.starts_with('|')) {
                row(&mut html, "td", &cells(line), &numbers);
            }
            html.push_str("</tbody>\n</table></div>\n");
        } else if let Some(item) = line.strip_prefix("- ") {
            html.push_str(&format!("<ul>\n<li>{}</li>\n", inline(item)));
            while let Some(item) = lines.next_if(|line| line.starts_with("- ")) {
                html.push_str(&format!("<li>{}</li>\n", inline(&item[2..])));
            }
            html.push_str("</ul>\n");
        } else if !line.trim().is_empty() {
            html.push_str(&format!("<p>{}</p>\n", inline(line)));
        }
    }
    html
}

fn row(html: &mut String, tag: &str, cells: &[String], numbers: &[bool]) {
    html.push_str("<tr>");
    for (i, cell) in cells.iter().enumerate() {
        let class = if numbers.get(i) == Some(&true) { " class=\"number\"" } else { "" };
        html.push_str(&format!("<{tag}{class}>{}</{tag}>", inline(cell)));
    }
    html.push_str("</tr>\n");
}

/// The cells of a line of a table: a bar after a backslash is text.
fn cells(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut chars = line.trim().trim_start_matches('|').chars();
    while let Some(c) = chars.next() {
        let last = cells.len() - 1;
        match c {
            '\\' => {
                cells[last].push('\\');
                cells[last].extend(chars.next());
            }
            '|' => cells.push(String::new()),
            c => cells[last].push(c),
        }
    }
    // What follows the last bar.
    cells.pop();
    cells.iter().map(|cell| cell.trim().to_owned()).collect()
}

fn inline(text: &str) -> String {
    let mut html = String::new();
    let (mut code, mut bold) = (false, false);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(tag) = TAGS.iter().find(|tag| !code && rest.starts_with(**tag)) {
            html.push_str(tag);
            rest = &rest[tag.len()..];
            continue;
        }
        if !code && let Some(after) = rest.strip_prefix("**") {
            html.push_str(if bold { "</strong>" } else { "<strong>" });
            bold = !bold;
            rest = after;
            continue;
        }
        rest = &rest[c.len_utf8()..];
        match c {
            '`' => {
                html.push_str(if code { "</code>" } else { "<code>" });
                code = !code;
            }
            '\\' if !code && rest.starts_with(['|', '\\', '*']) => {
                let escaped = rest.chars().take(1).collect::<String>();
                html.push_str(&escape(&escaped));
                rest = &rest[1..];
            }
            c => html.push_str(&escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    if code {
        html.push_str("</code>");
    }
    if bold {
        html.push_str("</strong>");
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_keeps_its_cells_whatever_stands_in_them() {
        let html = from_markdown("| a | b |\n| --- | ---: |\n| x\\|y <b> | **1** |\n");
        assert!(
            html.contains("<td>x|y &lt;b&gt;</td><td class=\"number\"><strong>1</strong></td>"),
            "{html}"
        );
        assert!(html.contains("<th>a</th><th class=\"number\">b</th>"), "{html}");
    }

    #[test]
    fn code_lists_and_paragraphs_are_told_apart_and_nothing_is_a_tag_but_ours() {
        let html = from_markdown("see `a **b**` & <script>\n\n- one\n- two<sup>\\*</sup>\n");
        assert_eq!(
            html,
            "<p>see <code>a **b**</code> &amp; &lt;script&gt;</p>\n\
             <ul>\n<li>one</li>\n<li>two<sup>*</sup></li>\n</ul>\n"
        );
    }
}
