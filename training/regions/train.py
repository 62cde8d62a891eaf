"""Train the head of the built-in region finder; see README.md beside this file."""

from __future__ import annotations

import argparse
import copy
import math
import os
import random
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks"), str(Path(__file__).resolve().parent)]
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import data  # noqa: E402
import regions as benchmark  # noqa: E402
import torch  # noqa: E402
import torch.multiprocessing as multiprocessing  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from imagesim.embedders.towers import load_trunk  # noqa: E402
from imagesim.regions.boxes import candidates  # noqa: E402
from imagesim.regions.labels import GARMENTS  # noqa: E402
from imagesim.regions.network import RegionHead, features, folded  # noqa: E402
from imagesim.regions.segmenter import input_of  # noqa: E402

CLASSES = len(data.CLASSES)


def is_aside(number: int) -> bool:
    """Photos of the training part that are kept out, to choose on them what counts as sure."""
    return number % 20 == 1


def for_training(number: int) -> bool:
    """Neither aside nor of the validation part."""
    return number % 5 != 0 and not is_aside(number)


def produce(line, args, epoch: int) -> None:
    """Make batches without end and pass them through the frozen trunk, in a process of its own.

    The line gets the number of photos and the pixels of each class, then (features, targets …) of one batch after
    another, and None after each pass through the photos.
    """
    torch.set_num_threads(1)
    photos = [p for p in data.load_photos(args.data / "outfits") if for_training(p.number)]
    products = data.load_products(args.data / "fashion", most=120, seed=args.seed)
    print(f"{len(photos)} photos, {len(products)} product pictures", flush=True)
    counts = sum(np.bincount(np.asarray(photo.mask).ravel(), minlength=CLASSES) for photo in photos)
    line.put((len(photos), counts))
    trunk = folded(load_trunk()).bfloat16()
    while True:
        epoch += 1
        generator = torch.Generator().manual_seed(args.seed * 1000 + epoch)
        maker = data.Maker(photos, products, args.seed * 1000 + epoch)
        for batch in maker.epoch(args.batch, late=epoch > args.epochs - args.late):
            if len(batch) < 3:
                continue
            pixels = torch.from_numpy(np.stack([np.asarray(s.image) for s in batch])).permute(0, 3, 1, 2) / 255
            pixels = normal(data.recoloured(pixels, generator)).bfloat16()
            target = torch.from_numpy(np.stack([s.target for s in batch]))
            known = torch.from_numpy(np.stack([s.presence for s in batch]))
            with torch.inference_mode():
                seen = [stage.clone() for stage in features(trunk, pixels)]
            line.put((seen, target, known, [s.weak for s in batch]))
        line.put(None)


