//! Matrix products on the tile unit of recent Intel processors (AMX), to the precision of `f32` or of `bfloat16`.
//!
//! The unit multiplies tiles of `bfloat16`, whose 8 bits of mantissa are too few, at sixteen times and more the
//! rate of AVX-512's `f32`. A number of 24 bits is the sum of three of 8, exactly: `x = h + m + l`. Of the nine products of two such
//! sums the six largest, `hh, hm, mh, hl, lh, mm`, are computed and added in `f32`. What is left out is below `2^-24`
//! of the product, where an `f32` product is rounded anyway. So the results are as exact as those of a product in
//! `f32`, and not the same bits.
//!
//! Factors that are `bfloat16` already, or may be rounded to it, are one part each and take one product.
//!
//! Packing costs as much as some dozen multiplications by each number, so [`worthwhile`] asks for large matrices. All of SAM's
//! ViT-B at 1024 pixels is; nothing of `micro` is below sixteen images at once (runs encode them one by one), so its results are
//! the same on processors without tiles.
//!
//! The unit takes `bfloat16` that are not normal for zero: numbers below `2^-103` lose bits where they are cut into three, and
//! an infinite one gives NaN.

use std::{cell::RefCell, mem, ops::Range, sync::OnceLock};

use half::{bf16, slice::HalfFloatSliceExt as _};
use rayon::prelude::*;

use super::{factors::bf16_bits, matrix::View, vectorized::vectorized};

/// Rows, and columns, of what a tile holds of a result.
const TILE: usize = 16;
/// Numbers along the inner axis in a tile of either factor.
const DEPTH: usize = 32;
/// Side of a block of a result: two by two tiles.
pub(crate) const BLOCK: usize = 2 * TILE;
/// Steps along the inner axis that are packed for a whole panel of rows before the next: it then lies in the second
/// cache.
const STEPS_AT_ONCE: usize = 24;
/// Blocks of rows whose sums are computed beside each other.
const GROUP: usize = 4;
/// Steps along the inner axis, of factors of one part, by which a group is multiplied before the next: those of a block of
/// columns, those of a block of rows and the group's sums then lie in the first cache.
const STEPS_IN_FIRST_CACHE: usize = 8;
/// Rows that a thread computes together where two products follow each other: what lies between them stays in the second cache.
const PANEL_OF_TWO: usize = 8 * BLOCK;
/// Fewest rows of a result that are worth the packing of the other factor.
const FEWEST_ROWS: usize = 4 * BLOCK;
/// Multiplications from which packing is worth its while.
const WORTHWHILE: usize = 1 << 30;

/// How many `bfloat16` a number of a factor is the sum of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parts {
    /// It is rounded to one.
    One = 1,
    /// `h`, `m` and `l`.
    Three = 3,
}

impl Parts {
    /// Lines of a block's factor at one step along the inner axis: two tiles for each part.
    const fn step(self) -> usize {
        2 * self as usize * TILE
    }

    /// Most rows of a result that a thread computes together: a panel. For each, all of the other factor comes from the third
    /// cache; its own rows stay in the second.
    const fn panel(self) -> usize {
        match self {
            Self::One => 8 * BLOCK,
            Self::Three => 4 * BLOCK,
        }
    }
}

/// A row of a tile: sixteen pairs of `bfloat16`, the pair's first number in the low half.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Line([u32; TILE]);

/// Tiles, 16 lines each.
type Lines = Vec<Line>;

/// Whether a product of `[rows, inner]` and `[inner, columns]` is large enough, and this processor has the unit.
pub(crate) fn worthwhile(rows: usize, inner: usize, columns: usize) -> bool {
    let multiplications = rows.saturating_mul(inner).saturating_mul(columns);
    rows >= FEWEST_ROWS && columns >= BLOCK && multiplications >= WORTHWHILE && wanted()
}

/// Whether there are tiles to be used, unless a test does without.
pub(crate) fn wanted() -> bool {
    #[cfg(test)]
    if WITHOUT.get() {
        return false;
    }
    available()
}

#[cfg(test)]
thread_local! {
    static WITHOUT: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// What `compute` gives on a processor without tiles, if it asks on this thread.
#[cfg(test)]
pub(crate) fn without<T>(compute: impl FnOnce() -> T) -> T {
    WITHOUT.set(true);
    let computed = compute();
    WITHOUT.set(false);
    computed
}

/// Whether processor and system let this process use the tile unit (AMX) for products of `bfloat16`.
pub fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(unit::request)
}

/// `out = scale * lhs * rhs`, or `out += scale * lhs * rhs` with `add`, as
/// [`multiply`](super::matrix::multiply), on the threads of rayon's current pool. Their number changes no bit.
///
/// To be called only where tiles are [`available`].
pub(crate) fn multiply(out: &mut [f32], lhs: View<'_>, rhs: View<'_>, scale: f32, add: bool) {
    multiply_by(out, lhs, &PackedRhs::new(rhs, Parts::Three, true), scale, Write::new(add));
}

