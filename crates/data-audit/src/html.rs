//! An audit as one HTML page with thumbnails.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use data_loaders::{decode_image, decode_mask, error_chain};
use image::codecs::jpeg::JpegEncoder;
use image::{Rgb, RgbImage, imageops};
use rayon::prelude::*;

use crate::report::{Audit, Duplicate, Item};

/// How many cases or pairs of a list are shown with thumbnails.
const SHOWN: usize = 24;

/// Longer side of a thumbnail in pixels.
const SIDE: u32 = 192;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:76rem;padding:0 1rem}\
table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:.2rem .6rem;text-align:left;\
overflow-wrap:anywhere}.cases{display:flex;flex-wrap:wrap;gap:1rem}figure{margin:0;max-width:26rem}\
figcaption{font-size:.8rem;overflow-wrap:anywhere}img{display:block;max-width:100%}";

impl Audit {
    /// One self-contained page: the tables of [`markdown`](Self::markdown), and thumbnails of what is
    /// suspicious: image beside mask, at most 24 of each kind.
    ///
    /// Reads the files of the thumbnails once more. One that cannot be read has its reason instead.
    pub fn html(&self) -> String {
        let title = format!("Check of {}", escape(&self.data));
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
             <style>{STYLE}</style></head>\n<body><h1>{title}</h1>\n"
        );
        if let Some(warning) = self.refusal_sentence() {
            page.push_str(&format!("<p><b>{}</b></p>\n", escape(&warning)));
        }
        page.push_str(&table(&["what", "number"], &self.summary(), usize::MAX));
        page.push_str("<h2>Splits</h2>\n");
        let header = ["split", "layout", "expected", "found", "usable"];
        page.push_str(&table(&header, &self.split_rows(), usize::MAX));

        for leak in &self.leaks {
            page.push_str(&format!("<h2>Leak: {}</h2>\n", escape(&leak.sentence())));
            if let Some(pairs) = leak.pairs() {
                page.push_str(&duplicates(pairs));
            }
        }
        let mismatches: Vec<&Item> = self.size_mismatches.iter().map(|one| &one.item).collect();
        let turned = self.orientation_mismatches.iter().map(|one| &one.item).collect();
        let dark = self.dark_16_bit_images.iter().map(|one| &one.item).collect();
        for (title, items) in [
            ("Different sizes", mismatches),
            ("EXIF orientations of image and mask differ", turned),
            ("Images of 16 bits below a quarter of white", dark),
            ("Empty masks", self.empty_masks.iter().collect()),
            ("Masks without background", self.full_masks.iter().collect()),
        ] {
            if !items.is_empty() {
                page.push_str(&format!("<h2>{title} ({})</h2>\n", items.len()));
                page.push_str(&cases(&items));
            }
        }
        for (title, pairs) in [
            ("Exact duplicates", &self.exact_duplicates),
            ("Near duplicates", &self.near_duplicates),
        ] {
            if !pairs.is_empty() {
                page.push_str(&format!("<h2>{title} ({})</h2>\n", pairs.len()));
                page.push_str(&duplicates(pairs));
            }
        }
        for (title, header, rows) in self.lists() {
            let has_pictures = title.ends_with("duplicates") || header == ["id", "splits"];
            if !rows.is_empty() && !has_pictures {
                page.push_str(&format!("<h2>{title} ({})</h2>\n", rows.len()));
                page.push_str(&table(header, &rows, 200));
            }
        }
        page.push_str("</body></html>\n");
        page
    }
}

fn duplicates(pairs: &[Duplicate]) -> String {
    let figure = |pair: &Duplicate| {
        format!(
            "<figure>{}{}<figcaption>{}<br>{}<br>{}</figcaption></figure>\n",
            picture(&pair.first),
            picture(&pair.second),
            escape(&pair.first.label()),
            escape(&pair.second.label()),
            escape(&pair.how()),
        )
    };
    let figures: Vec<String> = pairs[..pairs.len().min(SHOWN)].par_iter().map(figure).collect();
    gallery(&figures, pairs.len())
}

