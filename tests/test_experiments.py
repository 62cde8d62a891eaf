"""Experiments: who gets which variant, what it changes, what is recorded, the figures, and the admin."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.core.cache import cache as default_cache
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import InternalError, connection
from django.db.models import F
from django.http import HttpResponse
from django.middleware.cache import FetchFromCacheMiddleware, UpdateCacheMiddleware
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

import imagesim
from demo_shop.shop.models import Product
from imagesim import events, tasks
from imagesim.embedders import lite
from imagesim.experiments import analysis, experiment_admin, report, results
from imagesim.experiments.apps import check_cache, check_experiments
from imagesim.experiments.middleware import ChooseVariants, visitor_key
from imagesim.experiments.models import DailyResult, Experiment, Exposure, Variant, read_components
from imagesim.experiments.report import csv_rows, report_of
from imagesim.experiments.running import VisitorVariants, assign, exposures, pseudonym, running
from imagesim.experiments.running import _load as load
from imagesim.experiments.statistics import Arm
from imagesim.insight import recorder as recording
from imagesim.insight.models import Purchase, Search
from imagesim.insight.recorder import observer as insight_observer
from imagesim.insight.recorder import recorder
from imagesim.items.registry import key_of
from imagesim.merchandising import engine as rules
from imagesim.merchandising.models import Rule
from imagesim.models import Event
from imagesim.pages import widgets
from imagesim.retrieval import rerank, variants
from imagesim.types import Hits
from tests import shop
from tests.embedders import PartsEmbedder
from tests.shop import encoded, picture
from tests.test_rebuild import read_only

pytestmark = pytest.mark.django_db
PERSON = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
DAY = timedelta(days=1)


def header_key(request: Any) -> str | None:
    return request.headers.get("x-visitor")


SETTINGS = {
    "SYNC": "manual",
    "MIN_RELEVANCE": 0.0,
    "EMBEDDER": shop.EMBEDDER,
    "EVENTS": True,
    "VISITOR_KEY": "tests.test_experiments.header_key",
}


@pytest.fixture(autouse=True)
def _on(settings, media_root, experiments_apply) -> None:
    settings.IMAGESIM = dict(SETTINGS)


@pytest.fixture
def shelf() -> dict[str, Product]:
    return shop.shelf(with_texts=True)


def experiment(*settings: dict[str, Any], start: bool = True, **given: Any) -> Experiment:
    """An experiment whose variants from B on have these settings."""
    settings = settings or ({},)
    made = Experiment.objects.create(**{"name": "trial", "days": 28, **given})
    count = len(settings) + 1
    for number, changed in enumerate(({}, *settings)):
        share = 100 // count + (100 % count if not number else 0)
        variant = Variant(experiment=made, letter="ABCDEF"[number], **{"share": share, **changed})
        variant.full_clean(exclude=["experiment"])
        variant.save()
    if start:
        begin(made)
    return made


def begin(made: Experiment, ago: timedelta = timedelta()) -> None:
    made.start()
    if ago:
        Experiment.objects.filter(pk=made.pk).update(started=timezone.now() - ago)
        made.refresh_from_db()
    forget()


def forget() -> None:
    """Do what a commit does here, and what happens a moment later in other processes."""
    kept = running._kept(running._shop())
    kept.checked = kept.loaded = -1e9


def visitor_of(made: Experiment, letter: str) -> str:
    """Return the key of a visitor who is in this variant (or in none: "")."""
    weights = tuple((each.letter, each.share) for each in made.variants.all())
    keys = (f"visitor {number}" for number in range(10_000))
    return next(key for key in keys if assign(made.salt, key, made.share, weights) == letter)


@contextmanager
def visiting(key: str | None, agent: str = PERSON, path: str = "/") -> Iterator[Any]:
    """The time in which a visitor's request is answered; yields the response."""
    headers = {"user-agent": agent, **({"x-visitor": key} if key else {})}
    request = RequestFactory().get(path, headers=headers)
    response = HttpResponse()
    with ChooseVariants(lambda request: response).during(request) as finish:
        yield response
        finish(response)


def names(hits: Hits) -> list[str]:
    return [hit.item.name for hit in hits]


class TestAssignment:
    WEIGHTS = (("A", 50), ("B", 30), ("C", 20))

    def test_shares(self):
        found = Counter(assign("salt", str(number), 50, self.WEIGHTS) for number in range(20_000))
        assert found[""] == pytest.approx(10_000, abs=300)
        assert found["A"] == pytest.approx(5_000, abs=250)
        assert found["B"] == pytest.approx(3_000, abs=200)
        assert found["C"] == pytest.approx(2_000, abs=200)

    def test_the_same_again_and_another_one_in_another_experiment(self):
        keys = [str(number) for number in range(10_000)]
        first = [assign("one", key, 100, self.WEIGHTS) for key in keys]
        assert first == [assign("one", key, 100, self.WEIGHTS) for key in keys]
        both = Counter(zip(first, (assign("two", key, 100, self.WEIGHTS) for key in keys), strict=True))
        assert both["A", "A"] == pytest.approx(2_500, abs=200)  # independent
        assert both["C", "C"] == pytest.approx(400, abs=90)

    def test_a_larger_share_keeps_those_who_took_part(self):
        keys = [str(number) for number in range(2_000)]
        small = {key: assign("salt", key, 10, self.WEIGHTS) for key in keys}
        large = {key: assign("salt", key, 60, self.WEIGHTS) for key in keys}
        assert all(large[key] == letter for key, letter in small.items() if letter)

    def test_a_pseudonym_says_nothing_elsewhere(self):
        assert pseudonym("one", "key") == pseudonym("one", "key")
        assert len({pseudonym("one", "key"), pseudonym("two", "key"), pseudonym("one", "other")}) == 3