/// What becomes of sums.
#[derive(Clone, Copy)]
pub(crate) struct Write<'a> {
    /// Whether they are added to what is there.
    add: bool,
    /// Gets what stands then in a block, before it leaves the first cache: rows of [`BLOCK`] numbers, and the column that the
    /// first of them belongs to. Rows and columns beyond the result hold no numbers of interest.
    finish: Option<Finish<'a>>,
}

type Finish<'a> = &'a (dyn Fn(&mut [f32], usize) + Sync);

impl<'a> Write<'a> {
    pub fn new(add: bool) -> Self {
        Self { add, finish: None }
    }

    pub fn finished(add: bool, finish: Finish<'a>) -> Self {
        Self { add, finish: Some(finish) }
    }
}

/// The same with a right factor that is packed already; the left one is cut into as many parts.
pub(crate) fn multiply_by(
    out: &mut [f32],
    lhs: View<'_>,
    rhs: &PackedRhs,
    scale: f32,
    write: Write<'_>,
) {
    assert_eq!(lhs.columns, rhs.inner, "inner sizes of a matrix product");
    assert_eq!(out.len(), lhs.rows * rhs.columns, "size of a matrix product");
    let (all, panel) = (steps(rhs.inner), rhs.parts.panel());
    out.par_chunks_mut(panel * rhs.columns).enumerate().for_each(|(index, out)| {
        let rows = index * panel..index * panel + out.len() / rhs.columns;
        for first in (0..all).step_by(STEPS_AT_ONCE) {
            let now = first..(first + STEPS_AT_ONCE).min(all);
            let write = Write {
                add: write.add || first > 0,
                finish: write.finish.filter(|_| now.end == all),
            };
            let packed = PackedLhs::new(lhs, rows.clone(), now, rhs.parts, scale);
            multiply_packed(out, &packed, rhs, 0..rhs.columns, write);
        }
    });
}

thread_local! {
    /// Memory for packed factors that a thread has used before.
    static SPARE: RefCell<Vec<Lines>> = const { RefCell::new(Vec::new()) };
}

/// Most packed factors that a thread works with at once.
const MOST_SPARE: usize = 4;

/// Memory that a thread lends, at least as long as it was last time.
struct Lent(Lines);

impl Lent {
    fn new(lines: usize) -> Self {
        let mut memory = SPARE.with_borrow_mut(|spare| {
            // The shortest that is long enough, or else the longest: none grows beyond what it is needed for.
            let fit = |(_, memory): &(usize, &Lines)| {
                let missing = lines.saturating_sub(memory.len());
                (missing, memory.len())
            };
            let best = spare.iter().enumerate().min_by_key(fit).map(|(index, _)| index);
            best.map_or_else(Vec::new, |index| spare.swap_remove(index))
        });
        if memory.len() < lines {
            memory.resize(lines, Line([0; TILE]));
        }
        Self(memory)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let memory = mem::take(&mut self.0);
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < MOST_SPARE {
                spare.push(memory);
            }
        });
    }
}

/// The right factor, cut into tiles: for every block of columns the steps along the inner axis.
pub(crate) struct PackedRhs {
    memory: Lent,
    inner: usize,
    columns: usize,
    parts: Parts,
}

impl PackedRhs {
    /// Packs a matrix, on rayon's threads if `parallel`.
    pub fn new(rhs: View<'_>, parts: Parts, parallel: bool) -> Self {
        let pack = |lines: &mut [Line], left| pack_rhs(lines, rhs, left, parts);
        Self::packed([rhs.rows, rhs.columns], parts, parallel, pack)
    }

    /// Packs a row-major matrix of `rows` rows without gaps, on rayon's threads.
    pub fn of_bf16(rhs: &[bf16], rows: usize) -> Self {
        let bits: &[u16] = rhs.reinterpret_cast();
        let columns = bits.len() / rows.max(1);
        let pack = |lines: &mut [Line], left| pack_bf16_rhs(lines, bits, columns, left);
        Self::packed([rows, columns], Parts::One, true, pack)
    }

    /// `pack`: packs all steps of the columns of a block, from the one given on.
    fn packed(
        [inner, columns]: [usize; 2],
        parts: Parts,
        parallel: bool,
        pack: impl Fn(&mut [Line], usize) + Sync,
    ) -> Self {
        let block = steps(inner) * parts.step();
        let blocks = columns.div_ceil(BLOCK);
        let mut memory = Lent::new(blocks * block);
        let lines = &mut memory.0[..blocks * block];
        let pack = |(index, lines): (usize, &mut [Line])| pack(lines, index * BLOCK);
        if parallel {
            lines.par_chunks_mut(block).enumerate().for_each(pack);
        } else {
            lines.chunks_mut(block).enumerate().for_each(pack);
        }
        Self { memory, inner, columns, parts }
    }

