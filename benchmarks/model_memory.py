"""What a process that embeds with the built-in model holds in memory: ``python -m benchmarks.model_memory``.

In a process that does nothing else: after each import, after the model is loaded, and the highest while it embeds
pictures in batches of 16 and texts one by one. ``own`` leaves out pages of files (libraries, weights that are mapped),
which the machine holds once for all processes and gives back when it wants memory.
"""

from __future__ import annotations

import argparse
import json
import resource
from pathlib import Path
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="imagesim-lite")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    rows: dict[str, dict[str, int]] = {}

    def note(name: str) -> None:
        rows[name] = held()
        print(f"{name:38s} {rows[name]['resident']:5d} MB, of them own {rows[name]['own']:5d}", flush=True)

    note("Python")
    import django
    from django.conf import settings

    settings.configure(IMAGESIM={})
    django.setup()
    note("… and Django")
    import torch

    note("… and torch")
    from imagesim.embedders.process import import_torchvision

    import_torchvision()
    import open_clip  # noqa: F401

    note("… and open_clip")
    from PIL import Image

    from imagesim.embedders.openclip import OpenClipEmbedder

    embedder: Any = OpenClipEmbedder(model=options.model, precision=options.precision)
    embedder.warm_up()
    note("… and the model, loaded")
    pictures = [Image.effect_noise((224, 224), 20 + n).convert("RGB") for n in range(16)]
    for _ in range(10):
        embedder.embed_images(pictures)
    note("after 160 pictures in batches of 16")
    for number in range(20):
        embedder.embed_texts([f"a red dress, number {number}"])
    note("after 20 texts")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{'at the highest':38s} {peak:5d} MB", flush=True)
    if options.json:
        figures = {"precision": embedder.precision, "threads": torch.get_num_threads(), "peak": peak, "rows": rows}
        options.json.write_text(json.dumps(figures, indent=1))


def held() -> dict[str, int]:
    """Megabytes of this process, all and those not of files. Linux only."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    resident, own = (int(status[name].split()[0]) // 1024 for name in ("VmRSS", "RssAnon"))
    return {"resident": resident, "own": own}


if __name__ == "__main__":
    main()
