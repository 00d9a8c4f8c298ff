//! Names of entries.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Precision;

/// Everything that the numbers of an entry depend on.
///
/// Two keys that differ in any field are two entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureKey {
    /// SHA-256 of the decoded image, hexadecimal. Not of the file: the same file with another
    /// decoder is another image.
    pub image: String,
    /// How the image was brought to the network's input, in words that differ whenever it does.
    pub preparation: String,
    /// Which view of the image, e.g. `identity`.
    pub view: String,
    /// SHA-256 of the encoder's weights, hexadecimal.
    pub weights: String,
    /// Name of the network and of the arithmetic that it computed in, for people too.
    pub encoder: String,
    /// Which tensor, e.g. `image_embedding` or `block 5`.
    pub tensor: String,
    /// How its numbers are stored.
    pub precision: Precision,
}

impl FeatureKey {
    /// The name of the entry, hexadecimal.
    pub fn digest(&self) -> String {
        hex::encode(Sha256::digest(self.json()))
    }

    /// The name of the work that this tensor comes from: all tensors that one pass of the encoder
    /// gives have the same.
    pub fn work(&self) -> String {
        let work = Self { tensor: String::new(), ..self.clone() };
        hex::encode(Sha256::digest(work.json()))
    }

    pub(crate) fn json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and a name are JSON")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn key(image: &str) -> FeatureKey {
        FeatureKey {
            image: image.into(),
            preparation: "plain 1024".into(),
            view: "identity".into(),
            weights: "00".into(),
            encoder: "vit_b f32".into(),
            tensor: "image_embedding".into(),
            precision: Precision::F16,
        }
    }

    #[test]
    fn every_field_changes_the_name() {
        let base = key("a");
        let others = [
            FeatureKey { image: "b".into(), ..base.clone() },
            FeatureKey { preparation: "plain 512".into(), ..base.clone() },
            FeatureKey { view: "flip".into(), ..base.clone() },
            FeatureKey { weights: "01".into(), ..base.clone() },
            FeatureKey { encoder: "vit_b bf16".into(), ..base.clone() },
            FeatureKey { tensor: "block 2".into(), ..base.clone() },
            FeatureKey { precision: Precision::Int8, ..base.clone() },
        ];
        let mut names: Vec<String> = others.iter().map(FeatureKey::digest).collect();
        names.push(base.digest());
        names.sort();
        names.dedup();
        assert_eq!(names.len(), others.len() + 1);
        assert_eq!(base.digest(), key("a").digest());
    }

    #[test]
    fn tensors_of_one_pass_are_one_piece_of_work() {
        let base = key("a");
        let block = FeatureKey { tensor: "block 2".into(), ..base.clone() };
        assert_eq!(base.work(), block.work());
        assert_ne!(base.work(), key("b").work());
    }
}