    /// The steps of one block of columns.
    fn block(&self, index: usize) -> &[Line] {
        let block = steps(self.inner) * self.parts.step();
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
    parts: Parts,
}

impl PackedLhs {
    /// Packs all of a matrix, times `scale`.
    pub fn whole(lhs: View<'_>, parts: Parts, scale: f32) -> Self {
        Self::new(lhs, 0..lhs.rows, 0..steps(lhs.columns), parts, scale)
    }

    /// Packs all of a matrix whose columns are those of the product from `first` on, a multiple of 32.
    pub fn beginning_at(first: usize, lhs: View<'_>, parts: Parts) -> Self {
        assert!(first.is_multiple_of(DEPTH), "whole steps");
        let Self { memory, rows, steps, parts } = Self::whole(lhs, parts, 1.0);
        let before = first / DEPTH;
        Self { memory, rows, steps: before..before + steps.len(), parts }
    }

    fn new(
        lhs: View<'_>,
        rows: Range<usize>,
        steps: Range<usize>,
        parts: Parts,
        scale: f32,
    ) -> Self {
        let block = steps.len() * parts.step();
        let blocks = rows.len().div_ceil(BLOCK);
        let mut memory = Lent::new(blocks * block);
        for (index, lines) in memory.0[..blocks * block].chunks_mut(block).enumerate() {
            let row = rows.start + index * BLOCK;
            pack_lhs(lines, lhs, row..rows.end.min(row + BLOCK), steps.start, parts, scale);
        }
        Self { memory, rows: rows.len(), steps, parts }
    }

    /// Room for a matrix that is packed later, all of it.
    fn room(rows: usize, columns: usize, parts: Parts) -> Self {
        let steps = 0..steps(columns);
        let memory = Lent::new(rows.div_ceil(BLOCK) * steps.len() * parts.step());
        Self { memory, rows, steps, parts }
    }

    fn block(&self, index: usize) -> &[Line] {
        let block = self.steps.len() * self.parts.step();
        &self.memory.0[index * block..(index + 1) * block]
    }

    fn block_mut(&mut self, index: usize) -> &mut [Line] {
        let block = self.steps.len() * self.parts.step();
        &mut self.memory.0[index * block..(index + 1) * block]
    }
}

/// Some columns of a product, on the calling thread: `out` is `[rows, columns]` without gaps.
///
/// `columns` begin at a multiple of 32.
pub(crate) fn multiply_packed(
    out: &mut [f32],
    lhs: &PackedLhs,
    rhs: &PackedRhs,
    columns: Range<usize>,
    write: Write<'_>,
) {
    assert_eq!(out.len(), lhs.rows * columns.len(), "size of a matrix product");
    let stride = columns.len();
    multiply_blocks(lhs, rhs, columns.clone(), |last| {
        let (top, left) = (last.top, last.left);
        let values = &mut out[top * stride + (left - columns.start)..];
        let (height, width) = (BLOCK.min(lhs.rows - top), BLOCK.min(columns.end - left));
        let block = Block { values, stride, height, width };
        if block.is_whole() && !write.add && write.finish.is_none() {
            last.multiply_into(block);
        } else {
            block.take(last.multiply(), left, write);
        }
    });
}

/// `out += function(lhs * first) * second`, on the threads of rayon's current pool, whose number changes no bit. What lies
/// between the products is rounded to one part and never leaves the second cache.
///
/// - `between`: the function, given a block at a time as to [`Write::finished`]; of 0 it is 0
/// - `finish`: as in [`Write::finished`]
///
/// # Panics
///
/// Panics unless both right factors are of one part and as large as they must be: a bug in the caller.
pub(crate) fn multiply_twice(
    out: &mut [f32],
    lhs: View<'_>,
    [first, second]: [&PackedRhs; 2],
    between: Finish<'_>,
    finish: Finish<'_>,
) {
    assert_eq!((lhs.columns, first.columns), (first.inner, second.inner), "sizes of both products");
    assert_eq!(out.len(), lhs.rows * second.columns, "size of a matrix product");
    assert_eq!([first.parts, second.parts], [Parts::One; 2], "parts of the factors");
    out.par_chunks_mut(PANEL_OF_TWO * second.columns).enumerate().for_each(|(index, out)| {
        let top = index * PANEL_OF_TWO;
        let rows = top..top + out.len() / second.columns;
        let all = 0..steps(lhs.columns);
        let packed = PackedLhs::new(lhs, rows.clone(), all, Parts::One, 1.0);
        let mut hidden = PackedLhs::room(rows.len(), first.columns, Parts::One);
        multiply_blocks(&packed, first, 0..first.columns, |last| {
            let (top, left) = (last.top, last.left);
            let Sum(sum) = last.multiply();
            between(sum, left);
            let there = BLOCK.min(rows.len() - top);
            let step = left / DEPTH * Parts::One.step();
            let lines = &mut hidden.block_mut(top / BLOCK)[step..step + Parts::One.step()];
            pack_lhs(lines, View::new(sum, BLOCK, BLOCK), 0..there, 0, Parts::One, 1.0);
        });
        let write = Write::finished(true, finish);
        multiply_packed(out, &hidden, second, 0..second.columns, write);
    });
}

/// The last of the steps that make a block of a product.
struct LastSteps<'a> {
    tiles: &'a mut unit::Tiles,
    factors: [&'a [Line]; 2],
    parts: Parts,
    go_on: bool,
    sum: &'a mut Sum,
    /// Row and column of the block.
    top: usize,
    left: usize,
}

impl<'a> LastSteps<'a> {
    fn multiply(self) -> &'a mut Sum {
        self.tiles.multiply(self.factors, self.parts, self.go_on, self.sum);
        self.sum
    }

