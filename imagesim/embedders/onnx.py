"""Run both towers of a model in ONNX Runtime, in a process that never imports torch.

A separate process with torch exports them once per machine (:mod:`imagesim.embedders.onnx_export`) and compares them
with the model. They are stored in the cache folder, next to the assembled model. Weights are mapped from their file, so
that processes share the memory pages. The region finder of :mod:`imagesim.regions.onnx` is exported and run in the same
way.
"""

from __future__ import annotations

import contextlib
import ctypes
import html
import json
import os
import platform
import re
import string
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.checks import CheckMessage, Warning

from imagesim.embedders import lite, precision
from imagesim.embedders.process import import_onnxruntime
from imagesim.exceptions import EmbedderError
from imagesim.runtime import interpreter, threads

if TYPE_CHECKING:
    from PIL.Image import Image

    from imagesim.embedders.model_spec import ModelName
    from imagesim.types import Vector

VERSION = 1
"""Increment it when a change to the export must replace the stored files."""
FACTS = "model.json"
NEEDED = ("onnxruntime", "tokenizers", "ftfy")
"""The packages that running an exported model needs."""
MAX_THREADS = 8
OPSET = 17
EXPORTERS = ("torch", "onnx", "onnxruntime")
"""The packages that an export needs besides those of the model."""


class OnnxModel:
    """An exported model in memory; the methods are those of :class:`imagesim.embedders.loading.Loaded`.

    :param folder: the result of :func:`prepare`.
    """

    precision = "fp32"
    batch_size = 16
    model = None
    """There is no open_clip model in this process."""

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        self._facts: dict[str, Any] = json.loads((folder / FACTS).read_text("utf-8"))
        self.dims = int(self._facts["dims"])
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        added = self._tokenizer.get_added_tokens_decoder().values()
        self._separate = separator(token.content for token in added if token.special)
        self._image, self._text = (session(folder / f"{tower}.onnx") for tower in ("image", "text"))

    def prepare(self, image: Image) -> Any:
        """Convert an RGB image to the model's input, float32 (3, height, width), as open_clip does."""
        import numpy as np

        facts = self._facts["preprocess"]
        pixels = np.asarray(resize_and_crop(image, facts), np.float32).transpose(2, 0, 1) / np.float32(255)
        mean, std = (np.array(facts[name], np.float32)[:, None, None] for name in ("mean", "std"))
        return (pixels - mean) / std

    def images(self, prepared: Sequence[Any]) -> Vector:
        """Embed prepared images: float32 (n, dims), unit rows."""
        import numpy as np

        step = self._facts["step"]
        parts = [np.stack(list(prepared[start : start + step])) for start in range(0, len(prepared), step)]
        return np.concatenate([self._image.run(None, {"input": part})[0] for part in parts])

    def texts(self, texts: Sequence[str]) -> Vector:
        """Embed texts: float32 (n, dims), unit rows."""
        vectors: Vector = self._text.run(None, {"input": self.tokens(texts)})[0]
        return vectors

    def tokens(self, texts: Sequence[str]) -> Any:
        """Tokenize texts as open_clip's tokenizer of the model does: int64 (n, length)."""
        import numpy as np

        facts = self._facts["tokenizer"]
        rows = [self._tokenizer.encode(self._separate(clean(text, facts["clean"]))).ids for text in texts]
        ids = np.array(rows, np.int64)
        if facts["dropped"] is not None:
            ids[ids == facts["dropped"]] = 0
        if facts["padding"] is not None:  # padding is masked, but would still be computed
            ids = ids[:, : max(1, int((ids != facts["padding"]).sum(1).max()))]
        return ids


