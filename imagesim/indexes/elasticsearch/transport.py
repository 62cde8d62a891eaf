"""Communicate with the server: fast JSON, and errors translated to those of an index. No message holds a secret."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from imagesim.circuit_breaker import left_out
from imagesim.exceptions import (
    AccessRefused,
    ConfigurationError,
    IndexUnavailable,
    QueryTimeout,
    SearchIndexError,
    index_missing,
    mask_credentials,
)

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

try:
    import orjson  # comes with django-imagesim[elasticsearch]
except ImportError:  # pragma: no cover
    orjson = None  # type: ignore[assignment]

CLIENT_OPTIONS = frozenset(
    (
        *("api_key", "basic_auth", "bearer_auth", "cloud_id", "opaque_id", "headers"),
        *("ca_certs", "verify_certs", "client_cert", "client_key", "ssl_assert_fingerprint", "ssl_assert_hostname"),
        *("connections_per_node", "http_compress", "sniff_on_start", "sniff_on_node_failure", "ssl_show_warn"),
    )
)
"""Options that are passed to the client unchanged."""
BUSY = frozenset({408, 429, 502, 503, 504})
"""HTTP statuses that mean a temporary failure of the server rather than an invalid request."""
REFUSED = frozenset({401, 403})
"""HTTP statuses that mean missing privileges, or an index that an operator has blocked, rather than an invalid
request."""
TOO_LARGE = 413
"""The HTTP status with which the server, or a proxy in front of it, refuses a request for its size; nginx does so from
1 MB on."""
BLOCKED = frozenset({"cluster_block_exception", "index_closed_exception"})
"""The types of error of an index that is read-only, as while the server or a snapshot needs it to be, or closed, as
while one is restored."""
ANSWERS = frozenset({"_shards", "responses", "items"})
"""One of the keys of each answer to one search, to several, and to writes."""
TIMEOUTS = frozenset({"time_exceeded_exception", "search_timeout_exception"})
"""The types of error with which a server stops a search for which it has no partial answer."""

SERVER_TIMEOUT = 0.8
"""The share of ``request_timeout`` after which the server itself stops a search. So a slow query fails alone, and only
a server that does not answer at all counts as unavailable."""
SLOW = 10
"""How many times as long as a search a write may take."""

CACHED = "request_cache"
"""Set in the body of a search, it lets the server remember what was found until the index changes. By default, it
remembers counts only."""

_WITHOUT_VECTOR = {"bool": {"must_not": {"exists": {"field": "images.vector"}}}}
WITH_EVERY_VECTOR = {"bool": {"must_not": {"nested": {"path": "images", "query": _WITHOUT_VECTOR}}}}
"""A query for the entries whose images all have their vectors."""


class Connection:
    """The connection of the index ``name`` to its cluster. Its client is created when it is first needed."""

    def __init__(self, name: str, hosts: Sequence[str], timeout: float, options: Mapping[str, Any]) -> None:
        if wrong := [each for each in hosts if not isinstance(each, str)]:
            raise ConfigurationError(f"INDEX's hosts must be addresses, such as 'https://es1:9200', not {wrong[0]!r}.")
        self.name = name
        self.hosts = hosts
        self._timeout = timeout
        self._options = options
        self.where = ", ".join(re.sub(r"//[^/@]*@", "//", host) for host in hosts) or "Elastic Cloud"
        """The addresses, without credentials."""

    @cached_property
    def client(self) -> Elasticsearch:
        from elasticsearch import Elasticsearch, OrjsonSerializer

        options = dict(self._options)
        if self.hosts:
            options["hosts"] = self.hosts
        if orjson is not None:
            options["serializers"] = {"application/json": OrjsonSerializer()}
        try:
            # A search that timed out is not repeated, because the server is still busy with it.
            return Elasticsearch(
                **options,
                request_timeout=self._timeout,
                max_retries=2,
                retry_on_timeout=False,
                retry_on_status=(502, 503, 504),
            )
        except (AttributeError, TypeError, ValueError) as error:  # an invalid address or type of an option
            raise ConfigurationError(
                f"The client of Elasticsearch does not accept INDEX's OPTIONS: {mask_credentials(error)}."
            ) from error

    @property
    def slow(self) -> Elasticsearch:
        """The client with the timeout of writes."""
        return self.client.options(request_timeout=SLOW * self._timeout)

    def server_seconds(self, slow: bool) -> float:
        """Return after how many seconds the server gives up and says why, before the client stops waiting."""
        return SERVER_TIMEOUT * self._timeout * (SLOW if slow else 1)

    def post(self, path: str, data: bytes, params: Mapping[str, str], client: Elasticsearch | None = None) -> Any:
        """Post encoded JSON and return the decoded answer.

        The client's own methods take longer for a body with a thousand numbers than the server for the search.

        :raises IndexUnavailable: if the answer is not one to a search or a write, such as the empty one of a proxy.
        """
        headers = {"content-type": "application/x-ndjson", "accept": "application/json"}
        client = client or self.client
        name = path.rpartition("_")[2]  # by which tracers call it
        answer: Any = client.perform_request(
            "POST", path, params=params, headers=headers, body=data, endpoint_id=name
        ).body
        if not (isinstance(answer, dict) and ANSWERS & answer.keys()):
            raise _other_answer(self.where)
        return answer

    def search(
        self, index: str, bodies: Sequence[Mapping[str, Any]], *, slow: bool = False, **params: str
    ) -> list[Any]:
        """Return the server's answer to each body, all sent in one request. ``params`` are used if there are several.

        Answers are not reduced with ``filter_path``, because that takes the server longer.

        :param slow: whether they may take as long as a write.
        :raises QueryTimeout: if the server stopped one of the searches.
        :raises SearchIndexError: if one of the searches failed, or lacks the answer of a shard.
        """
        if not bodies:
            return []
        client = self.slow if slow else self.client
        seconds = self.server_seconds(slow)
        timeout = milliseconds(seconds)
        sent = [{**body, "timeout": timeout} for body in bodies]
        options = [{CACHED: "true"} if body.pop(CACHED, False) else {} for body in sent]
        if len(bodies) == 1:
            answers = [self.post(f"/{index}/_search", encode(sent[0]), options[0], client)]
        else:
            pairs = (({"index": index, **option}, body) for option, body in zip(options, sent, strict=True))
            data = b"".join(encode(header) + b"\n" + encode(body) + b"\n" for header, body in pairs)
            answers = self.post("/_msearch", data, params, client)["responses"]
        if any(answer.get("timed_out") for answer in answers):
            raise QueryTimeout(f"The query took longer than {seconds:g} s; ask for less, or with fewer terms.")
        return [self._complete(answer, index) for answer in answers]

    def _complete(self, answer: Any, index: str) -> Any:
        """Return the answer to a search of ``index``.

        The server leaves out a shard of which no copy answers, and calls that a success.

        :raises SearchIndexError: if the search failed, or lacks the answer of a shard.
        """
        if "error" in answer:
            raise from_api(answer["status"], answer, index, self.where)
        shards = answer["_shards"]
        if lacking := shards["total"] - shards["successful"]:
            reason = {"reason": f"{lacking} of {shards['total']} shards do not answer"}
            failed = next((each["reason"] for each in shards.get("failures", ())), reason)
            raise from_api(503, {"error": failed}, index, self.where)
        return answer

    def scan(self, backing_index: str, batch_size: int) -> Iterator[tuple[str, int]]:
        """Yield (key, version) of every complete entry of a backing index at one point in time, ordered by key.

        Entries that lack a vector are skipped, so that they are found missing and written again: servers of 8.19 are
        reported to lose some vectors (elastic/elasticsearch#137173).

        :raises IndexMissing: also if the backing index is dropped in the meantime.
        """
        with self.translated_errors():
            pit = self.client.open_point_in_time(index=backing_index, keep_alive="5m")["id"]
        try:
            after: dict[str, Any] = {}
            while True:
                with self._noticing_drop(backing_index), self.translated_errors():
                    page = self.slow.search(
                        pit={"id": pit, "keep_alive": "5m"},
                        size=batch_size,
                        query=WITH_EVERY_VECTOR,
                        sort=[{"key": "asc"}],
                        version=True,
                        source=False,
                        track_total_hits=False,
                        **after,
                    )
                    hits = self._complete(page, self.name)["hits"]["hits"]
                for hit in hits:
                    yield hit["_id"], hit["_version"]
                if len(hits) < batch_size:
                    return
                after = {"search_after": hits[-1]["sort"]}
                pit = page["pit_id"]
        finally:
            with self.translated_errors():
                self.client.options(ignore_status=404).close_point_in_time(id=pit)

    @contextmanager
    def _noticing_drop(self, backing_index: str) -> Iterator[None]:
        """Raise IndexMissing if the index was dropped: to a search at a point in time, its shards are merely
        unavailable."""
        try:
            yield
        except IndexUnavailable:
            with self.translated_errors():
                exists = self.client.indices.exists(index=backing_index)
            if not exists:
                raise index_missing(self.name, backing_index) from None
            raise

    @contextmanager
    def translated_errors(self) -> Iterator[None]:
        """Translate errors of the client to errors of the index."""
        from elastic_transport import SerializationError, TlsError, TransportError
        from elasticsearch import ApiError, UnsupportedProductError

        token = _calling.set(True)
        try:
            yield
        except TlsError as error:
            raise IndexUnavailable(
                f"No trusted connection to Elasticsearch at {self.where} ({_words(error)}): renew its certificate if "
                "that has expired, otherwise give its authority as ca_certs in INDEX's OPTIONS."
            ) from error
        except UnsupportedProductError as error:
            raise SearchIndexError(
                f"What answers at {self.where} is not Elasticsearch; check hosts in INDEX's OPTIONS."
            ) from error
        except SerializationError as error:
            raise SearchIndexError(
                f"What Elasticsearch at {self.where} answered cannot be read: {_words(error)}."
            ) from error
        except TransportError as error:
            raise IndexUnavailable(
                f"Elasticsearch at {self.where} does not answer ({_words(error)}): "
                "check that it runs, and hosts in INDEX's OPTIONS."
            ) from error
        except ApiError as error:
            raise from_api(error.status_code, error.body, self.name, self.where) from error
        finally:
            _calling.reset(token)


_calling: ContextVar[bool] = ContextVar("imagesim_calling_elasticsearch", default=False)


def _is_worth_logging(record: logging.LogRecord) -> bool:
    """Return whether to log a record of the client, which warns of each failed attempt with a traceback.

    Warnings about requests of this app are logged once a minute, without the traceback.
    """
    if not _calling.get() or record.levelno < logging.WARNING:
        return True
    record.exc_info = None
    return left_out((record.name, str(record.msg))) is not None


for _name in ("elastic_transport.transport", "elastic_transport.node_pool"):
    logging.getLogger(_name).addFilter(_is_worth_logging)


def from_api(status: int, body: object, name: str, where: str) -> SearchIndexError:
    """Return the error for an HTTP status and the body of the answer."""
    reason = reason_of(body)
    if status == 404:
        if not (isinstance(body, Mapping) and "error" in body):
            return _other_answer(where)
        missing = _error_of(body).get("index", name)
        return index_missing(name, missing if missing != name else None)
    types = types_of(body)
    if "media_type_header_exception" in types:
        return IndexUnavailable(
            f"The client elasticsearch {version('elasticsearch')} does not speak with the older server at {where}: "
            "pip install 'django-imagesim[elasticsearch]' brings client 8, which speaks with servers 8 and 9."
        )
    if TIMEOUTS & types:
        return QueryTimeout("The query took too long for the server; ask for less, or with fewer terms.")
    if BLOCKED & types:
        return IndexUnavailable(f"Elasticsearch at {where} has blocked the index {name!r} ({status}): {reason}")
    if status in REFUSED:
        return AccessRefused(
            f"Elasticsearch at {where} refuses access ({status}): check api_key or basic_auth in INDEX's OPTIONS, "
            f"and that it has the privileges that docs/operations.md lists. It said: {reason}"
        )
    if status in BUSY:
        return IndexUnavailable(
            f"Elasticsearch at {where} is busy or not ready ({status}); try again later. It said: {reason}"
        )
    hint = ""
    if "mapper_parsing_exception" in types and "analyzer" in reason:
        hint = ". Check analyzers in INDEX's OPTIONS: every node must have each, or the plug-in that brings it."
    elif "_routing" in reason:
        hint = ". An index template requires a routing, which nothing here has: let its patterns leave out this name."
    elif status == TOO_LARGE:
        hint = ". It is too large for http.max_content_length of the server, or for a proxy in front of it."
    return SearchIndexError(f"Elasticsearch refused a request for the index {name!r} ({status}): {reason}{hint}")


def _other_answer(where: str) -> IndexUnavailable:
    return IndexUnavailable(
        f"The answer from {where} is not one of Elasticsearch; is there a proxy that answers itself, "
        "or another path in hosts of INDEX's OPTIONS?"
    )


def milliseconds(seconds: float) -> str:
    """Return a time as the server takes it, which is a whole number with its unit."""
    return f"{round(seconds * 1000)}ms"


def types_of(body: object) -> set[str]:
    """Return the types of an error of Elasticsearch and of its causes."""
    error = _error_of(body)
    return {str(each.get("type")) for each in (error, *_causes(error))}


def _error_of(body: object) -> Mapping[str, Any]:
    """Return the error in an answer, empty if it has none or one that is only a text."""
    error = body.get("error") if isinstance(body, Mapping) else None
    return error if isinstance(error, Mapping) else {}


def _causes(error: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the causes that an error of Elasticsearch names."""
    found = (error.get("caused_by"), *(error.get("root_cause") or ()))
    return [each for each in found if isinstance(each, Mapping)]


def reason_of(body: object) -> str:
    """Return the reason in an error of Elasticsearch with that of its cause, in at most 500 characters."""
    error: Any = body.get("error", body) if isinstance(body, Mapping) else body
    if not isinstance(error, Mapping):
        return str(error or "nothing")[:500]  # the answer to a HEAD has no body
    reason = error.get("reason")
    cause = next((each["reason"] for each in _causes(error) if each.get("reason")), None)
    if cause and cause != reason:
        return f"{reason}: {cause}"[:500]
    return str(reason or error.get("type") or error)[:500]


def _words(error: Exception) -> str:
    return str(getattr(error, "message", error))[:300]


def encode(value: Any) -> bytes:
    """Encode ``value`` as JSON. NumPy arrays become lists of numbers with enough digits for float32."""
    if orjson is not None:
        return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    return json.dumps(value, separators=(",", ":"), default=_plain).encode()


def decode(data: bytes) -> Any:
    """Decode JSON."""
    return json.loads(data) if orjson is None else orjson.loads(data)


def _plain(value: Any) -> Any:
    return [round(number, 9) for number in value.tolist()]
