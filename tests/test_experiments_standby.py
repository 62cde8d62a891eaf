"""Experiments with the index on standby: part of the visitors search it, with its model."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

import imagesim
from demo_shop.shop.models import Product
from imagesim.exceptions import IndexMissing
from imagesim.experiments import results
from imagesim.experiments.models import Experiment, Exposure, Variant
from imagesim.experiments.report import report_of
from imagesim.indexes import get_index
from imagesim.indexing import jobs
from imagesim.indexing.rebuild import rebuild, swap
from imagesim.indexing.sync import sync
from imagesim.insight.recorder import recorder
from imagesim.retrieval import variants
from imagesim.retrieval.suggestions import suggest
from tests import shop
from tests.embedders import GreyEmbedder
from tests.shop import INDEXES, drop_index, encoded, index_for, picture, product
from tests.test_experiments import SETTINGS, experiment, forget, visiting, visitor_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media_root")]
OTHER = {"BACKEND": "tests.embedders.GreyEmbedder", "OPTIONS": {"dims": 32}}
COLOURS = ("red", "darkred", "orange", "tomato", "blue", "navy", "green", "grey", "lime", "gold")
Seen = dict[str, list[tuple[str, float, float]]]


@pytest.fixture(autouse=True)
def _on(settings: Any, experiments_apply: None) -> None:
    settings.IMAGESIM = dict(SETTINGS)


def fill() -> dict[str, Product]:
    """Index some products; then build the other model's index, which goes on standby."""
    made = {name: product(name, picture(name), brand=name[0], colour=name) for name in COLOURS}
    sync()
    return made


def hold(settings: Any) -> Any:
    settings.IMAGESIM = {**settings.IMAGESIM, "EMBEDDER": OTHER, "PREVIOUS_EMBEDDERS": [shop.EMBEDDER]}
    job = rebuild(hold=True)
    get_index().refresh()
    get_index().refresh(job.target)
    return job


@pytest.fixture
def shelf(settings: Any) -> dict[str, Product]:
    made = fill()
    hold(settings)
    return made


def told(hits: Any) -> list[tuple[str, float, float]]:
    return [(hit.item.name, round(hit.score, 4), round(hit.relevance, 4)) for hit in hits]


def everything(shelf: dict[str, Product], *names: str) -> Seen:
    """Return what a visitor sees by every way to search, or by the ways with these names."""
    photo = encoded(picture("orange"))

    def look() -> Any:
        return imagesim.shop_the_look(photo, regions=[(0.1, 0.1, 0.5, 0.5)])

    ways: dict[str, Callable[[], Any]] = {
        "similar": lambda: told(imagesim.similar_to(shelf["red"])),
        "varied": lambda: told(imagesim.similar_to(shelf["blue"], diversity=0.5, like="green")),
        "filtered": lambda: told(imagesim.similar_to(shelf["red"], filters={"brand__in": ["g", "t", "b"]})),
        "words": lambda: told(imagesim.search(text="tomato")),
        "photo": lambda: told(imagesim.search(image=photo, facets=["brand"])),
        "look": lambda: told(look().hits),
        "region": lambda: told(look().regions[0].hits),
        "suggested": lambda: [(each.text, 0.0, 0.0) for each in suggest("re")],
    }
    return {name: ways[name]() for name in names or ways}


def seen_by(made: Experiment, letter: str, shelf: dict[str, Product]) -> Seen:
    with visiting(visitor_of(made, letter)):
        return everything(shelf)


class TestReading:
    @pytest.mark.slow
    @pytest.mark.parametrize("kind", INDEXES)
    def test_a_visitor_sees_before_the_swap_what_all_see_after_it(self, request, settings, kind):
        settings.IMAGESIM = {**settings.IMAGESIM, "INDEX": index_for(request, kind)}
        request.addfinalizer(drop_index)
        shelf = fill()
        get_index().refresh()
        before = everything(shelf)
        hold(settings)
        made = experiment({"standby": True})
        assert everything(shelf) == before
        assert seen_by(made, "A", shelf) == before
        tried = seen_by(made, "B", shelf)
        assert seen_by(made, "A", shelf) == before  # one process, alternating between both indexes
        assert [name for name in before if before[name] != tried[name]] == [
            *("similar", "varied", "filtered", "words", "photo", "look", "region")
        ]
        product("crimson", picture("crimson"), brand="c", colour="crimson")
        sync()
        get_index().refresh()
        get_index().refresh(jobs.standby().target)
        tried = seen_by(made, "B", shelf)
        assert any(name == "crimson" for name, *_ in tried["similar"])
        swap()
        forget()
        get_index().refresh()
        assert everything(shelf) == tried == seen_by(made, "B", shelf)

    def test_the_pages_of_a_variant_load_its_model_only_where_they_must(self, shelf, monkeypatch):
        made = experiment({"standby": True})
        monkeypatch.setattr(GreyEmbedder, "embed_images", None)
        with visiting(visitor_of(made, "B")):
            assert len(imagesim.similar_to(shelf["red"])) == 9

    def test_cached_answers_are_kept_apart(self, shelf, monkeypatch):
        made = experiment({"standby": True})

        def cached(letter: str) -> Any:
            with visiting(visitor_of(made, letter)):
                return told(imagesim.similar_to(shelf["red"], timeout=60))

        apart = cached("A"), cached("B")
        assert apart[0] != apart[1]
        monkeypatch.setattr(type(get_index()), "search", None)  # from the cache
        assert (cached("A"), cached("B")) == apart

    def test_one_that_was_deleted_by_somebody_else(self, shelf):
        made = experiment({"standby": True})
        before = seen_by(made, "A", shelf)
        seen_by(made, "B", shelf)
        recorder().flush()
        counted = Exposure.objects.filter(variant="B").count()
        get_index().drop(jobs.standby().target)
        assert seen_by(made, "B", shelf) == before  # unchanged, and not counted
        for _ in range(2):
            with visiting(visitor_of(made, "B")):
                imagesim.similar_to(shelf["red"], timeout=60)
        recorder().flush()
        assert Exposure.objects.filter(variant="B").count() == counted
        assert made.state == "running"
        results.update(made)
        assert (made.state, made.standby_gone) == ("over", True)
        with pytest.raises(IndexMissing):
            swap()

    def test_after_it_was_deleted_the_active_model_is_asked_as_without_the_variant(self, settings):
        shelf = fill()
        before = everything(shelf)
        job = hold(settings)
        made = experiment({"standby": True, "components": "half^0", "diversity": 0.5})
        assert seen_by(made, "B", shelf) != before
        get_index().drop(job.target)
        for name in before:
            with visiting(visitor_of(made, "B")):
                assert everything(shelf, name) == {name: before[name]}

    def test_without_an_experiment_it_costs_nothing(self, settings):
        shelf = fill()

        def statements() -> int:
            imagesim.similar_to(shelf["red"])
            with (
                CaptureQueriesContext(
                    connection,
                ) as asked,
                visiting("somebody"),
            ):
                imagesim.similar_to(shelf["red"])
            return len(asked)

        before = statements()
        hold(settings)
        assert statements() == before
        made = experiment({"standby": True})
        for letter in "AB":
            with visiting(visitor_of(made, letter)):
                imagesim.similar_to(shelf["red"])
            with CaptureQueriesContext(connection) as asked, visiting(visitor_of(made, letter)):
                imagesim.similar_to(shelf["red"])
            assert len(asked) == before


