"""The calibration of scores to relevance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from imagesim.calibration import KINDS, MANY, PRIOR_BACKGROUND, Background, Ballot, Calibration, words_of
from imagesim.calibration.fit import Sample, fit, reliability
from imagesim.indexing.calibrate import _two_of_every_category, by_heads
from imagesim.items import Items
from imagesim.retrieval.category_names import CategoryNames
from imagesim.types import Candidate, IndexMeta
from tests.zoo.models import DeskLamp, Lamp, Maker, Tag, Weight


def catalogue(seed: int = 0, kinds: int = 8, each: int = 20, noise: float = 0.45) -> tuple[Sample, np.ndarray]:
    """Return items around the centres of their categories, two categories per department; and the centres."""
    rng = np.random.default_rng(seed)
    centres = unit(rng.normal(size=(kinds, 64)))
    vectors = unit(np.repeat(centres, each, axis=0) + noise * unit(rng.normal(size=(kinds * each, 64))) * 1.5)
    categories = [frozenset({f"c{n // each}"}) for n in range(kinds * each)]
    departments = {f"c{n}": frozenset({f"c{n - n % 2}", f"c{n - n % 2 + 1}"}) for n in range(kinds)}
    groups = [str(n) for n in range(kinds * each)]
    return Sample(vectors.astype(np.float32), categories, groups, departments), centres


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def relevances(calibration: Calibration, sample: Sample, query: np.ndarray) -> list[tuple[float, str]]:
    scores = sample.vectors @ query
    order = np.argsort(-scores)[:20]
    names = [sample.categories[i] for i in order]
    ballot = Ballot(scores[order].tolist(), names, calibration.background["items"].deviation)
    votes = [ballot.share(each, number) for number, each in enumerate(names)]
    found = calibration.relevances("items", scores[order].tolist(), votes)
    return [(value, next(iter(each))) for value, each in zip(found, names, strict=True)]


def test_only_relevant_items_have_a_high_relevance() -> None:
    sample, centres = catalogue()
    calibration = fit(sample)
    assert calibration.queries["items"] == 160
    found = relevances(calibration, sample, centres[3])
    assert all(value > 0.5 for value, name in found if name == "c3")
    stranger = unit(np.random.default_rng(9).normal(size=(1, 64)))[0]
    assert max(value for value, _name in relevances(calibration, sample, stranger)) < 0.3


def test_the_curve_rises_with_score_and_vote() -> None:
    calibration = fit(catalogue()[0])
    for kind in KINDS:
        low, high = calibration.relevances(kind, [0.1, 0.6], [0.5, 0.5])
        assert low < high
        low, high = calibration.relevances(kind, [0.5, 0.5], [0.1, 0.9])
        assert low <= high
        assert all(0 <= value <= 1 for value in calibration.relevances(kind, [-1.0, 1.0], None))


def test_a_small_catalogue_keeps_the_prior() -> None:
    sample, _centres = catalogue(kinds=1, each=2)
    assert fit(sample) == Calibration()
    sample, _centres = catalogue(kinds=2, each=2)
    few, many = fit(sample).curves["items"], fit(catalogue()[0]).curves["items"]
    prior = Calibration().curves["items"]
    assert abs(few.intercept - prior.intercept) < abs(many.intercept - prior.intercept) + 1


def test_a_catalogue_without_categories_uses_the_prior() -> None:
    sample, _centres = catalogue()
    bare = Sample(sample.vectors, [frozenset()] * 160, sample.groups)
    calibration = fit(bare)
    assert calibration.queries["items"] == 0
    assert calibration.alone["items"] == Calibration().alone["items"]
    assert -1 < calibration.background["items"].mean < 1


def test_of_a_catalogue_without_categories_the_names_tell_what_is_alike() -> None:
    sample, centres = catalogue()
    heads = [frozenset(words) for words in sample.categories]
    heads[0], heads[1] = frozenset(), frozenset({"unique"})
    named = by_heads(Sample(sample.vectors, [frozenset()] * 160, sample.groups), heads)
    assert named.categories == sample.categories[2:]
    assert named.groups == sample.groups[2:]
    calibration = fit(named)
    assert calibration.queries["items"] == 158
    found = relevances(calibration, sample, centres[3])
    assert all(value > 0.5 for value, name in found if name == "c3")
    stranger = unit(np.random.default_rng(9).normal(size=(1, 64)))[0]
    assert max(value for value, _name in relevances(calibration, sample, stranger)) < 0.3


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(lambda number: f"collection {number % 8}", id="of collections, each with all kinds of things"),
        pytest.param(lambda number: "acme" if number % 10 else f"other {number % 20}", id="a brand that most have"),
        pytest.param(lambda number: f"name {number}", id="names of their own"),
        pytest.param(lambda number: "set", id="one word for all"),
    ],
)
def test_names_that_do_not_tell_what_is_alike_are_not_used(head: Callable[[int], str]) -> None:
    sample, _centres = catalogue()
    bare = Sample(sample.vectors, [frozenset()] * 160, sample.groups)
    assert by_heads(bare, [frozenset({head(number)}) for number in range(160)]) is bare


def test_variants_of_one_thing_do_not_tell_what_is_alike() -> None:
    sample, _centres = catalogue()
    bare = Sample(sample.vectors, [frozenset()] * 160, [next(iter(words)) for words in sample.categories])
    assert by_heads(bare, sample.categories) is bare


def test_a_shop_of_one_department_learns_from_queries_without_an_answer() -> None:
    """Otherwise, nothing would be left without the department, and fruit would be an answer in a shop of juice and
    milk."""
    sample, _centres = catalogue()
    names = [f"c{n}" for n in range(8)]
    plain = fit(replace(sample, departments={}))
    assert fit(replace(sample, departments=dict.fromkeys(names, frozenset(names)))) == plain
    assert fit(replace(sample, departments={name: frozenset({name}) for name in names})) == plain


def test_categories_that_are_alike_keep_their_items() -> None:
    """Without its department or category, an item finds those that are like it. Because of these, a seventh of the
    relevant ones must not be cut, neither in a small shop without departments nor in a larger one with them."""
    for each, noise, departments in ((20, 0.8, False), (60, 0.9, True), (60, 1.0, False)):
        rng = np.random.default_rng(0)
        sample, _centres = catalogue(each=each)
        centres = unit(unit(rng.normal(size=(1, 64))) + 0.5 * unit(rng.normal(size=(8, 64))))
        vectors = unit(np.repeat(centres, each, axis=0) + noise * unit(rng.normal(size=(8 * each, 64))))
        sample = replace(sample, vectors=vectors.astype(np.float32))
        alike = sample if departments else replace(sample, departments={})
        calibration = fit(alike)
        queries = unit(np.repeat(centres, 5, axis=0) + noise * unit(rng.normal(size=(40, 64))))
        found = [
            (*hit, f"c{n // 5}") for n, query in enumerate(queries) for hit in relevances(calibration, alike, query)
        ]
        assert np.mean([value >= 0.4 for value, name, own in found if name == own]) > 0.9
        assert np.mean([name == own for value, name, own in found if value >= 0.4]) > 0.93


def test_categories_that_differ_cost_nothing_to_tell_from_what_is_not_sold(monkeypatch: pytest.MonkeyPatch) -> None:
    sample, _centres = catalogue(each=60)
    broad = fit(replace(sample, departments={}))
    monkeypatch.setattr("imagesim.calibration.fit.FACTORS", (1.0,))
    assert fit(replace(sample, departments={})) == broad


def test_words_have_a_separate_curve() -> None:
    sample, centres = catalogue()
    named = Sample(
        sample.vectors,
        sample.categories,
        sample.groups,
        sample.departments,
        (0.3 * centres.astype(np.float32), [f"c{n}" for n in range(8)]),
    )
    calibration = fit(named)
    assert calibration.queries["words"] == 8
    assert calibration.background["words"].deviation < calibration.background["items"].deviation


def test_words_of_a_single_category_are_measured_by_those_of_other_catalogues() -> None:
    """Scores of words are lower than those of items, and every item belongs to the only category."""
    sample, centres = catalogue(kinds=1, each=60)
    named = Sample(
        sample.vectors, sample.categories, sample.groups, words=(centres.astype(np.float32), [*sample.categories[0]])
    )
    background = fit(named).background
    assert background["items"] == PRIOR_BACKGROUND["items"]
    assert background["words"] == PRIOR_BACKGROUND["words"]


def test_categories_of_many_items_are_large() -> None:
    few, many = catalogue(each=MANY), catalogue(each=MANY + 1)
    assert fit(few[0]).large == frozenset()
    assert fit(many[0]).large == {f"c{n}" for n in range(8)}
    variants = replace(many[0], groups=[str(n // 2) for n in range(len(many[0].groups))])
    assert fit(variants).large == frozenset()


def test_names_are_compared_if_the_model_knows_them() -> None:
    sample, centres = catalogue(kinds=12)
    categories = [f"c{n}" for n in range(12)]
    known = fit(replace(sample, words=(centres.astype(np.float32), categories))).names
    assert known is not None
    assert known.mean == pytest.approx(float((centres @ centres.T)[~np.eye(12, dtype=bool)].mean()), abs=1e-4)
    unknown = unit(np.random.default_rng(9).normal(size=(12, 64))).astype(np.float32)
    assert fit(replace(sample, words=(unknown, categories))).names is None
    assert fit(replace(sample, words=(centres[:9].astype(np.float32), categories[:9]))).names is None
    assert fit(sample).names is None


def test_each_of_many_categories_is_compared_with_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a shop with many categories, what is farther than twenty of them must not keep its relevance, and so come
    before what is nearer."""
    monkeypatch.setattr(
        CategoryNames, "_vectors", lambda _self, names: [np.array([0.0, 1.0], np.float32) for _name in names]
    )
    names = CategoryNames((), IndexMeta("model", 2))
    looks = [
        Candidate(f"shop.product:{n}", 0.5, "", "digest", "name", categories=(f"kind {n}",), relevance=0.8)
        for n in range(40)
    ]
    calibration = replace(Calibration(), names=Background(0.1, 0.1))
    found = names.without_unrelated(np.array([1.0, 0.0], np.float32), looks, calibration)
    assert {round(each.relevance, 2) for each in found} == {0.17}


