//! The prompt encoder: points, boxes and masks become tokens and an embedding map.

use std::f64::consts::PI;

use burn::{
    module::{Module, Param},
    nn::{
        Embedding, EmbeddingConfig, Gelu, Initializer, PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{Device, Int, Tensor},
};

use crate::common::LayerNorm2d;

/// What a point says about the pixel under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PointLabel {
    /// Belongs to the object, label 1.
    Foreground,
    /// Does not belong to it, label 0.
    Background,
    /// No point at all, label -1: fills a batch whose prompts differ in number.
    Padding,
}

impl PointLabel {
    /// The number that SAM gives this label.
    pub const fn value(self) -> i32 {
        match self {
            Self::Foreground => 1,
            Self::Background => 0,
            Self::Padding => -1,
        }
    }
}

/// One prompt per image of a batch. Any mixture is legal, nothing at all too.
///
/// All coordinates are pixels of the network input, `(x, y)`, origin at the top-left corner.
#[derive(Debug, Clone, Default)]
pub struct Prompts {
    /// Point coordinates `[B, P, 2]` and labels `[B, P]` ([`PointLabel::value`]).
    pub points: Option<(Tensor<3>, Tensor<2, Int>)>,
    /// Boxes `[B, 4]` as `(x0, y0, x1, y1)`.
    pub boxes: Option<Tensor<2>>,
    /// Low-resolution mask logits `[B, 1, 4H, 4W]`, as an earlier round returned them.
    pub mask_input: Option<Tensor<4>>,
}

/// What the prompt encoder gives.
#[derive(Debug, Clone)]
pub struct PromptEmbeddings {
    /// One token per point, padding point and box corner, `[B, N, C]`; `None` if there is none.
    pub sparse_embeddings: Option<Tensor<3>>,
    /// `[B, C, H, W]`
    pub dense_embeddings: Tensor<4>,
}

/// SAM's prompt encoder.
///
/// Source: `segment_anything/modeling/prompt_encoder.py`, `PromptEncoder`.
/// Should be created with [`SamConfig`](crate::SamConfig).
#[derive(Module, Debug)]
pub struct PromptEncoder {
    pe_layer: PositionEmbeddingRandom,
    /// Background, foreground, top-left corner, bottom-right corner.
    point_embeddings: Vec<Embedding>,
    not_a_point_embed: Embedding,
    /// The activations are members because their positions are part of the checkpoint's names.
    mask_downscaling: (Conv2d, LayerNorm2d, Gelu, Conv2d, LayerNorm2d, Gelu, Conv2d),
    no_mask_embed: Embedding,
    #[module(skip)]
    grid_size: usize,
    #[module(skip)]
    input_size: usize,
}

impl PromptEncoder {
    pub(crate) fn new(
        embed_dim: usize,
        grid_size: usize,
        input_size: usize,
        mask_in_channels: usize,
        device: &Device,
    ) -> Self {
        let one_row = || EmbeddingConfig::new(1, embed_dim).init(device);
        let halve = |input, output| {
            Conv2dConfig::new([input, output], [2, 2]).with_stride([2, 2]).init(device)
        };
        let narrow = mask_in_channels / 4;
        Self {
            pe_layer: PositionEmbeddingRandom::new(embed_dim / 2, device),
            point_embeddings: (0..4).map(|_| one_row()).collect(),
            not_a_point_embed: one_row(),
            mask_downscaling: (
                halve(1, narrow),
                LayerNorm2d::new(narrow, device),
                Gelu::new(),
                halve(narrow, mask_in_channels),
                LayerNorm2d::new(mask_in_channels, device),
                Gelu::new(),
                Conv2dConfig::new([mask_in_channels, embed_dim], [1, 1])
                    .with_padding(PaddingConfig2d::Valid)
                    .init(device),
            ),
            no_mask_embed: one_row(),
            grid_size,
            input_size,
        }
    }

    /// Sets the sides of the image embedding and of the input.
    pub(crate) fn set_image_size(&mut self, grid_size: usize, input_size: usize) {
        (self.grid_size, self.input_size) = (grid_size, input_size);
    }

    /// Position encoding of every cell of the image embedding.
    ///
    /// # Shapes
    ///
    /// - returns: `[1, C, H, W]`
    pub fn dense_pe(&self) -> Tensor<4> {
        self.pe_layer.forward_grid(self.grid_size)
    }

