"""Compares our augmentation with albumentations by moments, on one image.

    python compare.py IMAGE MASK OURS.csv [DRAWS]

`OURS.csv` is what the example `augmentation_moments` of `data-loaders` printed for the same image. For each kind and
statistic: the mean and the deviation over the draws of both, and the difference of the means in standard errors.
"""

from __future__ import annotations

import csv
import random
import sys

import albumentations as A
import cv2
import numpy as np

STATISTICS = ["mean", "sd", "changed", "change", "foreground"]


def kinds(height: int, width: int) -> dict[str, A.BasicTransform | A.Compose]:
    """Our kinds, as albumentations has them; each always happens."""
    crop = A.RandomResizedCrop(height, width, scale=(0.95, 1.05), p=1)
    warp = A.ShiftScaleRotate(shift_limit=0.0625, scale_limit=0.05, rotate_limit=45, p=1)
    blurs = [A.Blur(5, p=1), A.GaussianBlur((3, 5), p=1), A.MedianBlur(5, p=1), A.MotionBlur(5, p=1)]
    tone = A.RandomBrightnessContrast(0.1, 0.1, p=1)
    textures = [A.CLAHE(2, p=1), A.Sharpen(p=1), A.ImageCompression(p=1), A.GaussNoise(p=1)]
    dropout = A.CoarseDropout(p=1)

    def sometimes(transform: A.BasicTransform, p: float) -> A.BasicTransform:
        return A.OneOf([transform], p=p)  # a `Sequential` ignores its probability

    return {
        "crop": crop,
        "warp": warp,
        **dict(zip(["blur_mean", "blur_gaussian", "blur_median", "blur_motion"], blurs)),
        "tone": tone,
        **dict(zip(["clahe", "sharpen", "jpeg", "noise"], textures)),
        "dropout": dropout,
        "all": A.Compose([
            sometimes(crop, 0.25),
            A.HorizontalFlip(p=0.25),
            A.VerticalFlip(p=0.25),
            sometimes(warp, 0.25),
            A.OneOf(blurs, p=0.25),
            sometimes(tone, 0.25),
            A.OneOf(textures, p=0.25),
            sometimes(dropout, 0.1),
        ]),
    }


def statistics(before: np.ndarray, after: np.ndarray, mask: np.ndarray) -> list[float]:
    """As in `augmentation_moments`."""
    return [
        after.mean(),
        after.std(),
        (before != after).any(axis=2).mean(),
        np.abs(before.astype(int) - after.astype(int)).mean(),
        (mask > 127).mean(),
    ]


def main(image_path: str, mask_path: str, ours_path: str, draws: int = 400) -> None:
    """Prints the comparison."""
    image = cv2.cvtColor(cv2.imread(image_path), cv2.COLOR_BGR2RGB)
    mask = cv2.imread(mask_path, cv2.IMREAD_GRAYSCALE)
    with open(ours_path, encoding="utf-8") as file:
        ours = {(row["kind"], row["statistic"]): row for row in csv.DictReader(file)}
    random.seed(0)
    np.random.seed(0)
    print(f"{'kind':14} {'statistic':10} {'ours':>9} {'sd':>8} {'theirs':>9} {'sd':>8} {'errors':>7}")
    for kind, transform in kinds(*image.shape[:2]).items():
        values = []
        for _ in range(draws):
            result = transform(image=image, mask=mask)
            values.append(statistics(image, result["image"], result["mask"]))
        means, deviations = np.mean(values, axis=0), np.std(values, axis=0)
        for statistic, mean, deviation in zip(STATISTICS, means, deviations):
            row = ours[kind, statistic]
            own_mean, own_deviation = float(row["mean"]), float(row["sd"])
            error = max(np.sqrt((deviation**2 + own_deviation**2) / draws), 1e-3)
            print(
                f"{kind:14} {statistic:10} {own_mean:9.4f} {own_deviation:8.4f} {mean:9.4f} {deviation:8.4f}"
                f" {(own_mean - mean) / error:7.1f}"
            )


if __name__ == "__main__":
    main(*sys.argv[1:4], *map(int, sys.argv[4:5]))
