"""The index in Elasticsearch: the contract, against a real server, and behaviour specific to the server."""

from __future__ import annotations

import base64
import contextlib
import copy
import functools
import json
import secrets
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from django.utils import timezone
from elastic_transport import ConnectionError
from elasticsearch import Elasticsearch

from imagesim.circuit_breaker import Breaker
from imagesim.evaluation.planning import plan
from imagesim.exceptions import (
    AccessRefused,
    ConfigurationError,
    IndexMissing,
    IndexUnavailable,
    ModelMismatch,
    QueryTimeout,
    SearchIndexError,
)
from imagesim.indexes import BaseIndex, validation
from imagesim.indexes.elasticsearch import ElasticsearchIndex, bulk, mapping, selectivity, text, transport
from imagesim.indexes.elasticsearch.mapping import Server
from imagesim.indexes.elasticsearch.queries import CompiledQuery
from imagesim.indexes.validation import CompiledFilters
from imagesim.retrieval.retriever import GuardedIndex
from imagesim.testing.index_contract import IndexContract
from imagesim.testing.index_samples import DIMS, META, axis, entry, keys
from imagesim.types import Condition, Filters, IndexMeta, Query, Removal, TextSpec


class TestElasticsearchIndex(IndexContract):
    approximate = True

    @pytest.fixture
    def make_index(self, elasticsearch_url: str) -> Callable[[], BaseIndex]:
        name = f"imagesim-contract-{secrets.token_hex(4)}"
        return lambda: ElasticsearchIndex(hosts=elasticsearch_url, name=name, replicas=0)

    def options(self, index: BaseIndex) -> dict[str, Any]:
        assert isinstance(index, ElasticsearchIndex)
        return {"hosts": index._connection.hosts, "replicas": 0}


@pytest.fixture
def index(elasticsearch_url: str) -> Iterator[ElasticsearchIndex]:
    index = ElasticsearchIndex(hosts=elasticsearch_url, name=f"imagesim-test-{secrets.token_hex(4)}", replicas=0)
    yield index
    for backing_index in index.backing_indexes():
        index.drop(backing_index)


class Requests:
    """Records the requests of an index to the server."""

    def __init__(self, index: ElasticsearchIndex, monkeypatch: pytest.MonkeyPatch) -> None:
        self.paths: list[str] = []
        self.bodies: list[str] = []
        perform = index._client.transport.perform_request

        def counted(method: str, target: str, **kwargs: Any) -> Any:
            self.paths.append(target.partition("?")[0])
            self.bodies.append(str(kwargs.get("body")))
            return perform(method, target, **kwargs)

        monkeypatch.setattr(index._client.transport, "perform_request", counted)


# What is stored.


def test_the_mapping_is_strict_and_explicit(index: ElasticsearchIndex) -> None:
    backing_index = index.create(META)
    made = index._client.indices.get(index=backing_index)[backing_index]
    mappings = made["mappings"]
    assert mappings["dynamic"] == "strict"
    excludes = ["images.vector", "candidate", "candidate_texts", "words", "stems"]
    assert mappings["_source"] == {"enabled": True, "excludes": excludes}
    vector = mappings["properties"]["images"]["properties"]["vector"]
    options = vector["index_options"]
    assert options == {"type": "int8_hnsw", "m": 16, "ef_construction": 100, "confidence_interval": 1.0}
    assert mappings["properties"]["images"]["type"] == "nested"
    kinds = {name: field["type"] for name, field in mappings["properties"]["filters"]["properties"].items()}
    assert kinds == {"brand": "keyword", "colour": "keyword", "price": "double", "sale": "boolean", "added": "date"}
    index._client.index(index=backing_index, id="x", document={"key": "x"})
    with pytest.raises(Exception, match="strict_dynamic_mapping_exception"):
        index._client.index(index=backing_index, id="y", document={"key": "y", "surprise": 1})


def test_pipelines_of_a_template_add_nothing_to_the_entries(index: ElasticsearchIndex) -> None:
    """A pipeline for all indexes, such as one that stamps documents with a time, must not have every entry refused."""
    client, name = index._client, f"{index.name}-stamp"
    client.ingest.put_pipeline(id=name, processors=[{"set": {"field": "stamp", "value": "{{_ingest.timestamp}}"}}])
    template = {"settings": {"default_pipeline": name, "final_pipeline": name}}
    client.indices.put_index_template(name=name, index_patterns=[f"{index.name}*"], priority=500, template=template)
    try:
        backing_index = index.create(META)
        assert index.write([entry(1, axis(0))], backing_index=backing_index)[0].status == "done"
        index.drop(backing_index)
    finally:
        client.indices.delete_index_template(name=name)
        client.ingest.delete_pipeline(id=name)


@contextlib.contextmanager
def template_of(index: ElasticsearchIndex, **template: Any) -> Iterator[None]:
    """A template of the cluster for indexes with the prefix of this one."""
    patterns, indices = [f"{index.name}-*"], index._client.indices
    indices.put_index_template(name=index.name, index_patterns=patterns, priority=500, template=template)
    try:
        yield
    finally:
        indices.delete_index_template(name=index.name)


def test_settings_of_a_template_change_no_answer(index: ElasticsearchIndex) -> None:
    settings = {
        "index": {
            "max_result_window": 10,
            "max_docvalue_fields_search": 1,
            "max_terms_count": 1,
            "sort.field": "group",
            "lifecycle.name": "delete-after-a-month",
            "refresh_interval": "1h",
            "mapping.nested_objects.limit": 1,
            "number_of_replicas": 1,
            "write.wait_for_active_shards": "2",
        }
    }
    sorted_by = {"properties": {"group": {"type": "keyword"}}}
    with template_of(index, settings=settings, mappings={"_source": {"enabled": False}, **sorted_by}):
        backing_index = index.create(META)
    entries = [entry(n, axis(n), axis(n), filters={"brand": "Acme"}) for n in range(12)]
    assert {result.status for result in index.write(entries, backing_index=backing_index)} == {"done"}
    index.promote(backing_index)
    made = index._client.indices.get_settings(index=backing_index, flat_settings=True)[backing_index]["settings"]
    assert not made.get("index.lifecycle.name"), "by which the index would be deleted"
    assert keys(index, Query(axis(0), limit=11, filters=Filters(exclude_groups=("a", "b"))))[0] == "0"
    assert len(list(index.scan())) == 12
    [found] = index.search([Query(axis(0), limit=1, fields=("brand",))])
    assert found.candidates[0].values == {"brand": ("Acme",)}