    /// Encodes one prompt per image. Gradients flow to point coordinates, boxes and mask input.
    ///
    /// # Shapes
    ///
    /// See [`Prompts`] and [`PromptEmbeddings`]; `batch` is `B`, needed when `prompts` is empty.
    pub fn forward(&self, prompts: Prompts, batch: usize) -> PromptEmbeddings {
        let mut sparse = Vec::new();
        if let Some((point_coords, point_labels)) = prompts.points {
            // Without a box SAM appends a padding point.
            sparse.push(self.embed_points(point_coords, point_labels, prompts.boxes.is_none()));
        }
        if let Some(boxes) = prompts.boxes {
            sparse.push(self.embed_boxes(boxes));
        }
        let dense_embeddings = match prompts.mask_input {
            Some(mask) => self.embed_mask(mask),
            None => {
                let embed = self.no_mask_embed.weight.val();
                let channels = embed.dims()[1];
                embed.reshape([1, channels, 1, 1]).expand([
                    batch,
                    channels,
                    self.grid_size,
                    self.grid_size,
                ])
            }
        };
        PromptEmbeddings {
            sparse_embeddings: (!sparse.is_empty()).then(|| Tensor::cat(sparse, 1)),
            dense_embeddings,
        }
    }

    fn embed_points(
        &self,
        point_coords: Tensor<3>,
        point_labels: Tensor<2, Int>,
        pad: bool,
    ) -> Tensor<3> {
        let [batch, n_points, _] = point_coords.dims();
        let labels: Tensor<3> = point_labels.float().reshape([batch, n_points, 1]);
        // Three factors, one of which is 1 for each point: they pick the label's embedding without
        // reading the labels back from the device.
        let is = |value: i32| labels.clone().equal_elem(value as f32).float();
        let (padding, background, foreground) = (is(-1), is(0), is(1));
        let encoded = self.pe_layer.forward_coords(point_coords + 0.5, self.input_size);
        let embedded = encoded * (padding.clone().neg() + 1.0)
            + self.not_a_point() * padding
            + self.corner(0) * background
            + self.corner(1) * foreground;
        if pad {
            let row = self.not_a_point();
            let channels = row.dims()[2];
            Tensor::cat(vec![embedded, row.expand([batch, 1, channels])], 1)
        } else {
            embedded
        }
    }

    fn embed_boxes(&self, boxes: Tensor<2>) -> Tensor<3> {
        let batch = boxes.dims()[0];
        let corners = boxes.reshape([batch, 2, 2]) + 0.5;
        let encoded = self.pe_layer.forward_coords(corners, self.input_size);
        encoded + Tensor::cat(vec![self.corner(2), self.corner(3)], 1)
    }

    fn embed_mask(&self, mask: Tensor<4>) -> Tensor<4> {
        let (halve_1, norm_1, gelu_1, halve_2, norm_2, gelu_2, project) = &self.mask_downscaling;
        let mask = gelu_1.forward(norm_1.forward(halve_1.forward(mask)));
        let mask = gelu_2.forward(norm_2.forward(halve_2.forward(mask)));
        project.forward(mask)
    }

    fn not_a_point(&self) -> Tensor<3> {
        self.not_a_point_embed.weight.val().unsqueeze()
    }

    fn corner(&self, index: usize) -> Tensor<3> {
        self.point_embeddings[index].weight.val().unsqueeze()
    }
}

/// Position encoding by random Fourier features: `[sin(2 pi c G), cos(2 pi c G)]` with `c` the
/// coordinates scaled to `[-1, 1]` and `G` a fixed Gaussian matrix that comes with the checkpoint.
#[derive(Module, Debug)]
struct PositionEmbeddingRandom {
    /// `[2, C / 2]`, a buffer: never trained.
    positional_encoding_gaussian_matrix: Param<Tensor<2>>,
}

impl PositionEmbeddingRandom {
    fn new(features: usize, device: &Device) -> Self {
        let matrix: Param<Tensor<2>> =
            Initializer::Normal { mean: 0.0, std: 1.0 }.init([2, features], device);
        Self { positional_encoding_gaussian_matrix: matrix.set_require_grad(false) }
    }

    /// # Shapes
    ///
    /// - `coords`: `[B, P, 2]`, `(x, y)` in input pixels, already at pixel centers
    /// - returns: `[B, P, C]`
    fn forward_coords(&self, coords: Tensor<3>, input_size: usize) -> Tensor<3> {
        let scaled = coords.mul_scalar(2.0 / input_size as f64) - 1.0;
        let matrix = self.positional_encoding_gaussian_matrix.val();
        let phase = scaled.matmul(matrix.unsqueeze()).mul_scalar(2.0 * PI);
        Tensor::cat(vec![phase.clone().sin(), phase.cos()], 2)
    }

    /// # Shapes
    ///
    /// - returns: `[1, C, grid, grid]`
    fn forward_grid(&self, grid: usize) -> Tensor<4> {
        let device = self.positional_encoding_gaussian_matrix.val().device();
        let centers: Vec<f32> = (0..grid)
            .flat_map(|row| (0..grid).flat_map(move |column| [column, row]))
            .map(|cell| cell as f32 + 0.5)
            .collect();
        let centers =
            Tensor::<1>::from_data(centers.as_slice(), &device).reshape([1, grid * grid, 2]);
        let encoded = self.forward_coords(centers, grid);
        let channels = encoded.dims()[2];
        encoded.reshape([1, grid, grid, channels]).permute([0, 3, 1, 2])
    }
}
