"""Label the pixels of photos of which only the labels are known, with teachers that learned from labelled pixels [1]_.

    python training/regions/pseudo.py --data DATA --teacher FILE [--teacher FILE] --out MASKS

What is known replaces what a teacher believes is present: labels that a photo lacks get no pixel. Probabilities are
means over the teachers, two sizes, and the mirrored photo; a pixel without a sufficiently certain class stays unknown.

.. [1] Xie et al., Self-training with Noisy Student improves ImageNet classification, CVPR 2020.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import data
import networks
import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from imagesim.regions.boxes import STEP, input_size
from imagesim.regions.labels import GARMENTS

SCALES = (1.0, 1.35)
SURE = 0.5
ABSENT = -30.0


def probabilities(
    teacher: networks.Finder, image: Image.Image, worn: frozenset[str], device: torch.device
) -> torch.Tensor:
    """Return the probabilities of each pixel (classes, height, width)."""
    known = torch.tensor([label in worn for label in GARMENTS], device=device)
    total = torch.zeros(len(data.CLASSES), image.height, image.width, device=device)
    for scale in SCALES:
        size = tuple(round(side * scale / STEP) * STEP for side in input_size(image.size))
        pixels = torch.from_numpy(np.array(image.resize(size, Image.Resampling.BILINEAR)))
        photo = pixels.to(device).permute(2, 0, 1)[None].float() / 255
        for flipped in (False, True):
            with torch.autocast(device.type, torch.bfloat16):
                logits, presence = (each.float() for each in teacher(photo.flip(-1) if flipped else photo))
            logits = logits.flip(-1) if flipped else logits
            labels = logits[:, 1 : 1 + len(GARMENTS)]
            labels -= teacher.head.push(presence)
            labels[:, ~known] = ABSENT
            large = F.interpolate(logits, (image.height, image.width), mode="bilinear", align_corners=False)
            total += large[0].softmax(dim=0)
    return total / (2 * len(SCALES))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder with outfits-tags/")
    parser.add_argument("--teacher", type=Path, action="append", required=True, help="weights of train.py --as-teacher")
    parser.add_argument("--out", type=Path, required=True, help="a folder for the masks")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    device = torch.device(args.device)
    teachers = [networks.trained(networks.teacher(), weights, device) for weights in args.teacher]
    unknown, missing, worn_labels = [], 0, 0
    for stem, image, worn in data.tagged_photos(args.data / "outfits-tags"):
        with torch.inference_mode():
            mean = torch.stack([probabilities(teacher, image, worn, device) for teacher in teachers]).mean(dim=0)
        highest, classes = mean.max(dim=0)
        mask = torch.where(highest >= SURE, classes, data.IGNORE).to(torch.uint8).cpu().numpy()
        Image.fromarray(mask).save(args.out / f"{stem}.png")
        unknown.append(float((mask == data.IGNORE).mean()))
        worn_labels += len(worn)
        missing += sum(not (mask == 1 + GARMENTS.index(label)).any() for label in worn)
    print(
        f"{len(unknown)} photos: {np.mean(unknown):.3f} of the pixels unknown, "
        f"{missing} of {worn_labels} labels without a pixel"
    )


if __name__ == "__main__":
    main()
