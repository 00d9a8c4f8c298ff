use image::{RgbImage, imageops};
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let files = &a[2..];
    let mut out = RgbImage::new(512, 128 * (files.len() as u32).div_ceil(2));
    for (i, f) in files.iter().enumerate() {
        let im = image::open(f).unwrap().into_rgb8();
        let im = imageops::resize(&im, 254, 126, imageops::FilterType::Triangle);
        imageops::replace(&mut out, &im, (i as i64 % 2) * 256, (i as i64 / 2) * 128);
    }
    out.save(&a[1]).unwrap();
}
