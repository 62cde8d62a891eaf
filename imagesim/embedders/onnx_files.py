"""The files of networks exported for ONNX Runtime: made once per machine by another process, verified, and opened.

They are stored in the cache folder, and their weights are mapped from there, so that processes share the memory pages.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import platform
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from imagesim.embedders import lite
from imagesim.embedders.process import import_onnxruntime
from imagesim.exceptions import EmbedderError
from imagesim.runtime import interpreter, threads

MAX_THREADS = 8
OPSET = 17
EXPORTERS = ("torch", "onnx", "onnxruntime")
"""The packages that an export needs besides those of the model."""

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
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
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
        lock = (target.parent / f".{target.name}.lock").open("w")
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

    :raises EmbedderError: for every error of ``build`` also, in one line: those of the exporter are long.
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
    """Export a network of torch, simplified with optimisations that are valid on every processor; its weights lie
    beside it.

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
