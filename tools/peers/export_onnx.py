"""Exports SAM's image encoder to ONNX, with the weights and for the input that `encode_check.py` wrote."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from encode_check import registry
from safetensors.torch import load_file


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reference", type=Path, required=True, help="folder of encode_check.py")
    parser.add_argument("--variant", choices=["vit_b", "vit_l", "vit_h", "vit_t"], required=True)
    parser.add_argument("--batch-size", type=int, default=1, help="images that it takes at once")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    return parser.parse_args()


@torch.inference_mode()
def main() -> None:
    """Builds, traces, writes."""
    args = parse_args()
    sam = registry(args.variant)[args.variant]()
    sam.load_state_dict(load_file(args.reference / "weights.safetensors"))
    sam.requires_grad_(False).eval()
    image = load_file(args.reference / "reference.safetensors")["image"]
    image = image.repeat(args.batch_size, 1, 1, 1)
    torch.onnx.export(sam.image_encoder, (image,), str(args.out), opset_version=17)


if __name__ == "__main__":
    main()
