//! Counting and drawing what is trained.

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::Tensor,
};

/// Scalars that training changes, counted as PyTorch does: with a batch norm's scale and offset,
/// without its running statistics, which Burn's `num_params` includes.
pub fn num_trainable_params<M: Module>(module: &M) -> usize {
    let mut count = Count::default();
    module.visit(&mut count);
    count.total
}

/// Draws every parameter now.
///
/// Burn's parameters are lazy: they draw from the device's one generator when first used. Called
/// right after seeding and building, this makes weights a function of the seed, whatever is used
/// first.
pub fn draw_parameters<M: Module>(module: &M) {
    struct Draw;
    impl ModuleVisitor for Draw {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            param.val();
        }
    }
    module.visit(&mut Draw);
}

#[derive(Default)]
struct Count {
    total: usize,
    inside_statistic: bool,
}

impl Count {
    /// By name and not by `is_require_grad`, which is false for everything after `valid()`.
    fn is_statistic(name: &str, container: &str) -> bool {
        container == "Struct:BatchNorm" && matches!(name, "running_mean" | "running_var")
    }
}

impl ModuleVisitor for Count {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.inside_statistic |= Self::is_statistic(name, container_type);
    }

    fn exit_module(&mut self, name: &str, container_type: &str) {
        self.inside_statistic &= !Self::is_statistic(name, container_type);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !self.inside_statistic {
            self.total += param.lazy_shape().num_elements();
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::{
        nn::{BatchNormConfig, LinearConfig},
        tensor::Device,
    };

    use super::*;

    #[test]
    fn running_statistics_are_not_trained() {
        let device = Device::flex();
        let norm = BatchNormConfig::new(7).init(&device);
        assert_eq!((num_trainable_params(&norm), norm.num_params()), (14, 28));
        let layers = vec![(norm, LinearConfig::new(3, 5).init(&device))];
        assert_eq!(num_trainable_params(&layers), 14 + 3 * 5 + 5);
        assert_eq!(num_trainable_params(&layers.valid()), 14 + 3 * 5 + 5);
    }
}
