//! Matrix products on the tile unit of recent Intel processors (AMX), to the precision of `f32`.
//!
//! The unit multiplies tiles of `bfloat16`, whose 8 bits of mantissa are too few, at sixteen times and more the
//! rate of AVX-512's `f32`. A number of 24 bits is the sum of three of 8, exactly: `x = h + m + l`. Of the nine products of two such
//! sums the six largest, `hh, hm, mh, hl, lh, mm`, are computed and added in `f32`. What is left out is below `2^-24`
//! of the product, where an `f32` product is rounded anyway. So the results are as exact as those of a product in
//! `f32`, and not the same bits.
//!
//! Packing costs as much as some dozen multiplications by each number, so [`worthwhile`] asks for large matrices. All of SAM's
//! ViT-B at 1024 pixels is; nothing of `micro` is below sixteen images at once (runs encode them one by one), so its results are
//! the same on processors without tiles.
//!
//! Numbers below `2^-103` lose bits, since the unit takes `bfloat16` that are not normal for zero; an infinite number gives NaN.

use std::{cell::Cell, mem, ops::Range, sync::OnceLock};

use rayon::prelude::*;

use super::{matrix::View, vectorized::vectorized};

/// Rows, and columns, of what a tile holds of a result.
const TILE: usize = 16;
/// Numbers along the inner axis in a tile of either factor.
const DEPTH: usize = 32;
/// Side of a block of a result: two by two tiles.
pub(crate) const BLOCK: usize = 2 * TILE;
/// Tiles of a block's factor at one step along the inner axis: two for each of `h`, `m` and `l`.
const STEP: usize = 6;
/// Steps along the inner axis that are packed for a whole panel of rows before the next: it then lies in the second
/// cache.
const STEPS_AT_ONCE: usize = 24;
/// Most rows of a result that a thread computes together: a panel. Also the fewest that are worth the packing of the other
/// factor.
const PANEL: usize = 4 * BLOCK;
/// Multiplications from which packing is worth its while.
const WORTHWHILE: usize = 1 << 30;

/// A row of a tile: sixteen pairs of `bfloat16`, the pair's first number in the low half.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Line([u32; TILE]);

/// Tiles, 16 lines each.
type Lines = Vec<Line>;

/// Whether a product of `[rows, inner]` and `[inner, columns]` is large enough, and this processor has the unit.
pub(crate) fn worthwhile(rows: usize, inner: usize, columns: usize) -> bool {
    let multiplications = rows.saturating_mul(inner).saturating_mul(columns);
    rows >= PANEL && columns >= BLOCK && multiplications >= WORTHWHILE && available()
}

/// Whether processor and system let this process use tiles.
pub(crate) fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(unit::request)
}

/// `out = scale * lhs * rhs`, or `out += scale * lhs * rhs` with `add`, as
/// [`multiply`](super::matrix::multiply), on the threads of rayon's current pool. Their number changes no bit.
///
/// - `finish`: gets whole rows of the result as soon as they are done
///
/// To be called only where tiles are [`available`].
pub(crate) fn multiply(
    out: &mut [f32],
    lhs: View<'_>,
    rhs: View<'_>,
    scale: f32,
    add: bool,
    finish: impl Fn(&mut [f32]) + Sync,
) {
    assert_eq!(lhs.columns, rhs.rows, "inner sizes of a matrix product");
    assert_eq!(out.len(), lhs.rows * rhs.columns, "size of a matrix product");
    let packed = PackedRhs::new(rhs, true);
    let all = steps(rhs.rows);
    out.par_chunks_mut(PANEL * rhs.columns).enumerate().for_each(|(index, out)| {
        let rows = index * PANEL..index * PANEL + out.len() / rhs.columns;
        for first in (0..all).step_by(STEPS_AT_ONCE) {
            let now = first..(first + STEPS_AT_ONCE).min(all);
            let packed_lhs = PackedLhs::new(lhs, rows.clone(), now, scale);
            multiply_packed(out, &packed_lhs, &packed, 0..rhs.columns, add || first > 0);
        }
        finish(out);
    });
}