def test_a_template_that_requires_a_routing_is_reported(index: ElasticsearchIndex) -> None:
    """Every write would be refused, and the rebuild would end without an entry."""
    with (
        template_of(index, mappings={"_routing": {"required": True}}),
        pytest.raises(SearchIndexError, match="An index template requires a routing"),
    ):
        index.create(META)
    assert index.backing_indexes() == []


def test_a_template_that_hides_indexes_or_gives_them_an_alias(index: ElasticsearchIndex) -> None:
    """A hidden index was neither found nor deleted, so that each sync made another one."""
    first = index.create(META)
    index.promote(first)
    with template_of(index, settings={"index.hidden": True}, aliases={index.name: {}}):
        second = index.create(META)
    assert index.backing_indexes() == [first, second]
    assert [*index._client.indices.get_alias(name=index.name)] == [first], "which alone is filled"
    index.promote(second)
    assert [*index._client.indices.get_alias(name=index.name)] == [second]


@pytest.mark.long
def test_shards_that_no_node_takes_are_reported(
    index: ElasticsearchIndex, elasticsearch_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A template wants nodes that are gone, or the disks are nearly full."""
    backing_index = index.create(META)
    nowhere = {"index.routing.allocation.require.box": "hot"}
    hasty = ElasticsearchIndex(hosts=elasticsearch_url, name=index.name, replicas=0, request_timeout=0.5)
    with template_of(index, settings=nowhere), pytest.raises(IndexUnavailable, match=r'takes the shards .*box:"hot"'):
        hasty.create(META)
    assert index.backing_indexes() == [backing_index], "what could not be used is deleted"

    monkeypatch.setattr(bulk, "ATTEMPTS", 1)
    lost, mappings = index.name_at(timezone.now()), index._client.indices.get_mapping(index=backing_index)
    index._client.indices.create(
        index=lost,
        aliases={bulk.write_alias(lost): {}},
        settings=nowhere,
        mappings=mappings[backing_index]["mappings"],
        wait_for_active_shards=0,
    )
    [result] = hasty.write([entry(1, axis(0))], backing_index=lost)
    assert result.retryable
    assert "primary shard is not active" in result.error


def test_a_node_that_ends_before_it_answers_has_made_the_index(
    index: ElasticsearchIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a rolling restart: the client repeats the request, and is told that there is such an index."""
    node, lost = index._client.transport.node_pool.get(), []
    perform = node.perform_request

    def ending(method: str, target: str, **kwargs: Any) -> Any:
        answer = perform(method, target, **kwargs)
        if method == "PUT" and not lost:
            lost.append(answer)
            raise ConnectionError("Connection reset by peer")
        return answer

    monkeypatch.setattr(node, "perform_request", ending)
    backing_index = index.create(META)
    assert lost
    assert index.backing_indexes() == [backing_index]
    index.write([entry(1, axis(0))], backing_index=backing_index)
    index.promote(backing_index)
    index.refresh()
    assert keys(index, Query(axis(0))) == ["1"]


def test_the_planner_matches_the_index(index: ElasticsearchIndex) -> None:
    backing_index = index.create(replace(META, dims=512))
    built = index._client.indices.get_mapping(index=backing_index)[backing_index]["mappings"]
    planned = plan(items=10**6, images=10**6, dims=512, server=index._server.version)
    assert built["properties"]["images"]["properties"]["vector"]["index_options"] == planned.index_options
    assert mapping.quantisation_of(built) == planned.quantisation


def test_refreshes_and_replicas_start_after_filling(index: ElasticsearchIndex) -> None:
    def settings(backing_index: str) -> tuple[str, str]:
        found = index._client.indices.get_settings(index=backing_index)[backing_index]["settings"]["index"]
        return found["number_of_replicas"], found["refresh_interval"]

    backing_index = index.create(META)
    index.write([entry(1, axis(0))], backing_index=backing_index)
    assert settings(backing_index) == ("0", "-1")
    index.promote(backing_index)
    assert settings(backing_index) == ("0", "1s")
    assert keys(index, Query(axis(0))) == ["1"]


def test_vectors_are_excluded_from_the_source(index: ElasticsearchIndex) -> None:
    index.promote(index.create(META))
    index.write([entry(1, axis(0), axis(1), filters={"price": 3})])
    index.refresh()
    source = index._client.get(index=index.name, id="shop.product:1")["_source"]
    assert source["filters"] == {"price": [3.0]}
    assert source["images"] == [{"digest": f"digest-1-{n}", "name": f"photos/1-{n}.jpg"} for n in range(2)]


@pytest.mark.parametrize(("quantisation", "kind"), [("none", "hnsw"), ("int8", "int8_hnsw")])
def test_the_quantisation_can_be_chosen(
    elasticsearch_url: str, index: ElasticsearchIndex, quantisation: Any, kind: str
) -> None:
    chosen = ElasticsearchIndex(
        hosts=[elasticsearch_url], name=index.name, replicas=0, quantisation=quantisation, m=8, ef_construction=50
    )
    backing_index = chosen.create(META)
    made = chosen._client.indices.get_mapping(index=backing_index)[backing_index]["mappings"]
    options = made["properties"]["images"]["properties"]["vector"]["index_options"]
    assert (options["type"], options["m"], options["ef_construction"]) == (kind, 8, 50)
    assert mapping.quantisation_of(made) == quantisation


def test_bbq_requires_a_recent_server(elasticsearch_url: str, index: ElasticsearchIndex) -> None:
    if index._server.supports("bbq"):
        pytest.skip("this server knows bbq")
    with pytest.raises(ConfigurationError, match=r"needs Elasticsearch 8\.18 or later; use 'auto'"):
        ElasticsearchIndex(hosts=elasticsearch_url, name=index.name, quantisation="bbq").create(META)


@pytest.mark.parametrize(
    ("number", "dims", "quantisation", "takes_k", "rescores", "told"),
    [
        ("8.12.2", 512, "int8", False, False, False),
        ("8.15.0", 512, "int8", True, False, False),
        ("8.19.3", 768, "int8", True, True, False),
        ("9.0.1", 768, "int8", True, True, False),
        ("9.1.0", 768, "bbq", True, True, True),
        ("9.2.0-SNAPSHOT", 128, "int8", True, True, True),
        ("9.3.1", 512, "bbq", True, True, True),
    ],
)
def test_features_by_server_version(
    number: str, dims: int, quantisation: str, takes_k: bool, rescores: bool, told: bool
) -> None:
    server = Server.of({"version": {"number": number}})
    assert server.quantisation(dims) == quantisation
    asked = CompiledQuery(Query(axis(0)), axis(0), CompiledFilters(Filters()), {}, "cosine", 100)
    [filtering] = asked.bodies(server, "bbq")[0]["query"]["bool"]["filter"]
    knn = filtering["nested"]["query"]["knn"]
    assert ("k" in knn, "rescore_vector" in knn) == (takes_k, rescores)
    storage = mapping.Storage("int8", 16, 100, 1)
    settings = mapping.body("x", META, storage, server)["settings"]["index"]
    assert ("dense_vector.hnsw_filter_heuristic" in settings) == told
    newer = server.version >= (9, 2)
    assert (settings.get("dense_vector.hnsw_early_termination") is False) == newer
    mappings = mapping.body("x", META, storage, server)["mappings"]
    assert ("_source" not in mappings) == newer
    assert server.takes_packed_vectors == (server.version >= (9, 3))


def test_a_packed_vector_is_base64_of_big_endian_floats() -> None:
    vectors = np.array([[0.5, 10.0, 6.0]], dtype=np.float32)
    written = bulk.line(0, validation.Prepared(entry(1, axis(0)), "g", [], {}, vectors, {}), META, packed=True)
    [image] = json.loads(written.data.splitlines()[1])["images"]
    assert image["vector"] == "PwAAAEEgAABAwAAA"
    assert struct.unpack(">3f", base64.b64decode(image["vector"])) == (0.5, 10.0, 6.0)


def test_vectors_that_a_node_cannot_unpack_are_sent_as_numbers(
    index: ElasticsearchIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For instance while a cluster is upgraded to 9.3; an entry that really cannot be indexed still fails."""
    index.promote(index.create(META))
    index.meta()
    if not index._server.takes_packed_vectors:
        monkeypatch.setattr(index, "_server", Server((9, 3)))
    bad = replace(entry(2, axis(1)), images=())
    requests = Requests(index, monkeypatch)
    results = index.write([entry(1, axis(0)), bad, Removal("shop.product:3", 1), entry(4, axis(2))])
    assert [result.status for result in results] == ["done", "failed", "done", "done"]
    assert "an entry has 1 to" in results[1].error
    assert requests.paths in ([f"/{index.name}/_bulk"] * 2, [f"/{index.name}/_bulk"])
    monkeypatch.undo()
    index.refresh()
    assert keys(index, Query(axis(0), limit=2)) == ["1", "4"]


COLUMNS = (
    entry(
        1, axis(0), axis(1), categories=("b", "a"), filters={"brand": "Café", "price": 3}, texts={"name": ("Tea-pot",)}
    ),
    entry(2, axis(1), group="shop.product:one", texts={"name": ("Pot for tea", "Kanne")}),
    entry(3, axis(1) + axis(2), group="shop.product:one"),
)
OF_COLUMNS = (
    *(Query(axis(1)), Query(axis(1), limit=1), Query(axis(1), collapse=False, offset=1), Query(axis(2), min_score=0.5)),
    *(Query(axis(0), text="tea pot"), Query(axis(0), text="teapots", collapse=False, fields=("price",))),
    *(Query(axis(1), similarity="l1"), Query(axis(0), fields=("brand", "in_stock")), Query(axis(1), exact=False)),
)


def test_an_index_of_an_earlier_version_gives_the_same_answers(
    index: ElasticsearchIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its entries lack the column that candidates are read from, and the stems of their words."""
    answers = []
    body = mapping.body

    def earlier(*arguments: Any) -> dict[str, Any]:
        made = body(*arguments)
        del made["mappings"]["properties"]["candidate"]
        return made

    def earlier_texts(*arguments: Any) -> dict[str, Any]:
        texts: dict[str, Any] = {"name": {"type": "text", "analyzer": "english", "copy_to": "words"}}
        return {"texts": {"properties": texts}, "words": properties(*arguments)["words"] | {"analyzer": "standard"}}

    properties = text.text_properties
    for made, of_texts in ((body, properties), (earlier, earlier_texts)):
        monkeypatch.setattr(mapping, "body", made)
        monkeypatch.setattr(text, "text_properties", of_texts)
        index.promote(index.create(replace(META, texts={"name": TextSpec()})))
        assert {result.status for result in index.write(COLUMNS)} == {"done"}
        index.refresh()
        answers.append([replace(answer, took_ms=0.0) for answer in index.search(OF_COLUMNS)])
        by_column = [index._compile(query, index._read()).by_column for query in OF_COLUMNS]
        assert by_column == [made is body and not query.fields for query in OF_COLUMNS]
    assert answers[0] == answers[1]
    assert answers[0][0].candidates[0].image_name == "photos/1-1.jpg"
    assert answers[0][0].candidates[0].categories == ("b", "a")
    assert [len(answer) for answer in answers[0][4:6]] == [2, 1]


def test_an_entry_without_the_column_of_candidates_is_found(
    index: ElasticsearchIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as an entry that was written for an index of an earlier version, just when this one was swapped in."""
    index.promote(index.create(replace(META, texts={"name": TextSpec()})))
    index.write(COLUMNS)
    index.refresh()
    queries = [Query(axis(1)), Query(axis(1), text="pot")]
    before = [answer.candidates for answer in index.search(queries)]
    fields = index._read().fields - {"candidate", "candidate_texts", "stems"}
    of_earlier = functools.partial(bulk.line, fields=fields)
    monkeypatch.setattr(bulk, "line", lambda *given: of_earlier(*given[:4]))
    index.write([replace(COLUMNS[0], version=2)])
    index.refresh()
    requests = Requests(index, monkeypatch)
    assert [answer.candidates for answer in index.search(queries)] == before
    assert len(requests.paths) == 3


@pytest.fixture
def of_words(index: ElasticsearchIndex) -> ElasticsearchIndex:
    """The index with texts."""
    index.promote(index.create(replace(META, texts={"name": TextSpec()})))
    index.write(COLUMNS)
    index.refresh()
    return index


def test_the_server_remembers_what_words_found_until_the_index_changes(of_words: ElasticsearchIndex) -> None:
    def remembered() -> int:
        found = of_words._client.indices.stats(index=of_words.name, metric="request_cache")
        return int(found["_all"]["total"]["request_cache"]["hit_count"])

    query = Query(axis(0), text="kanne")
    once, before = keys(of_words, query), remembered()
    assert once == keys(of_words, query) == ["2"]
    assert remembered() - before == 3, "the entries, and two counts"
    of_words.write([entry(4, axis(0), texts={"name": ("Kanne",)})])
    of_words.refresh()
    assert sorted(keys(of_words, query)) == ["2", "4"]


def test_the_searches_that_take_longest_start_first(
    of_words: ElasticsearchIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = [Query(axis(0), text="tea pot"), Query(axis(1)), Query(axis(2), text="kanne", limit=1)]
    apart = [of_words.search([query])[0].candidates for query in queries]
    requests = Requests(of_words, monkeypatch)
    assert [answer.candidates for answer in of_words.search(queries)] == apart
    [body] = requests.bodies
    last = max(body.index("script_score"), body.rindex("dis_max"))
    assert last < body.index('"exists":{"field":"words"}'), "the counts"


@pytest.mark.parametrize(("text", "count"), [("tea pot", 1), ("tea pot 4711", 1), ("tea pto", 2)])
def test_only_a_word_that_may_be_misspelled_is_asked_for_twice(
    of_words: ElasticsearchIndex, monkeypatch: pytest.MonkeyPatch, text: str, count: int
) -> None:
    of_words.write([entry(n, axis(n % 16), texts={"name": ("Tea pot",)}) for n in range(10, 150)])
    of_words.refresh()
    requests = Requests(of_words, monkeypatch)
    assert of_words.search([Query(axis(0), text=text)])[0].candidates
    assert len(requests.paths) == count


def test_variants_of_few_products_and_a_misspelled_word_are_one_further_request(
    of_words: ElasticsearchIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_words.write([entry(n, axis(n % 16), group="one", texts={"name": ("Tea pot",)}) for n in range(10, 150)])
    of_words.write([entry(n, axis(n % 16), texts={"name": ("Tea pot of cast iron",)}) for n in range(150, 153)])
    of_words.refresh()
    requests = Requests(of_words, monkeypatch)
    assert len(of_words.search([Query(axis(0), text="tea pto")])[0].candidates) > 3
    assert len(requests.paths) == 2


def test_two_errors_are_looked_for_only_in_what_may_be_misspelled(of_words: ElasticsearchIndex) -> None:
    def body(**given: Any) -> str:
        compiled = of_words._compile(Query(axis(0), text="leggings", **given), of_words._read())
        return str(compiled.bodies(of_words._server, "int8")[0])

    assert "AUTO:3,8" in body()
    assert "AUTO:3," in body(spelled=frozenset({"leggings"}))
    assert "AUTO:3,8" not in body(spelled=frozenset({"leggings"}))


def lose_vectors(index: ElasticsearchIndex, key: str, *kept: Any) -> None:
    """Store an entry again with only the vectors of its first images."""
    source = index._client.get(index=index.name, id=key)["_source"]
    for image, vector in zip(source["images"], kept, strict=False):
        image["vector"] = vector.tolist()
    index._client.index(index=index.name, id=key, document=source, version=9, version_type="external", refresh=True)


def test_an_entry_without_a_vector_is_not_scanned(index: ElasticsearchIndex) -> None:
    backing_index = index.create(META)
    index.write([entry(1, axis(0), axis(1)), entry(2, axis(1))], backing_index=backing_index)
    index.promote(backing_index)
    lose_vectors(index, "shop.product:1", axis(0))
    assert list(index.scan()) == [("shop.product:2", 1)]


@pytest.mark.parametrize("similarity", ["cosine", "l1"])
@pytest.mark.parametrize("exact", [True, False])
def test_an_image_without_a_vector_fails_no_search(index: ElasticsearchIndex, exact: bool, similarity: Any) -> None:
    backing_index = index.create(META)
    index.write([entry(n, axis(n), axis(n + 1)) for n in range(3)], backing_index=backing_index)
    index.promote(backing_index)
    lose_vectors(index, "shop.product:0", axis(0))
    lose_vectors(index, "shop.product:1")
    for min_score in (None, -0.5):
        [answer] = index.search([Query(axis(0), exact=exact, similarity=similarity, min_score=min_score)])
        found = [(each.key, each.image_name) for each in answer.candidates]
        assert found == [("shop.product:0", "photos/0-0.jpg"), ("shop.product:2", "photos/2-0.jpg")]


def test_a_server_that_is_too_old_or_has_no_version() -> None:
    with pytest.raises(SearchIndexError, match=r"7\.17\.3 is too old; 8\.12 or later"):
        Server.of({"version": {"number": "7.17.3"}})
    assert Server.of({"version": {"number": "8.11.0", "build_flavor": "serverless"}}).version > (9, 0)


def test_indexes_of_other_programs_are_ignored(index: ElasticsearchIndex) -> None:
    theirs = f"{index.name}-notes"
    index._client.indices.create(index=theirs)
    try:
        assert index.backing_indexes() == []
        with pytest.raises(SearchIndexError, match="was not made by imagesim"):
            index.meta(theirs)
        index.promote(index.create(META))
        assert index._client.indices.exists(index=theirs)
    finally:
        index._client.indices.delete(index=theirs)


def test_an_alias_of_several_indexes_answers_nothing_wrong(index: ElasticsearchIndex) -> None:
    """For instance after it was set by hand, or a snapshot was restored with its aliases."""
    first = index.create(META)
    index.promote(first)
    others = [f"{index.name}-0-restored", f"{index.name}-restored"]
    for name in others:
        index._client.indices.create(index=name, aliases={index.name: {}})
    try:
        assert index.active() == first, "to which changes are written"
        index._states.clear()
        with pytest.raises(SearchIndexError, match=r"several indexes, .*imagesim_rebuild"):
            index.search([Query(axis(0))])
        second = index.create(META)
        index.promote(second)
        index.write([entry(1, axis(0))])
        index.refresh()
        assert (index.active(), keys(index, Query(axis(0)))) == (second, ["1"])
    finally:
        index._client.indices.delete(index=others)


def test_the_name_of_an_existing_index_is_rejected(index: ElasticsearchIndex) -> None:
    """Immediately, so that a rebuild does not fill an index for hours before it is refused."""
    backing_index = index.create(META)
    index._client.indices.create(index=index.name)
    try:
        with pytest.raises(SearchIndexError, match="refused"):
            index.promote(backing_index)
        with pytest.raises(ConfigurationError, match="imagesim did not make: choose another name in INDEX's OPTIONS"):
            index.create(META)
        assert index.backing_indexes() == [backing_index]
    finally:
        index._client.indices.delete(index=index.name)


def test_the_name_of_a_data_stream_is_rejected(index: ElasticsearchIndex) -> None:
    client, template = index._client, f"{index.name}-stream"
    client.indices.put_index_template(name=template, index_patterns=[index.name], priority=500, data_stream={})
    client.indices.create_data_stream(name=index.name)
    try:
        with pytest.raises(ConfigurationError, match=r"data stream .* choose another name in INDEX's OPTIONS"):
            index.create(META)
        assert index.backing_indexes() == []
    finally:
        client.indices.delete_data_stream(name=index.name)
        client.indices.delete_index_template(name=template)


def test_a_closed_index_is_replaced(index: ElasticsearchIndex) -> None:
    """The pattern of its name does not match it, so it kept the alias, and the next one was refused."""
    first = index.create(META)
    index.promote(first)
    index._client.indices.close(index=first)
    second = index.create(META)
    assert index.backing_indexes() == [first, second]
    index.promote(second)
    assert index.active() == second
    assert keys(index, Query(axis(0))) == []
    index.drop(first)
    assert index.backing_indexes() == [second]


def test_the_error_names_the_index_that_is_gone(index: ElasticsearchIndex) -> None:
    """Not the active one, when it is the one that a rebuild was filling."""
    index.promote(index.create(META))
    filled = index.create(META)
    index._client.indices.delete(index=filled)
    with pytest.raises(IndexMissing, match=f"no index '{filled}'"):
        index.make_searchable(filled)


# Requests.


def test_a_search_is_one_request_however_many_queries(
    index: ElasticsearchIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.promote(index.create(META))
    index.write([entry(n, axis(n)) for n in range(5)])
    index.refresh()
    keys(index, Query(axis(0)))
    requests = Requests(index, monkeypatch)
    index.search([Query(axis(0))])
    index.search([Query(axis(n)) for n in range(5)])
    assert requests.paths == [f"/{index.name}/_search", "/_msearch"]


def test_tracers_are_told_what_a_request_is_called(index: ElasticsearchIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their spans would be called "POST"."""
    names: list[str | None] = []
    perform = Elasticsearch.perform_request

    def noted(self: Elasticsearch, *args: Any, **kwargs: Any) -> Any:
        names.append(kwargs.get("endpoint_id"))
        return perform(self, *args, **kwargs)

    index.promote(index.create(META))
    monkeypatch.setattr(Elasticsearch, "perform_request", noted)
    index.write([entry(1, axis(0))])
    index.search([Query(axis(0))])
    index.search([Query(axis(0)), Query(axis(1))])
    assert [name for name in names if name in ("bulk", "search", "msearch", None)] == ["bulk", "search", "msearch"]


def test_writes_do_not_refresh_and_are_chunked(index: ElasticsearchIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    index.promote(index.create(META))
    index.meta()
    monkeypatch.setattr(bulk, "CHUNK_BYTES", 2_000)
    requests = Requests(index, monkeypatch)
    results = index.write([entry(n, axis(0)) for n in range(20)])
    assert {result.status for result in results} == {"done"}
    assert set(requests.paths) == {f"/{index.name}/_bulk"}
    assert 3 < len(requests.paths) < 20
    index.refresh()
    assert index.count() == 20


def test_rejected_operations_are_retried(index: ElasticsearchIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only those, and only a limited number of times; what is still rejected is reported as worth another try."""
    index.promote(index.create(META))
    sent: list[int] = []
    original = index._connection.post

    def busy(path: str, data: bytes, params: Any, client: Any = None) -> Any:
        answer = original(path, data, params, client)
        sent.append(len(answer["items"]))
        answer["items"][-1] = {"index": {"status": 429, "error": {"type": "busy", "reason": "queue is full"}}}
        return answer

    monkeypatch.setattr(index._connection, "post", busy)
    monkeypatch.setattr(bulk, "PAUSE_SECONDS", 0.01)
    results = index.write([entry(n, axis(0)) for n in range(3)])
    assert sent == [3, 1, 1]
    assert [result.status for result in results] == ["done", "done", "failed"]
    assert results[2].retryable
    assert "queue is full" in results[2].error


@pytest.mark.parametrize("block", ["write", "read_only", "read_only_allow_delete"])
def test_a_blocked_index_refuses_no_entry_for_good(index: ElasticsearchIndex, block: str) -> None:
    """An operator blocks writes for a snapshot or an upgrade; changes saved in the meantime must not be given up."""
    backing_index = index.create(META)
    index.promote(backing_index)
    index._client.indices.put_settings(index=backing_index, settings={f"index.blocks.{block}": True})
    try:
        [result] = index.write([entry(1, axis(0))])
        assert (result.status, result.retryable) == ("failed", True)
        assert "blocked" in result.error
    finally:
        index._client.indices.put_settings(index=backing_index, settings={f"index.blocks.{block}": None})
    assert index.write([entry(1, axis(0))])[0].status == "done"


def test_a_closed_index_refuses_no_entry_for_good(index: ElasticsearchIndex) -> None:
    """A snapshot is restored into an index while it is closed; what was saved meanwhile was given up."""
    backing_index = index.create(META)
    index.promote(backing_index)
    index._client.indices.close(index=backing_index)
    try:
        [result] = index.write([entry(1, axis(0))], backing_index=backing_index)
        assert (result.status, result.retryable) == ("failed", True)
        with pytest.raises(IndexUnavailable, match=r"has blocked the index .*: closed"):
            index.search([Query(axis(0))])
    finally:
        index._client.indices.open(index=backing_index)
    assert index.write([entry(1, axis(0))], backing_index=backing_index)[0].status == "done"


def test_a_blocked_index_is_unavailable_for_searches(index: ElasticsearchIndex) -> None:
    backing_index = index.create(META)
    index.promote(backing_index)
    index._client.indices.put_settings(index=backing_index, settings={"index.blocks.read": True})
    with pytest.raises(IndexUnavailable, match="has blocked the index"):
        index.search([Query(axis(0))])


@pytest.fixture(scope="module")
def clusters(elasticsearch_url: str) -> Iterator[tuple[ElasticsearchIndex, np.ndarray, np.random.Generator]]:
    """An index of clustered vectors, two images per item, each with a ``price`` from 0 to 999: (index, vectors,
    dice)."""
    index = ElasticsearchIndex(hosts=elasticsearch_url, name=f"imagesim-test-{secrets.token_hex(4)}", replicas=0)
    rng = np.random.default_rng(21)
    dims, count = 64, 6_000
    centres = rng.standard_normal((200, dims))
    vectors = (centres[rng.integers(0, 200, (count, 2))] + 0.6 * rng.standard_normal((count, 2, dims))).astype(
        np.float32
    )
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    parts = rng.integers(0, 1000, count)
    backing_index = index.create(replace(META, dims=dims))
    try:
        index.write(
            [
                entry(n, *pair, filters={"price": int(part)})
                for n, (pair, part) in enumerate(zip(vectors, parts, strict=True))
            ],
            backing_index=backing_index,
        )
        index.refresh(backing_index)
        index.promote(backing_index)
        yield index, vectors, rng
    finally:
        index.drop(backing_index)


@pytest.mark.parametrize("selectivity", [1.0, 0.1, 0.01, 0.001])
def test_recall_holds_at_every_selectivity(clusters, selectivity: float) -> None:
    """On clusters, quantised, with two images per item; the benchmark measures it on real pictures, and on more of
    them."""
    index, vectors, rng = clusters
    rng = copy.deepcopy(rng)
    count, _, dims = vectors.shape
    found = total = 0
    for _ in range(40):
        query = vectors[rng.integers(count), 0] + 0.1 * rng.standard_normal(dims).astype(np.float32)
        asked = Query(query, Filters(conditions=(Condition("price", "lt", selectivity * 1000),)), limit=10)
        approximate, exact = index.search([replace(asked, exact=False), replace(asked, exact=True)])
        found += len({m.key for m in approximate.candidates} & {m.key for m in exact.candidates})
        total += len(exact.candidates)
    assert found / total >= 0.99


def test_pages_of_an_approximate_search_do_not_overlap(index: ElasticsearchIndex) -> None:
    rng = np.random.default_rng(22)
    index.promote(index.create(META))
    index.write([entry(n, *rng.standard_normal((1, DIMS)).astype(np.float32)) for n in range(1500)])
    index.refresh()
    # The query lies along an axis, where int8 that leaves out the extreme values would find nothing right.
    seen = [
        key for offset in range(0, 90, 10) for key in keys(index, Query(axis(0), limit=10, offset=offset, exact=False))
    ]
    assert len(set(seen)) == len(seen) == 90


def test_small_indexes_and_l1_are_searched_exactly(index: ElasticsearchIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    index.promote(index.create(META))
    index.write([entry(n, axis(n)) for n in range(10)])
    index.refresh()
    assert index.search([Query(axis(0))])[0].exact
    monkeypatch.setattr(selectivity, "EXACT_UP_TO", 5)
    monkeypatch.setattr("imagesim.indexes.statistics.VISITED", 0)
    index._states.clear()
    assert not index.search([Query(axis(0))])[0].exact
    assert index.search([Query(axis(0), similarity="l1")])[0].exact
    assert index.search([Query(axis(0), exact=True)])[0].exact


# Errors of the server.


def test_an_unreachable_server_is_reported_without_its_password() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    index = ElasticsearchIndex(hosts=f"http://elastic:s3cret@127.0.0.1:{port}", name="nowhere")
    asks: list[Callable[[], Any]] = [
        index.ping,
        lambda: index.search([Query(axis(0))]),
        lambda: index.write([Removal("x", 1)]),
        lambda: list(index.scan()),
        lambda: index.create(META),
        index.backing_indexes,
        index.active,
    ]
    started = time.monotonic()
    for ask in asks:
        with pytest.raises(IndexUnavailable, match=f"http://127.0.0.1:{port} does not answer") as caught:
            ask()
        assert "s3cret" not in f"{caught.value!r} {caught.value} {index!r}"
    assert time.monotonic() - started < 5


def test_a_lost_connection_is_restored(elasticsearch_url: str) -> None:
    """Seen through a connection that is cut and restored; the server behind it is shared by other tests."""
    wire = Wire(elasticsearch_url)
    index = ElasticsearchIndex(
        hosts=f"http://127.0.0.1:{wire.port}", name=f"imagesim-wire-{secrets.token_hex(4)}", replicas=0
    )
    try:
        index.promote(index.create(META))
        index.write([entry(1, axis(0))])
        index.refresh()
        assert keys(index, Query(axis(0))) == ["1"]
        wire.cut()
        started = time.monotonic()
        with pytest.raises(IndexUnavailable):
            index.search([Query(axis(0))])
        with pytest.raises(IndexUnavailable):
            index.ping()
        assert time.monotonic() - started < 3
        wire.mend()
        assert keys(index, Query(axis(0))) == ["1"]
        for backing_index in index.backing_indexes():
            index.drop(backing_index)
    finally:
        wire.cut()


def test_a_server_that_hangs_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        index = ElasticsearchIndex(hosts=f"http://127.0.0.1:{deaf.getsockname()[1]}", request_timeout=0.3)
        started = time.monotonic()
        with pytest.raises(IndexUnavailable, match="does not answer"):
            index.search([Query(axis(0))])
        assert time.monotonic() - started < 3


def test_a_slow_query_fails_alone(index: ElasticsearchIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server gives up before the client does, and the circuit stays closed for everyone else."""
    index.promote(index.create(META))
    index.write([entry(1, axis(0))])
    index.refresh()
    sent: list[dict[str, Any]] = []
    original = index._connection.post

    def slow(path: str, data: bytes, params: Any, client: Any = None) -> Any:
        sent.append(json.loads(data))
        answer = original(path, data, params, client)
        answer["timed_out"] = True  # as the server reports it, with whatever hits it had found by then
        return answer

    monkeypatch.setattr(index._connection, "post", slow)
    guarded = GuardedIndex(index, Breaker("the index", threshold=1))
    reads: list[Callable[[], Any]] = [
        lambda: guarded.search([Query(axis(0))]),
        lambda: guarded.facets(Filters(), ("category",)),
        lambda: guarded.count(Filters(in_stock=True)),
    ]
    for read in reads:
        with pytest.raises(QueryTimeout, match=r"longer than 4 s"):
            read()
    assert [body["timeout"] for body in sent] == ["4000ms"] * 3
    monkeypatch.undo()
    assert not guarded.breaker.is_open
    assert guarded.search([Query(axis(0))])[0].candidates


def test_the_server_ends_a_search_that_takes_too_long(
    index: ElasticsearchIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test above relies on this: by ``timed_out`` in the answer, or by an error of its own type.

    The server looks at the time after each segment. All of them take a fast machine much longer than it may take, and
    the first one a slow machine less than the client waits for a write.
    """
    index.promote(index.create(META))
    for start in range(0, 80, 10):
        index.write([entry(start + n, axis(0)) for n in range(10)])
        index.refresh()
    script = {"source": "double s = 0; for (int i = 0; i < 900000; i++) { s += Math.sin(i) } return 1 + 0 * s"}
    monkeypatch.setattr(transport, "SERVER_TIMEOUT", 0.0004)
    body = {"query": {"script_score": {"query": {"match_all": {}}, "script": script}}}
    with pytest.raises(QueryTimeout), index._translated_errors():
        index._connection.search(index.name, [body], slow=True)


def test_an_answer_that_lacks_a_shard_is_an_error(elasticsearch_url: str) -> None:
    """The server reports it as a success."""
    index = ElasticsearchIndex(hosts=elasticsearch_url, name=f"test-{secrets.token_hex(4)}", replicas=0, shards=2)
    backing_index = index.create(META)
    index.promote(backing_index)
    try:
        index.write([entry(n, axis(n), categories=("shoes",)) for n in range(8)])
        index.refresh()
        fail = "if (doc['key'].value == 'shop.product:3') { throw new IllegalStateException('broken') } return true"
        alias = {"index": backing_index, "alias": index.name, "filter": {"script": {"script": fail}}}
        index._client.indices.update_aliases(actions=[{"add": alias}])
        shards = index._client.search(index=index.name)["_shards"]
        assert (shards["total"], shards["successful"]) == (2, 1)
        reads: list[Callable[[], Any]] = [
            lambda: index.search([Query(axis(0))]),
            lambda: index.search([Query(axis(0)), Query(axis(1))]),
            lambda: index.count(),
            lambda: index.facets(Filters(), ("category",)),
            lambda: list(index.scan(backing_index=index.name)),  # through the alias, which has the filter
        ]
        for read in reads:
            with pytest.raises(IndexUnavailable, match="broken"):
                read()
    finally:
        index.drop(backing_index)


def test_threads_do_not_wait_for_each_other_where_the_server_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        index = ElasticsearchIndex(hosts=url, request_timeout=0.5)
        errors: list[Exception] = []

        def ask() -> None:
            try:
                index.search([Query(axis(0))])
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        started = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [type(error) for error in errors] == [IndexUnavailable] * 8
        assert time.monotonic() - started < 2.5


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (401, AccessRefused, "check api_key or basic_auth"),
        (403, AccessRefused, "privileges"),
        (429, IndexUnavailable, "busy"),
        (503, IndexUnavailable, "busy"),
        (400, SearchIndexError, "refused"),
        (413, SearchIndexError, r"too large for http\.max_content_length"),
        (404, IndexMissing, "imagesim_rebuild"),
    ],
)
def test_server_errors_become_one_sentence(status: int, error: type[Exception], words: str) -> None:
    with Answering(status) as url, pytest.raises(error, match=words):
        ElasticsearchIndex(hosts=url, api_key="s3cret").refresh()


def test_a_client_newer_than_the_server_is_reported(elasticsearch_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The media types name the client's version, and the server refuses those of a later version."""
    later = r"application/vnd.elasticsearch+\g<1>; compatible-with=99"
    monkeypatch.setattr("elasticsearch._sync.client._base._COMPAT_MIMETYPE_SUB", later)
    index = ElasticsearchIndex(hosts=elasticsearch_url)
    for request in (index.active, lambda: index._connection.post("/_search", b"{}", {})):
        with (
            pytest.raises(IndexUnavailable, match=r"not speak with the older server .*django-imagesim\[elasticsearch"),
            index._translated_errors(),
        ):
            request()


def test_a_server_that_is_not_elasticsearch_is_recognised() -> None:
    with Answering(200, product=False) as url, pytest.raises(SearchIndexError, match="is not Elasticsearch"):
        ElasticsearchIndex(hosts=url).refresh()


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"<html>Please wait</html>"])
def test_a_proxy_that_answers_itself_makes_the_index_unavailable(body: bytes) -> None:
    kind = "application/json" if body != b"<html>Please wait</html>" else "text/html"
    with Answering(200, body=body, kind=kind) as url:
        index = ElasticsearchIndex(hosts=url)
        for path in ("/x/_search", "/_msearch", "/x/_bulk"):
            with pytest.raises(SearchIndexError) as caught, index._translated_errors():
                index._connection.post(path, b"{}", {})
            assert "is not one of Elasticsearch" in str(caught.value)
            assert isinstance(caught.value, IndexUnavailable)


def test_the_404_of_a_proxy_means_no_missing_index() -> None:
    """Such as that of an ingress whose service is gone, or of a wrong path: an index would be made beside the one that
    exists."""
    with Answering(404, body=b"", product=False) as url:
        index = ElasticsearchIndex(hosts=f"{url}/es")
        for ask in (index.active, index.meta, index.refresh, lambda: index.create(META)):
            with pytest.raises(IndexUnavailable, match="another path in hosts"):
                ask()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "Products"}, "small letters"),
        ({"name": "_x"}, "small letters"),
        ({"quantisation": "int2"}, "'auto', 'bbq', 'int8' or 'none'"),
        ({"refresh_interval": "1 second"}, "'1 second' is not a time; write a number and its unit, such as '1s'"),
        ({"refresh_interval": 1}, "refresh_interval 1 is not a time"),
        ({"hosts": [{"host": "es1"}]}, "hosts must be addresses, such as 'https://es1:9200'"),
        ({"hostss": "x"}, "no option 'hostss'; it has .*'hosts'"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        ElasticsearchIndex(**options)


@pytest.mark.parametrize("options", [{"m": 512, "ef_construction": 3200}, {"refresh_interval": "-1"}])
def test_the_largest_options_are_accepted(index: ElasticsearchIndex, options: dict[str, Any]) -> None:
    other = ElasticsearchIndex(hosts=index._connection.hosts, name=index.name, replicas=0, **options)
    other.promote(other.create(META))
    assert [result.status for result in other.write([entry(1, axis(0))])] == ["done"]


def test_an_unknown_analyzer_is_named(index: ElasticsearchIndex) -> None:
    other = ElasticsearchIndex(hosts=index._connection.hosts, name=index.name, analyzers={"en": "none_such"})
    with pytest.raises(SearchIndexError, match=r"none_such.* Check analyzers in INDEX's OPTIONS: every node must have"):
        other.create(replace(META, texts={"name": TextSpec(1.0, "en")}))


def test_credentials_and_certificates_reach_the_client() -> None:
    index = ElasticsearchIndex(hosts="https://es1:9200", api_key="s3cret", verify_certs=False, ssl_show_warn=False)
    assert index._client._headers["authorization"] == "ApiKey s3cret"
    assert "s3cret" not in repr(index)


def test_a_changed_filter_kind_fails_only_its_entries(index: ElasticsearchIndex) -> None:
    index.promote(index.create(IndexMeta("m", DIMS, {"size": "number"})))
    results = index.write([entry(1, axis(0), filters={"size": "XL"}), entry(2, axis(0), filters={"size": 3})])
    assert [result.status for result in results] == ["failed", "done"]


class Wire:
    """A connection that passes bytes on to a server, until it is cut."""

    def __init__(self, url: str) -> None:
        host, _, port = url.rpartition("//")[2].rstrip("/").partition(":")
        self._target = (host, int(port or 9200))
        self.port = 0
        self.mend()

    def mend(self) -> None:
        self._server = socket.create_server(("127.0.0.1", self.port))
        self.port = self._server.getsockname()[1]
        self._open: list[socket.socket] = [self._server]
        threading.Thread(target=self._accept, args=(self._server,), daemon=True).start()

    def cut(self) -> None:
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                near, _ = server.accept()
            except OSError:
                return
            far = socket.create_connection(self._target)
            self._open += [near, far]
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=(source, target), daemon=True).start()

    @staticmethod
    def _pass(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        finally:
            source.close()
            target.close()


class Answering:
    """A server that answers every request with the same status."""

    def __init__(
        self,
        status: int,
        product: bool = True,
        body: bytes = b'{"error":{"type":"t","reason":"because"}}',
        kind: str = "application/json",
    ) -> None:
        header = "X-Elastic-Product: Elasticsearch\r\n" if product else ""
        self._answer = (
            f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\n{header}"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        ).encode() + body

    def __enter__(self) -> str:
        self._server = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()
        return f"http://127.0.0.1:{self._server.getsockname()[1]}"

    def __exit__(self, *args: object) -> None:
        self._server.close()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            with near:
                near.recv(65536)
                near.sendall(self._answer)


def test_a_proxy_that_takes_small_requests_only(index: ElasticsearchIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as nginx, with a limit of 1 MB: a sync must not write one entry at a time, nor a rebuild fail."""
    from elastic_transport import ApiResponseMeta, HttpHeaders, NodeConfig
    from elasticsearch import ApiError

    meta = ApiResponseMeta(413, "1.1", HttpHeaders(), 0.0, NodeConfig("http", "localhost", 9200))
    post, sizes = index._connection.post, []

    def limited(path: str, data: bytes, *options: Any) -> Any:
        sizes.append(len(data))
        if len(data) > 2_000:
            raise ApiError("413", meta, "<html>Request Entity Too Large</html>")
        return post(path, data, *options)

    index.promote(index.create(META))
    monkeypatch.setattr(index._connection, "post", limited)
    large = entry(7, axis(0), filters={"brand": "x" * 3_000})
    results = index.write([*(entry(number, axis(0)) for number in range(7)), large])
    assert [result.status for result in results] == ["done"] * 7 + ["failed"]
    assert "(413): <html>Request Entity Too Large" in results[7].error
    assert len(sizes) < 8 + 8
    monkeypatch.undo()
    index.refresh()
    assert index.count() == 7


def test_the_analyser_of_a_language_can_be_chosen(elasticsearch_url: str) -> None:
    name = f"imagesim-test-{secrets.token_hex(4)}"
    index = ElasticsearchIndex(hosts=elasticsearch_url, name=name, replicas=0, analyzers={"de": "whitespace"})
    texts = {"name": TextSpec(2, "en-gb"), "name_de": TextSpec(2, "de"), "name_xx": TextSpec(1, "xx")}
    backing_index = index.create(replace(META, texts=texts))
    try:
        made = index._client.indices.get_mapping(index=backing_index)[backing_index]["mappings"]
        fields = made["properties"]["texts"]["properties"]
        found = {name: field.get("analyzer", "default") for name, field in fields.items()}
        assert found == {"name": "english", "name_de": "whitespace", "name_xx": "standard"}
    finally:
        index.drop(backing_index)
    for wrong in ({"de": ""}, {"de": None}, ["german"]):
        with pytest.raises(ConfigurationError, match="analyzers"):
            ElasticsearchIndex(hosts=elasticsearch_url, analyzers=wrong)  # type: ignore[arg-type]


def test_a_swap_to_another_projection_in_another_process_is_noticed(
    index: ElasticsearchIndex, elasticsearch_url: str
) -> None:
    """The queries must not be projected for the index that was active before."""
    index.promote(index.create(META))
    index.write([entry(1, axis(0))])
    index.refresh()
    keys(index, Query(axis(0)))
    other = ElasticsearchIndex(hosts=elasticsearch_url, name=index.name, replicas=0)
    backing_index = other.create(replace(META, projection="fitted"))
    other.write([entry(1, axis(0))], backing_index=backing_index)
    other.promote(backing_index)
    with pytest.raises(ModelMismatch, match="another projection"):
        index.search([Query(axis(0), fingerprint=META.fingerprint)])
    assert index.meta().projection == "fitted"
    assert len(keys(index, Query(axis(0)))) == 1
