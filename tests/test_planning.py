"""What a catalogue will need, against formulas and against real tables."""

from __future__ import annotations

import json
import random
import re
import secrets
import tracemalloc
from collections.abc import Iterator
from io import StringIO
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from imagesim.evaluation.planning import LOCAL_MEMORY_BYTES, MAX_DIMS, MAX_PLAIN_DIMS, SOURCE_BYTES, Sample, plan
from imagesim.exceptions import BadQuery
from imagesim.indexes import get_index
from imagesim.indexes.local import LocalIndex
from imagesim.indexes.local.columnar import Record, Table
from imagesim.indexes.pgvector import PgvectorIndex, tables
from imagesim.indexes.tables import LocalEntry
from imagesim.management.commands.imagesim_plan import _duration
from imagesim.testing.index_samples import entry
from imagesim.types import IndexMeta, TextSpec
from tests.shop import EMBEDDER, index_for


@pytest.mark.parametrize(
    ("images", "dims", "server", "backend", "kind", "memory"),
    [
        (10_000, 512, (8, 12), "local", "none", 10_000 * (512 * 4 + LOCAL_MEMORY_BYTES)),
        (1_000_000, 512, (8, 19), "elasticsearch", "int8", 1_000_000 * 580),
        (1_000_000, 128, (9, 5), "elasticsearch", "int8", 1_000_000 * 196),
        (1_000_000, 512, (9, 5), "elasticsearch", "bbq", 1_000_000 * 142),
        (1_000_000_000, 512, (9, 5), "elasticsearch", "bbq", 1_000_000_000 * 142),
    ],
)
def test_plans_follow_elastics_formulas(
    images: int, dims: int, server: tuple[int, int], backend: str, kind: str, memory: int
) -> None:
    made = plan(items=images, images=images, dims=dims, server=server)
    assert (made.backend, made.quantisation, made.memory_bytes) == (backend, kind, memory)
    assert made.shards >= images / 100_000_000


@pytest.mark.parametrize(
    ("hours", "text"), [(0.0, "0 s"), (0.0125, "45 s"), (0.5, "30 min"), (1.0, "1.0 h"), (37.61, "37.6 h")]
)
def test_durations(hours: float, text: str) -> None:
    assert _duration(hours) == text


def test_the_plan_command() -> None:
    out = StringIO()
    call_command(
        "imagesim_plan",
        "--items=1000000",
        "--images=3000000",
        "--dims=768",
        "--no-measure",
        "--server=8.19.3",
        "--format=json",
        stdout=out,
    )
    assert json.loads(out.getvalue())["index_options"]["type"] == "int8_hnsw"
    for server, quantisation, words in (("8.12", "bbq", r"8\.12 does not have"), ("nine", "auto", "not a version")):
        with pytest.raises(CommandError, match=words):
            call_command(
                "imagesim_plan",
                "--items=9",
                "--dims=8",
                "--no-measure",
                f"--server={server}",
                f"--quantisation={quantisation}",
                stdout=StringIO(),
            )
    with pytest.raises(CommandError, match="at least one item"):
        call_command("imagesim_plan", "--items=2", "--images=1", "--dims=8", "--no-measure", stdout=StringIO())
    with pytest.raises(CommandError, match="pretrained"):
        call_command("imagesim_plan", "--items=9", "--pretrained=laion", "--no-measure", stdout=StringIO())


@pytest.mark.django_db
def test_the_local_index_needs_as_much_of_the_database_as_its_rows() -> None:
    index, out = LocalIndex(name="planned"), StringIO()
    made = index.create(IndexMeta("model", 128, {"brand": "keyword", "price": "number"}))
    vectors = np.eye(128, dtype=np.float32)[:100]
    entries = [entry(number, vector, filters={"brand": "acme", "price": 9.5}) for number, vector in enumerate(vectors)]
    assert not any(each.error for each in index.write(entries, backing_index=made))
    held = sum(len(bytes(row.document)) + len(bytes(row.vectors)) for row in LocalEntry.objects.all())
    planned = plan(items=100, images=100, dims=128, backend="local")
    assert held < planned.disk_bytes < 1.5 * held
    call_command("imagesim_plan", "--items=100000", "--dims=512", "--no-measure", stdout=out)
    assert "Database, index       233.5 MiB (466.9 MiB while rebuilding)" in out.getvalue()
    of_server = (planned.server, planned.index_options, planned.shards, planned.nodes, planned.replicas)
    assert of_server == ("", {}, 1, 0, 0)


