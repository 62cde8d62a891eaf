"""What the client raises, as the index's own errors: each says what to do, none holds a secret."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from imagesim.exceptions import IndexMissing, IndexUnavailable, SearchIndexError

BUSY = frozenset({408, 429, 502, 503, 504})
"""Statuses that may pass."""


@contextmanager
def reported(name: str, where: str) -> Iterator[None]:
    """``name`` is the index's, ``where`` the server's addresses, without credentials."""
    from elastic_transport import SerializationError, TlsError, TransportError
    from elasticsearch import ApiError, UnsupportedProductError

    try:
        yield
    except TlsError as error:
        raise IndexUnavailable(
            f"No trusted connection to Elasticsearch at {where} ({_words(error)}): give the authority of its "
            "certificate as ca_certs in INDEX's OPTIONS."
        ) from error
    except UnsupportedProductError as error:
        raise SearchIndexError(
            f"What answers at {where} is not Elasticsearch; check hosts in INDEX's OPTIONS."
        ) from error
    except SerializationError as error:
        raise SearchIndexError(f"What Elasticsearch at {where} answered cannot be read: {_words(error)}.") from error
    except TransportError as error:
        raise IndexUnavailable(
            f"Elasticsearch at {where} does not answer ({_words(error)}): "
            "check that it runs, and hosts in INDEX's OPTIONS."
        ) from error
    except ApiError as error:
        raise from_api(error.status_code, error.body, name, where) from error


def from_api(status: int, body: object, name: str, where: str) -> SearchIndexError:
    """The error for an HTTP status and its body."""
    reason = reason_of(body)
    if status == 404:
        return IndexMissing(
            f"Elasticsearch has no index {name!r} in service; build it with imagesim_rebuild or imagesim_sync."
        )
    if status in (401, 403):
        return SearchIndexError(
            f"Elasticsearch at {where} refuses access ({status}): check api_key or basic_auth in INDEX's OPTIONS, "
            f"and that it has the privileges that docs/operations.md lists. It said: {reason}"
        )
    if status in BUSY:
        return IndexUnavailable(
            f"Elasticsearch at {where} is busy or not ready ({status}); try again later. It said: {reason}"
        )
    return SearchIndexError(f"Elasticsearch refused a request for the index {name!r} ({status}): {reason}")


def reason_of(body: object) -> str:
    """The innermost reason in an error of Elasticsearch."""
    error: Any = body.get("error", body) if isinstance(body, Mapping) else body
    if not isinstance(error, Mapping):
        return str(error)[:500]
    for cause in (error.get("caused_by"), *(error.get("root_cause") or ())):
        if isinstance(cause, Mapping) and cause.get("reason"):
            return (
                f"{error.get('reason')}: {cause['reason']}"[:500]
                if cause["reason"] != error.get("reason")
                else str(cause["reason"])[:500]
            )
    return str(error.get("reason") or error.get("type") or error)[:500]


def _words(error: Exception) -> str:
    return str(getattr(error, "message", error))[:300]
