//! Matrix products of strided views.

use gemm::Parallelism;

use super::tiles;

/// A matrix inside a slice.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub values: &'a [f32],
    pub rows: usize,
    pub columns: usize,
    /// Distance between two rows.
    pub row_stride: usize,
    /// Distance between two columns.
    pub column_stride: usize,
}

impl<'a> View<'a> {
    /// A row-major matrix without gaps.
    pub fn new(values: &'a [f32], rows: usize, columns: usize) -> Self {
        Self { values, rows, columns, row_stride: columns, column_stride: 1 }
    }

    /// Rows and columns exchanged; no value moves.
    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    fn assert_inside(&self) {
        // Checked: a product that wraps around would be small enough for any slice.
        let row = (self.rows.max(1) - 1).checked_mul(self.row_stride);
        let column = (self.columns.max(1) - 1).checked_mul(self.column_stride);
        let last = row.zip(column).and_then(|(row, column)| row.checked_add(column));
        assert!(
            last.is_some_and(|last| last < self.values.len()),
            "a matrix reaches beyond its slice"
        );
    }
}

/// `out = scale * lhs * rhs`, or `out += scale * lhs * rhs` with `add`; `out` is row-major without gaps.
///
/// # Panics
///
/// Panics if the shapes do not fit: a bug in the caller.
#[allow(unsafe_code)]
pub(crate) fn multiply(
    out: &mut [f32],
    lhs: View<'_>,
    rhs: View<'_>,
    scale: f32,
    add: bool,
    parallel: bool,
) {
    assert_eq!(lhs.columns, rhs.rows, "inner sizes of a matrix product");
    assert_eq!(out.len(), lhs.rows * rhs.columns, "size of a matrix product");
    if out.is_empty() {
        return;
    }
    if lhs.columns == 0 {
        if !add {
            out.fill(0.0);
        }
        return;
    }
    lhs.assert_inside();
    rhs.assert_inside();
    if parallel && tiles::worthwhile(lhs.rows, lhs.columns, rhs.columns) {
        return tiles::multiply(out, lhs, rhs, scale, add);
    }
    let parallelism = if parallel { Parallelism::Rayon(0) } else { Parallelism::None };
    // SAFETY: both views lie inside their slices and `out` has exactly rows * columns elements, as
    // asserted above; `out` is borrowed mutably, so it overlaps neither.
    unsafe {
        gemm::gemm(
            lhs.rows,
            rhs.columns,
            lhs.columns,
            out.as_mut_ptr(),
            1,
            rhs.columns as isize,
            add,
            lhs.values.as_ptr(),
            lhs.column_stride as isize,
            lhs.row_stride as isize,
            rhs.values.as_ptr(),
            rhs.column_stride as isize,
            rhs.row_stride as isize,
            1.0,
            scale,
            false,
            false,
            false,
            parallelism,
        );
    }
}