def test_a_process_needs_the_planned_memory_for_the_local_index() -> None:
    """Keys, values and words take more than the vectors."""
    chosen, items = random.Random(1), 3_000
    words = ["".join(chosen.choices("aeioubcdfglmnprst", k=7)) for _ in range(3_000)]
    meta = IndexMeta("model", 16, {"brand": "keyword", "price": "number"}, texts={"name": TextSpec()})
    table = Table(meta)
    tracemalloc.start()
    for number in range(items):
        key, text = f"shop.product:{number}", " ".join(chosen.choices(words, k=25))
        values, images = {"brand": ["acme"], "price": [9.5]}, [[f"{number:064}", f"products/{number}.jpg"]]
        vectors = np.ones((1, 16), np.float32)
        table.apply([Record(key, "shop.product", key, True, ["shoes"], values, images, vectors, {"name": [text]})])
    table.read_texts()
    held, _peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    planned = plan(items=items, images=items, dims=16, characters=200, backend="local")
    assert 0.5 < held / planned.memory_bytes < 1.5


def test_the_local_index_has_no_limit_on_dimensions() -> None:
    """The plan must not name the limit of Elasticsearch, which is not used."""
    assert plan(items=10, images=10, dims=5_000, backend="local").memory_bytes == 10 * (5_000 * 4 + LOCAL_MEMORY_BYTES)
    with pytest.raises(BadQuery, match="Elasticsearch takes 1 to 4096"):
        plan(items=10, images=10, dims=5_000, backend="elasticsearch")
    with pytest.raises(BadQuery, match="a dimension"):
        plan(items=10, images=10, dims=0, backend="local")


def test_servers_that_keep_sources_need_more_disk_until_they_are_merged() -> None:
    older, newer = (plan(items=10**6, images=10**6, dims=512, server=server) for server in ((8, 19), (9, 2)))
    assert older.rebuild_disk_bytes == pytest.approx(2 * older.disk_bytes + 10**6 * 512 * SOURCE_BYTES)
    assert newer.rebuild_disk_bytes == 2 * newer.disk_bytes
    assert older.heap_bytes == 31 * 2**30
    assert plan(items=10**6, images=10**6, dims=512, node_memory_bytes=8 * 2**30).heap_bytes == 4 * 2**30


def test_times_follow_from_those_of_a_small_index() -> None:
    made = plan(items=10**6, images=10**6, dims=512, sample=Sample(1_000, 36.0, 2.0))
    assert (made.fill_hours, made.query_ms) == pytest.approx((20, 4))  # a graph that is twice as deep
    made = plan(items=10**6, images=10**6, dims=512, sample=Sample(1_000, 36.0, 2.0, overhead=1.5))
    assert made.query_ms == pytest.approx(2.5)
    assert plan(items=9, images=9, dims=8).fill_hours is None
    exact = Sample(1_000, 36.0, 2.0, overhead=1.5, exact=True)
    made = plan(items=10**5, images=10**5, dims=512, sample=exact)
    assert (made.fill_hours, made.query_ms) == pytest.approx((1, 51.5))  # a hundred times as many vectors


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dims": 4001}, "takes 1 to 4,000 here"),
        ({"dims": 2001, "quantisation": "none"}, "takes 1 to 2,000 here"),
        ({"quantisation": "bbq"}, "'auto', 'half' or 'none'"),
        ({"m": 1}, "two links"),
        ({"characters": -1}, "no negative numbers"),
    ],
)
def test_what_pgvector_cannot_hold_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(BadQuery, match=words):
        plan(**{"items": 9, "images": 9, "dims": 512, "backend": "pgvector", **changes})


def test_the_limits_are_those_of_the_index() -> None:
    assert MAX_DIMS == tables.MAX_DIMS
    assert MAX_PLAIN_DIMS == tables.MAX_PLAIN_DIMS


