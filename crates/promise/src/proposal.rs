//! What the adapters give the frozen decoder, and the way of the gradient back: the place where a training step's
//! graph is cut in two.
//!
//! Adapters need a batch as a whole (batch normalization), the decoder takes every image by itself. So the decoder
//! computes loss and gradient of a few images at a time on [leaves](Proposal::leaf), and the gradients of all go
//! [back](Proposal::backward) into the adapters at once. The numbers are those of one graph over both; its memory is
//! that of a few images.

use std::ops::Range;

use burn::tensor::{Gradients, Int, Tensor};
use prompting::Prompts;

/// What the adapters give for the images of a batch.
#[derive(Debug, Clone)]
pub(crate) struct Proposal {
    pub prompts: Prompts,
    /// `[B, T, C]`
    pub token_shift: Option<Tensor<3>>,
}

impl Proposal {
    /// The part of some images, with the same numbers and cut off from what computed them. What an adapter computed
    /// becomes a leaf whose gradient is kept, all else stays a constant.
    pub fn leaf(&self, images: Range<usize>) -> Self {
        self.map(Leaf(images))
    }

    /// How `gradients` change this [leaf](Self::leaf): its gradient in place of every tensor, zeros where there is none.
    pub fn gradient(&self, gradients: &Gradients) -> Self {
        self.map(Gradient(gradients))
    }

    /// The parts of consecutive images, one after the other; `None` of no parts.
    pub fn join(parts: &[Self]) -> Option<Self> {
        let (first, _) = parts.split_first()?;
        let with = |pick: fn(&Self) -> Option<Tensor<3>>| cat(parts.iter().filter_map(pick));
        let points = first.prompts.points.as_ref().and_then(|_| {
            let labels =
                parts.iter().filter_map(|part| Some(part.prompts.points.as_ref()?.1.clone()));
            let coords = with(|part| Some(part.prompts.points.as_ref()?.0.clone()))?;
            Some((coords, Tensor::<2, Int>::cat(labels.collect(), 0)))
        });
        Some(Self {
            prompts: Prompts {
                points,
                boxes: cat(parts.iter().filter_map(|part| part.prompts.boxes.clone())),
                mask_input: cat(parts.iter().filter_map(|part| part.prompts.mask_input.clone())),
            },
            token_shift: with(|part| part.token_shift.clone()),
        })
    }

    /// Carries `gradient`, of the same shapes, on to the parameters of the adapters; `None` if no adapter computed
    /// anything of this.
    pub fn backward(&self, gradient: &Self) -> Option<Gradients> {
        // A sum whose derivative by every proposed number is the number's gradient.
        let coords = |proposal: &Self| Some(proposal.prompts.points.as_ref()?.0.clone());
        let sums = [
            weighted(coords(self), coords(gradient)),
            weighted(self.prompts.boxes.clone(), gradient.prompts.boxes.clone()),
            weighted(self.prompts.mask_input.clone(), gradient.prompts.mask_input.clone()),
            weighted(self.token_shift.clone(), gradient.token_shift.clone()),
        ];
        let sum = sums.into_iter().flatten().reduce(|sum, term| sum + term)?;
        Some(sum.backward())
    }

    fn map(&self, mapping: impl Mapping) -> Self {
        let points = self.prompts.points.as_ref();
        Self {
            prompts: Prompts {
                points: points.map(|(coords, labels)| (mapping.float(coords), mapping.int(labels))),
                boxes: self.prompts.boxes.as_ref().map(|boxes| mapping.float(boxes)),
                mask_input: self.prompts.mask_input.as_ref().map(|mask| mapping.float(mask)),
            },
            token_shift: self.token_shift.as_ref().map(|shift| mapping.float(shift)),
        }
    }
}

/// A function of tensors of any rank whose first axis is the batch.
trait Mapping {
    fn float<const D: usize>(&self, tensor: &Tensor<D>) -> Tensor<D>;
    fn int<const D: usize>(&self, tensor: &Tensor<D, Int>) -> Tensor<D, Int>;
}

struct Leaf(Range<usize>);

impl Mapping for Leaf {
    fn float<const D: usize>(&self, tensor: &Tensor<D>) -> Tensor<D> {
        let part = tensor.clone().without_autodiff().slice_dim(0, self.0.clone());
        if tensor.is_tracked() { part.autodiff().require_grad() } else { part }
    }

