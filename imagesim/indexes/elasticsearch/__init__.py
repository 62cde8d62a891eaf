"""The index of a shop of any size: Elasticsearch, on as many nodes as it needs."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

from django.core.checks import CheckMessage
from django.core.checks import Error as CheckError
from django.utils import timezone

from imagesim.exceptions import (
    ConfigurationError,
    IndexUnavailable,
    ModelMismatch,
    SearchIndexError,
    format_choices,
)
from imagesim.indexes import validation
from imagesim.indexes.base import BaseIndex
from imagesim.indexes.elasticsearch import bulk, mapping
from imagesim.indexes.elasticsearch import facets as counting
from imagesim.indexes.elasticsearch.encoding import encode, fast_serializer
from imagesim.indexes.elasticsearch.errors import from_api, reported
from imagesim.indexes.elasticsearch.queries import CompiledQuery, count_body
from imagesim.indexes.elasticsearch.versions import Server
from imagesim.types import Candidates, Entry, Facet, Filters, IndexMeta, Query, Removal, Similarity, WriteResult

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

__all__ = ["ElasticsearchIndex"]

# What is handed to the client as it is.
CLIENT_OPTIONS = frozenset(
    (
        *("api_key", "basic_auth", "bearer_auth", "cloud_id", "opaque_id", "headers"),
        *("ca_certs", "verify_certs", "client_cert", "client_key", "ssl_assert_fingerprint", "ssl_assert_hostname"),
        *("connections_per_node", "http_compress", "sniff_on_start", "sniff_on_node_failure", "ssl_show_warn"),
    )
)
META_SECONDS = 10.0
"""How long a process believes what it last read of the index in service. A search notices a swap by itself."""
EXACT_UP_TO = 5_000
"""Entries in service up to which every one is scored: the graph would save nothing."""
CANDIDATES_AT_MOST = 10_000
ANSWER = ",".join(
    (
        *("took", "hits.total.value", "hits.hits._index", "hits.hits._id", "hits.hits._score", "hits.hits._source"),
        *("hits.hits.inner_hits.*.hits.hits._nested.offset", "hits.hits.inner_hits.*.hits.hits._score"),
    )
)
"""What is wanted of an answer; the rest is not even sent."""
ANSWERS = ",".join(f"responses.{path}" for path in (*ANSWER.split(","), "status", "error"))
ATTEMPTS = 3
PAUSE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class _Service:
    """The physical index behind the name, as last read."""

    backing_index: str
    meta: IndexMeta
    quantisation: Any
    entries: int
    read_at: float


class ElasticsearchIndex(BaseIndex):
    """Approximate search with rescoring, exact where asked or where it costs no more.

    :param hosts: addresses with scheme and port; ``cloud_id`` instead for Elastic Cloud.
    :param name: the alias. Physical indexes are called ``name-<time>-<random>``.
    :param quantisation: ``"auto"`` (by the server's version), ``"none"``, ``"int8"`` or ``"bbq"``. Whatever is
        quantised is scored again by the full vectors.
    :param m, ef_construction: of the HNSW graph.
    :param num_candidates: entries that a shard scores in full for a page; more of them for later pages.
    :param request_timeout: seconds that a search may take; a write may take ten times as long.
    :param similarity: what orders an answer where the query does not say: ``"cosine"``, ``"dot_product"``, ``"l2"``
        or ``"l1"`` (see :class:`~imagesim.types.Query`); with ``"l1"`` the search is exact unless asked not to be.
    :param client_options: ``api_key``, ``basic_auth``, ``ca_certs`` and what else the client knows of
        credentials, TLS and connections.
    :raises ConfigurationError: naming the option that is wrong and what would be right.
    """

    supports_approximate = True

    def __init__(
        self,
        *,
        hosts: str | Sequence[str] | None = None,
        name: str = "imagesim",
        quantisation: Literal["auto", "none", "int8", "bbq"] = "auto",
        m: int = 16,
        ef_construction: int = 100,
        num_candidates: int = 100,
        shards: int = 1,
        replicas: int = 1,
        refresh_interval: str = "1s",
        request_timeout: float = 5.0,
        similarity: Similarity = "cosine",
        **client_options: Any,
    ) -> None:
        super().__init__(name=name, similarity=similarity)
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,199}", name):
            raise ConfigurationError(
                f"INDEX's name {name!r} cannot name an index of Elasticsearch: "
                "use small letters, digits, '.', '-' and '_'."
            )
        if quantisation not in (choices := ("auto", "none", "int8", "bbq")):
            raise ConfigurationError(
                f"INDEX's quantisation {quantisation!r} is unknown; it can be {format_choices(choices)}."
            )
        unknown = set(client_options) - CLIENT_OPTIONS
        if unknown:
            known = {"hosts", "name", "quantisation", "m", "ef_construction", "num_candidates", "shards", "replicas"}
            known |= {"refresh_interval", "request_timeout", "similarity"} | CLIENT_OPTIONS
            raise ConfigurationError(f"INDEX has no option {min(unknown)!r}; it has {format_choices(known)}.")
        if hosts is None and "cloud_id" not in client_options:
            hosts = "http://localhost:9200"
        self._hosts = [hosts] if isinstance(hosts, str) else list(hosts or ())
        self._quantisation = quantisation
        self._m, self._ef_construction = m, ef_construction
        self._num_candidates = num_candidates
        self._shards, self._replicas, self._refresh_interval = shards, replicas, refresh_interval
        self._timeout = request_timeout
        self._client_options = client_options
        self._service: _Service | None = None
        self._metas: dict[str, IndexMeta] = {}
        self._lock = Lock()

    # The connection.

    @cached_property
    def _client(self) -> Elasticsearch:
        from elasticsearch import Elasticsearch

        given = dict(self._client_options)
        if self._hosts:
            given["hosts"] = self._hosts
        if (serializer := fast_serializer()) is not None:
            given["serializers"] = {"application/json": serializer}
        # A search that timed out is not asked again: the server is still busy with it.
        return Elasticsearch(
            **given,
            request_timeout=self._timeout,
            max_retries=2,
            retry_on_timeout=False,
            retry_on_status=(502, 503, 504),
        )

    @cached_property
    def _server(self) -> Server:
        with self._reported():
            return Server.of(self._client.info().body)

    @cached_property
    def _where(self) -> str:
        return ", ".join(re.sub(r"//[^/@]*@", "//", host) for host in self._hosts) or "Elastic Cloud"

    def _reported(self) -> AbstractContextManager[None]:
        return reported(self.name, self._where)

    # A physical index.

    def create(self, meta: IndexMeta) -> str:
        quantisation = self._server.quantisation(meta.dims) if self._quantisation == "auto" else self._quantisation
        if not self._server.can(quantisation):
            raise ConfigurationError(
                f"INDEX's quantisation {quantisation!r} needs Elasticsearch 8.18 or later; "
                "use 'auto', 'int8' or 'none'."
            )
        storage = mapping.Storage(quantisation, self._m, self._ef_construction, self._shards)
        backing_index = f"{self.name}-{timezone.now():%Y%m%d%H%M%S%f}-{secrets.token_hex(3)}"
        try:
            self._create(backing_index, meta, storage)
        except SearchIndexError as error:
            if "confidence_interval" not in str(error):
                raise
            self._create(
                backing_index, meta, replace(storage, whole_range=False)
            )  # a server that no longer asks for it
        return backing_index

    def _create(self, backing_index: str, meta: IndexMeta, storage: mapping.Storage) -> None:
        body = mapping.body(self.name, meta, storage, self._server)
        with self._reported():
            self._slow.indices.create(index=backing_index, aliases={_for_writes(backing_index): {}}, **body)

    def promote(self, backing_index: str) -> None:
        settings = mapping.serving(self._replicas, self._refresh_interval)
        with self._reported():
            self._slow.indices.put_settings(index=backing_index, settings=settings)
            self._slow.indices.refresh(index=backing_index)
            self._slow.indices.update_aliases(
                actions=[
                    {"remove": {"index": f"{self.name}-*", "alias": self.name, "must_exist": False}},
                    {"add": {"index": backing_index, "alias": self.name, "is_write_index": True}},
                ]
            )
        self._service = None

    def drop(self, backing_index: str) -> None:
        with self._reported():
            self._slow.indices.delete(index=backing_index, ignore_unavailable=True)
        self._metas.pop(backing_index, None)
        self._service = None

    def backing_indexes(self) -> list[str]:
        ours = re.compile(rf"{re.escape(self.name)}-\d{{20}}-[0-9a-f]{{6}}")
        with self._reported():
            found = self._client.indices.get_settings(index=f"{self.name}-*", name="index.creation_date")
        made = {
            name: int(of["settings"]["index"]["creation_date"]) for name, of in found.items() if ours.fullmatch(name)
        }
        return sorted(made, key=lambda name: (made[name], name))

    def active(self) -> str | None:
        with self._reported():
            found = self._client.options(ignore_status=404).indices.get_alias(name=self.name)
        return next(iter(found)) if found.meta.status == 200 else None

    def meta(self, backing_index: str | None = None) -> IndexMeta:
        if backing_index is None:
            return self._active().meta
        # An index says the same of itself as long as it lives, and no other ever has its name.
        if backing_index not in self._metas:
            with self._reported():
                found = self._client.indices.get_mapping(index=backing_index)
            self._metas[backing_index] = mapping.meta_of(backing_index, found[backing_index]["mappings"])
        return self._metas[backing_index]

    def _active(self, *, anew: bool = False) -> _Service:
        """:raises IndexMissing: if nothing is in service."""
        service = self._service
        if anew or service is None or time.monotonic() - service.read_at > META_SECONDS:
            with self._lock, self._reported():
                if self._service is not service and self._service is not None:
                    return self._service  # another thread has just read it
                self._service = None
                read_at = time.monotonic()
                found = self._client.indices.get_mapping(index=self.name)
                backing_index, body = next(iter(found.items()))
                service = _Service(
                    backing_index,
                    mapping.meta_of(backing_index, body["mappings"]),
                    mapping.quantisation_of(body["mappings"]),
                    int(self._client.count(index=backing_index)["count"]),
                    read_at,
                )
                self._service = service
        return service

    # Writing.

    def write(self, operations: Sequence[Entry | Removal], *, backing_index: str | None = None) -> list[WriteResult]:
        meta = self.meta(backing_index)
        results: dict[int, WriteResult] = {}
        lines = []
        for number, operation in enumerate(operations):
            try:
                lines.append(bulk.line(number, validation.prepare_any(operation, meta), meta))
            except ValueError as error:
                results[number] = WriteResult(operation.key, "failed", f"{error}.")
        # Writing to an alias, and insisting that it is one, never makes an index that was dropped anew.
        target = self.name if backing_index is None else _for_writes(backing_index)
        for chunk in bulk.chunks(lines):
            results.update(self._write_chunk(chunk, target))
        return [results[number] for number in range(len(operations))]

    def _write_chunk(self, chunk: list[bulk.Line], target: str) -> dict[int, WriteResult]:
        """Send until each line is settled or patience ends. Sending again does no harm: versions see to that."""
        results: dict[int, WriteResult] = {}
        for attempt in range(ATTEMPTS):
            last = attempt == ATTEMPTS - 1
            try:
                with self._reported():
                    answer = self._send(
                        f"/{target}/_bulk",
                        b"".join(line.data for line in chunk),
                        {"require_alias": "true", "filter_path": "items.*.status,items.*.error"},
                        client=self._slow,
                    )
            except IndexUnavailable:
                if last:
                    raise
            else:
                for line, item in zip(chunk, answer["items"], strict=True):
                    results[line.number] = bulk.result(line.key, item)
                chunk = [line for line in chunk if results[line.number].retryable]
                if not chunk or last:
                    break
            time.sleep(PAUSE_SECONDS * 2**attempt)
        return results

    @property
    def _slow(self) -> Elasticsearch:
        """The client for what may take longer than a search."""
        return self._client.options(request_timeout=10 * self._timeout)

    def refresh(self, backing_index: str | None = None) -> None:
        with self._reported():
            self._slow.indices.refresh(index=backing_index or self.name)

    # Reading.

    def search(self, queries: Sequence[Query]) -> list[Candidates]:
        service = self._active()
        asked = [self._checked(query, service) for query in queries]
        answers = self._ask([each.body(self._server, service.quantisation) for each in asked])
        if any(hit["_index"] != service.backing_index for answer in answers for hit in answer["hits"].get("hits", ())):
            self._swapped(service, queries)
        for number, (each, answer) in enumerate(zip(asked, answers, strict=True)):
            if each.may_lack(answer):
                # The candidates were too much alike (variants of few products) to fill the page.
                asked[number] = replace(each, candidates=0)
                [answers[number]] = self._ask([asked[number].body(self._server, service.quantisation)])
        return [each.parse(answer) for each, answer in zip(asked, answers, strict=True)]

    def _checked(self, query: Query, service: _Service) -> CompiledQuery:
        validation.check_page(query)
        validation.check_fingerprint(query, service.meta)
        similarity = query.similarity or self.similarity
        exact = query.exact
        if exact is None:
            exact = service.entries <= EXACT_UP_TO or similarity == "l1"  # the graph is one of cosines
        candidates = self._num_candidates
        while candidates < 4 * (query.offset + query.limit + 1):
            candidates *= 2  # in steps, so that neighbouring pages come from the same candidates
        return CompiledQuery(
            query,
            validation.unit_vector(query.vector),
            validation.checked_conditions(query.filters.conditions, service.meta.filters),
            similarity,
            0 if exact else min(candidates, CANDIDATES_AT_MOST),
        )

    def _swapped(self, before: _Service, queries: Sequence[Query]) -> None:
        """Look at the index in service after a swap that happened unnoticed.

        :raises ModelMismatch: if the queries were embedded for the former one by another model.
        """
        after = self._active(anew=True)
        for query in queries:
            validation.check_fingerprint(query, after.meta)
        if after.meta.fingerprint != before.meta.fingerprint and not all(query.fingerprint for query in queries):
            raise ModelMismatch("The index was swapped for one of another model meanwhile; ask again.")

    def _ask(self, bodies: Sequence[Mapping[str, Any]]) -> list[Any]:
        """The server's answer to each body, in one request."""
        if not bodies:
            return []
        try:
            with self._reported():
                if len(bodies) == 1:
                    return [self._send(f"/{self.name}/_search", encode(bodies[0]), {"filter_path": ANSWER})]
                header = encode({"index": self.name})
                data = b"".join(header + b"\n" + encode(body) + b"\n" for body in bodies)
                answers: list[Any] = self._send("/_msearch", data, {"filter_path": ANSWERS})["responses"]
            for answer in answers:
                if "error" in answer:
                    raise from_api(answer["status"], answer, self.name, self._where)
        except SearchIndexError:
            self._service = None  # what was known of the index may be what was wrong with the question
            raise
        return answers

    def _send(self, path: str, data: bytes, params: Mapping[str, str], client: Elasticsearch | None = None) -> Any:
        """Post lines of JSON as they are. The client's own methods are left aside: what they do to a body of a
        thousand numbers takes longer than the search."""
        headers = {"content-type": "application/x-ndjson", "accept": "application/json"}
        return (client or self._client).perform_request("POST", path, params=params, headers=headers, body=data).body

    def count(self, filters: Filters = Filters(), *, backing_index: str | None = None) -> int:
        tests = validation.checked_conditions(filters.conditions, self.meta(backing_index).filters)
        with self._reported():
            body = count_body(filters, tests)
            return int(self._client.count(index=backing_index or self.name, **body)["count"])

    def facets(self, filters: Filters, fields: Sequence[str], *, backing_index: str | None = None) -> dict[str, Facet]:
        known = self.meta(backing_index).filters
        tests = validation.checked_conditions(filters.conditions, known)
        kinds = validation.facet_kinds(fields, known)
        if not kinds:
            return {}
        with self._reported():
            data = encode(counting.body(filters, tests, kinds))
            answer = self._send(f"/{backing_index or self.name}/_search", data, {"filter_path": "aggregations"})
        return counting.facets(answer, kinds)

    def scan(self, *, backing_index: str | None = None, batch_size: int = 1000) -> Iterator[tuple[str, int]]:
        with self._reported():
            pit = self._client.open_point_in_time(index=backing_index or self.name, keep_alive="5m")["id"]
        try:
            after: dict[str, Any] = {}
            while True:
                with self._reported():
                    page = self._slow.search(
                        pit={"id": pit, "keep_alive": "5m"},
                        size=batch_size,
                        sort=[{"key": "asc"}],
                        version=True,
                        source=False,
                        track_total_hits=False,
                        **after,
                    )
                hits = page["hits"]["hits"]
                for hit in hits:
                    yield hit["_id"], hit["_version"]
                if len(hits) < batch_size:
                    return
                after = {"search_after": hits[-1]["sort"]}
                pit = page["pit_id"]
        finally:
            with self._reported():
                self._client.options(ignore_status=404).close_point_in_time(id=pit)

    def ping(self) -> None:
        with self._reported():
            self._client.options(request_timeout=min(2.0, self._timeout), max_retries=0).info()

    def check(self) -> list[CheckMessage]:
        if find_spec("elasticsearch") is None:
            return [
                CheckError(
                    "The index is Elasticsearch, but its client is not installed.",
                    hint="pip install 'imagesim[elasticsearch]'",
                    id="imagesim.E101",
                )
            ]
        return []


def _for_writes(backing_index: str) -> str:
    """The alias that each physical index has for itself alone, as long as it is."""
    return f"{backing_index}-writes"