class TestExperiment:
    def test_it_needs_an_index_on_standby(self, settings):
        fill()
        made = experiment({"standby": True}, start=False)
        with pytest.raises(ValidationError, match="imagesim_rebuild --hold"):
            made.start()
        made.refresh_from_db()
        assert (made.started, made.standby) == (None, "")
        job = hold(settings)
        made.start()
        assert made.standby == job.target

    def test_the_control_cannot_search_it(self, shelf):
        made = experiment({"standby": True}, start=False)
        Variant.objects.filter(experiment=made).update(standby=True)
        with pytest.raises(ValidationError, match="control"):
            made.start()

    def test_the_parts_are_those_of_its_model(self, settings):
        fill()
        settings.IMAGESIM = {**settings.IMAGESIM, "PREVIOUS_EMBEDDERS": [shop.EMBEDDER]}
        settings.IMAGESIM["EMBEDDER"] = {"BACKEND": "tests.embedders.PartsEmbedder", "OPTIONS": {}}
        rebuild(hold=True)
        Variant(standby=True, components="colour^0").clean()
        with pytest.raises(ValidationError, match="no component 'colour'"):
            Variant(components="colour^0").clean()

    @pytest.mark.parametrize("end", ["swap", "discard"])
    def test_it_ends_with_the_index_and_says_so(self, shelf, admin_client, end):
        made = experiment({"standby": True})
        plain = experiment({"diversity": 0.5}, start=False)
        other = experiment({"standby": True}, start=False)
        over = experiment({"standby": True}, where="look")
        Experiment.objects.filter(pk=over.pk).update(started=timezone.now() - timedelta(days=29))
        assert made.ends > timezone.now() + timedelta(days=27)
        if end == "swap":
            swap()
        else:
            assert jobs.cancel(jobs.standby())
        for each in (made, plain, other, over):
            each.refresh_from_db()
        assert (made.state, made.standby_gone) == ("over", True)
        assert not over.standby_gone  # it had ended by itself
        assert (plain.state, other.state) == ("draft", "draft")
        forget()
        active = everything(shelf)
        for letter in "AB":
            assert seen_by(made, letter, shelf) == active
        recorder().flush()
        assert not Exposure.objects.exists()
        [note] = report_of(made).notes
        assert "was switched to or discarded" in note
        page = admin_client.get(reverse("admin:imagesim_experiments_report", args=[made.pk])).content.decode()
        assert "was switched to or discarded" in page
        copy = made.copied()
        assert (copy.standby, copy.standby_gone, copy.variants.last().standby) == ("", False, True)

    def test_answers_after_its_end_do_not_count(self, shelf):
        made = experiment({"standby": True})
        with visiting(visitor_of(made, "B")):  # another process that has not noticed yet
            Experiment.objects.filter(pk=made.pk).update(started=timezone.now() - timedelta(days=3))
            imagesim.similar_to(shelf["red"])
            recorder().flush()
        swap()
        made.refresh_from_db()
        Exposure.objects.create(experiment=made, variant="B", visitor="late", request="late")
        counted = results.figures(made, made.ends)
        assert (counted["A"].visitors, counted["B"].visitors) == (0, 1)

    def test_one_that_missed_the_end_does_not_run(self, shelf):
        made = experiment({"standby": True})
        swap()
        Experiment.objects.filter(pk=made.pk).update(stopped=None, standby_gone=False)
        forget()
        with visiting(visitor_of(made, "B")):
            assert variants.current("similar") is None
        made.refresh_from_db()
        results.update(made)
        made.refresh_from_db()
        assert made.standby_gone

    def test_the_form_has_it(self, shelf, admin_client):
        page = admin_client.get(reverse("admin:imagesim_experiments_experiment_add")).content.decode()
        assert 'name="variants-1-standby"' in page
