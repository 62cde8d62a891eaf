"""Make ``import torchvision`` work beside a CPU-only torch.

open_clip needs torchvision for its Python transforms only, but torchvision refuses to be imported when
its compiled operators do not load (``operator torchvision::nms does not exist``), as happens with a wheel
that was built for another flavour of torch. Declaring the two operators it asks for is enough then.
"""

from __future__ import annotations

import importlib
import sys
import threading
from typing import Any

_SCHEMA = "{}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_lock = threading.Lock()
_library: Any = None  # torch forgets the declarations when this object dies


def import_torchvision() -> Any:
    """The torchvision module, with its operators declared where they did not load.

    :raises ImportError: if torchvision is not installed.
    """
    global _library
    with _lock:
        try:
            return importlib.import_module("torchvision")
        except RuntimeError as error:
            if "torchvision::nms" not in str(error) or _library is not None:
                raise
        import torch

        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]  # half imported
        _library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
        for name in ("nms", "qnms"):
            _library.define(_SCHEMA.format(name))
        return importlib.import_module("torchvision")
