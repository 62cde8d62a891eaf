"""The evaluation metrics on known answers, and the fitted maps."""

from __future__ import annotations

import json
import re
import tracemalloc
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from django.core.management import CommandError, call_command

import imagesim
from demo_shop.shop.models import Category, Product
from imagesim.evaluation import catalogue, report, study, tuning
from imagesim.evaluation.study import Variant
from imagesim.evaluation.tuning import tune
from imagesim.exceptions import BadQuery, NotIndexed
from imagesim.indexes.projections import Projection, choose, get_chosen, get_projection, transform
from imagesim.indexes.tables import FittedProjection
from imagesim.items.registry import get_items
from imagesim.management.commands import imagesim_tune
from imagesim.models import Embedding, ItemImage, ItemState

DIMS = 32
FINGERPRINT = "test-model"
CATEGORIES = 6
EACH = 20


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


@pytest.fixture
def shop(db: None) -> None:
    """120 products of 6 categories with two pictures each; half of the dimensions are strong noise."""
    rng = np.random.default_rng(7)
    centres = rng.normal(size=(CATEGORIES, DIMS))
    noise = np.where(np.arange(DIMS) < DIMS // 2, 0.6, 3.0)
    for number in range(CATEGORIES):
        category = Category.objects.create(name=f"C{number}", slug=f"c{number}")
        products = Product.objects.bulk_create(
            Product(name=f"P{number}-{i}", slug=f"p{number}-{i}", category=category, price=10, stock=1)
            for i in range(EACH)
        )
        states = ItemState.objects.bulk_create(
            ItemState(model="shop.product", object_pk=str(each.pk), outcome=ItemState.Outcome.INDEXED, pending=False)
            for each in products
        )
        found = [
            ItemImage(
                state=state,
                position=position,
                name=f"{state.object_pk}-{position}.jpg",
                digest=f"{state.object_pk:0>60}{position:04d}",
            )
            for state in states
            for position in range(2)
        ]
        ItemImage.objects.bulk_create(found)
        vectors = [unit(centres[number] + rng.normal(size=DIMS) * noise).tobytes() for _ in found]
        Embedding.objects.bulk_create(
            Embedding(digest=image.digest, fingerprint=FINGERPRINT, vector=vector)
            for image, vector in zip(found, vectors, strict=True)
        )


def test_the_chosen_queries_alone_name_their_category() -> None:
    """Queries for all items would take memory quadratic in the size of a category: gigabytes for 20,000 items."""
    count = 1_000
    everything = frozenset({"all"})
    loaded = catalogue.Catalogue(
        label="shop.product",
        vectors=np.eye(1, 2, dtype=np.float32).repeat(count, axis=0),
        owner=np.arange(count),
        names=("",) * count,
        pks=tuple(map(str, range(count))),
        categories=(everything,) * (count - 1) + (frozenset(),),
        groups=("pair", "pair", *map(str, range(2, count))),
    )
    tracemalloc.start()
    try:
        cases = catalogue.cases(loaded, "category", queries=100)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert len(cases) == 100
    every = catalogue.cases(loaded, "category")
    assert [case.row for case in every] == list(range(count - 1)), "the last one is in no category"
    assert set(every[0].relevant) == set(range(2, count - 1)), "not the variants of its own group"
    assert all(case in every for case in cases)


def test_metrics_of_a_known_ranking() -> None:
    grades = np.array([1.0, 0.0, 1.0, 0.0])
    assert study.precision(grades, relevant=2, k=4) == 1.0
    assert study.precision(grades, relevant=9, k=4) == 0.5
    assert study.recall(grades, relevant=4, k=4) == 0.5
    assert study.reciprocal_rank(np.array([0.0, 0.0, 1.0])) == pytest.approx(1 / 3)
    assert study.ndcg(np.array([1.0, 1.0]), np.array([1.0, 1.0]), 2) == 1.0
    assert study.ndcg(np.array([0.0, 1.0]), np.array([1.0]), 2) == pytest.approx(1 / np.log2(3))


def test_an_interval_contains_the_mean_and_narrows_with_more_queries() -> None:
    few, many = (study.estimate(np.random.default_rng(1).random(n)) for n in (20, 2000))
    assert few.low < few.mean < few.high
    assert many.high - many.low < few.high - few.low


@pytest.mark.usefixtures("shop")
def test_the_catalogue_knows_the_owner_of_each_row() -> None:
    loaded = catalogue.load(get_items(), FINGERPRINT)
    assert (len(loaded), loaded.dims, len(loaded.vectors)) == (CATEGORIES * EACH, DIMS, 2 * CATEGORIES * EACH)
    assert list(loaded.first_images()) == list(range(0, 2 * CATEGORIES * EACH, 2))
    assert len(catalogue.load(get_items(), FINGERPRINT, sample=10)) == 10
    with pytest.raises(NotIndexed, match="imagesim_sync"):
        catalogue.load(get_items(), "another")


@pytest.mark.usefixtures("shop")
def test_groups_are_those_of_the_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """The group can be a number, and a style must not be the product with the same number."""
    main, variant, other, *_ = Product.objects.order_by("pk")
    items = get_items()
    monkeypatch.setattr(items, "get_group", lambda item: main.pk if item.pk == variant.pk else "")
    variants = catalogue.cases(catalogue.load(items, FINGERPRINT), "group")
    assert [(case.row, case.grades) for case in variants] == [(0, {1: 1.0}), (2, {0: 1.0})]

    monkeypatch.setattr(items, "_group_label", "shop.style", raising=False)
    monkeypatch.setattr(items, "get_group", lambda item: str(other.pk) if item.pk == main.pk else "")
    assert catalogue.cases(catalogue.load(items, FINGERPRINT), "group") == []


@pytest.mark.usefixtures("shop")
def test_exact_rankings_agree_with_brute_force() -> None:
    loaded = catalogue.load(get_items(), FINGERPRINT)
    cases = catalogue.cases(loaded, "category")
    ranking = next(iter(study.rank(loaded, loaded.vectors, cases[:1], Variant(), k=5)))
    scores = loaded.vectors @ loaded.vectors[cases[0].row]
    best = scores.reshape(-1, 2).max(axis=1)
    best[list(cases[0].excluded_items)] = -9
    assert list(ranking) == list(np.argsort(-best)[:5])


@pytest.mark.usefixtures("shop")
def test_quantisation_loses_recall_and_rescoring_restores_it() -> None:
    loaded = catalogue.load(get_items(), FINGERPRINT)
    cases = catalogue.cases(loaded, "category")
    exact = study.run(loaded, cases, Variant(), k=10)
    shared = {
        rescore: study.overlap(
            study.run(loaded, cases, Variant(quantisation="bbq", rescore=rescore), k=10).rankings, exact.rankings, 10
        ).mean()
        for rescore in (False, True)
    }
    assert shared[True] > shared[False] + 0.1


@pytest.mark.parametrize("name", ["int8", "int4", "bbq"])
def test_equal_values_can_be_quantised(name: str) -> None:
    """Such as those of vectors that were reduced to one dimension."""
    with np.errstate(all="raise"):
        stored = study.QUANTISATIONS[name](np.ones((3, 1), dtype=np.float32))
    assert stored.tolist() == [[1.0]] * 3


@pytest.mark.usefixtures("shop")
def test_tuning_suppresses_noisy_dimensions() -> None:
    loaded = catalogue.load(get_items(), FINGERPRINT)
    tuned = tune(loaded, catalogue.cases(loaded, "category"))
    assert tuned is not None
    assert tuned.wins
    assert tuned.after.mean > tuned.before.mean + 0.05


@pytest.mark.usefixtures("shop")
def test_tuning_does_not_win_without_structure() -> None:
    loaded = catalogue.load(get_items(), FINGERPRINT)
    shuffled = np.random.default_rng(0).permutation(len(loaded))
    labels = tuple(loaded.categories[i] for i in shuffled)
    random_shop = catalogue.Catalogue(
        loaded.label, loaded.vectors, loaded.owner, loaded.names, loaded.pks, labels, loaded.groups
    )
    tuned = tune(random_shop, catalogue.cases(random_shop, "category"))
    assert tuned is None or not tuned.wins


def test_tuning_is_judged_by_other_groups_than_it_learned_from() -> None:
    """What distinguishes the variants of one product says nothing about those of another here, so no map helps."""
    rng = np.random.default_rng(2)
    groups, each, dims = 20, 12, 64
    styles = []
    for _ in range(groups):
        axes = np.linalg.qr(rng.normal(size=(dims, 4)))[0]  # separate axes per group
        styles.append(rng.normal(size=dims) + rng.normal(size=(each, 4)) @ axes.T * 12)
    texts = tuple(map(str, range(groups * each)))
    names = tuple(f"style {number // each}" for number in range(len(texts)))
    owner, categories = np.arange(len(texts)), (frozenset[str](),) * len(texts)
    shop = catalogue.Catalogue("a.b", unit(np.concatenate(styles)), owner, texts, texts, categories, names)
    tuned = tune(shop, catalogue.cases(shop, "group"))
    assert tuned is not None
    assert abs(tuned.gain.mean) < 0.05


def test_tuning_holds_only_the_pairs_that_it_uses() -> None:
    count = 700
    owner = np.arange(count)
    texts = tuple(map(str, owner))
    vectors = np.eye(count, 4, dtype=np.float32)
    shop = catalogue.Catalogue("a.b", vectors, owner, texts, texts, tuple(frozenset({text}) for text in texts), texts)
    grades = dict.fromkeys(range(count), 1.0)
    cases = [catalogue.Case(row, frozenset(), frozenset(), grades) for row in range(count)]
    tracemalloc.start()
    pairs = tuning._pairs(shop, cases, set(range(count)), seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(pairs) == tuning.PAIRS == len(np.unique(pairs, axis=0))
    assert peak < 30e6  # half a million pairs would take 50 MB


def test_principal_axes_preserve_a_subspace() -> None:
    rng = np.random.default_rng(3)
    vectors = unit(rng.normal(size=(200, 4)) @ rng.normal(size=(4, 16)))
    axes = study.principal_axes(vectors, 4)
    assert np.allclose(transform(vectors, axes) @ transform(vectors, axes).T, vectors @ vectors.T, atol=1e-5)


def test_full_weight_on_the_identity_changes_nothing() -> None:
    differences = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    assert np.allclose(tuning.within_class_whitening(differences, 1.0), np.eye(8), atol=1e-6)


@pytest.mark.usefixtures("shop")
def test_judged_pairs_from_a_file(tmp_path: Path) -> None:
    loaded = catalogue.load(get_items(), FINGERPRINT)
    file = tmp_path / "pairs.csv"
    file.write_text(
        f"query,item,grade\n{loaded.pks[0]},{loaded.pks[3]},2\n{loaded.pks[0]},{loaded.pks[4]},1\nnone,none,1\n"
    )
    (case,) = catalogue.cases(loaded, "judged", judged=file)
    assert case.grades == {3: 2.0, 4: 1.0}
    file.write_text(f"query,item,grade\n{loaded.label}:{loaded.pks[0]}, {loaded.pks[3]},2\nsofa,{loaded.pks[4]},1\n")
    (case,) = catalogue.cases(loaded, "judged", judged=file)
    assert case.grades == {3: 2.0}
    (found,) = report.evaluate(get_items(), sources=("judged",), judged=file, variants=[Variant()])
    assert found["judged"] == {"pairs": 2, "left_out": 1, "first": [("sofa", loaded.pks[4])]}
    assert "1 of 2 judged pairs are left out, because an item of theirs has no embedding" in report.as_table(found)
    file.write_text("a,b\n1,2\n")
    with pytest.raises(BadQuery, match="no column 'item'"):
        catalogue.cases(loaded, "judged", judged=file)
    with pytest.raises(BadQuery, match="cannot be read"):
        catalogue.cases(loaded, "judged", judged=tmp_path / "missing.csv")
    file.write_text("query,item,grade\nred-shoe,blue-shoe,1\n")
    with pytest.raises(BadQuery, match="names no pair of items of shop"):
        catalogue.cases(loaded, "judged", judged=file)


def test_the_documented_code_for_judged_words(tmp_path: Path, monkeypatch, capsys) -> None:
    page = (Path(__file__).parent.parent / "docs/relevance.md").read_text()
    code = page.partition("### Judged words")[2].partition("```python\n")[2].partition("```")[0]
    (tmp_path / "words.csv").write_text("words,item,grade\nred shoe,7,2\nred shoe,8,1\ncouch,9,1\n")
    monkeypatch.chdir(tmp_path)
    hit = SimpleNamespace(item=SimpleNamespace(pk=7))
    monkeypatch.setattr(imagesim, "search", lambda text, limit, min_relevance: [hit] if min_relevance < 0.5 else [])
    exec(code, {})
    assert capsys.readouterr().out == "0.380 [0.000, 0.760] 0.000 [0.000, 0.000] -0.380 [-0.760, 0.000]\n"


@pytest.mark.django_db
def test_a_projection_is_stored_chosen_and_loaded() -> None:
    matrix = tuning.truncation(8, 3)
    projection = Projection("model", "truncate", matrix)
    projection.save()
    projection.save()
    assert FittedProjection.objects.count() == 1
    choose(projection.id)
    chosen = get_chosen("model")
    assert chosen is not None
    assert get_chosen("other") is None
    loaded = get_projection(chosen.pk)
    assert loaded is not None
    vectors = unit(np.random.default_rng(0).normal(size=(5, 8)))
    assert np.allclose(loaded.apply(vectors), unit(vectors[:, :3]), atol=1e-6)
    assert loaded.apply(vectors[0]).shape == (3,)
    choose(None)
    assert get_chosen("model") is None


@pytest.mark.usefixtures("shop")
def test_the_command_prints_every_source_and_writes_charts(tmp_path: Path) -> None:
    out = StringIO()
    call_command(
        "imagesim_evaluate",
        "-k",
        "5",
        "--format",
        "json",
        "--plot",
        str(tmp_path),
        "--dims",
        "8",
        stdout=out,
        verbosity=0,
    )
    reports = json.loads(out.getvalue())["reports"]
    assert {report["source"] for report in reports} == {"category", "image"}
    assert len(list(tmp_path.glob("*.png"))) == 5
    assert len(list(tmp_path.glob("*-reliability.png"))) == 1
    first = reports[0]["variants"][0]
    assert first["overlap"] == 1.0
    assert first["ndcg"]["low"] <= first["ndcg"]["mean"] <= first["ndcg"]["high"]
    out = StringIO()
    call_command("imagesim_evaluate", "-k", "5", "--queries", "20", stdout=out, verbosity=0)
    assert "precision@5" in out.getvalue()
    assert "bbq unrescored" in out.getvalue()
    assert "the share of them that is relevant" in out.getvalue()
    assert "nDCG change" in out.getvalue()  # query by query, which the intervals of two rows cannot show
    assert re.search(r"^l2, all dims, none .* \+0.000 \[\+0.000, \+0.000\]   1.000$", out.getvalue(), re.MULTILINE)
    out = StringIO()
    call_command("imagesim_evaluate", "--source", "clicks", stdout=out, verbosity=0)
    assert out.getvalue() == "There are no queries for an evaluation by 'clicks'.\n"


@pytest.mark.usefixtures("shop")
@pytest.mark.long
def test_the_charts_of_models_with_similar_names_are_different_files(tmp_path: Path) -> None:
    rows, others = list(Embedding.objects.all()), ("marqo-fashion-siglip", "marqo-fashion-clip")
    for name in others:
        Embedding.objects.bulk_create(Embedding(digest=r.digest, fingerprint=name, vector=r.vector) for r in rows)
    arguments = ["--source", "image", "--similarity", "cosine", "--queries", "5", "--plot", str(tmp_path)]
    for name in others:
        arguments += ["--fingerprint", name]
    out = StringIO()
    call_command("imagesim_evaluate", *arguments, stdout=out, verbosity=0)
    assert f"Change of nDCG@10 from the model {others[0]}, first rows: +0.000 [+0.000, +0.000]." in out.getvalue()
    assert out.getvalue().count("first rows") == 1
    names = {f"shop.product-image-{name}-{kind}" for name in others for kind in ("ndcg", "queries")}
    assert {path.stem for path in tmp_path.iterdir()} == names


@pytest.mark.usefixtures("shop")
def test_a_folder_for_charts_that_cannot_be_made_is_reported_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setattr(catalogue, "load", None)
    with pytest.raises(CommandError, match="No charts can be written to"):
        call_command("imagesim_evaluate", "--plot", str(tmp_path / "taken" / "charts"), stdout=StringIO())


@pytest.mark.usefixtures("shop")
def test_the_tune_command_chooses_only_improvements() -> None:
    out = StringIO()
    call_command("imagesim_tune", "--dry-run", "--format", "json", stdout=out)
    report = json.loads(out.getvalue())
    assert report["chosen"] is False
    assert "Rejected" not in imagesim_tune._text(report)
    assert "Rejected" in imagesim_tune._text(report | {"wins": False})
    assert imagesim_tune._text(report).endswith("Not chosen, because of --dry-run.")
    assert not FittedProjection.objects.exists()
    out = StringIO()
    call_command("imagesim_tune", stdout=out)
    assert "imagesim_rebuild" in out.getvalue()
    out = StringIO()
    call_command("imagesim_tune", "--kind", "none", "--dry-run", stdout=out)
    assert "Not chosen" in out.getvalue()
    assert "imagesim_rebuild" not in out.getvalue()
    assert get_chosen(FINGERPRINT) is not None
    call_command("imagesim_tune", "--kind", "none", stdout=StringIO())
    assert get_chosen(FINGERPRINT) is None
    with pytest.raises(CommandError, match="needs --dims"):
        call_command("imagesim_tune", "--kind", "pca", stdout=StringIO())
    with pytest.raises(CommandError, match="the model has 32"):
        call_command("imagesim_tune", "--kind", "pca", "--dims", "99", stdout=StringIO())
