"""JSON at speed: by orjson, which comes with ``imagesim[elasticsearch]``, or else by the standard library."""

from __future__ import annotations

import json
from typing import Any

try:
    import orjson
except ImportError:  # pragma: no cover
    orjson = None  # type: ignore[assignment]


def encode(value: Any) -> bytes:
    """``value`` as JSON; float32 arrays with as few digits as tell them apart."""
    if orjson is not None:
        return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    return json.dumps(value, separators=(",", ":"), default=_plain).encode()


def fast_serializer() -> Any:
    """What the client is to read answers with, or None for its own."""
    if orjson is None:
        return None
    from elasticsearch import OrjsonSerializer

    return OrjsonSerializer()


def _plain(value: Any) -> Any:
    return [round(number, 9) for number in value.tolist()]
