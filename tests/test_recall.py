"""Recall is measured on the index's own vectors, and kept, on kinds of vectors that need very different effort."""

from __future__ import annotations

import io
import json
import logging
import secrets
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from django.core.management import call_command
from django.utils import timezone

from imagesim.exceptions import ConfigurationError
from imagesim.indexes import BaseIndex, get_index, recall
from imagesim.indexes.elasticsearch import ElasticsearchIndex, selectivity
from imagesim.indexes.elasticsearch import recall as elasticsearch_recall
from imagesim.indexes.pgvector import PgvectorIndex, searching, tables
from imagesim.indexes.pgvector import recall as pgvector_recall
from imagesim.indexes.statistics import IndexStatistics, Probe, RecallReport, ScopeRecall
from imagesim.indexing import statistics
from imagesim.indexing.rebuild import rebuild
from imagesim.indexing.reconcile import reconcile
from imagesim.indexing.sync import sync
from imagesim.monitoring import health, status
from imagesim.testing import make_picture as picture
from imagesim.testing.index_samples import META, entry
from imagesim.types import Condition, FilterKind, Filters, IndexMeta, Query
from tests.shop import EMBEDDER, index_for, product

DIMS, COUNT, EXACT = 64, 3_000, 300


def unit(rows: Any) -> Any:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def near_duplicates(chance: np.random.Generator) -> Any:
    centres = unit(chance.standard_normal((COUNT // 20, DIMS)))
    return unit(centres[chance.integers(0, len(centres), COUNT)] + 0.02 * chance.standard_normal((COUNT, DIMS)))


def uniform(chance: np.random.Generator) -> Any:
    return unit(chance.standard_normal((COUNT, DIMS)))


def like_pictures(chance: np.random.Generator) -> Any:
    """A few dimensions with large values, many with small ones, in kinds of very different sizes."""
    spread = 1 / np.arange(1, DIMS + 1) ** 0.7
    centres = chance.standard_normal((40, DIMS)) * spread
    kinds = np.minimum(chance.zipf(1.5, COUNT), 40) - 1
    return unit(centres[kinds] + 0.6 * chance.standard_normal((COUNT, DIMS)) * spread)


def of_one_category(chance: np.random.Generator) -> Any:
    """All in one direction: cosines of about 0.9 with each other."""
    spread = 1 / np.arange(1, DIMS + 1) ** 0.7
    return unit(3 * np.eye(DIMS)[0] + chance.standard_normal((COUNT, DIMS)) * spread)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (selectivity, elasticsearch_recall, searching):
        monkeypatch.setattr(module, "EXACT_UP_TO", EXACT)
    monkeypatch.setattr("imagesim.indexes.statistics.VISITED", 0)
    monkeypatch.setattr(recall, "LADDER", (10, 20, 40, 80, 160, 320))
    monkeypatch.setattr(recall, "SLOWER", 1e9)  # such a small index would otherwise always be searched exactly
    monkeypatch.setattr(recall, "MIN_QUERIES", 4)


class Made:
    """Indexes of one kind, on the server for it."""

    def __init__(self, kind: str, server: str) -> None:
        self.kind, self.server = kind, server
        self.indexes: list[BaseIndex] = []

    def __call__(self, vectors: Any, **options: Any) -> Any:
        name = f"imagesim-test-{secrets.token_hex(4)}"
        index: BaseIndex
        if self.kind == "pgvector":
            index = PgvectorIndex(database=self.server, name=name, **options)
        else:
            index = ElasticsearchIndex(hosts=self.server, name=name, replicas=0, **options)
        self.indexes.append(index)
        backing_index = index.create(replace(META, dims=vectors.shape[1]))
        entries = [entry(n, v, categories=(f"c{n % 5}",), filters={"price": n % 100}) for n, v in enumerate(vectors)]
        index.write(entries, backing_index=backing_index)
        if isinstance(index, ElasticsearchIndex):
            index._client.indices.forcemerge(index=backing_index, max_num_segments=1)
        index.refresh(backing_index)
        index.promote(backing_index)
        return index


@pytest.fixture(params=["elasticsearch", "pgvector"])
def make(request: pytest.FixtureRequest) -> Iterator[Made]:
    fixture = {"elasticsearch": "elasticsearch_url", "pgvector": "pgvector_alias"}[request.param]
    made = Made(request.param, request.getfixturevalue(fixture))
    yield made
    for index in made.indexes:
        for backing_index in index.backing_indexes():
            index.drop(backing_index)


def measure(index: BaseIndex, vectors: Any, count: int = 60) -> RecallReport | None:
    index.update_statistics()
    return index.measure_recall([Probe(v, f"shop.product:{n}") for n, v in enumerate(vectors[:count])])


def found(index: BaseIndex, queries: Any, filters: Filters, exact: bool | None) -> float:
    """Return the share of the ten best that searches find, asked as the shop does; equal scores are equally right."""
    asked = [Query(query, filters, limit=10) for query in queries]
    right = index.search([replace(each, exact=True) for each in asked])
    answers = index.search([replace(each, exact=exact) for each in asked])
    shares = []
    for answer, best in zip(answers, right, strict=True):
        least = best.candidates[-1].score - 1e-5
        shares.append(sum(each.score >= least for each in answer.candidates) / len(best.candidates))
    return float(np.mean(shares))


@pytest.mark.parametrize("make", ["elasticsearch", pytest.param("pgvector", marks=pytest.mark.long)], indirect=True)
@pytest.mark.parametrize(
    "kind",
    [
        near_duplicates,
        pytest.param(of_one_category, marks=pytest.mark.long),
        pytest.param(uniform, marks=pytest.mark.long),
        pytest.param(like_pictures, marks=pytest.mark.long),
    ],
    ids=lambda kind: str(kind.__name__),
)
def test_the_recall_is_kept_whatever_the_vectors(make: Made, kind: Any) -> None:
    vectors = kind(np.random.default_rng(4))
    index = make(vectors)
    report = measure(index, vectors)
    assert report is not None
    assert report.kept
    assert report == index.statistics().recall
    assert [scope.share for scope in report.scopes] == pytest.approx([1, 0.2, 0.5, 0.2], abs=0.02)
    others = vectors[1000:1100]
    for filters in (Filters(), Filters(categories=("c1",)), Filters(conditions=(Condition("price", "lt", 30),))):
        assert found(index, others, filters, None) >= 0.97  # queries other than those measured


def test_what_cannot_be_reached_is_searched_exactly(
    make: Made, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recall, "LADDER", (1, 2))
    vectors = uniform(np.random.default_rng(5))[:1000]
    index = make(vectors, m=2, ef_construction=4)
    assert not index.search([Query(vectors[0])])[0].exact
    with caplog.at_level(logging.WARNING, "imagesim.indexes"):
        report = measure(index, vectors, 20)
    assert report is not None
    assert (report.recall, report.candidates) == (1, 0)
    assert "where 0.99 is asked for; it is 1.000 by exact search" in caplog.text
    assert index.search([Query(vectors[0])])[0].exact
    assert not index.search([Query(vectors[0], exact=False)])[0].exact


def test_a_fixed_number_of_candidates_is_measured_and_kept(make: Made) -> None:
    vectors = uniform(np.random.default_rng(6))[:1000]
    index = make(vectors, num_candidates=2, m=2, ef_construction=4)
    report = measure(index, vectors, 20)
    assert report is not None
    assert not report.kept
    assert {scope.candidates for scope in report.scopes} == {2}
    assert not index.search([Query(vectors[0])])[0].exact


def test_whoever_is_killed_while_measuring_changes_nothing(make: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = like_pictures(np.random.default_rng(7))[:600]
    index = make(vectors)
    before = measure(index, vectors, 10)
    calls = 0

    def killed() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt

    probes = [Probe(v, f"shop.product:{n}") for n, v in enumerate(vectors[:20])]
    with pytest.raises(KeyboardInterrupt):
        index.measure_recall(probes, progress=killed)
    assert index.statistics().recall == before
    monkeypatch.setattr(recall, "SECONDS", 0.0)
    assert index.measure_recall(probes) is None  # no time: the previous values stay
    assert index.statistics().recall == before


def test_another_target_counts_as_not_measured(make: Made) -> None:
    vectors = like_pictures(np.random.default_rng(7))[:600]
    index = make(vectors)
    measure(index, vectors, 10)
    assert index.statistics().recall
    index._recall = 0.9
    assert index.statistics().recall is None
    assert index.statistics().entries == 600


REPORT = RecallReport(
    0.99,
    10_000,
    100,
    "2026-11-21T09:00:00+00:00",
    (
        ScopeRecall("", 1.0, 60, 0.995, 0.97),
        ScopeRecall("price<=5", 0.1, 0, 1.0, 0.9),
        ScopeRecall("in_stock", 0.5, 400, 0.99, 0.95),
    ),
)


def test_the_effort_is_that_of_the_scopes_on_both_sides() -> None:
    efforts = {1.0: 60, 0.8: 400, 0.5: 400, 0.3: 0, 0.1: 0, 0.01: 0}
    assert {share: REPORT.effort(share) for share in efforts} == efforts
    assert RecallReport.from_stored(json.loads(json.dumps(asdict(REPORT)))) == REPORT


@pytest.mark.parametrize(
    "change",
    [
        {"scopes": []},
        {"scopes": [{"name": "", "share": 0.5, "candidates": 3, "recall": 1, "before": 1}]},
        {"scopes": [{"name": "", "share": 1, "candidates": 3, "recall": "nan", "before": 1}]},
        {"target": None},
        {"measured_at": "yesterday"},
    ],
)
def test_a_report_that_no_measurement_could_make_is_none(change: dict[str, Any]) -> None:
    assert RecallReport.from_stored({**asdict(REPORT), **change}) is None
    assert RecallReport.from_stored(None) is None


def test_candidates_that_are_stored_are_bounded() -> None:
    stored = asdict(REPORT)
    stored["scopes"][0]["candidates"] = 10**9
    report = RecallReport.from_stored(stored)
    assert report is not None
    assert report.candidates == 10_000


@pytest.mark.parametrize("wrong", [0.3, 1.5, "high", True])
def test_a_wrong_recall_is_named(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"recall must be a number between 0\.5 and 1, or None"):
        ElasticsearchIndex(recall=wrong)


def test_an_index_is_measured_with_its_own_vectors_across_a_swap(monkeypatch: pytest.MonkeyPatch) -> None:
    class Swapped(BaseIndex):
        """Another index is active at every look; each is of a different model."""

        supports_approximate = True
        looks = 0

        def active(self) -> str:
            self.looks += 1
            return f"index-{self.looks}"

        def update_statistics(self, backing_index: str | None = None) -> None:
            seen.append(backing_index or self.active())

        def statistics(self, backing_index: str | None = None) -> IndexStatistics:
            return IndexStatistics(100)

        def meta(self, backing_index: str | None = None) -> IndexMeta:
            return replace(META, fingerprint=backing_index or self.active())

        def measure_recall(self, probes: Any, *, backing_index: str | None = None, progress: Any = None) -> None:
            seen.extend([probes, backing_index or self.active()])

    seen: list[Any] = []
    monkeypatch.setattr(Swapped, "__abstractmethods__", frozenset())
    index = Swapped(name="test")
    monkeypatch.setattr(statistics, "get_index", lambda: index)
    monkeypatch.setattr(statistics, "_probes", lambda meta, backing_index: meta.fingerprint)
    statistics.update_quietly()
    assert seen == ["index-1", "index-1", "index-1"]


@pytest.mark.parametrize("kind", ["elasticsearch", "pgvector"])
class TestShop:
    @pytest.fixture(autouse=True)
    def _shop(
        self,
        request: pytest.FixtureRequest,
        kind: str,
        db: None,
        media_root: Any,
        settings: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> Iterator[None]:
        for module in (selectivity, elasticsearch_recall, searching):
            monkeypatch.setattr(module, "EXACT_UP_TO", 3)
        settings.IMAGESIM = {"SYNC": "manual", "EMBEDDER": EMBEDDER, "INDEX": index_for(request, kind)}
        for number in range(8):
            product(f"p{number}", picture("red", mark=number))
        yield
        for backing_index in get_index().backing_indexes():
            get_index().drop(backing_index)

    def report(self) -> RecallReport | None:
        known = get_index().statistics()
        return known.recall if known else None

    def test_it_is_measured_when_filled_rebuilt_and_reconciled(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sync()
        first = self.report()
        assert first is not None
        assert first.entries == 8
        rebuild()
        second = self.report()
        assert second is not None
        measured: list[int] = []
        original = type(get_index()).measure_recall

        def measuring(index: Any, *args: Any, **kwargs: Any) -> RecallReport | None:
            measured.append(1)
            return original(index, *args, **kwargs)

        monkeypatch.setattr(type(get_index()), "measure_recall", measuring)
        reconcile()
        assert not measured  # measured a moment ago
        monkeypatch.setattr(statistics, "MEASURE_AGE", timedelta(0))
        reconcile()
        assert measured == [1]

    def test_it_is_measured_again_when_it_has_grown(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(statistics, "CHECK_SECONDS", 0)
        sync()
        for number in range(8, 24):
            product(f"p{number}", picture("red", mark=number))
        sync()
        grown = self.report()
        assert grown is not None
        assert grown.entries == 24

    def test_operators_are_told(self, monkeypatch: pytest.MonkeyPatch, client: Any, admin_client: Any) -> None:
        sync()
        report = replace(REPORT, measured_at=timezone.now().isoformat(timespec="seconds"))
        store(report)
        out = io.StringIO()
        call_command("imagesim_status", stdout=out)
        assert "recall     0.990 (asked for: 0.99)" in out.getvalue()
        assert "price<=5 (10.0%): 1.000, exact, 0.900 before" in out.getvalue()
        assert status.get_status().index.recall == report
        page = admin_client.get("/admin/imagesim/visualindex/").content.decode()
        assert "99.0 % (asked for: 99.0 %), 60 candidates" in page
        assert [check.state for check in health.get_health() if check.name == "index"] == ["ok"]
        low = replace(report, scopes=(ScopeRecall("", 1.0, 60, 0.95, 0.95),))
        store(low)
        [check] = [check for check in health.get_health() if check.name == "index"]
        assert (check.state, check.detail) == (
            "degraded",
            "The recall is 0.950, not 0.99: raise num_candidates of INDEX.",
        )


def store(report: RecallReport) -> None:
    index = get_index()
    if isinstance(index, ElasticsearchIndex):
        elasticsearch_recall._store(index._client, str(index.active()), {"recall": asdict(report)})
    elif isinstance(index, PgvectorIndex):
        with index._database.writing() as cursor:
            generation = tables.read(cursor, index.name, None, {})
            pgvector_recall.store(cursor, generation, {"recall": asdict(report)})


def test_scopes_are_conditions_that_the_graph_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = {
        "categories": {"values": {"rare": 0.001, "half": 0.5, "all": 0.99}, "more": False},
        "filters.brand": {"values": {"b": 0.2}, "more": True},
        "filters.sale": {"values": {"1": 0.3}, "more": False},
        "filters.gone": {"values": {"x": 0.4}, "more": False},
    }
    meta = IndexMeta("m", 2, {"brand": "keyword", "sale": "boolean"})
    chosen = elasticsearch_recall.filtered_scopes(selectivity.Statistics(shares), meta.filters, 10_000)
    assert [(scope.name, scope.share) for scope in chosen] == [
        ("brand=b", 0.2),
        ("category=half", 0.5),
        ("sale=True", 0.3),
    ]
    assert chosen[2].filters.conditions == (Condition("sale", "eq", True),)


def test_postgresql_counts_the_values_that_are_measured(pgvector_alias: str) -> None:
    kinds: dict[str, FilterKind] = {"brand": "keyword", "sale": "boolean", "price": "number", "added": "date"}
    index = PgvectorIndex(database=pgvector_alias, name=f"imagesim-test-{secrets.token_hex(4)}")
    index.promote(index.create(replace(META, dims=2, filters=kinds)))
    try:
        values = [{"brand": f"b{n % 4}", "sale": n % 3 == 0, "price": n, "added": "2026-01-31"} for n in range(400)]
        axis = np.array([1.0, 0.0], dtype=np.float32)
        index.write([entry(n, axis, in_stock=n % 2 == 0, filters=each) for n, each in enumerate(values)])
        index.update_statistics()
        with index._database.reading() as cursor:
            generation = tables.read(cursor, index.name, None, {})
            found = {scope.name: scope for scope in pgvector_recall._conditions(cursor, generation)}
        shares = {name: scope.share for name, scope in found.items()}
        expected = {"in_stock": 0.5, "brand=b1": 0.25, "sale=True": 1 / 3, "price<=39.0": 0.1, "price<=199.0": 0.5}
        assert {name: shares[name] for name in expected} == pytest.approx(expected, abs=0.01)
        for name in expected:  # the filters pass what the name says
            assert index.count(found[name].filters) == pytest.approx(400 * shares[name], abs=3)
    finally:
        index.drop(str(index.active()))