class TestSettings:
    def test_a_variant_is_a_default_that_the_page_overrules(self, shelf):
        made = experiment({"diversity": 1.0, "min_relevance": 1.0})
        with visiting(visitor_of(made, "B")):
            assert variants.current("similar").defaults == {"diversity": 1.0, "min_relevance": 1.0}
            assert len(imagesim.similar_to(shelf["red"])) == 0
            assert len(imagesim.similar_to(shelf["red"], min_relevance=variants.page_floor())) == 0
            assert len(imagesim.similar_to(shelf["red"], min_relevance=0.0)) == 5
            assert len(imagesim.search(text="red")) == 0
            assert len(imagesim.search(image=encoded(picture("red")))) == 0
            seen = imagesim.shop_the_look(encoded(picture("red")), regions=[])
            assert len(seen.hits) == 0
        for key in (visitor_of(made, "A"), None):
            with visiting(key):
                assert len(imagesim.similar_to(shelf["red"], min_relevance=variants.page_floor())) == 5
        assert len(imagesim.search(text="red")) > 0  # outside of a request

    def test_where(self, shelf):
        made = experiment({"min_relevance": 1.0}, where=["photo"])
        with visiting(visitor_of(made, "B")):
            assert len(imagesim.search(image=encoded(picture("red")))) == 0
            assert len(imagesim.search(text="red")) > 0
            assert len(imagesim.similar_to(shelf["red"])) == 5

    def test_pages_and_rest_take_it_for_their_default(self, client, shelf):
        made = experiment({"min_relevance": 1.0})
        address = reverse("imagesim:similar", args=["shop.product", shelf["red"].pk])
        seen = {}
        for letter in "AB":
            headers = {"user-agent": PERSON, "x-visitor": visitor_of(made, letter)}
            seen[letter] = client.get(address, headers=headers).json()["results"]
            assert len(client.get(f"{address}?min_relevance=0", headers=headers).json()["results"]) == 5
            with visiting(visitor_of(made, letter)):
                assert len(widgets.similar_hits(shelf["red"], **widgets.of_its_kind(shelf["red"], {}))) == len(
                    seen[letter]
                )
        assert (len(seen["A"]), len(seen["B"])) == (5, 0)

    def test_bots_the_admin_and_those_left_out_get_the_shop_as_it_is(self, shelf):
        made = experiment({"min_relevance": 1.0}, share=50)
        for key, agent in [
            (visitor_of(made, "B"), "Googlebot/2.1"),
            (visitor_of(made, ""), PERSON),
            (visitor_of(made, "A"), PERSON),
        ]:
            with visiting(key, agent):
                assert len(imagesim.similar_to(shelf["red"])) == 5

    def test_answers_in_the_cache_are_kept_apart(self, shelf):
        made = experiment()
        for letter in "AB":
            with visiting(visitor_of(made, letter)):
                imagesim.similar_to(shelf["red"], timeout=60)
        with visiting(visitor_of(made, "B")), CaptureQueriesContext(connection) as again:
            imagesim.similar_to(shelf["red"], timeout=60)
        Rule.objects.create(name="no blue", action="exclude", filters="colour = blue", variant=f"{made.pk}:B")
        rerank.register(rules.CachedRules())
        found = {}
        for letter in "AB":
            with visiting(visitor_of(made, letter)):
                found[letter] = names(imagesim.similar_to(shelf["red"], timeout=60))
        assert len(again) < 4
        assert "blue" in found["A"]
        assert "blue" not in found["B"]

    def test_a_machine_whose_clock_is_behind_knows_what_was_started(self, shelf, monkeypatch):
        made = experiment({"min_relevance": 1.0})
        monkeypatch.setattr(timezone, "now", lambda: made.started - timedelta(seconds=5))
        with visiting(visitor_of(made, "B")):
            assert len(imagesim.similar_to(shelf["red"])) == 0

    @pytest.mark.parametrize(("prefix", "holds"), [("", {"A": False, "B": True}), ("!", {"A": True, "B": False})])
    def test_a_rule_is_switched_by_a_variant(self, shelf, prefix, holds):
        made = experiment()
        Rule.objects.create(name="no blue", action="exclude", filters="colour = blue", variant=f"{prefix}{made.pk}:B")
        rerank.register(rules.CachedRules())
        for letter, expected in holds.items():
            with visiting(visitor_of(made, letter)):
                assert ("blue" not in names(imagesim.similar_to(shelf["red"]))) is expected
        assert ("blue" not in names(imagesim.similar_to(shelf["red"]))) is holds["A"]

    def test_replaced_words_are_those_of_the_vector_too(self, shelf):
        made = experiment()
        Rule.objects.create(name="azure", action="replace", when="contain", triggers="azure", replacement="blue")
        rerank.register(rules.CachedRules())
        expected = [(hit.item.name, hit.relevance) for hit in imagesim.search(text="azure shoe")]
        with visiting(visitor_of(made, "B")):
            found = [(hit.item.name, hit.relevance) for hit in imagesim.search(text="azure shoe")]
        assert found == expected

    def test_an_experiment_is_over_by_itself(self, shelf):
        made = experiment({"min_relevance": 1.0}, days=7, start=False)
        begin(made, 8 * DAY)
        with visiting(visitor_of(made, "B")):
            assert variants.current("similar") is None
        assert made.state == Experiment.State.OVER

    def test_settings_that_no_longer_fit_are_left_out_and_logged(self, shelf, monkeypatch, caplog):
        made = experiment()
        Variant.objects.filter(experiment=made, letter="B").update(components="form^2")
        forget()
        with visiting(visitor_of(made, "B")):
            assert len(imagesim.similar_to(shelf["red"])) == 5
        assert "trial" in caplog.text
        (note,) = report_of(made).notes
        assert note.startswith("Nothing is recorded, and all visitors see the shop as it is, because of variant B: The")
        assert not report_of(experiment({"diversity": 0.2}, start=False)).notes

    def test_components(self, monkeypatch):
        monkeypatch.setattr("imagesim.experiments.models.get_embedder", PartsEmbedder)
        assert read_components("colour^0.5 shape^1") == {"colour": 0.5, "shape": 1.0}
        for wrong in ("colour", "size^1", "colour^99"):
            with pytest.raises(ValidationError):
                read_components(wrong)


