//! Weights: `.pth` files of any container, and safetensors.

use pytorch_reader::PytorchReader;
use safetensors::SafeTensors;
use weights_check::{Format, check, check_tensor};

use crate::scratch;

/// Reads the bytes as a `.pth` file and as safetensors, as `sam_backbone::load_weights` does: the check first, then
/// Burn's reader, then the bytes of each tensor that is no larger than the file.
pub fn weights(bytes: &[u8]) -> bool {
    let mut accepted = false;
    let path = scratch::file("weights.pth", bytes);
    if let Ok(length) = check(&path, Format::Pickle)
        && let Ok(reader) = PytorchReader::new(&path)
    {
        accepted = true;
        for (name, tensor) in reader.tensors() {
            let expected = tensor.byte_len();
            if check_tensor(name, expected as u64, length).is_ok()
                && let Ok(read) = tensor.read()
            {
                assert_eq!(read.len(), expected, "bytes of tensor `{name}`");
            }
        }
    }
    let path = scratch::file("weights.safetensors", bytes);
    if check(&path, Format::Safetensors).is_ok()
        && let Ok(tensors) = SafeTensors::deserialize(bytes)
    {
        accepted = true;
        for (name, tensor) in tensors.iter() {
            assert!(tensor.data().len() <= bytes.len(), "bytes of tensor `{name}`");
        }
    }
    accepted
}
