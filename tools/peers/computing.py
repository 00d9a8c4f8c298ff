"""Where and in which numbers a peer computes, and what memory it takes.

PyTorch is imported only where it is used: a peer that computes with something else has its memory for itself.
"""

from __future__ import annotations

import argparse
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

DTYPES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}


def add_arithmetic(parser: argparse.ArgumentParser) -> None:
    """The options that say so."""
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--precision", choices=sorted(DTYPES), default="f32")


def dtype_of(args: argparse.Namespace) -> torch.dtype:
    """The numbers that were asked for."""
    import torch

    return getattr(torch, DTYPES[args.precision])


def prepare(args: argparse.Namespace) -> None:
    """Sets PyTorch up.

    On a GPU, products of f32 matrices may take the tensor cores (TF32): Burn's do, and it is PyTorch's
    fastest way to compute with such weights.
    """
    import torch

    torch.set_num_threads(args.threads)
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True


def wait(args: argparse.Namespace) -> None:
    """Returns when all that was asked of the device is done."""
    if args.device != "cpu":
        import torch

        torch.cuda.synchronize(args.device)


def peak_rss_bytes() -> int:
    """The process's peak resident memory.

    Linux keeps the largest of `getrusage` when a process becomes another program, so the parent's
    would be counted as ours; the status file knows only this program's.
    """
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return 1024 * int(line.split()[1])


def forget_peak() -> bool:
    """Lets `peak_rss_bytes` begin anew. False where the system cannot: then it still counts what came before."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True