class TestRequests:
    def test_a_response_that_depends_on_the_visitor_is_private(self, shelf):
        with visiting("someone") as before:
            imagesim.similar_to(shelf["red"])
        assert not before.has_header("Vary")
        experiment(where=["similar"])
        with visiting("someone") as response:
            imagesim.similar_to(shelf["red"])
        assert (response["Vary"], response["Cache-Control"]) == ("Cookie", "private")
        with visiting("someone") as elsewhere:
            imagesim.search(text="red")
        assert not elsewhere.has_header("Vary")

    def test_the_cache_of_the_site_gives_it_to_nobody_else(self, shelf):
        def view(request: Any) -> HttpResponse:
            return HttpResponse(str(variants.key_of("similar")))

        site = UpdateCacheMiddleware(FetchFromCacheMiddleware(ChooseVariants(view)))

        def asked(letter: str) -> str:
            headers = {"user-agent": PERSON, "x-visitor": visitor_of(made, letter)}
            return site(RequestFactory().get("/", headers=headers)).content.decode()

        made = experiment(start=False)
        assert asked("A") == ""
        default_cache.clear()
        begin(made)
        assert [asked(letter) for letter in "ABA"] == [f"{made.pk}:{letter}" for letter in "ABA"]

    def test_rest_says_so_and_keeps_no_store(self, client, shelf):
        experiment()
        headers = {"user-agent": PERSON, "x-visitor": "someone"}
        answer = client.get(reverse("imagesim:similar", args=["shop.product", shelf["red"].pk]), headers=headers)
        assert "Cookie" in answer["Vary"]
        assert "private" in answer["Cache-Control"]
        posted = client.post("/api/visual/search/", {"text": "red"}, "application/json", headers=headers)
        assert posted.status_code == 200
        assert posted["Cache-Control"] == "private, no-store"

    def test_no_query_more_than_without(self, shelf):
        for start in (False, True):
            Experiment.objects.all().delete()
            made = experiment({"diversity": 0.0}, start=start)
            key = visitor_of(made, "B")
            imagesim.similar_to(shelf["red"])
            with visiting(key):
                imagesim.similar_to(shelf["red"])
                recorder().flush()
            with visiting(key), CaptureQueriesContext(connection) as inside:
                imagesim.similar_to(shelf["red"])
            variants.register(None)
            with CaptureQueriesContext(connection) as without:
                imagesim.similar_to(shelf["red"])
            variants.register(VisitorVariants())
            assert len(inside) == len(without)

    def test_the_session_is_the_visitor_unless_the_shop_says_otherwise(self, settings, shelf):
        settings.IMAGESIM = {**settings.IMAGESIM, "VISITOR_KEY": ""}
        experiment()
        request = RequestFactory().get("/", headers={"user-agent": PERSON})
        for key, known in [("k" * 32, True), (None, False)]:
            request.session = type("Session", (), {"session_key": key})()
            with ChooseVariants(lambda request: HttpResponse()).during(request):
                assert (variants.current("similar") is not None) is known

    def test_a_start_takes_effect_at_once(self, shelf, django_capture_on_commit_callbacks):
        with visiting("someone"):
            assert variants.current("similar") is None
        made = experiment(start=False)
        with django_capture_on_commit_callbacks(execute=True):
            made.start()
        with visiting("someone"):
            assert variants.current("similar") is not None
        with django_capture_on_commit_callbacks(execute=True):
            made.stop()
        with visiting("someone"):
            assert variants.current("similar") is None


class TestRecording:
    def test_answers_of_those_who_take_part(self, client, shelf):
        made = experiment(where=["words", "look"], share=60)
        address = "/api/visual/search/?q=red"
        for letter in ("A", "B", ""):
            client.get(address, headers={"user-agent": PERSON, "x-visitor": visitor_of(made, letter)})
        client.get(address, headers={"user-agent": "curl/8", "x-visitor": visitor_of(made, "A")})
        client.get(address, headers={"user-agent": PERSON})
        similar = reverse("imagesim:similar", args=["shop.product", shelf["red"].pk])
        client.get(similar, headers={"user-agent": PERSON, "x-visitor": visitor_of(made, "A")})
        recorder().flush()
        rows = list(Exposure.objects.order_by("pk"))
        assert [row.variant for row in rows] == ["A", "B"]
        assert rows[0].visitor == pseudonym(made.salt, visitor_of(made, "A"))
        Exposure.objects.all().delete()
        sent = {"image": shop.ContentFile(encoded(picture("red")), "photo.png"), "regions": "[[0, 0, 0.5, 0.5]]"}
        answer = client.post(
            "/api/visual/look/", sent, headers={"user-agent": PERSON, "x-visitor": visitor_of(made, "B")}
        )
        assert answer.status_code == 200
        recorder().flush()
        assert [row.variant for row in Exposure.objects.all()] == ["B", "B"]  # the look and its region

    def test_the_row_is_that_of_the_token(self, client, shelf):
        made = experiment()
        headers = {"user-agent": PERSON, "x-visitor": visitor_of(made, "B")}
        answer = client.get("/api/visual/search/?q=red", headers=headers).json()
        item = answer["results"][0]["item"]
        recorder().flush()
        assert events.request_of(answer["token"], f"{item['model']}:{item['pk']}") == Exposure.objects.get().request

    def test_the_answers_to_one_visitor_are_bounded(self, client, shelf, monkeypatch):
        """Like those that insight records."""
        monkeypatch.setattr(recording, "MAX_ANSWERS", 3)
        monkeypatch.setattr(events, "observers", [exposures, insight_observer])
        made = experiment()
        for address in ("203.0.113.9", "203.0.113.10"):
            headers = {"user-agent": PERSON, "x-visitor": visitor_of(made, "B"), "x-forwarded-for": address}
            for _number in range(5):
                client.get("/api/visual/search/?q=red", headers=headers)
        recorder().flush()
        assert Exposure.objects.count() == Search.objects.count() == 6

    def test_without_events_nothing_is_recorded(self, client, shelf, settings):
        experiment()
        settings.IMAGESIM = {**settings.IMAGESIM, "EVENTS": False}
        client.get("/api/visual/search/?q=red", headers={"user-agent": PERSON, "x-visitor": "someone"})
        assert recorder().flush() == 0


def expose(made: Experiment, letter: str, visitor: str, request: str, at: Any) -> None:
    Exposure.objects.create(experiment=made, variant=letter, visitor=visitor, request=request, created_at=at)


