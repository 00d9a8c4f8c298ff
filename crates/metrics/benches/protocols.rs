//! One 352 x 352 case by each protocol, on one thread: a soft ellipse with some noise around a true one.

use metrics::{Mask, Protocol, SoftMap};

fn main() {
    divan::main();
}

const SIDE: usize = 352;

/// Distance of a pixel from an ellipse's center; 1 at its outline.
fn ellipse(x: usize, y: usize, center: [f64; 2], radii: [f64; 2]) -> f64 {
    ((x as f64 - center[0]) / radii[0]).hypot((y as f64 - center[1]) / radii[1])
}

fn case(width: usize, height: usize) -> SoftMap {
    let at = |i: usize| (i % width * SIDE / width, i / width * SIDE / height);
    let probabilities = (0..width * height)
        .map(|i| {
            let (x, y) = at(i);
            let noise = (i.wrapping_mul(2_654_435_761) >> 7 & 255) as f64 / 255.0 - 0.5;
            let soft =
                1.0 / (1.0 + (6.0 * (ellipse(x, y, [180.0, 160.0], [80.0, 60.0]) - 1.0)).exp());
            (soft + 0.05 * noise).clamp(0.0, 1.0)
        })
        .collect();
    SoftMap::new(width, height, probabilities).expect("a probability each")
}

fn truth() -> Mask {
    let on = |i: usize| ellipse(i % SIDE, i / SIDE, [170.0, 166.0], [70.0, 70.0]) <= 1.0;
    Mask::new(SIDE, SIDE, (0..SIDE * SIDE).map(on).collect()).expect("a pixel each")
}

#[divan::bench(args = Protocol::ALL)]
fn score(bencher: divan::Bencher<'_, '_>, protocol: &Protocol) {
    let truth = truth();
    let (width, height) = protocol.size(SIDE, SIDE);
    let map = case(width, height);
    bencher.bench_local(|| protocol.score(&map, &truth).expect("the sizes agree"));
}