    /// To a whole block, without a way round.
    fn multiply_into(self, block: Block<'_>) {
        let before = self.go_on.then_some(&*self.sum);
        self.tiles.multiply_into_block(self.factors, self.parts, before, block);
    }
}

/// Multiplies block by block, on the calling thread; `done` makes the last steps of each, in columns that begin at a multiple
/// of 32.
fn multiply_blocks(
    lhs: &PackedLhs,
    rhs: &PackedRhs,
    columns: Range<usize>,
    mut done: impl FnMut(LastSteps<'_>),
) {
    assert_eq!(lhs.parts, rhs.parts, "parts of both factors");
    assert!(lhs.steps.end <= steps(rhs.inner), "inner sizes of a matrix product");
    assert!(columns.start.is_multiple_of(BLOCK) && columns.end <= rhs.columns, "whole blocks");
    let (parts, step) = (lhs.parts, lhs.parts.step());
    let lines = lhs.steps.start * step..lhs.steps.end * step;
    let at_once = match parts {
        Parts::One => STEPS_IN_FIRST_CACHE * step,
        // Each line is multiplied six times: the second cache is near enough.
        Parts::Three => lines.len(),
    };
    let mut tiles = unit::Tiles::new();
    let mut sums = [const { Sum::ZERO }; GROUP];
    for left in columns.step_by(BLOCK) {
        let right = &rhs.block(left / BLOCK)[lines.clone()];
        for group in (0..lhs.rows).step_by(GROUP * BLOCK) {
            for first in (0..right.len()).step_by(at_once.max(1)) {
                let now = first..(first + at_once).min(right.len());
                for (top, sum) in (group..lhs.rows).step_by(BLOCK).zip(&mut sums) {
                    let factors = [&lhs.block(top / BLOCK)[now.clone()], &right[now.clone()]];
                    let go_on = first > 0;
                    if now.end < right.len() {
                        tiles.multiply(factors, parts, go_on, sum);
                    } else {
                        let tiles = &mut tiles;
                        done(LastSteps { tiles, factors, parts, go_on, sum, top, left });
                    }
                }
            }
        }
    }
}

/// The sums of a block, without gaps.
#[repr(C, align(64))]
struct Sum([f32; BLOCK * BLOCK]);

impl Sum {
    const ZERO: Self = Self([0.0; BLOCK * BLOCK]);
}

/// A block of a result: `height` rows of `width` numbers, `stride` apart.
struct Block<'a> {
    values: &'a mut [f32],
    stride: usize,
    height: usize,
    width: usize,
}

impl Block<'_> {
    fn is_whole(&self) -> bool {
        (self.height, self.width) == (BLOCK, BLOCK)
    }

    /// Writes sums, of columns from `left` on. What they are added to may be far larger than the terms of a sum, so these are
    /// added up first.
    fn take(self, Sum(sum): &mut Sum, left: usize, write: Write<'_>) {
        let Self { values, stride, height, width } = self;
        if write.add && width == BLOCK {
            add_rows(sum, values, stride, height);
        } else if write.add {
            for (sum, row) in rows_of(sum, width, height).zip(values.chunks(stride)) {
                sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
            }
        }
        if let Some(finish) = write.finish {
            finish(sum, left);
        }
        for (sum, row) in rows_of(sum, width, height).zip(values.chunks_mut(stride)) {
            row[..width].copy_from_slice(sum);
        }
    }
}