def click(request: str, at: Any, kind: str = "click", item: str = "shop.product:1") -> None:
    Event.objects.create(request=request, kind=kind, source="search", item_key=item, position=0, created_at=at)


def buy(request: str, at: Any, value: str, order: str) -> None:
    Purchase.objects.create(
        order=order, item_key="shop.product:1", quantity=1, value=value, request=request, created_at=at
    )


@pytest.fixture
def visited() -> Experiment:
    """Two visitors of A in three answers, one of whom clicked twice; one visitor of B, who clicked on the next day."""
    made = experiment(goal="click", start=False)
    begin(made, 3 * DAY)
    first = made.started + timedelta(seconds=1)
    for letter, visitor, request in [("A", "x", "a1"), ("A", "x", "a2"), ("A", "y", "a3"), ("B", "z", "b1")]:
        expose(made, letter, visitor, request, first)
    click("a1", first)
    click("a2", first, item="shop.product:2")
    click("a3", first, "view")
    click("b1", first + DAY)
    click("elsewhere", first)
    return made


def sums(made: Experiment) -> dict[str, list[tuple[int, int]]]:
    found: dict[str, list[tuple[int, int]]] = {}
    for row in made.results.order_by("until"):
        found.setdefault(row.variant, []).append((row.visitors, row.converted))
    return found


class TestFigures:
    def test_visitors_are_counted_once_and_each_day_has_what_was_known_then(self, visited):
        days = results.update(visited)
        assert days in (2, 3)  # as many as there were midnights, and one is at least a minute old
        assert sums(visited)["A"][0] == (2, 1)
        assert sums(visited)["B"][-1] == (1, 1)
        assert sums(visited)["B"][0] == (1, 0)
        assert results.update(visited) == 0

    @pytest.mark.parametrize(
        ("zone", "noon"),
        [
            ("America/Santiago", "2025-09-07T12:00-03:00"),
            ("Africa/Cairo", "2025-04-25T12:00+03:00"),
            ("America/Havana", "2025-11-02T12:00-05:00"),
        ],
    )
    def test_a_day_whose_midnight_the_clocks_skip_or_repeat_is_computed_once(self, settings, monkeypatch, zone, noon):
        settings.TIME_ZONE = zone
        made, middle = experiment(), datetime.fromisoformat(noon)
        Experiment.objects.filter(pk=made.pk).update(started=middle - 3 * DAY)
        made.refresh_from_db()
        monkeypatch.setattr(timezone, "now", lambda: middle + 3 * DAY)
        assert results.update(made) == 6
        assert not results.is_due(made)
        assert results.update(made) == 0

    def test_days_are_computed_one_by_one_for_as_long_as_a_page_may(self, visited, client, monkeypatch):
        """In a single transaction, a page that takes too long would begin again with the first day."""
        monkeypatch.setattr(experiment_admin, "UPDATE_SECONDS", 1e-9)
        staff(client, "view_experiment")
        assert "are not computed yet" in client.get(page("report", visited)).content.decode()
        assert len(sums(visited)["A"]) == 1
        results.update(visited)
        assert len(sums(visited)["A"]) > 1
        assert "are not computed yet" not in client.get(page("report", visited)).content.decode()

    def test_carts_purchases_and_their_value(self, visited):
        first = visited.started + timedelta(seconds=1)
        click("a3", first, "cart")
        buy("a1", first, "10.00", "o1")
        buy("a2", first, "5.50", "o2")
        buy("", first, "99", "o3")
        buy("elsewhere", first, "99", "o4")
        until = visited.started + DAY
        for goal, expected in [("cart", (1, 0, 0)), ("purchase", (1, 15.5, 15.5**2)), ("value", (1, 15.5, 15.5**2))]:
            Experiment.objects.filter(pk=visited.pk).update(goal=goal)
            visited.refresh_from_db()
            arms = results.figures(visited, until)
            assert (arms["A"].converted, arms["A"].total, arms["A"].squares) == expected
            assert (arms["A"].visitors, arms["B"].visitors, arms["B"].converted) == (2, 1, 0)

    def test_a_visitor_who_is_deleted_while_figures_are_computed_is_left_out(self, visited, monkeypatch):
        def pages(purchases, size):
            chunk = list(purchases)
            Exposure.objects.filter(request="a3").delete()
            yield chunk

        first = visited.started + timedelta(seconds=1)
        buy("a1", first, "10.00", "o1")
        buy("a3", first, "5.50", "o2")
        monkeypatch.setattr(results, "pages", pages)
        Experiment.objects.filter(pk=visited.pk).update(goal="value")
        visited.refresh_from_db()
        arm = results.figures(visited, visited.started + DAY)["A"]
        assert (arm.converted, arm.total) == (1, 10.0)

    def test_one_that_ends_while_its_figures_are_computed_keeps_its_last_day(self, visited, monkeypatch):
        """What was recorded of the visitors must not be deleted before the figures of the last day are computed."""
        Experiment.objects.filter(pk=visited.pk).update(stopped=timezone.now() - results.WAIT + timedelta(seconds=5))
        visited.refresh_from_db()
        now, figures = timezone.now(), results.figures

        def slowly(*args: Any) -> Any:
            monkeypatch.setattr(timezone, "now", lambda: now + timedelta(seconds=10))
            return figures(*args)

        monkeypatch.setattr(results, "figures", slowly)
        assert results.update(visited)
        assert not visited.settled
        assert Exposure.objects.exists()
        assert results.update(visited) == 1
        assert visited.settled
        assert visited.results.filter(until=visited.ends).count() == 2

    def test_when_it_is_over_the_visitors_are_forgotten_and_the_figures_kept(self, visited):
        other = experiment(where="look")
        Experiment.objects.filter(pk=visited.pk).update(stopped=timezone.now() - timedelta(minutes=5))
        visited.refresh_from_db()
        call_command("imagesim_experiments", format="json")
        assert Exposure.objects.count() == 0
        visited.refresh_from_db()
        other.refresh_from_db()
        assert visited.settled
        assert not other.settled
        assert sums(visited)["B"][-1] == (1, 1)
        assert results.update(visited) == 0

    def test_the_purge_computes_first(self, visited):
        assert tasks.purge(days=1) >= 4
        assert Exposure.objects.count() == 0
        assert sums(visited)["A"][0] == (2, 1)

    def test_the_page_that_deletes_an_experiment_does_not_list_each_answer(self, visited, client):
        Experiment.objects.filter(pk=visited.pk).update(stopped=timezone.now())
        staff(client, *EVERY)
        address = change(visited).replace("change", "delete")
        seen = client.get(address).content.decode()
        assert "trial" in seen
        assert "Exposure" not in seen
        assert client.post(address, {"post": "yes"}).status_code == 302
        assert not Experiment.objects.exists()
        assert not Exposure.objects.exists()

    def test_deleting_an_experiment_deletes_what_was_recorded(self, visited):
        results.update(visited)
        visited.delete()
        assert Exposure.objects.count() == DailyResult.objects.count() == 0


