//! The same weights for another image size.

use burn::{
    module::{Param, ParamId},
    tensor::{Tensor, TensorData},
};

use crate::{config::SamConfig, sam::Sam};

impl Sam {
    /// This SAM for images of another size: learned positions are interpolated to the new grid,
    /// everything else stays. `config` holds the new size and otherwise the sizes of this SAM.
    ///
    /// Absolute positions are interpolated bilinearly over the grid, relative positions of global
    /// attention linearly over offsets, both with the corners of cells aligned (PyTorch's
    /// `align_corners=False`). SAM does the latter when the sizes differ
    /// (`segment_anything/modeling/image_encoder.py`, `get_rel_pos`) and its authors did both to go from
    /// their encoder's pre-training at 224 pixels to 1024.
    ///
    /// Interpolated parameters get new ids, so an optimizer starts afresh with them.
    #[must_use]
    pub fn with_image_size(mut self, config: &SamConfig) -> Self {
        let grid = config.image_encoder.grid_size();
        self.image_encoder.resize_positions(grid);
        self.prompt_encoder.set_image_size(grid, config.image_encoder.image_size);
        self
    }
}

/// A parameter with another value; tracked if the old one was.
pub(crate) fn replaced<const D: usize>(
    parameter: &Param<Tensor<D>>,
    values: Vec<f32>,
    shape: [usize; D],
) -> Param<Tensor<D>> {
    let former = parameter.val();
    let tensor = Tensor::from_data(TensorData::new(values, shape), &former.device());
    let tensor = if former.is_require_grad() { tensor.require_grad() } else { tensor };
    Param::initialized(ParamId::new(), tensor)
}

/// The numbers of a parameter, row-major.
pub(crate) fn numbers<const D: usize>(parameter: &Param<Tensor<D>>) -> Vec<f32> {
    let data = parameter.val().without_autodiff().into_data();
    data.try_into_vec_as::<f32>().expect("a float parameter")
}

/// For each of `to` cells along an axis of `from`: the two nearest old ones and the share of the second.
fn neighbors(from: usize, to: usize) -> Vec<(usize, usize, f32)> {
    (0..to)
        .map(|at| {
            let position = ((at as f32 + 0.5) * from as f32 / to as f32 - 0.5).max(0.0);
            let below = (position as usize).min(from - 1);
            (below, (below + 1).min(from - 1), position - below as f32)
        })
        .collect()
}

/// A sequence of vectors, `[from, width]`, as `[to, width]`.
pub(crate) fn interpolate_rows(values: &[f32], from: usize, to: usize) -> Vec<f32> {
    let width = values.len() / from;
    let row = |at: usize| &values[at * width..(at + 1) * width];
    neighbors(from, to)
        .into_iter()
        .flat_map(|(below, above, share)| {
            row(below).iter().zip(row(above)).map(move |(a, b)| a + (b - a) * share)
        })
        .collect()
}

/// A grid of vectors, `[from, from, width]`, as `[to, to, width]`.
pub(crate) fn interpolate_grid(values: &[f32], from: usize, to: usize) -> Vec<f32> {
    let row_length = values.len() / from;
    let tall = interpolate_rows(values, from, to); // [to, from, width]
    tall.chunks_exact(row_length).flat_map(|row| interpolate_rows(row, from, to)).collect()
}

#[cfg(test)]
mod tests {
    use burn::{module::Module, tensor::Device};

    use super::*;
    use crate::Variant;

    /// By hand: new centers lie at -0.25, 0.25, 0.75 and 1.25 of the old ones, clamped at the ends.
    #[test]
    fn rows_are_interpolated_between_the_centers_of_cells() {
        assert_eq!(interpolate_rows(&[0.0, 4.0], 2, 4), [0.0, 1.0, 3.0, 4.0]);
        assert_eq!(interpolate_rows(&[0.0, 10.0, 4.0, 30.0], 2, 2), [0.0, 10.0, 4.0, 30.0]);
    }

    #[test]
    fn a_grid_is_interpolated_along_both_axes() {
        let grid = interpolate_grid(&[0.0, 4.0, 8.0, 12.0], 2, 4);
        assert_eq!(grid[..4], [0.0, 1.0, 3.0, 4.0]);
        assert_eq!(grid[4..8], [2.0, 3.0, 5.0, 6.0]);
        assert_eq!(grid[12..], [8.0, 9.0, 11.0, 12.0]);
    }

    #[test]
    fn a_resized_sam_has_the_shapes_of_its_new_size() {
        let config = Variant::Micro.config();
        let mut small = config.clone();
        small.image_encoder.image_size /= 2;
        let device = Device::flex();
        let resized = small.init(&device).with_image_size(&config);
        assert_eq!(resized.num_params(), config.init(&device).num_params());
        let size = config.image_encoder.image_size;
        let embedding = resized.encode(Tensor::zeros([1, 3, size, size], &device), &[]);
        let grid = config.image_encoder.grid_size();
        assert_eq!(embedding.image_embedding.dims()[2..], [grid, grid]);
        assert_eq!(resized.prompt_encoder.dense_pe().dims()[2..], [grid, grid]);
    }
}
