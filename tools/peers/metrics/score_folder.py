"""Scores a folder of predictions with pysodmetrics, and says how long each case took.

Reads the 8-bit predictions of one folder and the truths of the same names of another, which have the same sizes. Prints
one JSON object: `versions`; `secs`, the least time of several repeats of each case in the order of the names, decoding
left out; `cases`, every measure of each case; and `mean`, the numbers of the whole folder. One thread.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import py_sod_metrics as sod

COUNTS = {
    "dice": sod.DICEHandler,
    "iou": sod.IOUHandler,
    "precision": sod.PrecisionHandler,
    "recall": sod.RecallHandler,
    "specificity": sod.SpecificityHandler,
    "f_beta": sod.FmeasureHandler,
}


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pred", type=Path, required=True)
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--repeats", type=int, required=True)
    return parser.parse_args()


def meters() -> dict:
    """Everything that protocol `pranet` reports."""
    # Only the F-measure has an adaptive variant there, so no other is made to compute one.
    handlers = {name: handler(True, name == "f_beta") for name, handler in COUNTS.items()}
    return {
        "counts": sod.FmeasureV2(handlers),
        "mae": sod.MAE(),
        "sm": sod.Smeasure(),
        "em": sod.Emeasure(),
        "wfm": sod.WeightedFmeasure(),
    }


def step(all_meters: dict, prediction: np.ndarray, truth: np.ndarray) -> None:
    """Scores one case."""
    for meter in all_meters.values():
        meter.step(pred=prediction, gt=truth)


def results(all_meters: dict) -> dict:
    """Means over what was scored, and maxima of the mean curves."""
    counts = all_meters["counts"].get_results()
    em = all_meters["em"].get_results()["em"]
    numbers = {name: counts[name]["dynamic"].mean() for name in COUNTS}
    numbers |= {f"max_{name}": counts[name]["dynamic"].max() for name in ("dice", "iou", "f_beta")}
    numbers |= {
        "f_beta_adaptive": counts["f_beta"]["adaptive"],
        "mae": all_meters["mae"].get_results()["mae"],
        "s_measure": all_meters["sm"].get_results()["sm"],
        "weighted_f": all_meters["wfm"].get_results()["wfm"],
        "e_measure": em["curve"].mean(),
        "max_e_measure": em["curve"].max(),
        "e_measure_adaptive": em["adp"],
    }
    # NaN, where the structure measure is undefined, is no JSON.
    return {name: None if math.isnan(number) else float(number) for name, number in numbers.items()}


def main() -> None:
    """Times, scores, prints."""
    warnings.filterwarnings("ignore")
    cv2.setNumThreads(1)
    args = parse_args()
    together, secs, cases = meters(), [], {}
    for path in sorted(args.pred.glob("*.png")):
        prediction = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        truth = cv2.imread(str(args.truth / path.name), cv2.IMREAD_GRAYSCALE)
        if truth is None or truth.shape != prediction.shape:
            sys.exit(f"no truth of the same size: {path}")
        step(together, prediction, truth)
        times = []
        for _ in range(args.repeats):
            one = meters()
            start = time.perf_counter()
            step(one, prediction, truth)
            times.append(time.perf_counter() - start)
        secs.append(min(times))
        cases[path.stem] = results(one)
    versions = {"pysodmetrics": version("pysodmetrics"), "numpy": np.__version__}
    print(json.dumps({"versions": versions, "secs": secs, "cases": cases, "mean": results(together)}))


if __name__ == "__main__":
    main()
