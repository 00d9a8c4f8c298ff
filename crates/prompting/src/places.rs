//! Where the cells of a map are.

use burn::tensor::{Device, Tensor, TensorData};

/// The centers of a map's cells in shares of its sides, row after row: `(x, y)` from 0 to 1.
///
/// Times [`input_size`](crate::BackboneInfo::input_size) they are pixels of the network input.
///
/// # Shapes
///
/// - returns: `[1, 2, HW]`, x first
pub fn cell_centers(height: usize, width: usize, device: &Device) -> Tensor<3> {
    let along = |cells: usize, at: usize| (at as f32 + 0.5) / cells as f32;
    let x = (0..height * width).map(|cell| along(width, cell % width));
    let y = (0..height * width).map(|cell| along(height, cell / width));
    let centers: Vec<f32> = x.chain(y).collect();
    Tensor::from_data(TensorData::new(centers, [1, 2, height * width]), device)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn centers_run_along_rows_and_x_comes_first() {
        let centers = cell_centers(2, 4, &Device::flex());
        assert_eq!(centers.dims(), [1, 2, 8]);
        let centers = centers.into_data().try_into_vec::<f32>().unwrap();
        assert_eq!(centers[..8], [0.125, 0.375, 0.625, 0.875, 0.125, 0.375, 0.625, 0.875]);
        assert_eq!(centers[8..], [0.25, 0.25, 0.25, 0.25, 0.75, 0.75, 0.75, 0.75]);
    }
}