def loss_of(logits, presence, target, known, weak, class_weights):
    """Cross-entropy + dice [1]_ on pixels, and binary cross-entropy on presence.

    For pictures of one thing whose outline is not known, some of the unknown pixels are that thing: the mean over the
    likeliest quarter of them.

    .. [1] Milletari et al., V-Net, 3DV 2016.
    """
    cross = F.cross_entropy(logits, target, weight=class_weights, ignore_index=data.IGNORE, label_smoothing=0.05)
    probabilities = logits.softmax(dim=1)
    valid = (target != data.IGNORE).unsqueeze(1)
    one_hot = F.one_hot(target.clamp(max=CLASSES - 1), CLASSES).permute(0, 3, 1, 2) * valid
    seen = probabilities * valid
    overlap, size = (seen * one_hot).sum(dim=(0, 2, 3)), (seen + one_hot).sum(dim=(0, 2, 3))
    there = one_hot.sum(dim=(0, 2, 3)) > 0
    dice = 1 - ((2 * overlap + 1) / (size + 1))[there].mean()
    sure = known >= 0
    holds = F.binary_cross_entropy_with_logits(presence[sure], known[sure] * 0.94 + 0.02)
    total = cross + 0.7 * dice + 0.5 * holds
    for i, label in enumerate(weak):
        if label > 0:
            mass = logits[i].log_softmax(dim=0)[label][target[i] == data.IGNORE]
            if len(mass) > 8:
                total = total - 0.15 / len(weak) * mass.topk(len(mass) // 4).values.mean()
    return total


def normal(pixels):
    return ((pixels - 0.5) / 0.5).contiguous(memory_format=torch.channels_last)


def predict(trunk, head, image):
    """(classes, h, w) and (labels,) probabilities; ``trunk`` in bfloat16."""
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        logits, presence = head(*features(trunk, normal(input_of(image)).bfloat16()))
    return logits[0].float().softmax(dim=0).numpy(), presence[0].float().sigmoid().numpy()


def aside(folder: Path) -> list[benchmark.Truth]:
    return benchmark.load(
        folder / "photos", folder / "masks", folder / "labels.json", lambda path: is_aside(int(path.stem))
    )


def evaluate(trunk, head, truths) -> dict[float, dict]:
    found = []
    for truth in truths:
        found.append(candidates(*predict(trunk, head, truth.image()), data.CLASSES))
    results = {}
    for threshold in (0.3, 0.4, 0.5):
        shown = [[r for r in regions if r.score >= threshold] for regions in found]
        results[threshold] = benchmark.score(truths, shown, every=found)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder with outfits/ and fashion/")
    parser.add_argument("--out", type=Path, required=True, help="where checkpoints and the head go")
    parser.add_argument("--epochs", type=int, default=28)
    parser.add_argument("--late", type=int, default=6, help="how many of them, the last ones, at full size")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    args = parser.parse_args()

    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    checkpoint = args.out / "checkpoint.pt"
    head = RegionHead(CLASSES, len(GARMENTS)).to(memory_format=torch.channels_last)
    print(f"{sum(p.numel() for p in head.parameters()):,} parameters", flush=True)
    average = copy.deepcopy(head).eval().requires_grad_(False)
    optimizer = torch.optim.AdamW(head.parameters(), lr=args.rate, weight_decay=0.03)
    epoch, step = 0, 0
    if args.resume and checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        head.load_state_dict(state["head"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        epoch, step = state["epoch"], state["step"]

    context = multiprocessing.get_context("spawn")
    line = context.Queue(6)
    producer = context.Process(target=produce, args=(line, args, epoch), daemon=True)
    producer.start()
    number, counts = line.get()
    share = torch.tensor(np.maximum(counts, 1) / counts.sum(), dtype=torch.float32)
    class_weights = (share.median() / share).pow(0.35).clamp(0.4, 2.5)
    steps = round(args.epochs * 2 * number / (1 - data.PRODUCT_SHARE) / args.batch)  # each batch is learned from twice
    print(f"{number} photos from step {step} to about {steps}", flush=True)
    chooser = random.Random(args.seed + epoch)
    past: list = []  # batches to be seen once more, in a mirror: making one costs as much as learning from it

    truths = aside(args.data / "outfits")
    trunk = folded(load_trunk()).bfloat16()

    def learn(seen, target, known, weak) -> float:
        nonlocal step
        part = min(1.0, step / steps)
        rate = args.rate * min(1.0, (step + 1) / 100) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * part)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast("cpu", torch.bfloat16):
            logits, presence = head(*(stage.contiguous(memory_format=torch.channels_last) for stage in seen))
        loss = loss_of(logits.float(), presence.float(), target.long(), known, weak, class_weights)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), 2.0)
        optimizer.step()
        step += 1
        keep = min(0.997, (step + 1) / (step + 20))
        with torch.no_grad():
            for mine, theirs in zip(average.state_dict().values(), head.state_dict().values(), strict=True):
                if mine.dtype.is_floating_point:
                    mine.lerp_(theirs, 1 - keep)
                else:
                    mine.copy_(theirs)
        return float(loss.detach())

    while epoch < args.epochs:
        began, losses, busy = time.time(), [], time.process_time()
        head.train()
        while (batch := line.get()) is not None:
            losses.append(learn(*batch))
            seen, target, known, weak = batch
            past.append(([stage.flip(-1) for stage in seen], target.flip(-1), known, weak))
            if len(past) > 12:
                losses.append(learn(*past.pop(chooser.randrange(len(past)))))
        epoch += 1
        report = (
            f"epoch {epoch} step {step} loss {np.mean(losses):.3f} "
            f"{time.time() - began:.0f} s ({time.process_time() - busy:.0f} s of CPU)"
        )
        state = {"head": head.state_dict(), "average": average.state_dict(), "optimizer": optimizer.state_dict()}
        torch.save({**state, "epoch": epoch, "step": step}, checkpoint)
        if epoch % 6 == 0 or epoch == args.epochs:
            for threshold, r in evaluate(trunk, average, truths).items():
                report += f" | {threshold}: recall {r['recall']:.3f} mAP {r['map']:.3f} F1 {r['label_f1']:.3f}"
        print(report, flush=True)
    producer.terminate()


if __name__ == "__main__":
    main()
