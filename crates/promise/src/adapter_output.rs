//! What the adapters give the frozen decoder, and the way of the gradient back: the place where a training step's
//! graph is cut in two.
//!
//! Adapters need a batch as a whole (batch normalization), the decoder takes every image by itself. So the decoder
//! computes loss and gradient of a few images at a time on [leaves](AdapterOutput::leaf), and the gradients of all go
//! [back](AdapterOutput::backward) into the adapters at once. The numbers are those of one graph over both; its memory
//! is that of a few images.

use std::ops::Range;

use burn::tensor::{Gradients, Tensor};
use prompting::Prompts;
use sam_backbone::{MapPrompts, PromptPart};

/// What the adapters give for the images of a batch.
#[derive(Debug, Clone)]
pub(crate) struct AdapterOutput {
    /// At least one; each of all images.
    pub hypotheses: Vec<Prompts>,
    /// `[B, T, C]`
    pub token_shift: Option<Tensor<3>>,
    /// `[1]`, what the prompt module wants to learn besides.
    pub own_loss: Option<Tensor<1>>,
    /// Factor of the gradient that the mask's loss sends to the prompts.
    pub mask_gradient: f64,
}

/// By how much the loss on the mask changes with prompts and shift of some images, of the same shapes.
#[derive(Debug)]
pub(crate) struct MaskGradient {
    hypotheses: Vec<Prompts>,
    token_shift: Option<Tensor<3>>,
}

impl AdapterOutput {
    /// The part of some images, with the same numbers and cut off from what computed them. What an adapter computed
    /// becomes a leaf whose gradient is kept, all else stays a constant; so do prompts that learn nothing from the mask.
    pub fn leaf(&self, images: Range<usize>) -> Self {
        let mut cut = Cut { learns: self.mask_gradient != 0.0 };
        let prompts =
            self.hypotheses.iter().map(|prompts| prompts.slice(images.clone()).map(&mut cut));
        let shift = self.token_shift.clone().map(|shift| shift.slice_dim(0, images.clone()));
        Self {
            hypotheses: prompts.collect(),
            token_shift: shift.map(|shift| Cut { learns: true }.cut(shift)),
            own_loss: None,
            mask_gradient: self.mask_gradient,
        }
    }

    /// How `loss` changes with this [leaf](Self::leaf), zeros where it does not.
    pub fn gradient(self, loss: &Tensor<1>) -> MaskGradient {
        // A loss that nothing learns from has no graph.
        let gradients = loss.is_tracked().then(|| loss.backward());
        let mut of = Of(gradients.as_ref());
        MaskGradient {
            hypotheses: self.hypotheses.into_iter().map(|prompts| prompts.map(&mut of)).collect(),
            token_shift: self.token_shift.map(|shift| of.gradient(shift)),
        }
    }

    /// Carries the gradient of the mask's loss, and the module's own loss, on to the parameters of the adapters; `None` if
    /// no adapter computed anything of this.
    pub fn backward(&self, gradient: &MaskGradient) -> Option<Gradients> {
        // A sum whose derivative by every number is the number's gradient.
        let mut terms: Vec<Tensor<1>> = Vec::new();
        if self.mask_gradient != 0.0 {
            for (prompts, gradient) in self.hypotheses.iter().zip(&gradient.hypotheses) {
                for ((_, values), (_, weights)) in
                    prompts.floats().into_iter().zip(gradient.floats())
                {
                    let weights = match self.mask_gradient {
                        1.0 => weights,
                        share => weights.mul_scalar(share),
                    };
                    terms.extend(weighted(values, weights));
                }
            }
        }
        if let Some((shift, weights)) = self.token_shift.clone().zip(gradient.token_shift.clone()) {
            terms.extend(weighted(shift, weights));
        }
        terms.extend(self.own_loss.clone().filter(Tensor::is_tracked));
        let sum = terms.into_iter().reduce(|sum, term| sum + term)?;
        Some(sum.backward())
    }
}

impl MaskGradient {
    /// The gradients of consecutive images, one after the other.
    ///
    /// # Panics
    ///
    /// Panics without images, or if parts are not of one proposal: bugs in the caller.
    pub fn join(parts: Vec<Self>) -> Self {
        let mut shifts = Vec::new();
        let mut hypotheses: Vec<Vec<Prompts>> = Vec::new();
        for part in parts {
            hypotheses.resize_with(part.hypotheses.len(), Vec::new);
            hypotheses.iter_mut().zip(part.hypotheses).for_each(|(all, prompts)| all.push(prompts));
            shifts.extend(part.token_shift);
        }
        let joined = |prompts: Vec<Prompts>| match prompts.iter().all(Prompts::is_empty) {
            true => Prompts::default(),
            false => Prompts::cat(prompts),
        };
        Self {
            hypotheses: hypotheses.into_iter().map(joined).collect(),
            token_shift: (!shifts.is_empty()).then(|| Tensor::cat(shifts, 0)),
        }
    }
}

/// Cuts tensors off from their graph.
struct Cut {
    /// Whether those that had one become leaves.
    learns: bool,
}

