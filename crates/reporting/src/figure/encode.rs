//! A drawing as SVG, PNG and PDF, each with the runs that it comes from.

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder, RgbImage};
use pdf_writer::{Content, Finish, Name, Pdf, Rect, Ref, TextStr};
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg;
use svg2pdf::ConversionOptions;

use super::canvas::Drawing;
use super::{FigureError, font};
use crate::provenance::Provenance;

/// Pixels per inch of PNG files: what printers resolve, and what photographs are painted at.
const DPI: f64 = super::canvas::PHOTO_DPI;
/// Millimeters per inch.
const MM_PER_INCH: f64 = 25.4;

/// An SVG document with font, title and metadata.
pub(super) fn svg(drawing: &Drawing, title: &str, provenance: &Provenance) -> String {
    drawing.document(&format!(
        "<title>{}</title>\n<metadata>{}</metadata>\n<style>{}</style>\n",
        xml(title),
        xml(&provenance.text()),
        font::style_sheet(),
    ))
}

/// An SVG element with a title and without a font.
pub(super) fn svg_element(drawing: &Drawing, title: &str) -> String {
    drawing.document(&format!("<title>{}</title>\n", xml(title)))
}

/// A PNG file.
pub(super) fn png(
    drawing: &Drawing,
    title: &str,
    provenance: &Provenance,
) -> Result<Vec<u8>, FigureError> {
    let refused = |reason: String| FigureError::Render { format: "PNG", reason };
    let tree = tree(drawing).map_err(|error| refused(error.to_string()))?;
    let pixels = |points: f64| (points / 72.0 * DPI).round().max(1.0) as u32;
    let (width, height) = (pixels(drawing.size.0), pixels(drawing.size.1));
    let mut pixmap = Pixmap::new(width, height)
        .ok_or_else(|| refused(format!("{width} x {height} pixels are no picture")))?;
    pixmap.fill(resvg::tiny_skia::Color::WHITE);
    let scale = Transform::from_scale(
        width as f32 / tree.size().width(),
        height as f32 / tree.size().height(),
    );
    resvg::render(&tree, scale, &mut pixmap.as_mut());

    // Nothing shines through a white ground, so colors are plain.
    let opaque: Vec<u8> = pixmap
        .pixels()
        .iter()
        .flat_map(|pixel| [pixel.red(), pixel.green(), pixel.blue()])
        .collect();
    let picture =
        RgbImage::from_raw(width, height, opaque).expect("three bytes were taken of every pixel");
    let mut png = Vec::new();
    PngEncoder::new(&mut png)
        .write_image(&picture, width, height, ExtendedColorType::Rgb8)
        .map_err(FigureError::Encode)?;

    let per_meter = (DPI / MM_PER_INCH * 1000.0).round() as u32;
    let mut size = Vec::new();
    size.extend(per_meter.to_be_bytes());
    size.extend(per_meter.to_be_bytes());
    size.push(1); // per meter
    let chunks = [
        chunk(b"pHYs", &size),
        chunk(b"tEXt", &keyword("Title", title)),
        chunk(b"tEXt", &keyword("Source", &provenance.text())),
    ];
    // After the signature (8 bytes) and the header chunk (25).
    png.splice(33..33, chunks.concat());
    Ok(png)
}

/// A keyword of a text chunk and its text. The format knows Latin-1 only.
fn keyword(keyword: &str, text: &str) -> Vec<u8> {
    let mut bytes = keyword.as_bytes().to_vec();
    bytes.push(0);
    for c in text.chars() {
        match u8::try_from(u32::from(c)) {
            Ok(byte) => bytes.push(byte),
            Err(_) => bytes.extend(c.escape_unicode().map(|c| c as u8)),
        }
    }
    bytes
}

/// A chunk of a PNG file: length, type, data, checksum of type and data.
fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut bytes = (data.len() as u32).to_be_bytes().to_vec();
    bytes.extend(kind);
    bytes.extend(data);
    let checksum = crc32fast::hash(&bytes[4..]);
    bytes.extend(checksum.to_be_bytes());
    bytes
}