def test_what_is_called_otherwise_is_less_relevant() -> None:
    calibration = replace(Calibration(), names=Background(0.1, 0.1))
    assert [round(calibration.unless_unrelated(0.8, cosine), 2) for cosine in (-0.5, 0.0, 0.2, 0.3, 0.9)] == [
        *(0.17, 0.17, 0.6, 0.8, 0.8)
    ]
    assert calibration.unless_unrelated(1.0, -0.5) == 1.0
    assert Calibration().unless_unrelated(0.8, -0.5) == 0.8


def test_json_round_trip() -> None:
    calibration = replace(fit(catalogue()[0]), names=Background(0.1, 0.2))
    assert Calibration.from_json(calibration.to_json()) == calibration
    with pytest.raises(ValueError, match="Not a calibration"):
        Calibration.from_json({"curves": {}})


@pytest.mark.slow
def test_relevance_is_calibrated_on_held_out_items() -> None:
    """On held-out items, the share of relevant ones is about the predicted relevance."""
    sample, _centres = catalogue(kinds=10, each=60, noise=0.7)
    found = reliability(sample)
    assert len(found) >= 5
    hits = sum(each.hits for each in found)
    error = sum(each.hits * abs(each.relevance - each.belongs) for each in found) / hits
    assert error < 0.12
    assert found[0].belongs < 0.2
    assert found[-1].belongs > 0.8
    assert [each.relevance for each in found] == sorted(each.relevance for each in found)