thread_local! {
    /// Memory for packed factors that a thread has used before.
    static SPARE: Cell<Lines> = const { Cell::new(Vec::new()) };
}

/// Memory that a thread lends, at least as long as it was last time.
struct Lent(Lines);

impl Lent {
    fn new(lines: usize) -> Self {
        let mut memory = SPARE.take();
        if memory.len() < lines {
            memory.resize(lines, Line([0; TILE]));
        }
        Self(memory)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let spare = SPARE.take();
        let memory = mem::take(&mut self.0);
        SPARE.set(if spare.len() > memory.len() { spare } else { memory });
    }
}

/// The right factor, cut into tiles: for every block of columns the steps along the inner axis.
pub(crate) struct PackedRhs {
    memory: Lent,
    inner: usize,
    columns: usize,
}

impl PackedRhs {
    /// Packs a matrix, on rayon's threads if `parallel`.
    pub fn new(rhs: View<'_>, parallel: bool) -> Self {
        let block = steps(rhs.rows) * STEP * TILE;
        let blocks = rhs.columns.div_ceil(BLOCK);
        let mut memory = Lent::new(blocks * block);
        let lines = &mut memory.0[..blocks * block];
        let pack = |(index, lines): (usize, &mut [Line])| pack_rhs(lines, rhs, index * BLOCK);
        if parallel {
            lines.par_chunks_mut(block).enumerate().for_each(pack);
        } else {
            lines.chunks_mut(block).enumerate().for_each(pack);
        }
        Self { memory, inner: rhs.rows, columns: rhs.columns }
    }

    /// The steps of one block of columns.
    fn block(&self, index: usize) -> &[Line] {
        let block = steps(self.inner) * STEP * TILE;
        &self.memory.0[index * block..(index + 1) * block]
    }
}

fn steps(inner: usize) -> usize {
    inner.div_ceil(DEPTH)
}

/// Some rows of the left factor, cut into tiles: for every block of rows some steps along the inner axis.
pub(crate) struct PackedLhs {
    memory: Lent,
    rows: usize,
    steps: Range<usize>,
}

impl PackedLhs {
    /// Packs all steps of `rows`, times `scale`.
    pub fn whole(lhs: View<'_>, rows: Range<usize>, scale: f32) -> Self {
        Self::new(lhs, rows, 0..steps(lhs.columns), scale)
    }

    fn new(lhs: View<'_>, rows: Range<usize>, steps: Range<usize>, scale: f32) -> Self {
        let block = steps.len() * STEP * TILE;
        let blocks = rows.len().div_ceil(BLOCK);
        let mut memory = Lent::new(blocks * block);
        for (index, lines) in memory.0[..blocks * block].chunks_mut(block).enumerate() {
            let row = rows.start + index * BLOCK;
            pack_lhs(lines, lhs, row..rows.end.min(row + BLOCK), steps.start, scale);
        }
        Self { memory, rows: rows.len(), steps }
    }

    fn block(&self, index: usize) -> &[Line] {
        let block = self.steps.len() * STEP * TILE;
        &self.memory.0[index * block..(index + 1) * block]
    }
}

/// Some columns of a product, on the calling thread: `out` is `[rows, columns]` without gaps. It is replaced, or added to with
/// `add`.
///
/// `columns` begin at a multiple of 32.
pub(crate) fn multiply_packed(
    out: &mut [f32],
    lhs: &PackedLhs,
    rhs: &PackedRhs,
    columns: Range<usize>,
    add: bool,
) {
    assert!(lhs.steps.end <= steps(rhs.inner), "inner sizes of a matrix product");
    assert_eq!(out.len(), lhs.rows * columns.len(), "size of a matrix product");
    assert!(columns.start.is_multiple_of(BLOCK) && columns.end <= rhs.columns, "whole blocks");
    let lines = lhs.steps.start * STEP * TILE..lhs.steps.end * STEP * TILE;
    let mut tiles = unit::Tiles::new();
    for left in columns.clone().step_by(BLOCK) {
        let right = &rhs.block(left / BLOCK)[lines.clone()];
        let width = BLOCK.min(columns.end - left);
        for (index, top) in (0..lhs.rows).step_by(BLOCK).enumerate() {
            let height = BLOCK.min(lhs.rows - top);
            let at = top * columns.len() + (left - columns.start);
            let block = Block { values: &mut out[at..], stride: columns.len(), height, width };
            tiles.multiply(lhs.block(index), right, block, add);
        }
    }
}

