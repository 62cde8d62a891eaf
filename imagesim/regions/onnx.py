"""Run the network of the built-in finder in ONNX Runtime, in a process that never imports torch.

A separate process with torch exports it once per machine (``python -m imagesim.regions.onnx``) and compares both.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imagesim.embedders import lite, onnx, precision
from imagesim.exceptions import EmbedderError
from imagesim.regions.boxes import config, resize

if TYPE_CHECKING:
    from PIL.Image import Image

    from imagesim.regions.boxes import Map

VERSION = 1
"""Increment it when a change to the export must replace the stored files."""
NETWORK = "network.onnx"
MAX_DIFFERENCE = 0.01
"""The largest accepted difference of a probability from torch's, both in fp32."""
SHAPES = ((600, 800), (800, 600), (500, 500), (300, 1000), (1200, 300), (640, 360))


def folder(cache_dir: Path | None) -> Path:
    """Return the folder of the exported network."""
    return (cache_dir or lite.cache_folder()) / "onnx" / f"regions-{config()['checksum'][:16]}-{VERSION}"


class OnnxSegmenter:
    """The exported network in memory, on the CPU in fp32. Thread-safe.

    :param kept: the folder of its files.
    """

    def __init__(self, kept: Path) -> None:
        self.classes: list[str] = config()["classes"]
        self.limits: dict[str, float] = config()["limits"]
        self._session = onnx.session(kept / NETWORK)

    def predict(self, image: Image) -> tuple[Map, Map]:
        """Return the probabilities of a photo of ``resize`` (classes, height, width) at a quarter of its size, and the
        presence (labels,)."""
        pixels = np.asarray(image, np.float32).transpose(2, 0, 1)[None] / np.float32(127.5) - np.float32(1)
        probabilities, presence = self._session.run(None, {"input": pixels})
        return probabilities, presence


def prepare(cache_dir: Path | None) -> Path:
    """Return the folder of the exported network; another process exports it if it is missing or damaged.

    :raises EmbedderError: if it cannot be exported or written.
    """
    options = {"cache_dir": cache_dir and str(cache_dir)}
    onnx.export_once(folder(cache_dir), "imagesim.regions.onnx", options, "The built-in region finder")
    return folder(cache_dir)


def load(cache_dir: Path | None) -> OnnxSegmenter:
    """Load the exported network; export it first if necessary.

    :raises EmbedderError: as :func:`prepare`.
    """
    return OnnxSegmenter(prepare(cache_dir))


def export(cache_dir: Path | None) -> None:
    """Export the network, and keep it if it agrees with torch.

    :raises EmbedderError: as :func:`prepare`.
    """
    from imagesim.regions.segmenter import Segmenter

    precision.choose_device("cpu")
    segmenter = Segmenter("fp32")

    def build(scratch: Path) -> None:
        _export(segmenter, scratch)
        _compare(segmenter, OnnxSegmenter(scratch))

    onnx.build_once(folder(cache_dir), build)


def _export(segmenter: Any, scratch: Path) -> None:
    import torch

    from imagesim.regions.segmenter import features

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk, self.head = segmenter.trunk, segmenter.head

        def forward(self, pixels: Any) -> Any:
            logits, presence = self.head(*features(self.trunk, pixels))
            return logits[0].softmax(dim=0), presence[0].sigmoid()

    outputs = {"probabilities": {1: "height4", 2: "width4"}, "presence": {}}
    example = torch.zeros(1, 3, 480, 384)
    onnx.write(Network(), example, scratch / NETWORK, outputs, {2: "height", 3: "width"})


def _compare(segmenter: Any, exported: OnnxSegmenter) -> None:
    """Compare the exported network with that of torch, on synthetic pictures of several shapes.

    :raises EmbedderError: if they disagree.
    """
    for image, size in zip(precision.synthetic_pictures(len(SHAPES)), SHAPES, strict=True):
        small = resize(image.resize(size))
        for ours, theirs in zip(exported.predict(small), segmenter.predict(small), strict=True):
            if ours.shape != theirs.shape or not np.abs(ours - theirs).max() <= MAX_DIFFERENCE:
                raise EmbedderError(f"its answers differ from those of torch on a photo of {size}.")


if __name__ == "__main__":
    try:
        cache = json.loads(sys.argv[1])["cache_dir"]
        export(Path(cache) if cache else None)
    except EmbedderError as error:
        sys.exit(str(error))