fn cases(items: &[&Item]) -> String {
    let figure = |item: &&Item| {
        let (picture, label) = (picture(item), escape(&item.label()));
        format!("<figure>{picture}<figcaption>{label}</figcaption></figure>\n")
    };
    let figures: Vec<String> = items[..items.len().min(SHOWN)].par_iter().map(figure).collect();
    gallery(&figures, items.len())
}

fn gallery(figures: &[String], all: usize) -> String {
    let more = match all - figures.len() {
        0 => String::new(),
        more => rest(more),
    };
    format!("<div class=\"cases\">\n{}</div>\n{more}", figures.concat())
}

/// What stands below the first entries of a list.
fn rest(more: usize) -> String {
    format!("<p>… and {more} more; <code>--json</code> has all</p>\n")
}

fn table(header: &[&str], rows: &[Vec<String>], shown: usize) -> String {
    let cells = |tag: &str, cells: &[String]| -> String {
        cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escape(cell))).collect()
    };
    let header: Vec<String> = header.iter().map(|&cell| cell.to_owned()).collect();
    let mut text = format!("<table><tr>{}</tr>\n", cells("th", &header));
    for row in rows.iter().take(shown) {
        text.push_str(&format!("<tr>{}</tr>\n", cells("td", row)));
    }
    text.push_str("</table>\n");
    match rows.len().saturating_sub(shown) {
        0 => text,
        more => text + &rest(more),
    }
}

/// The image beside itself with its mask in red, or why there is none.
fn picture(item: &Item) -> String {
    match beside_mask(&item.image, &item.mask) {
        Ok(jpeg) => format!(
            "<img alt=\"{}\" src=\"data:image/jpeg;base64,{}\">",
            escape(&item.id),
            STANDARD.encode(jpeg)
        ),
        Err(reason) => format!("<p>{}</p>", escape(&reason)),
    }
}

fn beside_mask(image: &Path, mask: &Path) -> Result<Vec<u8>, String> {
    let image = decode_image(image).map_err(|error| error_chain(&error))?;
    let (width, height) = fitted(image.width(), image.height());
    let small = imageops::thumbnail(&image, width, height);
    drop(image);
    let mask = decode_mask(mask).map_err(|error| error_chain(&error))?.truth;
    if mask.width == 0 || mask.height == 0 {
        return Err("the mask has no pixels".into());
    }
    let mut sheet = RgbImage::new(2 * width, height);
    for (x, y, &pixel) in small.enumerate_pixels() {
        // The mask is stretched, which shows that sizes differ.
        let scaled =
            |at: u32, to: u32, of: u32| (u64::from(at) * u64::from(of) / u64::from(to)) as u32;
        let inside = mask.at(scaled(x, width, mask.width), scaled(y, height, mask.height));
        sheet.put_pixel(x, y, pixel);
        let Rgb([red, green, blue]) = pixel;
        let tinted = Rgb([red / 2 + 127, green / 2, blue / 2]);
        sheet.put_pixel(width + x, y, if inside { tinted } else { pixel });
    }
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, 80)
        .encode_image(&sheet)
        .map_err(|error| error.to_string())?;
    Ok(jpeg)
}

/// The size whose longer side is [`SIDE`], at least 1 x 1.
fn fitted(width: u32, height: u32) -> (u32, u32) {
    let longer = width.max(height).max(1);
    let scaled =
        |side: u32| ((u64::from(side) * u64::from(SIDE) / u64::from(longer)) as u32).max(1);
    (scaled(width), scaled(height))
}

/// Text as HTML text or as the value of an attribute.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter if letter.is_control() => escaped.push('\u{FFFD}'),
            letter => escaped.push(letter),
        }
    }
    escaped
}