/// A block of a result: `height` rows of `width` numbers, `stride` apart.
struct Block<'a> {
    values: &'a mut [f32],
    stride: usize,
    height: usize,
    width: usize,
}

/// The three parts of a number, each `bfloat16` in the upper half: `x = h + m + l` but for what is not normal.
#[inline(always)]
fn split(x: f32) -> [u32; 3] {
    const UPPER: u32 = 0xFFFF_0000;
    // To the nearest, so that what is left is half as large and has either sign.
    let nearest = |x: f32| x.to_bits().wrapping_add(0x8000) & UPPER;
    let high = nearest(x);
    let rest = x - f32::from_bits(high);
    let middle = nearest(rest);
    let low = rest - f32::from_bits(middle);
    [high, middle, low.to_bits() & UPPER]
}

/// Each part of two numbers that follow each other along the inner axis, as a pair.
#[inline(always)]
fn pairs(first: f32, second: f32) -> [u32; 3] {
    let (first, second) = (split(first), split(second));
    [0, 1, 2].map(|part| (first[part] >> 16) | second[part])
}

vectorized! {
    /// Packs all steps of the columns from `left` on. A line is a pair along the inner axis of 16 columns.
    fn pack_rhs<'a>(lines: &'a mut [Line], rhs: View<'a>, left: usize) {
        for (step, lines) in lines.chunks_exact_mut(STEP * TILE).enumerate() {
            for pair in 0..TILE {
                let row = step * DEPTH + 2 * pair;
                for half in 0..2 {
                    let column = left + half * TILE;
                    let mut numbers = [[0.0_f32; TILE]; 2];
                    for (at, numbers) in numbers.iter_mut().enumerate() {
                        if row + at < rhs.rows && column < rhs.columns {
                            let begin = (row + at) * rhs.row_stride + column * rhs.column_stride;
                            let there = TILE.min(rhs.columns - column);
                            if rhs.column_stride == 1 && there == TILE {
                                numbers.copy_from_slice(&rhs.values[begin..begin + TILE]);
                            } else {
                                let values = rhs.values[begin..].iter().step_by(rhs.column_stride);
                                numbers.iter_mut().zip(values.take(there)).for_each(|(number, &value)| *number = value);
                            }
                        }
                    }
                    let mut parts = [[0; TILE]; 3];
                    for lane in 0..TILE {
                        let words = pairs(numbers[0][lane], numbers[1][lane]);
                        for part in 0..3 {
                            parts[part][lane] = words[part];
                        }
                    }
                    for (part, words) in parts.into_iter().enumerate() {
                        lines[(2 * part + half) * TILE + pair] = Line(words);
                    }
                }
            }
        }
    }
}

