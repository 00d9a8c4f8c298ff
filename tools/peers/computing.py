"""Where and in which numbers a peer computes."""

from __future__ import annotations

import argparse

import torch

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


def add_arithmetic(parser: argparse.ArgumentParser) -> None:
    """The options that say so."""
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--precision", choices=sorted(DTYPES), default="f32")


def dtype_of(args: argparse.Namespace) -> torch.dtype:
    """The numbers that were asked for."""
    return DTYPES[args.precision]


def prepare(args: argparse.Namespace) -> None:
    """Sets PyTorch up.

    On a GPU, products of f32 matrices may take the tensor cores (TF32): Burn's do, and it is PyTorch's
    fastest way to compute with such weights.
    """
    torch.set_num_threads(args.threads)
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True


def wait(args: argparse.Namespace) -> None:
    """Returns when all that was asked of the device is done."""
    if args.device != "cpu":
        torch.cuda.synchronize(args.device)
