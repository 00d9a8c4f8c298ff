//! `cargo xtask encode-check`

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use promise::encode_check::{encode_check, make_reference};

use sam_backbone::Variant;

use super::ArithmeticOptions;
use crate::{outln, output::print_json};

/// Compare a full-size SAM at 1024 pixels with PyTorch `segment-anything` or `mobile_sam`.
///
/// Makes the reference first, unless it is there: needs Python 3, some 5 GB of memory and the
/// packages of `tools/peers/requirements.txt`, which go into a virtual environment of their own.
#[derive(Args)]
pub struct EncodeCheck {
    /// Which SAM: `vit_b`, `vit_l`, `vit_h`, or `vit_t` (MobileSAM).
    #[arg(long, default_value_t = Variant::VitB)]
    variant: Variant,
    /// Folder for references and the virtual environment.
    #[arg(long, default_value = "target/encode-check")]
    reference: PathBuf,
    /// A Python that has the packages already.
    #[arg(long)]
    python: Option<PathBuf>,
    #[command(flatten)]
    arithmetic: ArithmeticOptions,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

impl EncodeCheck {
    /// Makes the reference, compares, prints; fails outside the bounds.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        if self.variant == Variant::Micro {
            anyhow::bail!(
                "`micro` has no reference; expected `vit_t`, `vit_b`, `vit_l` or `vit_h`"
            );
        }
        let python = self.python.as_deref();
        let reference = make_reference(&workspace, &self.reference, self.variant, python)?;
        let check = encode_check(self.variant, &reference, self.arithmetic.into())?;
        if self.json {
            print_json(&check)?;
        } else {
            let bounds = check.bounds;
            outln!(
                "embedding   relative L2 error {:.3e} (bound {:.0e}), worst of its largest {:.1e}",
                check.embedding_rel_l2,
                bounds.embedding,
                check.embedding_worst
            );
            outln!(
                "logits      relative L2 error {:.3e} (bound {:.0e})",
                check.logits_rel_l2,
                bounds.logits
            );
            outln!(
                "encoding    {:.2} s on {} in {}",
                check.encode_secs,
                check.device,
                check.precision
            );
            let bound =
                bounds.memory_mib.map_or(String::new(), |bound| format!(" (bound {bound:.0})"));
            outln!("peak memory {:.0} MiB{bound}", check.peak_rss_mb);
        }
        Ok(if check.within_bounds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
