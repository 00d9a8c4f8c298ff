//! Prompts of a batch taken apart and put together: what a training step needs that runs the decoder on a few
//! images at a time.

use std::ops::Range;

use burn::tensor::Tensor;

use crate::prompt_encoder::Prompts;

/// A float tensor of [`Prompts`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PromptPart {
    /// Coordinates, `[B, P, 2]`.
    Points,
    /// `[B, 4]`
    Boxes,
    /// `[B, 1, 4H, 4W]`
    MaskInput,
}

impl PromptPart {
    /// What it is called in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Points => "points",
            Self::Boxes => "boxes",
            Self::MaskInput => "mask inputs",
        }
    }
}

/// Something that is done to every float tensor of [`Prompts`], whatever its rank.
pub trait MapPrompts {
    /// The tensor that takes the place of `tensor`.
    fn map<const D: usize>(&mut self, part: PromptPart, tensor: Tensor<D>) -> Tensor<D>;
}

impl Prompts {
    /// Whether there is nothing in them.
    pub fn is_empty(&self) -> bool {
        self.points.is_none() && self.boxes.is_none() && self.mask_input.is_none()
    }

    /// Images of the batch, `B`; `None` if there is nothing in them.
    pub fn batch_size(&self) -> Option<usize> {
        let points = self.points.as_ref().map(|(coords, _)| coords.dims()[0]);
        points
            .or_else(|| self.boxes.as_ref().map(|boxes| boxes.dims()[0]))
            .or_else(|| self.mask_input.as_ref().map(|mask| mask.dims()[0]))
    }

    /// The prompts of some images of the batch.
    ///
    /// # Panics
    ///
    /// Panics if the batch has fewer images: a bug in the caller.
    pub fn slice(&self, images: Range<usize>) -> Self {
        Self {
            points: self.points.as_ref().map(|(coords, labels)| {
                let coords = coords.clone().slice_dim(0, images.clone());
                (coords, labels.clone().slice_dim(0, images.clone()))
            }),
            boxes: self.boxes.as_ref().map(|boxes| boxes.clone().slice_dim(0, images.clone())),
            mask_input: self.mask_input.as_ref().map(|mask| mask.clone().slice_dim(0, images)),
        }
    }

    /// Joins batches, image after image. The reverse of [`slice`](Self::slice).
    ///
    /// # Panics
    ///
    /// Panics if they are not of the same kinds with the same number of points, or if there are none: a bug
    /// in the caller.
    pub fn cat(batches: Vec<Self>) -> Self {
        let kinds = |prompts: &Self| {
            (prompts.points.is_some(), prompts.boxes.is_some(), prompts.mask_input.is_some())
        };
        let first = kinds(batches.first().expect("at least one batch"));
        assert!(batches.iter().all(|batch| kinds(batch) == first), "prompts of the same kinds");
        let (mut coords, mut labels, mut boxes, mut masks) = (vec![], vec![], vec![], vec![]);
        for batch in batches {
            if let Some((at, label)) = batch.points {
                coords.push(at);
                labels.push(label);
            }
            boxes.extend(batch.boxes);
            masks.extend(batch.mask_input);
        }
        let (points, has_boxes, has_masks) = first;
        Self {
            points: points.then(|| (Tensor::cat(coords, 0), Tensor::cat(labels, 0))),
            boxes: has_boxes.then(|| Tensor::cat(boxes, 0)),
            mask_input: has_masks.then(|| Tensor::cat(masks, 0)),
        }
    }

    /// Does something to every float tensor: leaves the graph, enters another one, takes a gradient.
    pub fn map(self, mapper: &mut impl MapPrompts) -> Self {
        Self {
            points: self
                .points
                .map(|(coords, labels)| (mapper.map(PromptPart::Points, coords), labels)),
            boxes: self.boxes.map(|boxes| mapper.map(PromptPart::Boxes, boxes)),
            mask_input: self.mask_input.map(|mask| mapper.map(PromptPart::MaskInput, mask)),
        }
    }

    /// The same numbers, outside of any graph.
    pub fn without_autodiff(self) -> Self {
        struct Leave;
        impl MapPrompts for Leave {
            fn map<const D: usize>(&mut self, _: PromptPart, tensor: Tensor<D>) -> Tensor<D> {
                tensor.without_autodiff()
            }
        }
        self.map(&mut Leave)
    }