def resize_and_crop(image: Image, facts: dict[str, Any]) -> Image:
    """Resize, crop and pad exactly as open_clip's transforms do."""
    from PIL import Image as Pillow

    height, width = facts["size"]
    bilinear, mode = facts["interpolation"] == "bilinear", facts["resize_mode"]
    resample, fill = Pillow.Resampling.BILINEAR if bilinear else Pillow.Resampling.BICUBIC, 0
    if mode == "squash":
        return image.resize((width, height), resample)
    ratios = image.width / width, image.height / height
    if mode == "shortest" and height == width:
        size = [int(width * side / min(image.size)) for side in image.size]
    elif mode == "shortest":
        size, resample = [round(side / min(ratios)) for side in image.size], Pillow.Resampling.BICUBIC
    else:
        size, fill = [round(side / max(ratios)) for side in image.size], facts["fill_color"]
    image = image.resize((max(1, size[0]), max(1, size[1])), resample)
    if image.width < width or image.height < height:
        canvas = Pillow.new("RGB", (max(width, image.width), max(height, image.height)), (fill,) * 3)
        canvas.paste(image, ((canvas.width - image.width) // 2, (canvas.height - image.height) // 2))
        image = canvas
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))


def clean(text: str, how: str) -> str:
    """Clean a text as open_clip's tokenizers do: ``whitespace``, ``lower`` or ``canonicalize``."""
    import ftfy

    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    if how == "canonicalize":
        text = text.replace("_", " ").translate(str.maketrans("", "", string.punctuation))
    text = " ".join(text.split())
    return text if how == "whitespace" else text.lower()


def separator(special_tokens: Iterable[str]) -> Callable[[str], str]:
    """Return a function that puts a space into each special token within a text, so that its characters are tokenized:
    a text that spells ``[PAD]``, ``</s>`` or ``<end_of_text>`` is a text like any other.

    Tokenizers take the name of such a token for the token itself: the end of the text, or its padding. Their own
    options against this do not work for SentencePiece's unigrams, which find the name as a piece of their vocabulary.
    """
    names = sorted({name for name in special_tokens if len(name) > 1}, key=len, reverse=True)
    if not names:
        return lambda text: text
    pattern = re.compile("|".join(map(re.escape, names)), re.IGNORECASE)
    return lambda text: pattern.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)


# Loading.


def check(name: ModelName, kept: Callable[[], Path], others: list[CheckMessage]) -> list[CheckMessage]:
    """Return what is missing to run an exported model; ``others`` are the checks for loading it with torch."""
    missing = [module for module in NEEDED if find_spec(module) is None]
    if missing:
        what = f"{name} needs the package {missing[0]!r} for ONNX Runtime, which is not installed"
        hint = "Run pip install 'django-imagesim[onnx]', or omit the option 'runtime'."
        return [Warning(f"{what}: this process cannot embed.", hint=hint, id="imagesim.W201")]
    return [] if others and others[0].id == "imagesim.W201" and (kept() / lite.MANIFEST).is_file() else others


def usable(kept: Path) -> bool:
    """Return whether an exported model is in the folder ``kept`` and can be run, without verifying its files."""
    return (kept / lite.MANIFEST).is_file() and all(find_spec(module) is not None for module in NEEDED)