impl Cut {
    fn cut<const D: usize>(&self, tensor: Tensor<D>) -> Tensor<D> {
        let learns = self.learns && tensor.is_tracked();
        let plain = tensor.without_autodiff();
        if learns { plain.autodiff().require_grad() } else { plain }
    }
}

impl MapPrompts for Cut {
    fn map<const D: usize>(&mut self, _: PromptPart, tensor: Tensor<D>) -> Tensor<D> {
        self.cut(tensor)
    }
}

/// Puts a leaf's gradient in its place.
struct Of<'a>(Option<&'a Gradients>);

impl Of<'_> {
    fn gradient<const D: usize>(&self, leaf: Tensor<D>) -> Tensor<D> {
        let found = self.0.and_then(|gradients| leaf.grad(gradients));
        found.unwrap_or_else(|| leaf.without_autodiff().zeros_like())
    }
}

impl MapPrompts for Of<'_> {
    fn map<const D: usize>(&mut self, _: PromptPart, leaf: Tensor<D>) -> Tensor<D> {
        self.gradient(leaf)
    }
}

/// `[1]`, the sum of products; `None` unless `tensor` is part of a graph.
fn weighted<const D: usize>(tensor: Tensor<D>, weight: Tensor<D>) -> Option<Tensor<1>> {
    tensor.is_tracked().then(|| (tensor * weight).sum())
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Int};

    use super::*;

    /// Of one number `w` an image: points `3 w` and a shift `w^2`.
    fn output(w: &Tensor<1>, mask_gradient: f64) -> AdapterOutput {
        let points = (w.clone() * 3.0).reshape([3, 1, 1]).expand([3, 1, 2]);
        let labels = Tensor::<2, Int>::ones([3, 1], &w.device());
        AdapterOutput {
            hypotheses: vec![Prompts { points: Some((points, labels)), ..Prompts::default() }],
            token_shift: Some((w.clone() * w.clone()).reshape([3, 1, 1])),
            own_loss: None,
            mask_gradient,
        }
    }

    /// The sum over images of a factor times the square of the sum of its points times its shift.
    fn loss(output: &AdapterOutput, factors: Tensor<1>) -> Tensor<1> {
        let (points, _) = output.hypotheses[0].points.clone().expect("it has points");
        let n = factors.dims()[0];
        let points = points.sum_dim(2).reshape([n]);
        let shift = output.token_shift.clone().expect("it has a shift").reshape([n]);
        (points.clone() * points * shift * factors).sum()
    }

    /// The gradient by `w` with the graph cut in two, and the second part into images.
    fn gradient(mask_gradient: f64, own: bool) -> Vec<f32> {
        let device = Device::flex().autodiff();
        let w = Tensor::<1>::from_floats([1.0, -2.0, 0.5], &device).require_grad();
        let factors = Tensor::<1>::from_floats([1.0, 0.25, 2.0], &Device::flex());
        let mut whole = output(&w, mask_gradient);
        whole.own_loss = own.then(|| w.clone().sum());
        let parts = [0..2, 2..3].into_iter().map(|images| {
            let leaf = whole.leaf(images.clone());
            let loss = loss(&leaf, factors.clone().slice_dim(0, images));
            leaf.gradient(&loss)
        });
        let gradients = whole.backward(&MaskGradient::join(parts.collect())).expect("computed");
        w.grad(&gradients).expect("a gradient").into_data().try_to_vec::<f32>().expect("f32")
    }

    /// By hand: `a (6 w)^2 w^2 = 36 a w^4`, whose derivative is `144 a w^3`, half of it by the points. Exact in f32.
    #[test]
    fn a_graph_cut_in_two_and_into_images_has_the_gradient_computed_by_hand() {
        assert_eq!(gradient(1.0, false), [144.0, -288.0, 36.0]);
    }

    #[test]
    fn prompts_get_a_share_of_the_masks_gradient_and_the_shift_gets_all() {
        assert_eq!(gradient(0.5, false), [108.0, -216.0, 27.0]);
        assert_eq!(gradient(0.0, false), [72.0, -144.0, 18.0]);
    }

    #[test]
    fn a_loss_of_the_modules_own_is_added() {
        assert_eq!(gradient(1.0, true), [145.0, -287.0, 37.0]);
    }

    #[test]
    fn what_no_adapter_computed_stays_a_constant() {
        let device = Device::flex();
        let given = output(&Tensor::<1>::from_floats([1.0, 2.0, 3.0], &device), 1.0);
        let leaf = given.leaf(1..3);
        let (points, labels) = leaf.hypotheses[0].points.clone().expect("it has points");
        assert!(!points.is_tracked());
        assert_eq!((points.dims(), labels.dims()), ([2, 1, 2], [2, 1]));
        let factors = Tensor::<1>::from_floats([1.0, 1.0, 1.0], &device);
        let whole = given.leaf(0..3);
        let value = loss(&whole, factors);
        assert!(given.backward(&whole.gradient(&value)).is_none());
    }
}