    /// Its float tensors, flattened image by image: `[B, n]` each.
    pub fn floats(&self) -> Vec<(PromptPart, Tensor<2>)> {
        let mut floats = Vec::new();
        if let Some((coords, _)) = &self.points {
            floats.push((PromptPart::Points, coords.clone().flatten(1, 2)));
        }
        if let Some(boxes) = &self.boxes {
            floats.push((PromptPart::Boxes, boxes.clone()));
        }
        if let Some(mask) = &self.mask_input {
            floats.push((PromptPart::MaskInput, mask.clone().flatten(1, 3)));
        }
        floats
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::{Device, Int};

    use super::*;

    fn prompts(device: &Device) -> Prompts {
        let counting = |n: usize| {
            let values: Vec<f32> = (0..n).map(|value| value as f32).collect();
            Tensor::<1>::from_data(values.as_slice(), device)
        };
        let labels = Tensor::<1, Int>::from_data([1, 0, 0, 1, -1, 1], &Device::flex());
        Prompts {
            points: Some((counting(12).reshape([3, 2, 2]), labels.reshape([3, 2]))),
            boxes: Some(counting(12).reshape([3, 4])),
            mask_input: Some(counting(48).reshape([3, 1, 4, 4])),
        }
    }

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().try_into_vec::<f32>().unwrap()
    }

    #[test]
    fn images_taken_one_by_one_and_joined_are_the_batch() {
        let batch = prompts(&Device::flex());
        let joined = Prompts::cat((0..3).map(|at| batch.slice(at..at + 1)).collect());
        assert_eq!(joined.batch_size(), Some(3));
        for ((part, a), (_, b)) in batch.floats().into_iter().zip(joined.floats()) {
            assert_eq!(values(a), values(b), "{}", part.name());
        }
        let labels = |prompts: &Prompts| prompts.points.clone().unwrap().1.into_data();
        assert_eq!(labels(&batch), labels(&joined));
        let second = batch.slice(1..2);
        assert_eq!(values(second.boxes.unwrap()), [4.0, 5.0, 6.0, 7.0]);
        assert!(Prompts::cat(vec![Prompts::default(); 2]).is_empty());
    }

    /// The way of a step that decodes image by image: prompts leave the graph and become leaves of a new one, and
    /// what arrives at them goes on to where they came from. It must be the gradient of doing it at once.
    #[test]
    fn a_gradient_taken_in_two_stages_is_that_of_one() {
        struct Leaves;
        impl MapPrompts for Leaves {
            fn map<const D: usize>(&mut self, _: PromptPart, tensor: Tensor<D>) -> Tensor<D> {
                tensor.without_autodiff().autodiff().require_grad()
            }
        }
        struct Gradients<'a>(&'a burn::tensor::Gradients);
        impl MapPrompts for Gradients<'_> {
            fn map<const D: usize>(&mut self, _: PromptPart, tensor: Tensor<D>) -> Tensor<D> {
                tensor.grad(self.0).expect("reached")
            }
        }
        let device = Device::flex().autodiff();
        let factor = Tensor::<1>::from_data([1.5], &device).require_grad();
        let made = |factor: &Tensor<1>| {
            let plain = prompts(&Device::flex());
            let boxes = plain.boxes.unwrap() * factor.clone().reshape([1, 1]);
            let mask = plain.mask_input.unwrap() * factor.clone().reshape([1, 1, 1, 1]);
            Prompts { points: None, boxes: Some(boxes), mask_input: Some(mask) }
        };
        let loss = |prompts: &Prompts| {
            let terms = prompts.floats().into_iter().map(|(_, part)| part.powi_scalar(2).sum());
            terms.reduce(|a, b| a + b).unwrap()
        };
        let at_once = factor.grad(&loss(&made(&factor)).backward()).unwrap();

        let whole = made(&factor);
        let leaves = whole.clone().map(&mut Leaves);
        let arrived = (0..3).map(|at| {
            let image = leaves.slice(at..at + 1).map(&mut Leaves);
            let gradients = loss(&image).backward();
            image.map(&mut Gradients(&gradients))
        });
        let arrived = Prompts::cat(arrived.collect());
        let onward = whole.floats().into_iter().zip(arrived.floats());
        let onward = onward.map(|((_, part), (_, gradient))| (part * gradient).sum());
        let onward = onward.reduce(|a, b| a + b).unwrap().backward();
        let staged = factor.grad(&onward).unwrap();
        let (a, b) = (values(at_once)[0], values(staged)[0]);
        // Sums of 60 products in another order.
        assert!((a - b).abs() <= 1e-5 * a.abs(), "{a} {b}");
        assert!(whole.without_autodiff().floats().iter().all(|(_, part)| !part.is_autodiff()));
    }
}