class TestModel:
    def test_what_decides_is_not_read_from_a_replica(self, settings):
        made = experiment(start=False)
        settings.DATABASE_ROUTERS = [shop.LaggingReplica(Experiment, Variant, DailyResult)]
        made.start()
        settings.DATABASE_ROUTERS = [shop.LaggingReplica(Experiment)]
        assert [each.pk for each in load("")] == [made.pk]
        made.share = 10
        with pytest.raises(ValidationError, match="copy"):
            made.save()

    def test_figures_are_computed_once_though_a_replica_lags(self, visited, settings):
        settings.DATABASE_ROUTERS = [shop.LaggingReplica(DailyResult)]
        assert results.update(visited)
        assert results.update(visited) == 0

    def test_a_started_one_is_not_changed(self):
        made = experiment()
        made.name = "another name"
        made.save()
        made.share = 10
        with pytest.raises(ValidationError, match="copy"):
            made.save()
        variant = made.variants.get(letter="B")
        variant.diversity = 0.5
        with pytest.raises(ValidationError, match="copy"):
            variant.save()
        with pytest.raises(ValidationError, match="copy"):
            variant.delete()
        with pytest.raises(ValidationError, match="before"):
            made.start()

    def test_one_in_a_place(self):
        first = experiment(where=["similar"])
        experiment(where=["words"])
        third = experiment(where=["similar", "photo"], start=False)
        with pytest.raises(ValidationError, match="trial"):
            third.start()
        everywhere = experiment(start=False)
        with pytest.raises(ValidationError, match="trial"):
            everywhere.start()
        first.stop()
        third.start()
        with pytest.raises(ValidationError, match="not run"):
            first.stop()

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda made: made.variants.filter(letter="B").update(share=10), "100"),
            (lambda made: made.variants.filter(letter="A").update(diversity=0.5), "control"),
            (lambda made: made.variants.filter(letter="B").delete(), "2 to 6"),
            (lambda made: made.variants.filter(letter="B").update(components="form^2"), "no component 'form'"),
        ],
    )
    def test_an_incomplete_one_does_not_start(self, change, message):
        made = experiment(start=False)
        change(made)
        with pytest.raises(ValidationError, match=message):
            made.start()
        made.refresh_from_db()
        assert made.started is None

    def test_events_are_needed(self, settings):
        made = experiment(start=False)
        settings.IMAGESIM = {**settings.IMAGESIM, "EVENTS": False}
        with pytest.raises(ValidationError, match="EVENTS"):
            made.start()
        settings.IMAGESIM = {**settings.IMAGESIM, "EVENTS": True, "EVENTS_DAYS": 20}
        with pytest.raises(ValidationError, match="EVENTS_DAYS"):
            made.start()

    def test_a_copy_is_a_draft_with_other_visitors(self):
        made = experiment({"diversity": 0.3}, where=["words"], goal="cart")
        copy = made.copied()
        assert (copy.state, copy.where, copy.goal) == (Experiment.State.DRAFT, ["words"], "cart")
        assert [each.diversity for each in copy.variants.all()] == [None, 0.3]
        assert copy.salt != made.salt
        assert made.variants.count() == 2


def test_checks(settings, monkeypatch):
    assert check_experiments() == []
    settings.IMAGESIM = {**settings.IMAGESIM, "VISITOR_KEY": "tests.nowhere.key"}
    assert [each.id for each in check_experiments()] == ["imagesim.E104"]
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    settings.IMAGESIM = SETTINGS
    assert check_experiments() == []
    settings.IMAGESIM = {}
    assert [each.id for each in check_experiments()] == ["imagesim.W027"]
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.db"
    settings.MIDDLEWARE = []
    assert [each.id for each in check_experiments()] == ["imagesim.W022"]
    monkeypatch.setattr(apps, "is_installed", lambda name: name != "imagesim.insight")
    assert [each.id for each in check_experiments()] == ["imagesim.E103"]
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    assert [each.id for each in check_cache()] == ["imagesim.W023"]


def test_the_key_of_a_session_in_a_signed_cookie_changes_with_it(settings):
    """The reason for the warning ``imagesim.W027``."""
    settings.IMAGESIM = {}
    request = RequestFactory().get("/")
    request.session = SessionStore()
    keys = set()
    for count in range(3):
        request.session["cart"] = count
        request.session.save()
        keys.add(visitor_key(request))
    assert len(keys) == 3


