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
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from imagesim.embedders import lite
from imagesim.embedders.process import import_onnxruntime
from imagesim.exceptions import EmbedderError
from imagesim.runtime import interpreter, threads

MOST_THREADS = 8
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
    options.intra_op_num_threads = min(int(given) if given.isdecimal() else threads(), MOST_THREADS)
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Threads that wait actively take processor time from everything else.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    _sessions.add(session)
    return session


def save(whole: Path, path: Path) -> None:
    """Simplify a graph with optimisations that are valid on every processor, and store its weights beside it."""
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    options.add_session_config_entry("session.optimized_model_external_initializers_file_name", f"{path.name}.data")
    options.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "1024")
    onnxruntime.InferenceSession(whole, options, providers=["CPUExecutionProvider"])
    whole.unlink()