def facts(kept: Path) -> dict[str, Any]:
    """Return what the folder ``kept`` says about its exported model: ``dims``, ``preprocess`` and others; empty if
    there is none."""
    try:
        return dict(json.loads((kept / FACTS).read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def report(kept: Path) -> str:
    """Return a readable description of how the exported model compared with torch."""
    try:
        trial = precision.PrecisionTrial(**facts(kept)["trial"])
    except (KeyError, TypeError):
        return "fp32 in ONNX Runtime; not yet exported on this machine"
    return f"fp32 in ONNX Runtime; compared with torch: {trial}"


def prepare(name: ModelName, cache_dir: Path | None, kept: Path) -> Path:
    """Return ``kept``, the folder of the exported model; another process exports it if it is missing or damaged.

    :raises EmbedderError: if the model cannot be loaded, exported or written, or if its vectors differ from those of
        torch.
    """
    options = {
        "model": name.full,
        "pretrained": name.pretrained,
        "cache_dir": cache_dir and str(cache_dir),
        "kept": str(kept),
    }
    export_once(kept, "imagesim.embedders.onnx_export", options, str(name))
    return kept


def load(name: ModelName, cache_dir: Path | None, kept: Path) -> OnnxModel:
    """Load the exported model; export it first if necessary.

    :raises EmbedderError: as :func:`prepare`.
    """
    return OnnxModel(prepare(name, cache_dir, kept))


# The files of any network: exported once, verified, and opened.

_sessions: weakref.WeakSet[Any] = weakref.WeakSet()


def _keep_inherited() -> None:
    """Keep the parent's sessions alive in a child process: their destructor would wait for threads that do not
    exist."""
    for session in _sessions:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep_inherited)


def export_once(kept: Path, module: str, options: dict[str, Any], what: str) -> None:
    """Run ``python -m module OPTIONS``, which fills the folder ``kept``, unless the folder is intact.

    On platforms with file locks, processes that share the folder wait for the first one.

    :param what: the name of the model in error messages.
    :raises EmbedderError: if the files cannot be exported.
    """
    if lite.intact(kept):
        return
    if not can_export():
        raise EmbedderError(
            f"{what} has no intact files for ONNX Runtime in {str(kept)!r}, and they cannot be made here without "
            "torch and onnx: copy them from a machine that has these and loaded the model once."
        )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [interpreter(), "-m", module, json.dumps(options)]
    with _locked(kept):
        if not lite.intact(kept):
            done = subprocess.run(
                command, env=environment, capture_output=True, encoding="utf-8", errors="replace", check=False
            )
            if done.returncode:
                detail = done.stderr.strip().rpartition("\n")[2] or f"its process ended with {done.returncode}"
                raise EmbedderError(f"{what} cannot be exported for ONNX Runtime: {detail}")


def can_export() -> bool:
    """Return whether the packages that an export needs are installed."""
    return all(find_spec(module) is not None for module in EXPORTERS)


def has_accelerator() -> bool:
    """Return whether torch probably finds a graphics card here, without importing torch.

    The result may be True although torch finds none.
    """
    return Path("/proc/driver/nvidia").exists() or (sys.platform == "darwin" and platform.machine() == "arm64")


@contextlib.contextmanager
def _locked(target: Path) -> Iterator[None]:
    try:
        import fcntl

        target.parent.mkdir(parents=True, exist_ok=True)
        lock = (target.parent / f".{target.name}.lock").open("wb")
    except (ImportError, OSError):  # the export reports the error
        yield
        return
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def session(path: Path) -> Any:
    """Open an exported network on the CPU, with a bounded number of threads."""
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    given = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # "4,2": one number per nesting level
    options.intra_op_num_threads = min(int(given) if given.isdecimal() else threads(), MAX_THREADS)
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Threads that wait actively take processor time from everything else.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    _sessions.add(session)
    return session


def build_once(kept: Path, build: Callable[[Path], None]) -> None:
    """Fill the folder ``kept`` as :func:`imagesim.embedders.lite.build_once` does.

    :raises EmbedderError: also for every error of ``build``, in one line, because those of the exporter are long.
    """

    def one_line(scratch: Path) -> None:
        try:
            build(scratch)
        except (OSError, EmbedderError):
            raise
        except Exception as error:
            raise EmbedderError(" ".join(str(error).split())[:500] or type(error).__name__) from error

    lite.build_once(kept, one_line)


def write(network: Any, example: Any, path: Path, outputs: dict[str, dict[int, str]], axes: dict[int, str]) -> None:
    """Export a network of torch, simplified with optimisations that are valid on every processor; its weights are
    stored next to it.

    :param outputs: the name of each output, with the names of its axes of variable length.
    :param axes: the axes of the input of variable length.
    """
    import torch

    whole = path.with_name("whole.onnx")
    with torch.inference_mode():
        torch.onnx.export(
            network.eval(),
            (example,),
            str(whole),
            dynamo=False,  # the other exporter needs onnxscript and gives the same result
            opset_version=OPSET,
            input_names=["input"],
            output_names=list(outputs),
            dynamic_axes={"input": axes, **outputs},
        )
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    options.add_session_config_entry("session.optimized_model_external_initializers_file_name", f"{path.name}.data")
    options.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "1024")
    onnxruntime.InferenceSession(whole, options, providers=["CPUExecutionProvider"])
    whole.unlink()