@pytest.fixture
def filled(request: pytest.FixtureRequest, pgvector_alias: str) -> Iterator[tuple[str, int, int, str]]:
    """Return (prefix of its tables, entries, dimensions, element of the graph) of an index."""
    count, dims, quantisation = request.param
    index = PgvectorIndex(database=pgvector_alias, name=f"test-{secrets.token_hex(4)}", quantisation=quantisation)
    filters: Any = {"brand": "keyword", "price": "number"}
    backing_index = index.create(IndexMeta("m", dims, filters, texts={"name": TextSpec()}))
    vectors = np.random.default_rng(1).standard_normal((count, dims), dtype=np.float32)
    for start in range(0, count, 500):
        some = [
            entry(f"{n:08}", vectors[n], categories=(f"category-{n % 40}",), filters={"brand": f"b{n % 9}", "price": n},
                  texts={"name": (f"red shoe number {n % 100:03} of leather",)})
            for n in range(start, min(start + 500, count))
        ]  # fmt: skip
        index.write(some, backing_index=backing_index)
    index.promote(backing_index)
    with connections[pgvector_alias].cursor() as cursor:
        cursor.execute("SELECT id, element FROM imagesim_pgvector WHERE name = %s", [backing_index])
        [[number, element]] = cursor.fetchall()
        yield f"imagesim_pgvector_{number}", count, dims, element
    index.drop(backing_index)


@pytest.mark.parametrize(
    "filled",
    [
        (3_000, 512, "half"),
        pytest.param((3_000, 96, "half"), marks=pytest.mark.long),
        pytest.param((2_000, 512, "none"), marks=pytest.mark.long),
        pytest.param((600, 2_100, "half"), marks=pytest.mark.long),
    ],
    indirect=True,
    ids=str,
)
def test_pgvector_takes_as_much_as_planned(filled: tuple[str, int, int, str], pgvector_alias: str) -> None:
    prefix, count, dims, element = filled
    quantisation: Any = "none" if element == "vector" else "half"
    made = plan(items=count, images=count, dims=dims, backend="pgvector", quantisation=quantisation, characters=34)
    with connections[pgvector_alias].cursor() as cursor:
        query = "SELECT pg_relation_size(%s), pg_total_relation_size(%s), pg_total_relation_size(%s)"
        cursor.execute(query, [f"{prefix}_graph", f"{prefix}_image", f"{prefix}_entry"])
        graph, image, entries = cursor.fetchone()
    assert made.parts["graph"] * count == pytest.approx(graph, rel=0.05)
    assert made.parts["image"] * count == pytest.approx(image - graph, rel=0.1)
    assert made.disk_bytes == pytest.approx(image + entries, rel=0.15)
    assert made.memory_bytes == pytest.approx(image, rel=0.1)


@pytest.mark.django_db
@pytest.mark.parametrize("kind", ["elasticsearch", pytest.param("pgvector", marks=pytest.mark.long), "local"])
def test_the_command_measures_the_configured_index(
    request: pytest.FixtureRequest, settings: Any, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("imagesim.management.commands.imagesim_plan.ENTRIES", 200)
    settings.IMAGESIM = {"EMBEDDER": EMBEDDER, "INDEX": index_for(request, kind)}
    out = StringIO()
    options = ["--items=1000000", "--dims=32", "--no-measure", "--measure-index", "--characters=50", "--verbosity=0"]
    options += ["--index=local"] if kind == "local" else []
    call_command("imagesim_plan", *options, "--format=json", stdout=out)
    report = json.loads(out.getvalue())
    assert report["backend"] == kind
    assert (report["sample"]["entries"], report["sample"]["exact"]) == (200, kind == "local")
    assert report["fill_hours"] > 0
    assert report["query_ms"] > 0
    assert get_index().backing_indexes() == []
    out = StringIO()
    call_command("imagesim_plan", *options, stdout=out)
    lines = {line.partition("  ")[0]: line.partition("  ")[2].strip() for line in out.getvalue().splitlines()}
    assert lines["Rebuild, this index"].endswith(" from stored embeddings, without other work")
    assert re.match(r"[\d.]+ (s|min|h) ", lines["Rebuild, this index"])
    assert lines["Index"].lower().startswith("postgresql with pgvector" if kind == "pgvector" else kind)
    assert lines["A query, this index"].endswith("all vectors in memory") == (kind == "local")
    assert ("Memory, to build" in lines) == (kind == "pgvector")
    assert ("Heap, each node" in lines) == (kind == "elasticsearch")