vectorized! {
    /// Packs some steps of at most 32 rows, from step `first` on. A line is 16 pairs along the inner axis of a row.
    fn pack_lhs<'a>(lines: &'a mut [Line], lhs: View<'a>, rows: Range<usize>, first: usize, scale: f32) {
        for (step, lines) in lines.chunks_exact_mut(STEP * TILE).enumerate() {
            let column = (first + step) * DEPTH;
            let there = DEPTH.min(lhs.columns - column);
            for place in 0..BLOCK {
                let row = rows.start + place;
                let mut numbers = [0.0_f32; DEPTH];
                if row < rows.end {
                    let begin = row * lhs.row_stride + column * lhs.column_stride;
                    if lhs.column_stride == 1 && there == DEPTH {
                        numbers.copy_from_slice(&lhs.values[begin..begin + DEPTH]);
                    } else {
                        let values = lhs.values[begin..].iter().step_by(lhs.column_stride);
                        numbers.iter_mut().zip(values.take(there)).for_each(|(number, &value)| *number = value);
                    }
                }
                let mut parts = [[0; TILE]; 3];
                for lane in 0..TILE {
                    let words = pairs(scale * numbers[2 * lane], scale * numbers[2 * lane + 1]);
                    for part in 0..3 {
                        parts[part][lane] = words[part];
                    }
                }
                for (part, words) in parts.into_iter().enumerate() {
                    lines[2 * part * TILE + place] = Line(words);
                }
            }
        }
    }
}

vectorized! {
    /// Adds rows of 32 numbers to rows that are `stride` apart.
    fn add_rows<'a>(sum: &'a [f32], values: &'a mut [f32], stride: usize, height: usize) {
        for row in 0..height {
            let values = &mut values[row * stride..row * stride + BLOCK];
            let sum = &sum[row * BLOCK..(row + 1) * BLOCK];
            for lane in 0..BLOCK {
                values[lane] += sum[lane];
            }
        }
    }
}

/// The instructions.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[allow(unsafe_code)]
mod unit {
    use std::{
        arch::{
            asm,
            x86_64::{__cpuid, __cpuid_count},
        },
        marker::PhantomData,
    };

    use super::{BLOCK, Block, Line, STEP, TILE};

    /// `asm!` that leaves other values in every tile.
    macro_rules! changing_tiles {
        ($($assembly:tt)*) => {
            asm!(
                $($assembly)*
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            )
        };
    }

    /// Asks processor and system.
    pub fn request() -> bool {
        const FEATURES: u32 = 7;
        const TILES_AND_BF16: u32 = (1 << 24) | (1 << 22);
        const SAVED_BY_SYSTEM: u32 = 1 << 27;
        const TILE_STATE: u32 = (1 << 17) | (1 << 18);
        if __cpuid(0).eax < FEATURES
            || __cpuid_count(FEATURES, 0).edx & TILES_AND_BF16 != TILES_AND_BF16
            || __cpuid(1).ecx & SAVED_BY_SYSTEM == 0
        {
            return false;
        }
        let enabled: u32;
        // SAFETY: the instruction exists, since the system saves extended states (OSXSAVE, above). It reads which.
        unsafe {
            asm!("xgetbv", in("ecx") 0, out("eax") enabled, out("edx") _, options(nomem, nostack))
        };
        if enabled & TILE_STATE != TILE_STATE {
            return false;
        }
        // arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA): Linux makes room for tiles only for who asks.
        const ARCH_PRCTL: usize = 158;
        const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
        const XFEATURE_XTILEDATA: usize = 18;
        let answer: isize;
        // SAFETY: a system call that changes nothing but the process's permission, with the registers that it
        // clobbers named.
        unsafe {
            asm!(
                "syscall",
                inlateout("rax") ARCH_PRCTL => answer,
                in("rdi") ARCH_REQ_XCOMP_PERM,
                in("rsi") XFEATURE_XTILEDATA,
                out("rcx") _,
                out("r11") _,
                options(nostack),
            );
        }
        answer == 0
    }

    /// `ldtilecfg`'s operand: eight tiles of 16 rows of 64 bytes.
    #[repr(C, align(64))]
    struct Configuration {
        palette: u8,
        start_row: u8,
        reserved: [u8; 14],
        row_bytes: [u16; 16],
        rows: [u8; 16],
    }

    /// The calling thread's tiles, for as long as this lives.
    pub struct Tiles {
        /// Other threads have tiles of their own.
        not_send: PhantomData<*const ()>,
    }