def staff(client: Any, *permissions: str) -> Any:
    user = get_user_model().objects.create_user("staff", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(user)
    return client


ADD = reverse("admin:imagesim_experiments_experiment_add")
LIST = reverse("admin:imagesim_experiments_experiment_changelist")


def page(name: str, made: Experiment) -> str:
    return reverse(f"admin:imagesim_experiments_{name}", args=[made.pk])


def change(made: Experiment) -> str:
    return reverse("admin:imagesim_experiments_experiment_change", args=[made.pk])


def form(*rows: dict[str, Any], initial: int = 0, **given: Any) -> dict[str, Any]:
    data = {"name": "More variety", "goal": "click", "effect": 5, "days": 28, "share": 100, "where": ["similar"]}
    rows = rows or ({"name": "as it is"}, {"diversity": "0.4"})
    data |= {"variants-TOTAL_FORMS": len(rows), "variants-INITIAL_FORMS": initial}
    for number, row in enumerate(rows):
        for name, value in {"share": 50, **row}.items():
            data[f"variants-{number}-{name}"] = value
    return {**data, **given}


EVERY = [f"{what}_experiment" for what in ("view", "add", "change", "delete", "run")]


class TestAdmin:
    def test_a_draft_is_written_started_stopped_and_copied(self, client):
        staff(client, *EVERY)
        assert b"Variants" in client.get(ADD).content
        assert client.post(ADD, form()).status_code == 302
        made = Experiment.objects.get()
        assert [(each.letter, each.diversity) for each in made.variants.all()] == [("A", None), ("B", 0.4)]
        assert "has not started" in client.get(page("report", made)).content.decode()
        assert client.get(page("start", made)).url == page("report", made)
        made.refresh_from_db()
        assert made.state == Experiment.State.DRAFT
        answer = client.post(page("start", made), follow=True)
        assert "after midnight" in answer.content.decode()
        made.refresh_from_db()
        assert made.state == Experiment.State.RUNNING
        assert "cannot be started again" in answer.content.decode()  # asked before the button that stops it
        seen = client.get(change(made)).content.decode()
        assert "cannot be changed" in seen
        assert 'name="share"' not in seen
        assert "variants-0-share" not in seen
        client.post(change(made), form({"share": 10}, {"share": 90}, initial=2, name="Renamed", share=7))
        made.refresh_from_db()
        assert (made.name, made.share) == ("Renamed", 100)
        assert [each.share for each in made.variants.all()] == [50, 50]
        ended = client.post(page("stop", made), follow=True).content.decode()
        assert "a minute after its end" in ended
        assert "after midnight" not in ended
        Experiment.objects.update(
            started=timezone.now() - timedelta(minutes=9), stopped=timezone.now() - timedelta(minutes=5)
        )
        report = client.get(page("report", made)).content.decode()
        assert "Too few visitors" in report
        assert "cannot be said yet" not in report  # the experiment is over
        client.post(page("copy", made))
        copy = Experiment.objects.exclude(pk=made.pk).get()
        assert copy.variants.count() == 2
        said = " ".join(str(each.get_change_message()) for each in LogEntry.objects.all())
        assert all(word in said for word in ("Started", "Stopped", "Copied"))

    def test_a_draft_is_changed(self, client):
        staff(client, *EVERY)
        made = experiment(start=False)
        first, second = made.variants.all()
        rows = ({"id": first.pk, "DELETE": "on"}, {"id": second.pk, "share": 40}, {"share": 60, "min_relevance": "0.6"})
        answer = client.post(change(made), form(*rows, initial=2))
        assert answer.status_code == 302, answer.context["errors"]
        found = [(each.letter, each.share, each.min_relevance) for each in made.variants.all()]
        assert found == [("A", 40, None), ("C", 60, 0.6)]  # a rule for the former B is not applied to another variant

    def test_a_variant_of_a_draft_keeps_its_letter_though_another_is_deleted(self, client):
        """Otherwise, a rule for the deleted B would apply to the former C, and one for C to nobody."""
        staff(client, *EVERY)
        made = experiment({"diversity": 0.2}, {"diversity": 0.4}, start=False)
        first, second, third = made.variants.all()
        rows = ({"id": first.pk}, {"id": second.pk, "DELETE": "on"}, {"id": third.pk, "diversity": "0.4"})
        answer = client.post(change(made), form(*rows, initial=3))
        assert answer.status_code == 302, answer.context["errors"]
        assert [(each.letter, each.diversity) for each in made.variants.all()] == [("A", None), ("C", 0.4)]
        made.start()
        assert {visitor_of(made, letter) != "" for letter in "AC"} == {True}

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            (({}, {"share": 40}), "add up to 100"),
            (({"diversity": "0.5"}, {}), "A is the control"),
            (({}, {"components": "form^2"}), "no component"),
            (({}, {"components": "form"}), "weights such as"),
            (({}, {"diversity": "2"}), "less than or equal to 1"),
        ],
    )
    def test_a_wrong_one_is_refused(self, client, rows, message):
        staff(client, *EVERY)
        answer = client.post(ADD, form(*rows))
        assert answer.status_code == 200
        assert message in answer.content.decode()
        assert Experiment.objects.count() == 0

    def test_a_second_one_in_its_place_is_refused_with_the_reason(self, client):
        staff(client, *EVERY)
        experiment()
        second = experiment(start=False)
        answer = client.post(page("start", second), follow=True)
        assert "runs in the same place" in answer.content.decode()
        second.refresh_from_db()
        assert second.started is None

    def test_permissions(self, client):
        made = experiment(start=False)
        staff(client)
        assert client.get(page("report", made)).status_code == 403
        assert client.get(page("csv", made)).status_code == 403
        client.logout()
        get_user_model().objects.all().delete()
        staff(client, "view_experiment")
        answer = client.get(page("report", made))
        assert answer.status_code == 200
        assert b"<button" not in answer.content.split(b'id="content-main"')[1].split(b"</div>")[0]
        for name in ("start", "stop", "copy"):
            assert client.post(page(name, made)).status_code == 403
        assert client.post(ADD, form()).status_code == 403
        change = reverse("admin:imagesim_experiments_experiment_change", args=[made.pk])
        made.where = ["words", "photo"]
        made.save()
        assert "Search by words, Search by photo" in client.get(change).content.decode()  # not the stored value
        assert client.get(page("report", made).replace(str(made.pk), "999")).status_code in (403, 404)

    def test_who_may_change_one_sees_the_variants_of_a_running_one(self, client):
        """In Django's admin, the permission to change includes that to view."""
        made = experiment({"diversity": 0.4})
        staff(client, "change_experiment")
        assert "variants-group" in client.get(change(made)).content.decode()

    def test_one_that_is_stopped_while_its_form_is_saved_stays_stopped(self, client, monkeypatch):
        staff(client, *EVERY)
        made = experiment()
        check = experiment_admin.ExperimentForm.clean

        def meanwhile(form: Any) -> Any:
            Experiment.objects.get(pk=made.pk).stop()
            return check(form)

        monkeypatch.setattr(experiment_admin.ExperimentForm, "clean", meanwhile)
        assert client.post(change(made), form(name="another name")).status_code == 302
        made.refresh_from_db()
        assert made.name == "another name"
        assert made.state == Experiment.State.OVER

    def test_a_running_one_is_not_deleted(self, client):
        staff(client, *EVERY)
        made = experiment()
        delete = reverse("admin:imagesim_experiments_experiment_delete", args=[made.pk])
        assert client.post(delete, {"post": "yes"}).status_code == 403
        made.stop()
        assert client.post(delete, {"post": "yes"}).status_code == 302
        assert b"delete_selected" not in client.get(LIST).content

    def test_the_rule_offers_the_variants(self, client):
        made = experiment({"name": "varied"}, name="Variety", start=False)
        client.force_login(get_user_model().objects.create_superuser("boss"))
        add = reverse("admin:imagesim_merchandising_rule_add")
        assert "Variety – B: varied" in client.get(add).content.decode()
        made.delete()
        assert b'type="hidden" name="variant"' in client.get(add).content

    @pytest.mark.parametrize(
        ("where", "prefix", "is_saved"),
        [(["words"], "", False), (["words", "similar"], "", True), ([], "", True), (["words"], "!", True)],
    )
    def test_a_rule_where_its_experiment_is_not_is_refused(self, client, where, prefix, is_saved):
        made = experiment(start=False, where=["similar", "look"])
        client.force_login(get_user_model().objects.create_superuser("boss"))
        given = {"name": "no blue", "priority": 0, "when": "always", "action": "exclude", "filters": "colour = blue"}
        given |= {"factor": 2, "where": where, "variant": f"{prefix}{made.pk}:B"}
        page = client.post(reverse("admin:imagesim_merchandising_rule_add"), given)
        assert Rule.objects.exists() is is_saved
        assert is_saved or "The experiment is not where the rule is" in page.content.decode()

    @pytest.mark.parametrize(("prefix", "word"), [("", "over"), ("!", "on")])
    def test_a_rule_of_an_experiment_that_is_over_is_over_too(self, client, prefix, word):
        """A rule for all visitors except those of its variant then applies to everybody, as before the start."""
        made = experiment(start=False)
        Rule.objects.create(name="no blue", action="exclude", filters="colour = blue", variant=f"{prefix}{made.pk}:B")
        client.force_login(get_user_model().objects.create_superuser("boss"))
        rules_page = reverse("admin:imagesim_merchandising_rule_changelist")
        expected = 'data-tone="on">on<' if prefix else 'data-tone="waiting">not yet<'
        assert expected in client.get(rules_page).content.decode()
        made.start()
        assert 'data-tone="on">on<' in client.get(rules_page).content.decode()
        made.stop()
        assert f">{word}</span>" in client.get(rules_page).content.decode()