    fn int<const D: usize>(&self, tensor: &Tensor<D, Int>) -> Tensor<D, Int> {
        tensor.clone().slice_dim(0, self.0.clone())
    }
}

struct Gradient<'a>(&'a Gradients);

impl Mapping for Gradient<'_> {
    fn float<const D: usize>(&self, tensor: &Tensor<D>) -> Tensor<D> {
        tensor.grad(self.0).unwrap_or_else(|| tensor.clone().without_autodiff().zeros_like())
    }

    fn int<const D: usize>(&self, tensor: &Tensor<D, Int>) -> Tensor<D, Int> {
        tensor.clone()
    }
}

fn cat<const D: usize>(parts: impl Iterator<Item = Tensor<D>>) -> Option<Tensor<D>> {
    let parts: Vec<_> = parts.collect();
    (!parts.is_empty()).then(|| Tensor::cat(parts, 0))
}

/// `[1]`, the sum of products; `None` unless `tensor` is part of a graph.
fn weighted<const D: usize>(
    tensor: Option<Tensor<D>>,
    weight: Option<Tensor<D>>,
) -> Option<Tensor<1>> {
    let (tensor, weight) = tensor.filter(Tensor::is_tracked).zip(weight)?;
    Some((tensor * weight).sum())
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    /// `f(p, s) = sum over images of a_i * (sum of p_i)^2 * sum of s_i` with `p = 3 w`, `s = w^2`, `w` one number an image.
    fn proposal(w: &Tensor<1>) -> Proposal {
        let points = (w.clone() * 3.0).reshape([3, 1, 1]).expand([3, 1, 2]);
        let labels = Tensor::<2, Int>::ones([3, 1], &w.device());
        Proposal {
            prompts: Prompts { points: Some((points, labels)), ..Prompts::default() },
            token_shift: Some((w.clone() * w.clone()).reshape([3, 1, 1])),
        }
    }

    fn value(proposal: Proposal, factors: Tensor<1>) -> Tensor<1> {
        let (points, _) = proposal.prompts.points.expect("it has points");
        let n = factors.dims()[0];
        let points = points.sum_dim(2).reshape([n]);
        let shift = proposal.token_shift.expect("it has a shift").reshape([n]);
        (points.clone() * points * shift * factors).sum()
    }

    /// By hand: `f = sum of a (6 w)^2 w^2 = 36 a w^4`, so the derivative is `144 a w^3`.
    #[test]
    fn a_graph_cut_in_two_and_into_images_has_the_gradient_computed_by_hand() {
        let device = Device::flex().autodiff();
        let w = Tensor::<1>::from_floats([1.0, -2.0, 0.5], &device).require_grad();
        let factors = Tensor::<1>::from_floats([1.0, 0.25, 2.0], &Device::flex());
        let whole = proposal(&w);
        let parts: Vec<_> = [0..2, 2..3]
            .into_iter()
            .map(|images| {
                let leaf = whole.leaf(images.clone());
                let factors = factors.clone().slice_dim(0, images);
                let gradients = value(leaf.clone(), factors).backward();
                leaf.gradient(&gradients)
            })
            .collect();
        let gradient = Proposal::join(&parts).expect("two parts");
        let gradients = whole.backward(&gradient).expect("it was computed");
        let found = w.grad(&gradients).expect("a gradient").into_data();
        let found = found.try_to_vec::<f32>().expect("f32");
        // 144, 144 / 4 * -8, 144 * 2 / 8: exact in f32.
        assert_eq!(found, [144.0, -288.0, 36.0]);
    }

    #[test]
    fn what_no_adapter_computed_stays_a_constant() {
        let device = Device::flex();
        let given = proposal(&Tensor::<1>::from_floats([1.0, 2.0, 3.0], &device));
        let leaf = given.leaf(1..3);
        let (points, labels) = leaf.prompts.points.as_ref().expect("it has points");
        assert!(!points.is_tracked());
        assert_eq!((points.dims(), labels.dims()), ([2, 1, 2], [2, 1]));
        assert!(given.backward(&given).is_none());
    }
}
