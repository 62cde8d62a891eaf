"""The index in Elasticsearch, for catalogues of any size on one or more nodes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

from django.core.checks import CheckMessage
from django.core.checks import Error as CheckError
from django.utils import timezone

from imagesim.exceptions import ConfigurationError, ModelMismatch, SearchIndexError, format_choices
from imagesim.indexes import BaseIndex, validation
from imagesim.indexes.elasticsearch import bulk, creation, mapping, recall
from imagesim.indexes.elasticsearch.mapping import Quantisation, Server
from imagesim.indexes.elasticsearch.queries import CompiledQuery, count_body, facets_body, parse_facets
from imagesim.indexes.elasticsearch.selectivity import Selectivity, exact_up_to
from imagesim.indexes.elasticsearch.transport import CLIENT_OPTIONS, Connection
from imagesim.indexes.recall import DEFAULT_CANDIDATES, candidates_for, candidates_in_use, check_recall
from imagesim.indexes.statistics import MAX_CANDIDATES, IndexStatistics, Probe, RecallReport
from imagesim.types import Candidates, Entry, Facet, Filters, IndexMeta, Query, Removal, Similarity, WriteResult

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

    from imagesim.indexes.elasticsearch.text import CompiledText

__all__ = ["ElasticsearchIndex"]

logger = logging.getLogger("imagesim.indexes.elasticsearch")

META_SECONDS = 10.0
"""How many seconds a process caches the state of an index. A search notices a swap of the active index at once."""


@dataclass(frozen=True, slots=True)
class _State:
    """What searches need to know about a backing index, active or not, as it was when it was last read."""

    backing_index: str
    meta: IndexMeta
    fields: frozenset[str]
    quantisation: Quantisation
    entries: int
    selectivity: Selectivity
    recall: RecallReport | None
    read_at: float


class ElasticsearchIndex(BaseIndex):
    """Approximate search with rescoring; exact search on demand or if it costs no more.

    :param hosts: addresses with scheme and port. For Elastic Cloud give ``cloud_id`` instead.
    :param name: the alias. Backing indexes are called ``name-<time>-<random>``.
    :param quantisation: ``"auto"`` (by the version of the server), ``"none"``, ``"int8"`` or ``"bbq"``. Candidates are
        always scored by the full vectors.
    :param m, ef_construction: parameters of the HNSW graph.
    :param recall: the share of the ten best that an approximate search has to find, 0.5 to 1. It is measured on the
        index's own vectors; searches take the fewest candidates that reach it, or are exact. With None, it is not
        measured.
    :param num_candidates: the number of entries that a shard scores in full for a page, more for later pages; None
        takes the number that ``recall`` needs, or 100 before it has been measured.
    :param request_timeout: the seconds that a search may take; a write may take ten times as long.
    :param similarity: the default order of answers: ``"cosine"``, ``"dot_product"``, ``"l2"``
        or ``"l1"`` (see :class:`~imagesim.types.Query`); with ``"l1"`` the search is exact by default.
    :param analyzers: the analyser of the server for each language code that should not use the server's default
        (``{"ja": "kuromoji"}``). Plug-ins must be installed on every node.
    :param client_options: ``api_key``, ``basic_auth``, ``ca_certs`` and other options of the client for credentials,
        TLS and connections.
    :raises ConfigurationError: naming the wrong option and the right ones.
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
        recall: float | None = 0.99,
        num_candidates: int | None = None,
        shards: int = 1,
        replicas: int = 1,
        refresh_interval: str = "1s",
        request_timeout: float = 5.0,
        similarity: Similarity = "cosine",
        analyzers: Mapping[str, str] | None = None,
        **client_options: Any,
    ) -> None:
        super().__init__(name=name, similarity=similarity)
        mapping.check_options(name, quantisation, refresh_interval)
        # The server makes an index with a larger graph, too, which then refuses every entry.
        validation.check_range(1, 512, m=m)
        validation.check_range(1, 3_200, ef_construction=ef_construction)
        validation.check_range(1, 1_024, shards=shards)
        validation.check_range(0, replicas=replicas)
        validation.check_range(1, num_candidates=num_candidates)
        validation.check_timeout(request_timeout)
        unknown = set(client_options) - CLIENT_OPTIONS
        if unknown:
            known = {*(ElasticsearchIndex.__init__.__kwdefaults__ or ()), *CLIENT_OPTIONS}
            raise ConfigurationError(f"INDEX has no option {min(unknown)!r}; it has {format_choices(known)}.")
        if hosts is None and "cloud_id" not in client_options:
            hosts = "http://localhost:9200"
        addresses = [hosts] if isinstance(hosts, str) else list(hosts or ())
        self._connection = Connection(name, addresses, request_timeout, client_options)
        self._translated_errors = self._connection.translated_errors
        self._quantisation, self._m, self._ef_construction = quantisation, m, ef_construction
        self._analyzers = mapping.check_analyzers(analyzers or {})
        self._recall, self._num_candidates = check_recall(recall), num_candidates
        self._shards, self._replicas, self._refresh_interval = shards, replicas, refresh_interval
        self._timeout = request_timeout
        self._states: dict[str, _State] = {}  # by the name that is searched: the alias, or a backing index
        self._layouts: dict[str, tuple[IndexMeta, frozenset[str]]] = {}

    @property
    def _client(self) -> Elasticsearch:
        return self._connection.client

    @cached_property
    def _server(self) -> Server:
        with self._translated_errors():
            return Server.of(self._client.info().body)

    # Backing indexes.

    def create(self, meta: IndexMeta) -> str:
        from elasticsearch import BadRequestError

        quantisation = self._server.quantisation(meta.dims) if self._quantisation == "auto" else self._quantisation
        if not self._server.supports(quantisation):
            raise ConfigurationError(
                f"INDEX's quantisation {quantisation!r} needs Elasticsearch 8.18 or later; "
                "use 'auto', 'int8' or 'none'."
            )
        storage = mapping.Storage(quantisation, self._m, self._ef_construction, self._shards)
        backing_index = self.name_at(timezone.now())
        with self._translated_errors():
            mapping.check_name(self._client, self.name)
            try:
                self._create(backing_index, meta, storage)
            except BadRequestError as error:
                if quantisation != "int8":
                    raise
                # Later servers deprecate confidence_interval. If that was not the reason, the error is raised again.
                self._create(backing_index, meta, replace(storage, whole_range=False))
                logger.warning(
                    "the server refused confidence_interval; %s is made without it: %s", backing_index, error
                )
        return backing_index

    def _create(self, backing_index: str, meta: IndexMeta, storage: mapping.Storage) -> None:
        body = mapping.body(self.name, meta, storage, self._server)
        if meta.texts:
            from imagesim.indexes.elasticsearch.text import SETTINGS, text_properties

            body["settings"]["index"] |= SETTINGS
            body["mappings"]["properties"] |= text_properties(meta, self._analyzers)
        creation.create(self._connection, self._server, backing_index, meta, body)

    def make_searchable(self, backing_index: str) -> None:
        settings = mapping.serving(self._replicas, self._refresh_interval)
        with self._translated_errors():
            self._connection.slow.indices.put_settings(index=backing_index, settings=settings)
            self._connection.slow.indices.refresh(index=backing_index)

    def promote(self, backing_index: str) -> None:
        self.make_searchable(backing_index)
        former = [f"{self.name}-*", *self.backing_indexes()]  # the pattern alone leaves out those that are closed
        with self._translated_errors():
            self._connection.slow.indices.update_aliases(
                actions=[
                    {"remove": {"indices": former, "alias": self.name, "must_exist": False}},
                    {"add": {"index": backing_index, "alias": self.name, "is_write_index": True}},
                ]
            )
        self._states.clear()

    def drop(self, backing_index: str) -> None:
        with self._translated_errors():
            self._connection.slow.indices.delete(index=backing_index, ignore_unavailable=True)
        self._layouts.pop(backing_index, None)
        self._states.clear()

    def backing_indexes(self) -> list[str]:
        with self._translated_errors():
            return mapping.backing_indexes(self._client, self.name)

    def active(self) -> str | None:
        with self._translated_errors():
            return mapping.active(self._client, self.name)

    def meta(self, backing_index: str | None = None) -> IndexMeta:
        return self._layout(backing_index)[0]

    def _layout(self, backing_index: str | None) -> tuple[IndexMeta, frozenset[str]]:
        """Return the meta of an index and the fields of its entries."""
        if backing_index is None:
            active = self._read()
            return active.meta, active.fields
        # Meta and fields never change, and the name of a backing index is never used again.
        if backing_index not in self._layouts:
            with self._translated_errors():
                found = self._client.indices.get_mapping(index=backing_index)
            mappings = found[backing_index]["mappings"]
            self._layouts[backing_index] = mapping.meta_of(backing_index, mappings), mapping.fields_of(mappings)
        return self._layouts[backing_index]

    def _read(self, name: str | None = None, *, refresh: bool = False) -> _State:
        """Return what searches need to know about the active index, or about the backing index ``name``.

        :raises IndexMissing: if there is none.
        """
        name = name or self.name
        known = self._states.get(name)
        if refresh or known is None or time.monotonic() - known.read_at > META_SECONDS:
            # Several threads may read it at the same time. With a lock, they would wait for each other's timeouts when
            # the server does not answer.
            with self._translated_errors():
                read_at = time.monotonic()
                found = self._client.indices.get_mapping(index=name)
                backing_index, body = mapping.only(self.name, found.body)
                mappings = body["mappings"]
                meta = mapping.meta_of(backing_index, mappings)
                same = known is not None and known.backing_index == backing_index
                selectivity = known.selectivity if known is not None and same else Selectivity()
                selectivity.statistics, statistics = mapping.statistics_of(mappings)
                known = _State(
                    backing_index,
                    meta,
                    mapping.fields_of(mappings),
                    mapping.quantisation_of(mappings),
                    int(self._client.count(index=backing_index)["count"]),
                    selectivity,
                    statistics.recall if self._recall is not None else None,
                    read_at,
                )
                self._states[name] = known
        return known

    # Writing.

    def write(self, operations: Sequence[Entry | Removal], *, backing_index: str | None = None) -> list[WriteResult]:
        target = self.name if backing_index is None else bulk.write_alias(backing_index)
        writer = bulk.Writer(self._connection, target, *self._layout(backing_index))
        return writer.write(operations, packed=self._server.takes_packed_vectors)

    def update_statistics(self, backing_index: str | None = None) -> None:
        backing_index = backing_index or self._read(refresh=True).backing_index
        with self._translated_errors():
            recall.count_entries(self._connection, backing_index, self.meta(backing_index).filters)
        self._states.clear()

    def statistics(self, backing_index: str | None = None) -> IndexStatistics:
        with self._translated_errors():
            return recall.read_statistics(self._client, backing_index or self.name, self._recall)

    def measure_recall(
        self,
        probes: Sequence[Probe],
        *,
        backing_index: str | None = None,
        progress: Callable[[], None] = lambda: None,
    ) -> RecallReport | None:
        if self._recall is None or self.similarity == "l1":
            return None
        backing_index = backing_index or self._read(refresh=True).backing_index
        with self._translated_errors():
            report = recall.measure(
                self._connection,
                self._server,
                backing_index,
                probes,
                self._recall,
                self._num_candidates,
                progress,
            )
        self._states.clear()
        return report

    def refresh(self, backing_index: str | None = None) -> None:
        with self._translated_errors():
            self._connection.slow.indices.refresh(index=backing_index or self.name)

    # Reading.

    def search(self, queries: Sequence[Query], *, backing_index: str | None = None) -> list[Candidates]:
        name = backing_index or self.name
        state = self._read(name)
        compiled = [self._compile(query, state) for query in queries]
        answers = self._ask(name, compiled, state)
        hits = (hit for of_query in answers for answer in of_query for hit in answer["hits"].get("hits", ()))
        if any(hit["_index"] != state.backing_index for hit in hits):
            self._swapped(state, queries)
        for number, each in enumerate(list(compiled)):
            while (instead := each.follow_up(*answers[number])) is not None:
                if isinstance(instead, CompiledQuery) and instead.which_image:
                    state.selectivity.forget_images()
                compiled[number] = each = instead
                [answers[number]] = self._ask(name, [each], state)
            if (passing := each.passing(*answers[number])) is not None:
                state.selectivity.count(each.filters, passing)
        return [each.parse(*of_query) for each, of_query in zip(compiled, answers, strict=True)]

    def _compile(self, query: Query, state: _State) -> CompiledQuery | CompiledText:
        filters = validation.check_query(query, state.meta)
        by_column = mapping.CANDIDATE in state.fields and not query.fields  # columns hold no values of filters
        if query.text:
            from imagesim.indexes.elasticsearch.text import CompiledText  # 2 MB that similar products do not need

            return CompiledText(query, filters, state.meta, by_column=by_column)
        similarity = query.similarity or self.similarity
        passing = min(state.selectivity.passing(filters, state.entries), state.entries)
        effort = candidates_in_use(self._num_candidates, state.recall, passing / max(state.entries, 1))
        candidates = effort or DEFAULT_CANDIDATES
        exact = query.exact
        if exact is None:
            # The graph only knows cosines.
            exact = similarity == "l1" or not effort or passing <= exact_up_to(state.entries, candidates)
        return CompiledQuery(
            query,
            validation.unit_vector(query.vector),
            filters,
            state.meta.filters,
            similarity,
            0 if exact else min(candidates_for(query, candidates), MAX_CANDIDATES),
            which_image=similarity == "l1" or not state.selectivity.statistics.one_image_each,
            by_column=by_column,
        )

    def _swapped(self, before: _State, queries: Sequence[Query]) -> None:
        """Read the state of the active index after a swap.

        :raises ModelMismatch: if the queries were embedded by another model, or projected for the former index.
        """
        after = self._read(refresh=True)
        for query in queries:
            validation.check_fingerprint(query, after.meta)
        if not all(query.text for query in queries):
            validation.check_projection(before.meta, after.meta)
        unnamed = any(not query.fingerprint and not query.text for query in queries)
        if after.meta.fingerprint != before.meta.fingerprint and unnamed:
            raise ModelMismatch("The index was swapped for one of another model meanwhile; ask again.")

    def _ask(self, name: str, compiled: Sequence[CompiledQuery | CompiledText], state: _State) -> list[list[Any]]:
        """Return the server's answers to the bodies of each query, all sent in one request.

        The first body of each query takes the longest. The server starts a few searches at once, in the order in which
        they were sent.
        """
        bodies = [each.bodies(self._server, state.quantisation) for each in compiled]
        try:
            with self._translated_errors():
                ordered = [*(each[0] for each in bodies), *chain(*(each[1:] for each in bodies))]
                found = self._connection.search(name, ordered)
        except SearchIndexError as error:
            if type(error) is SearchIndexError and name == self.name:  # such as vectors of other dimensions
                self._swapped(state, [each.query for each in compiled])
            raise
        others = iter(found[len(bodies) :])
        return [[first, *(next(others) for _body in each[1:])] for first, each in zip(found, bodies, strict=False)]

    def count(self, filters: Filters = Filters(), *, backing_index: str | None = None) -> int:
        compiled = validation.compile_filters(filters, self.meta(backing_index).filters)
        with self._translated_errors():
            [answer] = self._connection.search(backing_index or self.name, [count_body(compiled)])
        return int(answer["hits"]["total"]["value"])

    def facets(self, filters: Filters, fields: Sequence[str], *, backing_index: str | None = None) -> dict[str, Facet]:
        known = self.meta(backing_index).filters
        compiled = validation.compile_filters(filters, known)
        kinds = validation.facet_kinds(fields, known)
        if not kinds:
            return {}
        with self._translated_errors():
            [answer] = self._connection.search(backing_index or self.name, [facets_body(compiled, kinds)])
        return parse_facets(answer, kinds)

    def scan(self, *, backing_index: str | None = None, batch_size: int = 1000) -> Iterator[tuple[str, int]]:
        return self._connection.scan(backing_index or self._read(refresh=True).backing_index, batch_size)

    def ping(self) -> None:
        with self._translated_errors():
            self._client.options(request_timeout=min(2.0, self._timeout), max_retries=0).info()

    def check(self) -> list[CheckMessage]:
        if find_spec("elasticsearch") is not None:
            _ = self._client  # creating the client checks the addresses and options
            return []
        problem = "The index is Elasticsearch, but its client is not installed."
        return [CheckError(problem, hint="pip install 'django-imagesim[elasticsearch]'", id="imagesim.E101")]