/// A PDF file of one page.
pub(super) fn pdf(
    drawing: &Drawing,
    title: &str,
    provenance: &Provenance,
) -> Result<Vec<u8>, FigureError> {
    let refused = |reason: String| FigureError::Render { format: "PDF", reason };
    let tree = tree(drawing).map_err(|error| refused(error.to_string()))?;
    let (chunk, drawn) = svg2pdf::to_chunk(&tree, ConversionOptions::default())
        .map_err(|error| refused(error.to_string()))?;

    let mut next = Ref::new(1);
    let [catalog, pages, page, content, info] = std::array::from_fn(|_| next.bump());
    // Objects keep their order behind ours.
    let shift = |old: Ref| Ref::new(old.get() + info.get());
    let chunk = chunk.renumber(shift);
    let drawn = shift(drawn);

    let (width, height) = (drawing.size.0 as f32, drawing.size.1 as f32);
    let name = Name(b"F");
    let mut file = Pdf::new();
    file.catalog(catalog).pages(pages);
    file.pages(pages).kids([page]).count(1);
    let mut sheet = file.page(page);
    sheet.media_box(Rect::new(0.0, 0.0, width, height));
    sheet.parent(pages);
    sheet.contents(content);
    sheet.resources().x_objects().pair(name, drawn);
    sheet.finish();

    // The drawing is a square of one point that is stretched to its size.
    let mut stream = Content::new();
    stream.transform([width, 0.0, 0.0, height, 0.0, 0.0]);
    stream.x_object(name);
    file.stream(content, &stream.finish());
    let mut about = file.document_info(info);
    about.title(TextStr(title));
    // On one line: a text with other signs than printable ASCII is written as numbers.
    about.keywords(TextStr(&provenance.text().replace('\n', "; ")));
    about.producer(TextStr(concat!("reporting ", env!("CARGO_PKG_VERSION"))));
    about.finish();
    file.extend(&chunk);
    let mut bytes = file.finish();
    sort_resources(&mut bytes);
    Ok(bytes)
}

/// Puts the entries of resource dictionaries in order: svg2pdf writes them in the random order of a hash map.
///
/// They are lines like `/xo12 18 0 R` below each other, and a dictionary means the same in any order. Nothing
/// changes its length, so every offset in the file stays true.
fn sort_resources(pdf: &mut Vec<u8>) {
    let mut lines: Vec<&[u8]> = pdf.split_inclusive(|&byte| byte == b'\n').collect();
    let mut start = 0;
    while start < lines.len() {
        let run = lines[start..].iter().take_while(|line| resource(line).is_some()).count();
        lines[start..start + run].sort_by_key(|line| resource(line));
        start += run + 1;
    }
    *pdf = lines.concat();
}

/// Kind and number of the resource that a line names, e.g. `xo` and 12; nothing if it names none.
fn resource(line: &[u8]) -> Option<(&str, u32)> {
    let name = std::str::from_utf8(line).ok()?.trim_start().strip_prefix('/')?.split(' ').next()?;
    let kinds = ["xo", "po", "gs", "sh", "fo", "cs"];
    let kind = kinds.into_iter().find(|kind| name.starts_with(kind))?;
    Some((kind, name[kind.len()..].parse().ok()?))
}

/// The drawing as the renderers read it. Its texts find the font of this crate and no other.
fn tree(drawing: &Drawing) -> Result<usvg::Tree, usvg::Error> {
    let options = usvg::Options {
        font_family: font::FAMILY.to_owned(),
        fontdb: font::database(),
        ..usvg::Options::default()
    };
    usvg::Tree::from_str(&drawing.document(""), &options)
}

/// Text inside an element.
fn xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_sorted_by_number_and_nothing_else_moves() {
        let written = b"<<\n  /XObject <<\n    /xo10 7 0 R\n    /xo2 8 0 R\n  >>\n  /Font <<\n    /fo1 3 0 R\n    \
            /fo0 4 0 R\n  >>\n>>\nstream \xff\n/xo z\nend";
        let mut sorted = written.to_vec();
        sort_resources(&mut sorted);
        let expected = b"<<\n  /XObject <<\n    /xo2 8 0 R\n    /xo10 7 0 R\n  >>\n  /Font <<\n    /fo0 4 0 R\n    \
            /fo1 3 0 R\n  >>\n>>\nstream \xff\n/xo z\nend";
        assert_eq!(sorted, expected);
    }

    #[test]
    fn text_beyond_latin_1_is_written_as_its_number() {
        assert_eq!(keyword("Title", "\u{e9} \u{2192}"), b"Title\0\xe9 \\u{2192}");
    }
}
