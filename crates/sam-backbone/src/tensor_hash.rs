//! What can be said of all tensors of a module: a fingerprint, to prove that a frozen part stayed as it was,
//! and whether they are numbers.

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{Bool, Int, Tensor, TensorData},
};
use sha2::{Digest, Sha256};

/// SHA-256 over path, shape, type and bytes of every parameter, as lower-case hexadecimal.
///
/// Two modules have the same hash exactly if they have the same tensors under the same names, bit
/// for bit.
pub fn tensor_hash<M: Module>(module: &M) -> String {
    let mut visitor = HashVisitor { path: Vec::new(), hasher: Sha256::new() };
    module.visit(&mut visitor);
    hex::encode(visitor.hasher.finalize())
}

/// Path of the first parameter with a value that is infinite or no number.
pub(crate) fn not_finite<M: Module>(module: &M) -> Option<String> {
    let mut visitor = FiniteVisitor { path: Vec::new(), first: None };
    module.visit(&mut visitor);
    visitor.first
}

/// Whether a step down the module tree is part of a tensor's name. That it is one variant of an enum is not, as in
/// files.
fn is_named(container_type: &str) -> bool {
    !container_type.starts_with("Enum:")
}

struct FiniteVisitor {
    path: Vec<String>,
    first: Option<String>,
}

impl ModuleVisitor for FiniteVisitor {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.first.is_none() {
            let values = param.val().into_data();
            let values = values.try_into_vec_as::<f32>().expect("a float tensor");
            if !values.iter().all(|value| value.is_finite()) {
                self.first = Some(self.path.join("."));
            }
        }
    }

    fn enter_module(&mut self, name: &str, container_type: &str) {
        if is_named(container_type) {
            self.path.push(name.to_owned());
        }
    }

    fn exit_module(&mut self, _name: &str, container_type: &str) {
        if is_named(container_type) {
            self.path.pop();
        }
    }
}

struct HashVisitor {
    path: Vec<String>,
    hasher: Sha256,
}

impl HashVisitor {
    fn add(&mut self, data: &TensorData) {
        let head = format!("{}|{:?}|{:?}|", self.path.join("."), data.shape(), data.dtype());
        self.hasher.update(head.as_bytes());
        self.hasher.update(&data.bytes()[..]);
    }
}

impl ModuleVisitor for HashVisitor {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.add(&param.val().into_data());
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        self.add(&param.val().into_data());
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        self.add(&param.val().into_data());
    }

    fn enter_module(&mut self, name: &str, container_type: &str) {
        if is_named(container_type) {
            self.path.push(name.to_owned());
        }
    }

    fn exit_module(&mut self, _name: &str, container_type: &str) {
        if is_named(container_type) {
            self.path.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::common::LayerNorm2d;

    #[test]
    fn the_hash_changes_with_one_number_and_only_then() {
        let device = Device::flex();
        let module = LayerNorm2d::new(3, &device);
        assert_eq!(tensor_hash(&module), tensor_hash(&LayerNorm2d::new(3, &device)));

        struct Nudge;
        impl burn::module::ModuleMapper for Nudge {
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                param.map(|tensor| tensor + f32::EPSILON)
            }
        }
        assert_ne!(tensor_hash(&module), tensor_hash(&module.clone().map(&mut Nudge)));
    }
}
