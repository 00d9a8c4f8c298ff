"""Times one pass of ONNX Runtime through SAM's image encoder, on request.

PyTorch exports the encoder (`export_onnx.py`) in a process of its own, and nothing here imports it: the
peak memory is ONNX Runtime's. Otherwise as `forward.py`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
from computing import peak_rss_bytes
from safetensors import safe_open
from turns import say, take_turns


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reference", type=Path, required=True, help="folder of encode_check.py")
    parser.add_argument("--variant", choices=["vit_b", "vit_l", "vit_h", "vit_t"], required=True)
    parser.add_argument("--batch-size", type=int, default=1, help="the image so often in a pass")
    parser.add_argument("--threads", type=int, required=True)
    return parser.parse_args()


def open_encoder(args: argparse.Namespace) -> onnxruntime.InferenceSession:
    """The encoder as ONNX Runtime has it, on the CPU."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "encoder.onnx"
        command = [sys.executable, str(Path(__file__).with_name("export_onnx.py"))]
        command += ["--reference", str(args.reference), "--variant", args.variant]
        command += ["--batch-size", str(args.batch_size), "--out", str(path)]
        # Standard output is for turns: what is said of the export goes where all other words go.
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = args.threads
        providers = ["CPUExecutionProvider"]
        return onnxruntime.InferenceSession(str(path), options, providers=providers)


def main() -> None:
    """Prepares, says so, and times on request."""
    args = parse_args()
    session = open_encoder(args)
    name = session.get_inputs()[0].name
    with safe_open(args.reference / "reference.safetensors", framework="numpy") as reference:
        image, expected = (
            np.tile(reference.get_tensor(key), (args.batch_size, 1, 1, 1))
            for key in ("image", "image_embedding")
        )

    def answer() -> np.ndarray:
        return session.run(None, {name: image})[0]

    error = float(np.linalg.norm(answer() - expected) / np.linalg.norm(expected))
    version = f"onnxruntime {onnxruntime.__version__}"
    take_turns({"version": version, "relative_error": error}, answer)
    say({"peak_rss_mib": peak_rss_bytes() / 2**20})


if __name__ == "__main__":
    main()
