"""Visitors' photos are stored for a few minutes, in memory only, so that a moved box needs no upload."""

from __future__ import annotations

import io
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache, caches
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from PIL import Image

from imagesim import conf
from imagesim.exceptions import BadQuery, ConfigurationError, PhotoGone
from imagesim.items import Items
from imagesim.items.registry import registry
from imagesim.retrieval import concurrency, look, photo_store, regions
from imagesim.types import Region
from tests import shop
from tests.shop import encoded, product

LOOK = "/api/visual/look/"
SIZE = (1200, 1600)


@pytest.fixture(autouse=True)
def _settings(settings, media_root):
    rates = {"similar": None, "search": None, "look": None, "region": None, "refused": None}
    settings.IMAGESIM = {
        "SYNC": "manual",
        "MIN_RELEVANCE": 0.0,  # pixels are not calibrated
        "EMBEDDER": shop.EMBEDDER,
        "REGIONS": {"BACKEND": "tests.regions.ColourFinder"},
        "REST_THROTTLES": rates,
    }
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def shelf():
    for name, colour, category, stock in (
        ("red shoe", "red", "shoes", 3),
        ("sold shoe", "red", "shoes", 0),
        ("red dress", "red", "dresses", 3),
        ("blue hat", "blue", "hats", 3),
        ("blue sofa", "blue", "sofas", 3),
    ):
        product(name, Image.new("RGB", (64, 64), colour), category=category, stock=stock)
    shop.index()


@pytest.mark.parametrize("secret", ["\ud800", "é", "\0", ""])
def test_a_token_that_nobody_was_given_names_no_photo(secret):
    token = photo_store.store(Image.new("RGB", (400, 400)), SIZE)
    with pytest.raises(PhotoGone):
        photo_store.load(f"{token.partition('.')[0]}.{secret}")


def street(**options: Any) -> SimpleUploadedFile:
    """A blue hat above, red shoes below, on white."""
    image = Image.new("RGB", (300, 600), "white")
    image.paste("blue", (100, 60, 200, 120))
    image.paste("red", (60, 480, 240, 570))
    return SimpleUploadedFile("street.jpg", encoded(image, "JPEG", quality=95, **options))


def names(answer: dict[str, Any]) -> list[str]:
    return [hit["item"]["name"] for hit in answer["results"]]


