"""Times one forward pass of PyTorch's, on request: image encoder or decoder of SAM.

Reads the weights and inputs that `encode_check.py` wrote. Ready (see `turns.py`) it is after a pass that is not
timed, whose output is compared with the reference.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from computing import add_arithmetic, dtype_of, peak_rss_bytes, prepare
from encode_check import registry
from safetensors.torch import load_file
from segment_anything.modeling import Sam
from segment_anything.modeling import image_encoder as encoder_module
from torch import Tensor
from torch.nn import functional
from turns import say, take_turns

Forward = Callable[[], Tensor]


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reference", type=Path, required=True, help="folder of encode_check.py")
    parser.add_argument("--variant", choices=["vit_b", "vit_l", "vit_h", "vit_t"], required=True)
    parser.add_argument("--batch-size", type=int, default=1, help="the image so often in a pass")
    parser.add_argument("--part", choices=["encoder", "decoder"], required=True)
    parser.add_argument("--peer", choices=["segment_anything", "torch_sdpa"], required=True)
    parser.add_argument("--threads", type=int, required=True)
    add_arithmetic(parser)
    return parser.parse_args()


def attention_in_one_call(self: encoder_module.Attention, x: Tensor) -> Tensor:
    """`Attention.forward` with PyTorch's fused attention; relative positions are its mask."""
    batch, height, width, channels = x.shape
    tokens, heads = height * width, self.num_heads
    qkv = self.qkv(x).reshape(batch, tokens, 3, heads, channels // heads)
    query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
    grid = (height, width)
    mask = encoder_module.add_decomposed_rel_pos(
        query.new_zeros(batch * heads, tokens, tokens),
        query.reshape(batch * heads, tokens, -1),
        self.rel_pos_h,
        self.rel_pos_w,
        grid,
        grid,
    )
    mask = mask.view(batch, heads, tokens, tokens)
    mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return self.proj(mixed.transpose(1, 2).reshape(batch, height, width, channels))


def biased_attention_in_one_call(self: torch.nn.Module, x: Tensor) -> Tensor:
    """The same for MobileSAM's `Attention`; its biases are the mask."""
    batch, tokens, _ = x.shape
    qkv = self.qkv(self.norm(x)).view(batch, tokens, self.num_heads, -1).transpose(1, 2)
    query, key, value = qkv.split([self.key_dim, self.key_dim, self.d], dim=3)
    mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=self.ab)
    return self.proj(mixed.transpose(1, 2).reshape(batch, tokens, self.dh))


def decoder(sam: Sam, reference: dict[str, Tensor]) -> Forward:
    """One click on an image that is encoded already, up to its low-resolution logits."""
    embedding = reference["image_embedding"]
    points = (reference["case.one_point.point_coords"], reference["case.one_point.point_labels"])

    def forward() -> Tensor:
        sparse, dense = sam.prompt_encoder(points, None, None)
        pe = sam.prompt_encoder.get_dense_pe()
        return sam.mask_decoder(embedding, pe, sparse, dense, multimask_output=True)[0]

    return forward


@torch.inference_mode()
def main() -> None:
    """Prepares, says so, and times on request."""
    args = parse_args()
    prepare(args)
    sam = registry(args.variant)[args.variant]()
    sam.load_state_dict(load_file(args.reference / "weights.safetensors"))
    sam.requires_grad_(False).eval().to(args.device)
    reference = load_file(args.reference / "reference.safetensors", device=args.device)
    version = f"torch {torch.__version__}"
    if args.variant == "vit_t":
        version = f"mobile_sam, {version}"
    if args.part == "decoder":
        forward, expected = decoder(sam, reference), reference["case.one_point.low_res_logits"]
    else:
        repeats = (args.batch_size, 1, 1, 1)
        sam.image_encoder.to(dtype_of(args))
        image = reference["image"].repeat(repeats).to(dtype_of(args))
        expected = reference["image_embedding"].repeat(repeats)
        if args.peer == "torch_sdpa":
            if args.variant == "vit_t":
                from mobile_sam.modeling import tiny_vit_sam

                tiny_vit_sam.Attention.forward = biased_attention_in_one_call
            else:
                encoder_module.Attention.forward = attention_in_one_call
        forward = lambda: sam.image_encoder(image)  # noqa: E731
    # In the host's memory, where the caller has its own results too: the device has finished.
    answer = lambda: forward().float().cpu()  # noqa: E731
    expected = expected.cpu()
    error = ((answer() - expected).norm() / expected.norm()).item()
    take_turns({"version": version, "relative_error": error}, answer)
    say({"peak_rss_mib": peak_rss_bytes() / 2**20})


if __name__ == "__main__":
    main()
