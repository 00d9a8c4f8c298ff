//! The published checkpoints that we know by name.

use crate::config::Variant;

/// A published weights file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownCheckpoint {
    /// The name it is published under.
    pub file_name: &'static str,
    /// The variant whose weights it holds.
    pub variant: Variant,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of the file, lower-case hexadecimal.
    pub sha256: &'static str,
}

impl KnownCheckpoint {
    /// Where their authors describe them.
    pub const HOME_PAGE: &str = "https://github.com/facebookresearch/segment-anything";
    /// On what terms they may be used.
    pub const TERMS: &str = "Apache License 2.0";
    /// What to cite.
    pub const CITATION: &str = "Kirillov A. et al., Segment Anything, ICCV 2023";

    /// Where the file is published.
    pub fn url(&self) -> String {
        format!("https://dl.fbaipublicfiles.com/segment_anything/{}", self.file_name)
    }

    /// The published weights of a variant; `None` for one that is not published there.
    pub fn of(variant: Variant) -> Option<&'static Self> {
        KNOWN_CHECKPOINTS.iter().find(|known| known.variant == variant)
    }
}

/// The official SAM releases.
pub const KNOWN_CHECKPOINTS: &[KnownCheckpoint] = &[
    KnownCheckpoint {
        file_name: "sam_vit_b_01ec64.pth",
        variant: Variant::VitB,
        size: 375_042_383,
        sha256: "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
    },
    KnownCheckpoint {
        file_name: "sam_vit_l_0b3195.pth",
        variant: Variant::VitL,
        size: 1_249_524_607,
        sha256: "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
    },
    KnownCheckpoint {
        file_name: "sam_vit_h_4b8939.pth",
        variant: Variant::VitH,
        size: 2_564_550_879,
        sha256: "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
    },
];