/// The rows of a block that belong to a result.
fn rows_of(
    sum: &mut [f32; BLOCK * BLOCK],
    width: usize,
    height: usize,
) -> impl Iterator<Item = &mut [f32]> {
    sum.chunks_exact_mut(BLOCK).map(move |row| &mut row[..width]).take(height)
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
    fn pack_rhs<'a>(lines: &'a mut [Line], rhs: View<'a>, left: usize, parts: Parts) {
        for (step, lines) in lines.chunks_exact_mut(parts.step()).enumerate() {
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
                    if parts == Parts::One {
                        let mut words = [0; TILE];
                        for lane in 0..TILE {
                            words[lane] = (bf16_bits(numbers[0][lane]) >> 16) | bf16_bits(numbers[1][lane]);
                        }
                        lines[half * TILE + pair] = Line(words);
                        continue;
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
    /// The same of a row-major matrix that is `bfloat16` already.
    fn pack_bf16_rhs<'a>(lines: &'a mut [Line], rhs: &'a [u16], columns: usize, left: usize) {
        let rows = rhs.len() / columns;
        for (step, lines) in lines.chunks_exact_mut(Parts::One.step()).enumerate() {
            for pair in 0..TILE {
                let row = step * DEPTH + 2 * pair;
                for half in 0..2 {
                    let column = left + half * TILE;
                    let mut numbers = [[0_u16; TILE]; 2];
                    for (at, numbers) in numbers.iter_mut().enumerate() {
                        if row + at < rows && column < columns {
                            let begin = (row + at) * columns + column;
                            let there = TILE.min(columns - column);
                            if there == TILE {
                                numbers.copy_from_slice(&rhs[begin..begin + TILE]);
                            } else {
                                numbers[..there].copy_from_slice(&rhs[begin..begin + there]);
                            }
                        }
                    }
                    let mut words = [0; TILE];
                    for lane in 0..TILE {
                        words[lane] = u32::from(numbers[0][lane]) | (u32::from(numbers[1][lane]) << 16);
                    }
                    lines[half * TILE + pair] = Line(words);
                }
            }
        }
    }
}

vectorized! {
    /// Packs some steps of at most 32 rows, from step `first` on. A line is 16 pairs along the inner axis of a row.
    fn pack_lhs<'a>(lines: &'a mut [Line], lhs: View<'a>, rows: Range<usize>, first: usize, parts: Parts, scale: f32) {
        for (step, lines) in lines.chunks_exact_mut(parts.step()).enumerate() {
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
                if parts == Parts::One {
                    let mut halves = [0_u16; DEPTH];
                    for lane in 0..DEPTH {
                        halves[lane] = (bf16_bits(scale * numbers[lane]) >> 16) as u16;
                    }
                    let mut words = [0; TILE];
                    for lane in 0..TILE {
                        words[lane] = u32::from(halves[2 * lane]) | (u32::from(halves[2 * lane + 1]) << 16);
                    }
                    lines[place] = Line(words);
                    continue;
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
    /// Adds to rows of 32 numbers those that are `stride` apart.
    fn add_rows<'a>(sum: &'a mut [f32], values: &'a [f32], stride: usize, height: usize) {
        let (sum, _) = sum.as_chunks_mut::<BLOCK>();
        for (row, place) in sum.iter_mut().enumerate().take(height) {
            let values = *values[row * stride..].first_chunk::<BLOCK>().expect("a whole row");
            // Copies, which nothing else can be written through: else the compiler makes no vectors of them.
            let mut sum = *place;
            for lane in 0..BLOCK {
                sum[lane] += values[lane];
            }
            *place = sum;
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
        cell::Cell,
        marker::PhantomData,
    };

    use super::{BLOCK, Block, Line, Parts, Sum, TILE};

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

    thread_local! {
        /// Whether the thread has tiles: what leaves them would take them from whom it is called by.
        static IN_USE: Cell<bool> = const { Cell::new(false) };
    }

    /// The calling thread's tiles, for as long as this lives. A thread has them once.
    pub struct Tiles {
        /// Other threads have tiles of their own.
        not_send: PhantomData<*const ()>,
    }

    impl Tiles {
        pub fn new() -> Self {
            assert!(super::available(), "no tiles on this processor");
            assert!(!IN_USE.replace(true), "the thread's tiles are in use");
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

        /// `sum = left * right`, or `sum += left * right` to `go_on`, for some steps of a block of rows and of one of columns.
        pub fn multiply(
            &mut self,
            factors: [&[Line]; 2],
            parts: Parts,
            go_on: bool,
            sum: &mut Sum,
        ) {
            let sum = sum.0.as_mut_ptr();
            let before = go_on.then_some(sum.cast_const());
            // SAFETY: `new` configured this thread's tiles, which nobody else releases; a `Sum` is a block without gaps, all of
            // it is read before any is written.
            unsafe { multiply(factors, parts, before, sum, BLOCK) };
        }

        /// `block = before + left * right` for a whole block.
        pub fn multiply_into_block(
            &mut self,
            factors: [&[Line]; 2],
            parts: Parts,
            before: Option<&Sum>,
            block: Block<'_>,
        ) {
            let is_whole = block.is_whole();
            let Block { values, stride, .. } = block;
            let inside = values.len() >= (BLOCK - 1) * stride + BLOCK && stride >= BLOCK;
            assert!(is_whole && inside, "a block inside its slice");
            let before = before.map(|sum| sum.0.as_ptr());
            // SAFETY: `new` configured this thread's tiles, which nobody else releases; the block lies inside `values`, asserted
            // above, and a `Sum` is one without gaps.
            unsafe { multiply(factors, parts, before, values.as_mut_ptr(), stride) };
        }
    }

    /// # Safety
    ///
    /// The thread's tiles are configured, `before` are 32 rows of 32 numbers that the sums begin with instead of zero, and
    /// `result` has as many, `stride` numbers apart.
    unsafe fn multiply(
        [left, right]: [&[Line]; 2],
        parts: Parts,
        before: Option<*const f32>,
        result: *mut f32,
        stride: usize,
    ) {
        let (step, steps) = (parts.step(), left.len() / parts.step());
        assert!(
            left.len() == right.len() && left.len() == steps * step && steps > 0,
            "as many steps on both sides"
        );
        let (left, right) = (left.as_ptr(), right.as_ptr());
        // SAFETY: `left` and `right` have `steps` steps, asserted above; the caller vouches for the rest.
        unsafe {
            match parts {
                Parts::One => block_of_one(left, right, steps, before, result, stride),
                Parts::Three => block_of_three(left, right, steps, before, result, stride),
            }
        }
    }

    impl Drop for Tiles {
        fn drop(&mut self) {
            // SAFETY: the unit is there, since `new` configured it. Tiles that are not in use cost nothing when the
            // system changes threads.
            unsafe { changing_tiles!("tilerelease", options(nostack),) };
            IN_USE.set(false);
        }
    }

    /// Zeros for a whole tile, whose rows are all this one.
    static ZEROS: Line = Line([0; TILE]);

    /// Where the four tiles of a result come from: the upper left, the lower left, bytes between two rows, and from a tile to the one
    /// beside it.
    fn tiles_of(before: Option<*const f32>) -> (*const f32, *const f32, usize, usize) {
        match before {
            Some(sum) => {
                (sum, sum.wrapping_add(TILE * BLOCK), BLOCK * size_of::<f32>(), size_of::<Line>())
            }
            None => (ZEROS.0.as_ptr().cast(), ZEROS.0.as_ptr().cast(), 0, 0),
        }
    }

    /// The instructions of a block: its sums begin as `before` says, those of a step are repeated, and the sums are written.
    ///
    /// Tiles 0 to 3 hold the sums. A step finds its factors at `{left}` and `{right}`, lines `{row}` bytes apart, and moves both
    /// on.
    macro_rules! block {
        ($left:ident, $right:ident, $steps:ident, $before:ident, $result:ident, $stride:ident; $($step:literal,)*) => {{
            let (top, bottom, gap, beside) = tiles_of($before);
            changing_tiles!(
                "tileloadd tmm0, [{top} + {gap}*1]",
                "tileloadd tmm2, [{bottom} + {gap}*1]",
                "add {top}, {beside}",
                "add {bottom}, {beside}",
                "tileloadd tmm1, [{top} + {gap}*1]",
                "tileloadd tmm3, [{bottom} + {gap}*1]",
                "2:",
                $($step,)*
                "dec {steps}",
                "jnz 2b",
                "tilestored [{result} + {stride}*1], tmm0",
                "tilestored [{result} + {stride}*1 + 64], tmm1",
                "tilestored [{below} + {stride}*1], tmm2",
                "tilestored [{below} + {stride}*1 + 64], tmm3",
                top = inout(reg) top => _,
                bottom = inout(reg) bottom => _,
                gap = in(reg) gap,
                beside = in(reg) beside,
                result = in(reg) $result,
                below = in(reg) $result.wrapping_add(TILE * $stride),
                stride = in(reg) $stride * size_of::<f32>(),
                row = in(reg) size_of::<Line>(),
                left = inout(reg) $left => _,
                right = inout(reg) $right => _,
                steps = inout(reg) $steps => _,
                options(nostack),
            );
        }};
    }

    /// With factors of one part.
    ///
    /// # Safety
    ///
    /// That of [`block_of_three`].
    unsafe fn block_of_one(
        left: *const Line,
        right: *const Line,
        steps: usize,
        before: Option<*const f32>,
        result: *mut f32,
        stride: usize,
    ) {
        // Tiles 4 and 5 hold the rows, 6 and 7 the columns; a step is 2048 bytes of either factor.
        // SAFETY: reads and writes what the caller vouches for, and no register but those named.
        unsafe {
            block!(left, right, steps, before, result, stride;
                "tileloadd tmm6, [{right} + {row}*1]",
                "tileloadd tmm4, [{left} + {row}*1]",
                "tileloadd tmm7, [{right} + {row}*1 + 1024]",
                "tileloadd tmm5, [{left} + {row}*1 + 1024]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "add {left}, 2048",
                "add {right}, 2048",
            );
        }
    }

    /// With factors of three parts.
    ///
    /// # Safety
    ///
    /// That of [`multiply`], and `left` and `right` have `steps` steps, at least one.
    unsafe fn block_of_three(
        left: *const Line,
        right: *const Line,
        steps: usize,
        before: Option<*const f32>,
        result: *mut f32,
        stride: usize,
    ) {
        // Tiles 4 and 5 hold the rows, 6 and 7 the columns. Parts of a factor lie 2048 bytes apart, h, m, l. A part stays where it is while the other factor's change.
        // SAFETY: reads and writes what the caller vouches for, and no register but those named.
        unsafe {
            block!(left, right, steps, before, result, stride;
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
            );
        }
    }
}

/// No such instructions.
#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
mod unit {
    use super::{Block, Line, Parts, Sum};

    pub fn request() -> bool {
        false
    }

    /// None are there.
    pub enum Tiles {}

    impl Tiles {
        pub fn new() -> Self {
            unreachable!("tiles are available nowhere else")
        }

        pub fn multiply(&mut self, _: [&[Line]; 2], _: Parts, _: bool, _: &mut Sum) {
            match *self {}
        }

        pub fn multiply_into_block(
            &mut self,
            _: [&[Line]; 2],
            _: Parts,
            _: Option<&Sum>,
            _: Block<'_>,
        ) {
            match *self {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::proptest;
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::{super::factors::Factors, *};

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
        compare_within(roundings, out, lhs, rhs, (scale, before));
    }

    fn compare_within(
        roundings: f64,
        out: &[f32],
        lhs: View<'_>,
        rhs: View<'_>,
        (scale, before): (f32, f32),
    ) {
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
    fn by_hand(left: &[Line], right: &[Line], parts: Parts, row: usize, column: usize) -> f64 {
        let number = |word: u32, second: bool| {
            f64::from(f32::from_bits(if second { word & 0xFFFF_0000 } else { word << 16 }))
        };
        let mut sum = 0.0;
        let products: &[_] = match parts {
            Parts::One => &[(0, 0)],
            Parts::Three => &[(0, 0), (0, 1), (1, 0), (0, 2), (2, 0), (1, 1)],
        };
        for (left, right) in left.chunks(parts.step()).zip(right.chunks(parts.step())) {
            for &(part, other) in products {
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
            let parts = Parts::Three;
            let packed = PackedRhs::new(rhs, parts, false);
            let mut lines = vec![Line([0; TILE]); steps(inner) * parts.step()];
            for top in [0, BLOCK] {
                pack_lhs(&mut lines, lhs, top..rows.min(top + BLOCK), 0, parts, 1.0);
                for (row, column) in [(0, 0), (7, 31), (3, 40), (5, 12)] {
                    let right = packed.block(column / BLOCK);
                    let found = by_hand(&lines, right, parts, row, column % BLOCK);
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
    fn packed_tiles_of_one_part_multiply_to_the_product_of_rounded_factors() {
        let (rows, inner, columns) = (40, 70, 45);
        let (left, right) = (random(rows * inner, 8), random(inner * columns, 9));
        let bfloats: Vec<bf16> = right.iter().map(|&x| bf16::from_f32(x)).collect();
        let lhs = View::new(&left, rows, inner);
        let packed = [
            PackedRhs::new(View::new(&right, inner, columns), Parts::One, false),
            PackedRhs::of_bf16(&bfloats, inner),
        ];
        let [left, right] = [&left, &right].map(|numbers| Factors::Bf16.rounded(numbers));
        let rounded = (View::new(&left, rows, inner), View::new(&right, inner, columns));
        let mut lines = vec![Line([0; TILE]); steps(inner) * Parts::One.step()];
        for top in [0, BLOCK] {
            pack_lhs(&mut lines, lhs, top..rows.min(top + BLOCK), 0, Parts::One, 1.0);
            for (row, column) in [(0, 0), (7, 31), (3, 40), (5, 12)] {
                let (sum, sizes) = exact(rounded.0, rounded.1, top + row, column);
                for packed in &packed {
                    let block = packed.block(column / BLOCK);
                    let found = by_hand(&lines, block, Parts::One, row, column % BLOCK);
                    // Products of 8 bits are exact in double precision; sums are rounded.
                    assert!((found - sum).abs() <= 1e-12 * sizes, "{found} {sum}");
                }
            }
        }
    }

    #[test]
    fn a_product_of_one_part_is_that_of_rounded_factors() {
        if !available() {
            eprintln!("skipped: this processor has no tiles");
            return;
        }
        for (rows, inner, columns) in [(128, 64, 64), (1, 1, 1), (161, 40, 33), (300, 1000, 70)] {
            let (left, right) = (random(rows * inner, 4), random(inner * columns, 5));
            let bfloats: Vec<bf16> = right.iter().map(|&x| bf16::from_f32(x)).collect();
            let packed = PackedRhs::of_bf16(&bfloats, inner);
            let whole = [false, true].map(|add| {
                let mut out = vec![0.75; rows * columns];
                multiply_by(&mut out, View::new(&left, rows, inner), &packed, 1.0, Write::new(add));
                out
            });
            // Some columns of the left factor at a time, as attention does it.
            let mut out = vec![0.0; rows * columns];
            for first in (0..inner).step_by(64) {
                let count = 64.min(inner - first);
                let lhs = View { columns: count, ..View::new(&left[first..], rows, inner) };
                let packed_lhs = PackedLhs::beginning_at(first, lhs, Parts::One);
                multiply_packed(&mut out, &packed_lhs, &packed, 0..columns, Write::new(first > 0));
            }
            let [left, right] = [&left, &right].map(|numbers| Factors::Bf16.rounded(numbers));
            let (lhs, rhs) = (View::new(&left, rows, inner), View::new(&right, inner, columns));
            for (out, before) in [(&whole[0], 0.0), (&whole[1], 0.75), (&out, 0.0)] {
                compare(out, lhs, rhs, 1.0, before);
            }
        }
    }

    /// More than are met in any sum of some hundred terms: wrong places are looked for, not wrong digits.
    const ROUNDINGS: f64 = 64.0;

    proptest! {
        /// Of any size, the smallest and those around a block's among them.
        #[test]
        fn products_of_any_size_are_as_exact_as_their_parts(
            rows in 1_usize..140, inner in 1_usize..90, columns in 1_usize..80, add: bool,
        ) {
            if available() {
                let (left, right) = (random(rows * inner, 10), random(inner * columns, 11));
                let (lhs, rhs) = (View::new(&left, rows, inner), View::new(&right, inner, columns));
                let before = if add { 0.75 } else { 0.0 };
                let mut out = vec![0.75; rows * columns];
                multiply(&mut out, lhs, rhs, 1.0, add);
                compare_within(ROUNDINGS, &out, lhs, rhs, (1.0, before));
                let packed = PackedRhs::new(rhs, Parts::One, true);
                let mut out = vec![0.75; rows * columns];
                multiply_by(&mut out, lhs, &packed, 1.0, Write::new(add));
                let [left, right] = [&left, &right].map(|numbers| Factors::Bf16.rounded(numbers));
                let (lhs, rhs) = (View::new(&left, rows, inner), View::new(&right, inner, columns));
                compare_within(ROUNDINGS, &out, lhs, rhs, (1.0, before));
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
                multiply(&mut out, lhs, rhs, scale, add);
                compare(&out, lhs, rhs, scale, if add { 0.75 } else { 0.0 });
            }
        }
    }

    /// Of a function that is not linear and adds a number to each column, with rows, columns and what lies between of no whole
    /// number of blocks, in more than one panel.
    #[test]
    fn two_products_after_each_other_are_one_after_the_other() {
        if !available() {
            eprintln!("skipped: this processor has no tiles");
            return;
        }
        let (rows, inner, hidden, columns) = (300, 70, 200, 45);
        let [left, first, second] =
            [rows * inner, inner * hidden, hidden * columns].map(|n| random(n, n as u64));
        let packed = [(&first, inner), (&second, hidden)].map(|(numbers, rows)| {
            PackedRhs::new(View::new(numbers, rows, numbers.len() / rows), Parts::One, true)
        });
        let lhs = View::new(&left, rows, inner);
        let between = |sum: &mut [f32], left: usize| {
            for (at, value) in
                sum.iter_mut().enumerate().filter(|(at, _)| left + at % BLOCK < hidden)
            {
                *value = (*value + (left + at % BLOCK) as f32).max(0.0);
            }
        };
        let finish = |sum: &mut [f32], _: usize| sum.iter_mut().for_each(|value| *value += 2.0);
        let mut out = vec![0.5; rows * columns];
        multiply_twice(&mut out, lhs, [&packed[0], &packed[1]], &between, &finish);

        let mut between_them = vec![0.0; rows * hidden];
        multiply_by(&mut between_them, lhs, &packed[0], 1.0, Write::finished(false, &between));
        let mut expected = vec![0.5; rows * columns];
        let between_them = View::new(&between_them, rows, hidden);
        multiply_by(&mut expected, between_them, &packed[1], 1.0, Write::finished(true, &finish));
        assert_eq!(out, expected);
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
                multiply(&mut out, View::new(&left, rows, inner), rhs, 1.0, false);
            });
            out
        };
        assert_eq!(run(1), run(3));
    }
}