class TestHold:
    def test_a_token_returns_the_reduced_photo(self):
        token = photo_store.store(Image.new("RGB", (1500, 2000), "red"), (3000, 4000))
        photo, size = photo_store.load(token)
        assert (photo.size, photo.mode, size) == ((750, 1000), "RGB", (3000, 4000))

    @pytest.mark.parametrize("token", ["", "0", "0.", "x.y", ".", "0.wrong", "99999999999.x", "²." + "a" * 32, "0.é"])
    def test_other_tokens_return_nothing(self, token):
        photo_store.store(Image.new("RGB", SIZE, "red"), SIZE)
        with pytest.raises(PhotoGone, match="has expired"):
            photo_store.load(token)

    def test_tokens_cannot_be_guessed(self):
        tokens = {photo_store.store(Image.new("RGB", (64, 64)), (64, 64)) for _ in range(20)}
        assert len({token.partition(".")[2] for token in tokens}) == 20
        assert all(len(token.partition(".")[2]) == 32 for token in tokens)

    def test_the_oldest_photo_is_evicted(self, settings):
        settings.IMAGESIM = {**settings.IMAGESIM, "LOOK_PHOTOS": 3}
        tokens = [photo_store.store(Image.new("RGB", (64, 64)), (64, 64)) for _ in range(5)]
        for token in tokens[:2]:
            with pytest.raises(PhotoGone):
                photo_store.load(token)
        for token in tokens[2:]:
            photo_store.load(token)
        assert sum("imagesim.look.photo" in key for key in cache._cache) == 3

    def test_many_photos_of_one_visitor_replace_each_other(self, settings):
        settings.IMAGESIM = {**settings.IMAGESIM, "LOOK_PHOTOS": 64}
        image, size = Image.new("RGB", (64, 64)), (64, 64)
        mine = photo_store.store(image, size, "address-198.51.100.1")
        slot = int(mine.partition(".")[0]) // photo_store.SLOTS_PER_VISITOR
        others = (f"address-203.0.113.{n}" for n in range(255))
        flooder = next(
            other
            for other in others
            if int(photo_store.store(image, size, other).partition(".")[0]) // photo_store.SLOTS_PER_VISITOR != slot
        )
        tokens = [photo_store.store(image, size, flooder) for _ in range(100)]
        photo_store.load(mine)
        for token in tokens[-photo_store.SLOTS_PER_VISITOR :]:
            photo_store.load(token)
        with pytest.raises(PhotoGone):
            photo_store.load(tokens[-photo_store.SLOTS_PER_VISITOR - 1])
        assert sum("imagesim.look.photo" in key for key in cache._cache) <= 64

    def test_bytes_are_bounded(self, settings):
        noise = Image.effect_noise((1280, 1280), 90).convert("RGB")
        settings.IMAGESIM = {**settings.IMAGESIM, "LOOK_PHOTOS": 4, "LOOK_BYTES": 4_000_000}
        token = photo_store.store(noise, noise.size)
        assert token
        assert 0 < len(cache.get(photo_store._key(int(token.partition(".")[0])))[1]) <= 1_000_000
        settings.IMAGESIM = {**settings.IMAGESIM, "LOOK_BYTES": 40_000}
        assert photo_store.store(noise, noise.size) == ""

    def test_slivers_are_not_held(self):
        assert photo_store.store(Image.new("RGB", (20_000, 500)), (20_000, 500)) != ""
        assert photo_store.store(Image.new("RGB", (20_000, 100)), (20_000, 100)) == ""

    def test_disabled_by_the_setting(self, settings):
        settings.IMAGESIM = {**settings.IMAGESIM, "LOOK_SECONDS": 0}
        assert photo_store.store(Image.new("RGB", (64, 64)), (64, 64)) == ""

    @pytest.mark.parametrize("backend", ["filebased.FileBasedCache", "db.DatabaseCache"])
    def test_caches_on_disk_are_not_used(self, settings, tmp_path, backend):
        from imagesim.checks import check_look

        where = {"BACKEND": f"django.core.cache.backends.{backend}", "LOCATION": str(tmp_path / "cache")}
        settings.CACHES = {**settings.CACHES, "disk": where}
        assert check_look() == []
        settings.IMAGESIM = {**settings.IMAGESIM, "LOOK_CACHE": "disk"}
        assert photo_store.store(Image.new("RGB", (64, 64)), (64, 64)) == ""
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
        assert [message.id for message in check_look()] == ["imagesim.W004"]
        settings.IMAGESIM = {**settings.IMAGESIM, "LOOK_SECONDS": 0}
        assert check_look() == []

    def test_a_cache_that_keeps_nothing(self, settings):
        settings.CACHES = {**settings.CACHES, "none": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
        settings.IMAGESIM = {**settings.IMAGESIM, "LOOK_CACHE": "none"}
        assert photo_store.store(Image.new("RGB", (64, 64)), (64, 64)) == ""

    def test_an_unknown_cache(self, settings):
        from imagesim.checks import check_look

        settings.IMAGESIM = {**settings.IMAGESIM, "LOOK_CACHE": "nowhere"}
        assert photo_store.store(Image.new("RGB", (64, 64)), (64, 64)) == ""
        assert [message.id for message in check_look()] == ["imagesim.E006"]

    def test_an_unavailable_cache(self, monkeypatch, caplog):
        token = photo_store.store(Image.new("RGB", (64, 64)), (64, 64))

        def down(*args: object, **kwargs: object) -> None:
            raise ConnectionError("no cache")

        monkeypatch.setattr(type(caches["default"]), "set", down)
        monkeypatch.setattr(type(caches["default"]), "get", down)
        for _visitor in range(3):
            assert photo_store.store(Image.new("RGB", (64, 64)), (64, 64)) == ""
            with pytest.raises(PhotoGone):
                photo_store.load(token)
        assert [message.partition(" the cache")[0] for message in caplog.messages] == [
            "A photo could not be stored in",
            "A photo could not be read from",
        ]

    def test_an_evicted_counter(self, monkeypatch):
        monkeypatch.setattr(type(caches["default"]), "incr", lambda *args: (_ for _ in ()).throw(ValueError))
        token = photo_store.store(Image.new("RGB", (64, 64), "red"), (3000, 3000))
        photo, size = photo_store.load(token)
        assert (photo.size, size) == ((64, 64), (3000, 3000))
        assert photo.getpixel((32, 32))[0] > 240


@pytest.mark.django_db
class TestRegion:
    def ask(self, token: str, **body: Any) -> Any:
        return Client().post(f"{LOOK}{token}/region/", body, content_type="application/json")

    @pytest.fixture
    def token(self, shelf) -> str:
        return Client().post(LOOK, {"image": street()}).json()["photo"]

    def test_a_moved_box_does_not_send_the_photo_again(self, token):
        response = self.ask(token, region=[0.2, 0.8, 0.6, 0.15], label="shoes")
        assert response.status_code == 200, response.content
        answer = response.json()
        assert answer["box"] == {"x": 0.2, "y": 0.8, "width": 0.6, "height": 0.15}
        assert (answer["label"], answer["name"], answer["categories"]) == ("shoes", "Shoes", ["shoes"])
        assert names(answer)[0] == "red shoe"
        assert "photo" not in answer
        drawn = self.ask(token, region=[0.35, 0.11, 0.3, 0.08]).json()
        assert (drawn["label"], drawn["name"]) == ("", "")
        assert set(names(drawn)[:2]) == {"blue hat", "blue sofa"}

    def test_as_a_form_and_with_filters(self, token):
        form = {"region": "[0.35, 0.11, 0.3, 0.08]", "category": "sofas", "price__lte": "50"}
        response = Client().post(f"{LOOK}{token}/region/", form)
        assert names(response.json()) == ["blue sofa"]
        assert response.json()["categories"] == ["sofas"]
        assert "sold shoe" not in names(self.ask(token, region=[0.2, 0.8, 0.6, 0.15], in_stock="true").json())
        assert "sold shoe" in names(self.ask(token, region=[0.2, 0.8, 0.6, 0.15]).json())

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({}, "region"),
            ({"region": [0, 0, 2, 1]}, "region"),
            ({"region": [0, 0, 0.001, 0.001]}, "region"),
            ({"region": "[0,"}, "region"),
            ({"region": [[0, 0, 1, 1]]}, "region"),
            ({"region": {"x": 0, "y": 0, "width": 1, "height": 1}}, "region"),
            ({"region": [0, 0, 1, 1], "label": ["x", 1]}, "label"),
            ({"region": [0, 0, 1, 1], "label": "x" * 101}, "label"),
            ({"region": [0, 0, 1, 1], "offset": 3}, "offset"),
            ({"region": [0, 0, 1, 1], "model": "shop.nope"}, "model"),
        ],
    )
    def test_a_bad_query(self, token, body, field):
        response = self.ask(token, **body)
        assert (response.status_code, response.json()["field"]) == (400, field), response.content
        assert "None" not in response.json()["detail"]

    @pytest.mark.parametrize("box", [{"x": 0, "y": 0, "width": 1, "height": 1}, 7, "[0, 0, 1]", None])
    def test_what_a_box_is(self, token, box):
        """A client that sends an object is told that a list is required."""
        assert "a list of four numbers" in self.ask(token, region=box).json()["detail"]

    def test_an_unexpected_photo(self, token):
        response = Client().post(f"{LOOK}{token}/region/", {"image": street(), "region": "[0,0,1,1]"})
        assert (response.status_code, response.json()["field"]) == (400, "image")

    def test_an_expired_token(self, token):
        cache.clear()
        response = self.ask(token, region=[0, 0, 1, 1])
        assert response.status_code == 410
        assert response.json()["code"] == "photo_gone"
        assert response.json()["detail"].count(".") == 1
        assert response["Cache-Control"] == "private, no-store"

    def test_throttled_separately_from_photos(self, token, settings):
        rates = {**settings.IMAGESIM["REST_THROTTLES"], "region": "1/min"}
        settings.IMAGESIM = {**settings.IMAGESIM, "REST_THROTTLES": rates}
        assert self.ask(token, region=[0, 0, 1, 1]).status_code == 200
        refused = self.ask(token, region=[0, 0, 1, 1])
        assert refused.status_code == 429
        assert int(refused["Retry-After"]) > 0
        assert Client().post(LOOK, {"image": street()}).status_code == 200

    def test_without_a_cache_the_answer_has_no_token(self, shelf, settings):
        settings.IMAGESIM = {**settings.IMAGESIM, "LOOK_SECONDS": 0}
        assert Client().post(LOOK, {"image": street()}).json()["photo"] is None

    def test_exif_data_are_removed(self, shelf):
        exif = Image.Exif()
        exif[0x010E] = "secret-place"
        exif.get_ifd(0x8825)[1] = "N"
        response = Client().post(LOOK, {"image": street(exif=exif.tobytes())})
        kept = next(value for key, value in cache._cache.items() if "look.photo" in key)
        assert b"secret-place" not in kept
        assert b"secret-place" not in response.content
        photo, _ = photo_store.load(response.json()["photo"])
        assert not photo.getexif()

    def test_a_photo_without_regions_needs_no_store(self, shelf):
        seen = look.shop_the_look(street().read(), regions=[], whole=False)
        assert (seen.regions, list(seen.hits)) == ((), [])

    def test_one_category_for_everything(self, shelf):
        seen = look.shop_the_look(street().read(), category="dresses")
        assert [[hit.item.name for hit in region.hits] for region in seen.regions] == [["red dress"], ["red dress"]]
        assert [hit.item.name for hit in seen.hits] == ["red dress"]


