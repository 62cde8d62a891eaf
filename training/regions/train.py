"""Train the network of the built-in region finder, or its teacher; see README.md beside this file."""

from __future__ import annotations

import argparse
import copy
import math
import random
import time
from pathlib import Path

import networks
import numpy as np
import torch
from losses import distance, loss_of
from recolour import recoloured
from views import EARLY, LATE, Views

HEAD_RATE, TEACHER_RATE, TRUNK_RATE = 2e-3, 1e-3, 3e-4
LATE_FROM = 0.75  # share of the steps after which photos have the size of the finder's input
AVERAGE = 0.998  # decay of the running average per step


def class_weights(counts: np.ndarray) -> torch.Tensor:
    """Return a weight per class from the pixels of each; rarer classes weigh more."""
    share = torch.tensor(np.maximum(counts, 1) / counts.sum(), dtype=torch.float32)
    return (share.median() / share).pow(0.35).clamp(0.4, 2.5)


def rate_at(step: int, steps: int) -> float:
    """Return the share of the maximum learning rate: a short warm-up, then half a cosine."""
    return min(1.0, (step + 1) / 100) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / steps)))


@torch.no_grad()
def follow(average: torch.nn.Module, finder: torch.nn.Module, step: int) -> None:
    """Move the running average towards the weights, faster in the first steps."""
    keep = min(AVERAGE, (step + 1) / (step + 20))
    pairs = zip(average.state_dict().values(), finder.state_dict().values(), strict=True)
    mine, theirs = zip(*((a, b) for a, b in pairs if a.dtype.is_floating_point), strict=True)
    torch._foreach_lerp_(mine, theirs, 1 - keep)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--views", type=Path, required=True, help="the folder that views.py wrote")
    parser.add_argument("--out", type=Path, required=True, help="the file for the weights")
    parser.add_argument("--without-aside", action="store_true", help="hold out photos for export.py")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--as-teacher", action="store_true", help="train the large network")
    kind.add_argument("--teacher", type=Path, help="weights of a teacher to learn from as well")
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    device = torch.device(args.device)
    finder = (networks.teacher() if args.as_teacher else networks.student()).to(device)
    average = copy.deepcopy(finder).eval().requires_grad_(False)
    teacher = None
    if args.teacher:
        teacher = networks.trained(networks.teacher(), args.teacher, device)
    rates = {finder.head: TEACHER_RATE if args.as_teacher else HEAD_RATE, finder.trunk: TRUNK_RATE}
    optimizer = torch.optim.AdamW(
        [{"params": list(part.parameters()), "highest": rate} for part, rate in rates.items()], weight_decay=0.03
    )
    weights = class_weights(np.load(args.views / "pixels.npy")).to(device)
    views = Views(args.views, EARLY, batch=args.batch, seed=args.seed, aside=not args.without_aside)
    print(f"{sum(p.numel() for p in finder.head.parameters()):,} parameters, {len(views):,} views", flush=True)
    generator = torch.Generator(device).manual_seed(args.seed)
    mirror = random.Random(args.seed)
    began, losses = time.time(), []
    for step in range(args.steps):
        if step == round(LATE_FROM * args.steps):
            views = Views(args.views, LATE, batch=args.batch, seed=args.seed, aside=not args.without_aside)
        batch = views.next()
        photos = torch.from_numpy(batch.images).to(device).permute(0, 3, 1, 2).float() / 255
        target = torch.from_numpy(batch.targets).to(device).long()
        known = torch.from_numpy(batch.presence).to(device)
        if mirror.random() < 0.5:
            photos, target = photos.flip(-1), target.flip(-1)
        photos = recoloured(photos, generator)
        for group in optimizer.param_groups:
            group["lr"] = group["highest"] * rate_at(step, args.steps)
        finder.train()
        with torch.autocast(device.type, torch.bfloat16):
            logits, presence = (each.float() for each in finder(photos))
            loss = loss_of(logits, presence, target, known, batch.weak, weights)
            if teacher is not None:
                with torch.no_grad():
                    taught = [each.float() for each in teacher(photos)]
                loss = 0.5 * loss + 2 * distance(logits, presence, *taught, weights)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(finder.parameters(), 2.0)
        optimizer.step()
        follow(average, finder, step)
        losses.append(loss.detach())
        if (step + 1) % 500 == 0 or step + 1 == args.steps:
            mean = float(torch.stack(losses[-500:]).mean())
            print(f"{args.out.stem} step {step + 1} loss {mean:.3f} {time.time() - began:.0f} s", flush=True)
    torch.save(average.state_dict(), args.out)


if __name__ == "__main__":
    main()
