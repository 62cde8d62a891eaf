"""Measure the memory and speed of a process that embeds: ``python -m benchmarks.model_memory``.

Compares torch and ONNX Runtime, each in separate processes that do nothing else: memory after each step, seconds from
the start of Python to the first answer to a photo and words, then milliseconds per picture. ``own`` excludes
file-backed pages (libraries, mapped weights), which the machine holds once for all processes and can reclaim. The model
is loaded once beforehand, so that nothing is assembled, tried or exported during a measurement; the times are the best
of ``--rounds``, in which the runtimes alternate.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

CASES = {
    "torch, fp32": {"precision": "fp32"},
    "torch, auto": {"precision": "auto"},
    "ONNX Runtime": {"runtime": "onnx"},
}
BATCHES = (1, 16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="imagesim-lite")
    parser.add_argument("--pretrained")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(json.loads(options.child))))
        return
    figures: dict[str, dict[str, Any]] = {}
    for turn in range(options.rounds + 1):
        for name, case in CASES.items():
            each = in_process({"model": options.model, "pretrained": options.pretrained, **case})
            if turn:  # the first one assembles, tries and exports
                known = figures.setdefault(name, each)
                known["times"] = {of: min(value, known["times"][of]) for of, value in each["times"].items()}
    for name, each in figures.items():
        print(f"{name} ({each['precision']}, {each['threads']} processors)")
        for step, held_here in each["rows"].items():
            print(f"    {step:38s} {held_here['resident']:5d} MB, own {held_here['own']:5d}")
        for of, value in each["times"].items():
            print(f"    {of:38s} {value:8.2f}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


def in_process(case: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.model_memory", "--child", json.dumps({**case, "began": time.time()})]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measure(case: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of one runtime, measured in this process."""
    rows: dict[str, dict[str, int]] = {}
    times: dict[str, float] = {}
    began = case.pop("began")

    import django
    from django.conf import settings

    settings.configure(IMAGESIM={})
    django.setup()
    rows["Python and Django"] = held()
    from PIL import Image

    from imagesim.embedders.openclip import OpenClipEmbedder

    embedder: Any = OpenClipEmbedder(**case)
    pictures = [Image.effect_noise((224, 224), 20 + n).convert("RGB") for n in range(16)]
    embedder.embed_images(pictures[:1])
    embedder.embed_texts(["a red dress"])
    times["seconds to the first answers"] = time.time() - began
    rows["after a photo and words"] = held()
    prepared = [embedder.prepare(picture) for picture in pictures]
    for size in BATCHES:
        batch = partial(embedder.embed_prepared, prepared[:size])
        times[f"ms per picture, batch {size}"] = best(batch) / size
    times["ms per text"] = best(lambda: embedder.embed_texts(["a red dress for the summer"]))
    rows["after pictures in batches of 16 and texts"] = held()
    threads = len(os.sched_getaffinity(0))
    precision = embedder._loaded().precision
    return {"precision": precision, "threads": threads, "rows": rows, "times": times}


def best(run: Any, rounds: int = 12) -> float:
    """Return the minimum milliseconds of several calls."""
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        run()
        took.append((time.perf_counter() - began) * 1000)
    return min(took)


def held() -> dict[str, int]:
    """Return the megabytes of this process: all, and those not backed by files. Linux only."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    resident, own = (int(status[name].split()[0]) // 1024 for name in ("VmRSS", "RssAnon"))
    return {"resident": resident, "own": own}


if __name__ == "__main__":
    main()