@pytest.mark.django_db
class TestReload:
    """Requests of a page that is reloaded or shared."""

    def test_the_look_again_without_the_photo(self, shelf, client):
        first = client.post(LOOK, {"image": street(), "limit": 2}).json()
        again = client.post(f"{LOOK}{first['photo']}/", {"limit": 2})
        assert again.status_code == 200
        assert again["Cache-Control"] == "private, no-store"
        second = again.json()
        assert second["photo"] == first["photo"]
        assert second["size"] == first["size"]
        assert [region["label"] for region in second["regions"]] == [region["label"] for region in first["regions"]]
        assert [names(region) for region in second["regions"]] == [names(region) for region in first["regions"]]

    @pytest.mark.parametrize("accepted", ["*/*", "image/*", "image/jpeg"])
    def test_the_photo_itself(self, shelf, client, accepted):
        token = client.post(LOOK, {"image": street()}).json()["photo"]
        response = client.get(f"{LOOK}{token}/photo/", headers={"accept": accepted})
        assert (response.status_code, response["Content-Type"]) == (200, "image/jpeg")
        assert response["X-Content-Type-Options"] == "nosniff"
        assert (
            response["Cache-Control"] == "private, no-store"
        )  # some releases of Django's cache middleware need the first
        assert Image.open(io.BytesIO(response.content)).size == (300, 600)

    def test_an_expired_token(self, client):
        assert client.post(f"{LOOK}7.gone/", {}).status_code == 410
        assert client.get(f"{LOOK}7.gone/photo/").status_code == 410

    def test_not_with_another_photo(self, shelf, client):
        token = client.post(LOOK, {"image": street()}).json()["photo"]
        assert client.post(f"{LOOK}{token}/", {"image": street()}).status_code == 400