    impl Tiles {
        pub fn new() -> Self {
            assert!(super::available(), "no tiles on this processor");
            let mut configuration = Configuration {
                palette: 1,
                start_row: 0,
                reserved: [0; 14],
                row_bytes: [0; 16],
                rows: [0; 16],
            };
            configuration.row_bytes[..8].fill(64);
            configuration.rows[..8].fill(TILE as u8);
            // SAFETY: processor and system have the unit, asserted above; the operand has 64 bytes of the documented
            // form.
            unsafe {
                changing_tiles!("ldtilecfg [{}]", in(reg) &raw const configuration, options(nostack, readonly),);
            }
            Self { not_send: PhantomData }
        }

        /// `result = left * right`, or `result += ..` with `add`: the steps of a block of rows and of one of columns.
        pub fn multiply(&mut self, left: &[Line], right: &[Line], result: Block<'_>, add: bool) {
            assert!(
                left.len() == right.len() && left.len().is_multiple_of(STEP * TILE),
                "as many steps on both sides"
            );
            let steps = left.len() / (STEP * TILE);
            let Block { values, stride, height, width } = result;
            if steps == 0 {
                return;
            }
            if !add && (height, width) == (BLOCK, BLOCK) {
                assert!(values.len() >= (BLOCK - 1) * stride + BLOCK, "a block inside its slice");
                let out = values.as_mut_ptr();
                // SAFETY: `left` and `right` have `steps` steps and the block lies inside `values`, asserted above; `new`
                // configured this thread's tiles.
                unsafe { block(left.as_ptr(), right.as_ptr(), steps, out, stride) };
                return;
            }
            // At the edge; and what is added to may be far larger than the terms of the sum, each of which would be rounded
            // to its size.
            let mut sum = [0.0; BLOCK * BLOCK];
            // SAFETY: as above, with a whole block without gaps.
            unsafe { block(left.as_ptr(), right.as_ptr(), steps, sum.as_mut_ptr(), BLOCK) };
            if add && width == BLOCK {
                return super::add_rows(&sum, values, stride, height);
            }
            for (sum, row) in sum.chunks_exact(BLOCK).zip(values.chunks_mut(stride)).take(height) {
                for (value, sum) in row.iter_mut().zip(&sum[..width]) {
                    *value = if add { *value + sum } else { *sum };
                }
            }
        }
    }

    impl Drop for Tiles {
        fn drop(&mut self) {
            // SAFETY: the unit is there, since `new` configured it. Tiles that are not in use cost nothing when the
            // system changes threads.
            unsafe { changing_tiles!("tilerelease", options(nostack),) };
        }
    }

    /// # Safety
    ///
    /// The thread's tiles are configured, `left` and `right` have `steps` steps, at least one, and `result` has 32 rows of
    /// 32 numbers, `stride` numbers apart.
    unsafe fn block(
        left: *const Line,
        right: *const Line,
        steps: usize,
        result: *mut f32,
        stride: usize,
    ) {
        // Tiles 0 to 3 hold the result, 4 and 5 the rows, 6 and 7 the columns. Parts of a factor lie 2048 bytes
        // apart, h, m, l. A part stays where it is while the other factor's change.
        // SAFETY: reads and writes what the caller vouches for, and no register but those named.
        unsafe {
            changing_tiles!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "2:",
                // h l
                "tileloadd tmm4, [{left} + {row}*1]",
                "tileloadd tmm6, [{right} + {row}*1 + 4096]",
                "tileloadd tmm7, [{right} + {row}*1 + 5120]",
                "tileloadd tmm5, [{left} + {row}*1 + 1024]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                // h m
                "tileloadd tmm6, [{right} + {row}*1 + 2048]",
                "tileloadd tmm7, [{right} + {row}*1 + 3072]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                // h h
                "tileloadd tmm6, [{right} + {row}*1]",
                "tileloadd tmm7, [{right} + {row}*1 + 1024]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                // l h
                "tileloadd tmm4, [{left} + {row}*1 + 4096]",
                "tileloadd tmm5, [{left} + {row}*1 + 5120]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                // m h
                "tileloadd tmm4, [{left} + {row}*1 + 2048]",
                "tileloadd tmm5, [{left} + {row}*1 + 3072]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                // m m
                "tileloadd tmm6, [{right} + {row}*1 + 2048]",
                "tileloadd tmm7, [{right} + {row}*1 + 3072]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "add {left}, 6144",
                "add {right}, 6144",
                "dec {steps}",
                "jnz 2b",
                "tilestored [{top} + {gap}*1], tmm0",
                "tilestored [{top} + {gap}*1 + 64], tmm1",
                "tilestored [{bottom} + {gap}*1], tmm2",
                "tilestored [{bottom} + {gap}*1 + 64], tmm3",
                top = in(reg) result,
                bottom = in(reg) result.wrapping_add(TILE * stride),
                gap = in(reg) stride * size_of::<f32>(),
                row = in(reg) size_of::<Line>(),
                left = inout(reg) left => _,
                right = inout(reg) right => _,
                steps = inout(reg) steps => _,
                options(nostack),
            );
        }
    }
}