@pytest.mark.parametrize(
    ("category", "parents", "words"),
    [
        ("soft-drinks", (), "soft drinks"),
        ("fruit-mango", ["fruit"], "mango"),
        ("home/kitchen/chairs", ["home/kitchen"], "chairs"),
        ("fruity", ["fruit"], "fruity"),
        ("fruit", ["fruit"], "fruit"),
        ("fruit-12", "fruit", ""),
        ("12", ["fruit"], ""),
    ],
)
def test_the_words_of_a_category_are_not_those_of_its_parent(category, parents, words) -> None:
    assert words_of(category, parents) == words


@pytest.mark.django_db
@pytest.mark.parametrize("model", [Lamp, DeskLamp])
@pytest.mark.parametrize(
    ("category", "count"),
    [
        ("maker__name", 3),  # one has a maker of its own
        ("maker", 3),
        ("tags__label", 3),  # two of those that have both tags, and one without a tag
        ("lit", 2),
        ("hues", 0),  # a property
        ("", 0),
    ],
)
def test_two_items_of_every_category_are_read(model, category, count) -> None:
    tags = [Tag.objects.create(label=label) for label in ("old", "new")]
    makers = [Maker.objects.create(name=name, code=name) for name in ("acme", "zeta")]
    lamps = [model.objects.create(name=str(number), maker=makers[number == 4]) for number in range(5)]
    for lamp in lamps[:4]:
        lamp.tags.add(*tags)
    items = type("LampItems", (Items,), {"images": "plan", "category": category})(model)
    found = set(_two_of_every_category(items))
    assert len(found) == count
    assert found <= {items.pk_of(lamp) for lamp in lamps}


@pytest.mark.django_db
def test_keys_of_items_have_the_form_that_the_app_stores() -> None:
    items = type("WeightItems", (Items,), {"images": "file", "category": "file"})(Weight)
    Weight.objects.create(grams="1.5")
    assert set(_two_of_every_category(items)) == {items.pk_of(Weight.objects.get())} == {"1.50"}