def filled(made: Experiment, days: int, a: tuple[int, int], b: tuple[int, int], total: tuple[float, float] = (0, 0)):
    """Store figures for so many days, which grow evenly up to these totals, and no others."""
    Experiment.objects.filter(pk=made.pk).update(settled=True)
    for day in range(1, days + 1):
        for letter, (visitors, converted), value in (("A", a, total[0]), ("B", b, total[1])):
            part = day / days
            DailyResult.objects.create(
                experiment=made,
                until=made.started + day * DAY,
                variant=letter,
                visitors=round(visitors * part),
                converted=round(converted * part),
                total=value * part,
                squares=value * part * 30,
            )


class TestReport:
    def started(self, ago: int, **given: Any) -> Experiment:
        made = experiment({"name": "varied"}, start=False, **given)
        begin(made, ago * DAY + timedelta(hours=1))
        return made

    def test_too_early(self, client, settings):
        settings.USE_THOUSAND_SEPARATOR = True
        made = self.started(3)
        filled(made, 3, (1000, 100), (1000, 135))
        row = report_of(made).rows[1]
        assert "Too early" in row.verdict
        assert row.figure == "13.50 %"
        assert row.change == "+3.50 (+35.0 %)"
        assert row.plain.startswith("+")
        assert row.bounded.startswith("−")
        assert float(row.probability.removesuffix(" %")) > 98
        staff(client, "view_experiment")
        seen = client.get(page("report", made)).content.decode()
        assert "Too early" in seen
        assert "<polygon" in seen
        assert '<svg viewBox="0 0 1000 200"' in seen
        assert 'x2="1000"' in seen

    def test_figures_are_rounded(self):
        made = self.started(3)
        filled(made, 3, (3000, 200), (3000, 170))
        control, varied = report_of(made).rows
        assert (control.figure, varied.figure) == ("6.67 %", "5.67 %")
        assert varied.change == "−1.00 (−15.0 %)"
        assert control.interval == "5.83 % to 7.62 %"  # 5.828 and 7.616

    def test_no_visitor_who_reached_the_goal_has_an_interval(self):
        made = self.started(3)
        filled(made, 3, (1000, 0), (1000, 0))
        row = report_of(made).rows[1]
        assert row.verdict == "Too few visitors for a verdict."
        assert row.plain == "−0.38 to +0.38"
        assert csv_rows(made)[-1]["bounded_high"] > 0.003

    def test_a_winner_and_how_long_it_takes(self):
        made = self.started(28, effect=10)
        filled(made, 28, (10_000, 1000), (10_000, 1200))
        report = report_of(made)
        assert report.rows[1].verdict.startswith("Better than A, shown on day")
        assert report.rows[1].tone == "better"
        (outlook,) = report.outlook
        needed = report.result.comparisons["B"].needed
        assert f"about {-(-needed * 28 // 20_000):.0f} days" in outlook
        assert report.notes == []

    def test_the_day_of_a_verdict_is_that_of_its_look(self):
        """A quarter of a day must not be rounded away: the second look would be on day 1."""
        made = self.started(3)
        filled(made, 3, (1000, 100), (1000, 100))
        made.results.update(until=F("until") - timedelta(hours=18))
        first = made.results.order_by("until")[0].until
        made.results.filter(variant="B").exclude(until=first).update(converted=300)
        assert report_of(made).rows[1].verdict == "Better than A, shown on day 2."

    def test_a_first_day_of_a_minute_takes_no_longer(self, monkeypatch):
        """Its looks must not be taken for a thousand, which would take seconds."""
        counts = []
        monkeypatch.setattr(analysis, "bounds", lambda times, *given: counts.append(len(times)) or [2.0] * len(times))
        arms = {"A": Arm(150, 10), "B": Arm(160, 12)}
        analysis.analyse([analysis.Look(1 / 40_320, arms)], {"A": 50, "B": 50}, by_value=False, effect=0.05)
        assert max(counts) <= 100

    def test_a_long_wait_is_said(self):
        made = self.started(28, effect=5)
        filled(made, 28, (1000, 100), (1000, 100))
        assert "longer than the experiment" in report_of(made).outlook[0]
        assert report_of(made).rows[1].verdict == "No difference was shown."

    def test_a_skewed_assignment_is_warned_of(self, client):
        made = self.started(5)
        filled(made, 5, (5000, 500), (5500, 900))
        row = report_of(made).rows[1]
        assert (row.verdict, row.tone) == ("No verdict: the visitors are not shared as planned.", "none")
        staff(client, "view_experiment")
        assert "so no comparison holds" in client.get(page("report", made)).content.decode()

    @pytest.mark.parametrize("start", [False, True])
    @pytest.mark.parametrize("prefix", ["", "!"])
    def test_a_variant_that_is_the_same_as_the_control_is_named(self, prefix, start):
        """As in a copy: its rules are for the variants of the experiment that was copied."""
        first = experiment(start=False)
        Rule.objects.create(name="no blue", action="exclude", filters="colour = blue", variant=f"{prefix}{first.pk}:B")
        made = first.copied()
        if start:
            begin(made)
        rerank.register(rules.CachedRules())
        assert report_of(first).notes == []
        [note] = report_of(made).notes
        assert note.startswith("Variant B changes no setting, and no rule is for it")
        Experiment.objects.filter(pk=made.pk).update(started=timezone.now() - 40 * DAY)
        made.refresh_from_db()
        assert report_of(made).notes == []

    def test_that_nothing_is_recorded_is_said(self, settings):
        made = self.started(1)
        Variant.objects.filter(letter="B").update(diversity=0.2)
        assert report_of(made).notes == []
        settings.IMAGESIM = {**settings.IMAGESIM, "EVENTS": False}
        assert report_of(made).notes == ["Nothing is recorded: EVENTS is off."]

    def test_values(self):
        made = self.started(5, goal="value")
        filled(made, 5, (1000, 50), (1000, 60), (1500, 1800))
        row = report_of(made).rows[1]
        assert row.figure == "1.80"
        assert row.change == "+0.30 (+20.0 %)"

    def test_figures_are_shown_while_the_database_can_only_be_read(self, client, monkeypatch):
        made = self.started(3)
        filled(made, 1, (1000, 100), (1000, 135))
        Experiment.objects.update(settled=False)
        staff(client, "view_experiment")

        def refuse(*_: Any, **__: Any) -> None:
            raise InternalError("cannot execute INSERT in a read-only transaction")

        monkeypatch.setattr(experiment_admin, "update", refuse)
        seen = client.get(page("report", made)).content.decode()
        assert "1000" in seen
        assert "figures of the last days are not computed yet" in seen
        assert client.get(page("csv", made)).status_code == 200

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize("ago", [3, 29])
    def test_so_they_are_within_the_transaction_of_a_request(self, client, monkeypatch, ago):
        """An experiment whose index is gone cannot be ended, and the figures of one that is over not be made final."""
        made = self.started(ago)
        results.update(made)
        DailyResult.objects.filter(variant="A").update(visitors=1234)
        Experiment.objects.update(settled=False)
        staff(client, "view_experiment")
        monkeypatch.setattr(Experiment, "end_if_index_is_gone", Experiment._end_without_index)
        monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
        with read_only(connection):
            assert "1234" in client.get(page("report", made)).content.decode()
            assert client.get(page("csv", made)).status_code == 200
        assert Experiment.objects.filter(settled=False, stopped=None).exists()

    def test_nobody_came(self):
        made = self.started(2)
        filled(made, 2, (0, 0), (0, 0))
        report = report_of(made)
        assert report.rows[1].verdict == "Too few visitors for a verdict."
        assert "cannot be said" in report.outlook[0]

    @pytest.mark.parametrize("zones", [True, False])
    def test_csv(self, client, settings, zones):
        settings.USE_TZ = zones
        made = self.started(3)
        filled(made, 3, (1000, 100), (1000, 135))
        staff(client, "view_experiment")
        answer = client.get(page("csv", made))
        rows = list(csv.DictReader(StringIO(b"".join(answer.streaming_content).decode("utf-8-sig"))))
        assert len(rows) == 6
        assert (rows[-1]["variant"], rows[-1]["visitors"], rows[-1]["converted"]) == ("B: varied", "1000", "135")
        assert float(rows[-1]["change"]) == pytest.approx(0.035)
        assert float(rows[-1]["bounded_low"]) < 0 < float(rows[-1]["bounded_high"])
        assert rows[-2]["change"] == ""

    def test_a_day_that_is_added_meanwhile_is_not_in_the_csv(self, monkeypatch):
        made = self.started(3)
        filled(made, 2, (1000, 100), (1000, 135))
        days = {row.until for row in made.results.all()}

        def with_another(experiment):
            found = report_of(experiment)
            DailyResult.objects.create(experiment=experiment, until=max(days) + timedelta(days=1), variant="A")
            return found

        monkeypatch.setattr(report, "report_of", with_another)
        assert len(csv_rows(Experiment.objects.get(pk=made.pk))) == 4


def test_key_of_a_hit_is_in_the_token(shelf):
    """What a click proves: the item was in the answer that the exposure names."""
    with visiting("someone"):
        hits = imagesim.search(text="red")
    assert events.request_of(hits.token, key_of(hits[0].item))


def test_the_example_of_weights_names_parts_of_the_built_in_model():
    example = Variant._meta.get_field("components").help_text
    assert {weight.partition("^")[0] for weight in example.split()} <= set(lite.COMPONENTS)
