//! The published checkpoints that we know by name.

use crate::{config::Variant, preprocess::ResizeMode};

/// A published weights file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownCheckpoint {
    /// What to ask for: the name of the variant, or of the model where another one is published for the same variant.
    pub name: &'static str,
    /// The name it is published under.
    pub file_name: &'static str,
    /// The variant whose weights it holds.
    pub variant: Variant,
    /// Size in bytes; `None` if we do not know it.
    pub size: Option<u64>,
    /// SHA-256 of the file, lower-case hexadecimal; `None` if we do not know it, so that such a file is never recognized
    /// and never refused.
    pub sha256: Option<&'static str>,
    /// Where the file is published.
    pub url: &'static str,
    /// How its authors bring images to the input.
    pub resize: ResizeMode,
    /// Who made it, and where they say more.
    pub origin: &'static Origin,
}

/// Whose weights they are, and on what terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Name of the model.
    pub title: &'static str,
    /// Where its authors describe it.
    pub home_page: &'static str,
    /// On what terms its weights may be used.
    pub terms: &'static str,
    /// What to cite.
    pub citation: &'static str,
}

/// SAM's authors.
const SAM: Origin = Origin {
    title: "Segment Anything",
    home_page: "https://github.com/facebookresearch/segment-anything",
    terms: "Apache License 2.0",
    citation: "Kirillov A. et al., Segment Anything, ICCV 2023",
};

/// MobileSAM's authors.
const MOBILE_SAM: Origin = Origin {
    title: "MobileSAM",
    home_page: "https://github.com/ChaoningZhang/MobileSAM",
    terms: "Apache License 2.0",
    citation: "Zhang C. et al., Faster Segment Anything: Towards Lightweight SAM for Mobile Applications, arXiv 2306.14289, 2023",
};

/// MedSAM's authors.
const MED_SAM: Origin = Origin {
    title: "MedSAM",
    home_page: "https://github.com/bowang-lab/MedSAM",
    terms: "Apache License 2.0 (the repository's); see the page of the file for what its authors say of the weights",
    citation: "Ma J. et al., Segment Anything in Medical Images, Nature Communications 15:654, 2024",
};

impl KnownCheckpoint {
    /// The published weights of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        KNOWN_CHECKPOINTS.iter().find(|known| known.name == name)
    }
}

/// The releases of SAM, MobileSAM and MedSAM.
pub const KNOWN_CHECKPOINTS: &[KnownCheckpoint] = &[
    KnownCheckpoint {
        name: "vit_b",
        file_name: "sam_vit_b_01ec64.pth",
        variant: Variant::VitB,
        size: Some(375_042_383),
        sha256: Some("ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912"),
        url: "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_b_01ec64.pth",
        resize: ResizeMode::LongestSide,
        origin: &SAM,
    },
    KnownCheckpoint {
        name: "vit_l",
        file_name: "sam_vit_l_0b3195.pth",
        variant: Variant::VitL,
        size: Some(1_249_524_607),
        sha256: Some("3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622"),
        url: "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_l_0b3195.pth",
        resize: ResizeMode::LongestSide,
        origin: &SAM,
    },
    KnownCheckpoint {
        name: "vit_h",
        file_name: "sam_vit_h_4b8939.pth",
        variant: Variant::VitH,
        size: Some(2_564_550_879),
        sha256: Some("a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e"),
        url: "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_h_4b8939.pth",
        resize: ResizeMode::LongestSide,
        origin: &SAM,
    },
    KnownCheckpoint {
        name: "vit_t",
        file_name: "mobile_sam.pt",
        variant: Variant::VitT,
        size: Some(40_728_226),
        sha256: Some("6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f"),
        url: "https://github.com/ChaoningZhang/MobileSAM/raw/master/weights/mobile_sam.pt",
        resize: ResizeMode::LongestSide,
        origin: &MOBILE_SAM,
    },
    KnownCheckpoint {
        name: "medsam",
        file_name: "medsam_vit_b.pth",
        variant: Variant::VitB,
        size: None,
        sha256: None,
        url: "https://zenodo.org/records/10689643/files/medsam_vit_b.pth",
        resize: ResizeMode::MedSam,
        origin: &MED_SAM,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_files_are_unique_and_urls_end_with_the_file() {
        for (index, known) in KNOWN_CHECKPOINTS.iter().enumerate() {
            assert!(known.url.ends_with(&format!("/{}", known.file_name)), "{}", known.url);
            let twice = |other: &KnownCheckpoint| {
                other.name == known.name || other.file_name == known.file_name
            };
            assert!(!KNOWN_CHECKPOINTS[index + 1..].iter().any(twice), "{}", known.name);
        }
    }

    #[test]
    fn a_variants_name_stands_for_its_own_weights_and_never_for_another_models() {
        for variant in Variant::ALL {
            match KnownCheckpoint::named(variant.name()) {
                Some(known) => assert_eq!(known.variant, variant),
                None => assert_eq!(variant, Variant::Micro),
            }
        }
        let medsam = KnownCheckpoint::named("medsam").expect("known");
        assert_eq!(medsam.variant, Variant::VitB);
    }
}
