"""Full-size reference for SAM: random weights, one 1024 x 1024 image, three prompts.

Writes `weights.safetensors` (and `weights.pth` with `--pth`) under the official names, and
`reference.safetensors` with inputs and outputs of segment-anything 1.0, or of MobileSAM for `vit_t`. Prints timings and the
peak resident memory as one JSON object on standard output.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from computing import peak_rss_bytes
from safetensors.torch import save_file
from segment_anything import sam_model_registry
from segment_anything.modeling import Sam
from torch import Tensor

T = TypeVar("T")
Prompt = dict[str, Tensor]

SIZE = 1024
# Standard deviations for what PyTorch initializes to zero, about those of trained checkpoints.
REL_POS_STD, POS_EMBED_STD, NORM_STD, BIAS_STD = 0.1, 0.02, 0.1, 0.5


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--variant", choices=["vit_b", "vit_l", "vit_h", "vit_t"], default="vit_b")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--pth", action="store_true", help="also write weights.pth")
    return parser.parse_args()


def registry(variant: str) -> dict[str, Callable[[], Sam]]:
    """Where a variant is defined."""
    if variant != "vit_t":
        return sam_model_registry
    import mobile_sam

    return mobile_sam.sam_model_registry


def build_sam(variant: str) -> Sam:
    """SAM with PyTorch's default initialization; zeros and ones replaced by random values."""
    sam = registry(variant)[variant]()
    for name, tensor in sam.state_dict().items():
        if "rel_pos" in name:
            tensor.normal_(0.0, REL_POS_STD)
        elif name.endswith("pos_embed"):
            tensor.normal_(0.0, POS_EMBED_STD)
        elif name.endswith("attention_biases"):
            tensor.normal_(0.0, BIAS_STD)
        elif tensor.dim() == 1:  # norms, their statistics, and biases
            tensor.add_(torch.randn(tensor.shape), alpha=NORM_STD)
    # Only now: MobileSAM's attention keeps its biases from when it is told to evaluate.
    return sam.eval()


def make_image() -> Tensor:
    """A normalized image `[1, 3, 1024, 1024]`: coarse structure, fine structure and noise."""
    image = torch.zeros(1, 3, SIZE, SIZE)
    for cells in (4, 16, 64):
        coarse = torch.randn(1, 3, cells, cells)
        image += torch.nn.functional.interpolate(coarse, (SIZE, SIZE), mode="bilinear")
    return image + 0.1 * torch.randn(image.shape)


def make_prompts() -> dict[str, Prompt]:
    """Prompts by case name, coordinates (x, y) in pixels of the 1024 x 1024 input."""
    return {
        "one_point": {
            "point_coords": torch.tensor([[[500.0, 375.0]]]),
            "point_labels": torch.tensor([[1]]),
        },
        "points": {
            "point_coords": torch.tensor([[[500.0, 375.0], [1000.25, 12.5], [64.0, 800.0]]]),
            "point_labels": torch.tensor([[1, 0, 1]]),
        },
        "box": {"boxes": torch.tensor([[100.0, 200.5, 700.25, 900.0]])},
    }


def decode(sam: Sam, embedding: Tensor, prompt: Prompt) -> dict[str, Tensor]:
    """Three masks of one prompt, `[1, 3, 256, 256]`, and their predicted IoU."""
    points = None
    if "point_coords" in prompt:
        points = (prompt["point_coords"], prompt["point_labels"])
    sparse, dense = sam.prompt_encoder(points, prompt.get("boxes"), None)
    logits, ious = sam.mask_decoder(
        embedding, sam.prompt_encoder.get_dense_pe(), sparse, dense, multimask_output=True
    )
    return {"low_res_logits": logits, "iou_predictions": ious}


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """The result and the seconds it took."""
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def save(tensors: dict[str, Tensor], path: Path) -> None:
    """Writes a safetensors file; views become tensors of their own."""
    save_file({key: value.detach().clone().contiguous() for key, value in tensors.items()}, path)


@torch.inference_mode()
def main() -> None:
    """Builds, runs, writes, prints."""
    args = parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)

    sam, image, prompts = build_sam(args.variant), make_image(), make_prompts()
    embedding, encode_secs = timed(lambda: sam.image_encoder(image))
    tensors = {"image": image, "image_embedding": embedding}
    decode_secs = {}
    for name, prompt in prompts.items():
        outputs, decode_secs[name] = timed(lambda: decode(sam, embedding, prompt))
        tensors |= {f"case.{name}.{key}": value for key, value in (prompt | outputs).items()}
    peak = peak_rss_bytes()  # before writing, which copies

    save(tensors, args.out / "reference.safetensors")
    save(sam.state_dict(), args.out / "weights.safetensors")
    if args.pth:
        torch.save(sam.state_dict(), args.out / "weights.pth")
    report = {
        "torch": torch.__version__,
        "variant": args.variant,
        "threads": args.threads,
        "seed": args.seed,
        "encode_secs": round(encode_secs, 3),
        "decode_secs": {name: round(secs, 3) for name, secs in decode_secs.items()},
        "peak_rss_bytes": peak,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