/// No such instructions.
#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
mod unit {
    use super::{Block, Line};

    pub fn request() -> bool {
        false
    }

    pub struct Tiles;

    impl Tiles {
        pub fn new() -> Self {
            unreachable!("tiles are available nowhere else")
        }

        pub fn multiply(&mut self, _: &[Line], _: &[Line], _: Block<'_>, _: bool) {}
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn random(n: usize, seed: u64) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        // Sizes from a thousandth to a thousand.
        (0..n)
            .map(|_| (rng.random::<f32>() - 0.5) * 10.0_f32.powf(6.0 * rng.random::<f32>() - 3.0))
            .collect()
    }

    /// The sum of products in double precision, and that of their sizes.
    fn exact(lhs: View<'_>, rhs: View<'_>, row: usize, column: usize) -> (f64, f64) {
        let products = (0..lhs.columns).map(|at| {
            let left = lhs.values[row * lhs.row_stride + at * lhs.column_stride];
            let right = rhs.values[at * rhs.row_stride + column * rhs.column_stride];
            f64::from(left) * f64::from(right)
        });
        products.fold((0.0, 0.0), |(sum, sizes), product| (sum + product, sizes + product.abs()))
    }

    /// Compares with the exact sum; the error may be some roundings of the sum of sizes, more for longer sums. Leaving out
    /// one of the six products would cost sixteen where the inner axis is 64.
    fn compare(out: &[f32], lhs: View<'_>, rhs: View<'_>, scale: f32, before: f32) {
        let roundings = 4.0 + lhs.columns as f64 / 250.0;
        for (at, &value) in out.iter().enumerate() {
            let (sum, sizes) = exact(lhs, rhs, at / rhs.columns, at % rhs.columns);
            let expected = f64::from(scale) * sum + f64::from(before);
            let bound = roundings
                * f64::from(f32::EPSILON)
                * (f64::from(scale.abs()) * sizes + f64::from(before.abs()));
            assert!(
                (f64::from(value) - expected).abs() <= bound,
                "{at}: {value} {expected} {bound}"
            );
        }
    }

    /// Numbers whose parts are as large as they can be.
    #[test]
    fn what_is_left_out_is_below_the_rounding_of_a_product() {
        for bits in [0, 1, 0x7FFF, 0x8000, 0xFFFF, 0x7F_FFFF, 0x40_8080, 0x55_5555] {
            let x = f32::from_bits(1.0_f32.to_bits() + bits);
            let [_, middle, low] = split(x).map(|part| f64::from(f32::from_bits(part)));
            let left_out = 2.0 * middle * low + low * low;
            let bound = f64::from(x) * f64::from(x) / f64::from(1 << 24);
            assert!(left_out.abs() <= bound, "{x}: {left_out} {bound}");
        }
    }