@pytest.mark.django_db
class TestLabels:
    def categories(self, monkeypatch, label: str, **said: list[str]) -> list[list[str]]:
        monkeypatch.setattr(registry.for_label("shop.product"), "look_categories", said)
        box = regions.as_region((0.2, 0.8, 0.6, 0.15), label)
        return [list(r.categories) for r in look.shop_the_look(street().read(), regions=[box]).regions]

    def test_the_shop_maps_a_label_to_categories(self, shelf, monkeypatch):
        assert self.categories(monkeypatch, "shoes", shoes=["dresses", "sofas"]) == [["dresses", "sofas"]]
        assert self.categories(monkeypatch, "hat", shoes=["sofas"]) == [["hats"]]

    def test_a_neutral_label_covers_others(self, shelf, monkeypatch):
        monkeypatch.setattr(registry.for_label("shop.product"), "look_categories", {"top": ["sofas"]})
        region = Region(0.2, 0.8, 0.6, 0.15, "upper_body", alternatives=("top", "hat"))
        (seen,) = look.shop_the_look(street().read(), regions=[region]).regions
        assert seen.categories == ("sofas", "hats")

    def test_an_empty_mapping_uses_the_vote_of_the_hits(self, shelf, monkeypatch):
        assert self.categories(monkeypatch, "shoes", shoes=[]) in ([[]], [["shoes"]], [["dresses"]])

    @pytest.mark.parametrize("wrong", ["shoes", {"shoes": "boots"}, {"shoes": [1]}, {1: ["boots"]}])
    def test_an_invalid_mapping(self, wrong):
        from demo_shop.shop.models import Product

        with pytest.raises(ConfigurationError, match="look_categories"):
            type("Wrong", (Items,), {"look_categories": wrong})(Product)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_fifty_photos_at_once(shelf, monkeypatch, settings):
    """Each gets an answer or is asked to come back, and no more are decoded at a time than there are slots."""
    settings.IMAGESIM = {**settings.IMAGESIM, "LOOK_SECONDS": 0}
    semaphores = (threading.BoundedSemaphore(2), threading.BoundedSemaphore(4))
    monkeypatch.setattr(concurrency, "_semaphores", lambda: semaphores)
    monkeypatch.setattr(concurrency, "WAIT_SECONDS", 0.5)
    lock, now, most = threading.Lock(), [0], [0]
    real = look.shop_the_look

    def counted(photo: Any, **asked: Any) -> Any:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        threading.Event().wait(0.05)
        try:
            return real(photo, regions=[], whole=False)  # the decoding is what is counted here
        finally:
            with lock:
                now[0] -= 1

    monkeypatch.setattr(look, "shop_the_look", counted)
    large = io.BytesIO()
    Image.new("RGB", (4000, 3000), "red").save(large, "PNG", compress_level=1)
    before = _resident()
    answers: list[Any] = []
    start = threading.Barrier(50)

    def send() -> None:
        start.wait()
        response = Client().post(LOOK, {"image": SimpleUploadedFile("a.png", large.getvalue())})
        connection.close()  # this thread's own
        answers.append((response.status_code, response.headers.get("Retry-After")))

    threads = [threading.Thread(target=send) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(answers) == 50
    assert {status for status, _ in answers} == {200, 503}
    assert all(int(retry) > 0 for status, retry in answers if status == 503)
    assert 1 <= most[0] <= 2
    # 36 MB a photo, a copy of it while it is examined, and the bodies: fifty at once would take 2 to 4 GB.
    assert _resident() - before < 600 * 1024


def _resident() -> int:
    """Return the most memory that this process has held so far, in KiB."""
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("this system does not tell")
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))


def test_the_settings_are_validated():
    _, errors = conf.parse({"LOOK_PHOTOS": 0, "LOOK_SECONDS": -1, "LOOK_BYTES": "many"})
    assert len(errors) == 3


def test_a_bad_region_is_named():
    with pytest.raises(BadQuery):
        regions.as_region(json.loads("[0, 0, 1]"), "shoes")
