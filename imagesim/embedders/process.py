"""Changes to the process that running a model needs. Nothing else in this package changes global state.

They are made when a model is loaded, and so never in a process that only shows similar products:

* ``OMP_WAIT_POLICY`` in the environment, unless it is set;
* the number of torch's threads, in a child of a process that had loaded a model;
* two operators declared for torch, and ``torchvision`` imported again, if its own operators did not load;
* ``ORT_DISABLE_TELEMETRY`` in the environment, unless it is set, so that ONNX Runtime sends no usage reports;
* ``openvino_telemetry`` in ``sys.modules``, so that OpenVINO sends no usage reports.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import threading
from typing import Any

from imagesim.exceptions import EmbedderError

_SCHEMA = "{}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_lock = threading.Lock()
_library: Any = None  # torch forgets the declarations when this object is deleted
_prepared_pid: int | None = None


def prepare() -> None:
    """Prepare this process for a model. Call it before torch is imported; repeated calls cost nothing.

    :raises EmbedderError: if there is no folder for temporary files.
    """
    global _prepared_pid
    try:
        tempfile.gettempdir()
    except FileNotFoundError as error:  # torch asks for it too, and cannot be imported again after that has failed
        raise EmbedderError(
            "The model needs a writable folder for temporary files: set TMPDIR to one, or mount a tmpfs on /tmp."
        ) from error
    # OpenMP threads that wait actively take processor time from everything else: a forward pass then takes up
    # to five times as long (docs/performance.md). Read once, when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if _prepared_pid not in (None, os.getpid()):
        import torch

        # OpenMP would wait forever for the parent's threads: https://github.com/pytorch/pytorch/issues/17199
        torch.set_num_threads(1)
    _prepared_pid = os.getpid()


def import_torchvision() -> Any:
    """Import torchvision, with its operators declared if they did not load.

    open_clip needs only its Python transforms, but torchvision refuses to be imported without its compiled operators
    (``operator torchvision::nms does not exist``), as with a wheel built for another variant of torch.

    :raises ImportError: if torchvision is not installed.
    :raises EmbedderError: as :func:`prepare`.
    """
    global _library
    prepare()
    with _lock:
        try:
            return importlib.import_module("torchvision")
        except RuntimeError as error:
            if "torchvision::nms" not in str(error) or _library is not None:
                raise
        import torch

        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]  # partly imported
        _library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
        for name in ("nms", "qnms"):
            _library.define(_SCHEMA.format(name))
        return importlib.import_module("torchvision")


def import_openvino() -> Any:
    """Import openvino without its telemetry, which it uses unless that package is missing.

    :raises EmbedderError: if OpenVINO is not installed.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        raise EmbedderError("int8 needs OpenVINO: run pip install 'django-imagesim[openvino]'.") from error
    return openvino


def import_onnxruntime() -> Any:
    """Import onnxruntime without its telemetry, whose thread would also keep a child process from exiting.

    :raises EmbedderError: if ONNX Runtime is not installed.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        raise EmbedderError("The runtime 'onnx' needs: pip install 'django-imagesim[onnx]'.") from error
    return onnxruntime