    #[test]
    fn three_parts_of_eight_bits_are_the_number() {
        for x in random(1000, 1) {
            let parts = split(x);
            assert!(parts.iter().all(|part| part & 0xFFFF == 0));
            let [high, middle, low] = parts.map(f32::from_bits);
            assert_eq!(high + (middle + low), x);
            assert_eq!(f64::from(high) + f64::from(middle) + f64::from(low), f64::from(x));
        }
    }

    /// What the unit does, without it: packed tiles are multiplied one pair at a time.
    fn by_hand(left: &[Line], right: &[Line], row: usize, column: usize) -> f64 {
        let number = |word: u32, second: bool| {
            f64::from(f32::from_bits(if second { word & 0xFFFF_0000 } else { word << 16 }))
        };
        let mut sum = 0.0;
        for (left, right) in left.chunks(STEP * TILE).zip(right.chunks(STEP * TILE)) {
            for (part, other) in [(0, 0), (0, 1), (1, 0), (0, 2), (2, 0), (1, 1)] {
                for pair in 0..TILE {
                    let left = left[2 * part * TILE + row].0[pair];
                    let half = column / TILE;
                    let right = right[(2 * other + half) * TILE + pair].0[column % TILE];
                    sum += number(left, false) * number(right, false);
                    sum += number(left, true) * number(right, true);
                }
            }
        }
        sum
    }

    #[test]
    fn packed_tiles_multiply_to_the_product_on_any_processor() {
        let (rows, inner, columns) = (40, 70, 45);
        let (left, right) = (random(rows * inner, 2), random(inner * columns, 3));
        let lhs = View::new(&left, rows, inner);
        for transposed in [false, true] {
            let rhs = match transposed {
                false => View::new(&right, inner, columns),
                true => View::new(&right, columns, inner).transposed(),
            };
            let packed = PackedRhs::new(rhs, false);
            let mut lines = vec![Line([0; TILE]); steps(inner) * STEP * TILE];
            for top in [0, BLOCK] {
                pack_lhs(&mut lines, lhs, top..rows.min(top + BLOCK), 0, 1.0);
                for (row, column) in [(0, 0), (7, 31), (3, 40), (5, 12)] {
                    let found = by_hand(&lines, packed.block(column / BLOCK), row, column % BLOCK);
                    let (sum, sizes) = exact(lhs, rhs, top + row, column);
                    // What is left out is below 2^-24 of each product, three times.
                    assert!(
                        (found - sum).abs() <= 3.0 * sizes / f64::from(1 << 24),
                        "{found} {sum}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_product_on_tiles_is_as_exact_as_one_in_f32() {
        if !available() {
            eprintln!("skipped: this processor has no tiles");
            return;
        }
        // Whole blocks and not, several panels, more steps than are done at once.
        for (rows, inner, columns) in [(128, 64, 64), (1, 1, 1), (161, 40, 33), (300, 1000, 70)] {
            let (left, right) = (random(rows * inner, 4), random(inner * columns, 5));
            let (lhs, rhs) = (View::new(&left, rows, inner), View::new(&right, inner, columns));
            let turned = View::new(&left, inner, rows).transposed();
            for (lhs, scale, add) in [(lhs, 1.0, false), (lhs, 0.5, true), (turned, 1.0, true)] {
                let mut out = vec![0.75; rows * columns];
                multiply(&mut out, lhs, rhs, scale, add, |_| ());
                compare(&out, lhs, rhs, scale, if add { 0.75 } else { 0.0 });
            }
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        if !available() {
            eprintln!("skipped: this processor has no tiles");
            return;
        }
        let (rows, inner, columns) = (700, 96, 80);
        let (left, right) = (random(rows * inner, 6), random(inner * columns, 7));
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let mut out = vec![0.0; rows * columns];
            pool.expect("threads").install(|| {
                let rhs = View::new(&right, inner, columns);
                multiply(&mut out, View::new(&left, rows, inner), rhs, 1.0, false, |_| ());
            });
            out
        };
        assert_eq!(run(1), run(3));
    }
}
