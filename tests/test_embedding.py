"""Pictures are embedded once, with bounded memory, and each error is stored with its picture."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from django.db import connection
from django.db.models import Model
from django.db.models.fields.files import FieldFile
from django.utils import timezone
from PIL import Image

from demo_shop.shop.models import Photo
from imagesim.exceptions import EmbedderError
from imagesim.indexing import embedding as module
from imagesim.indexing.embedding import Vectors
from imagesim.indexing.interruptions import SoftTimeLimitExceeded
from imagesim.indexing.leases import EmbeddingLeases
from imagesim.indexing.pictures import Picture
from imagesim.indexing.write_targets import Target
from imagesim.models import Embedding, EmbeddingLease
from imagesim.testing import picture_file
from imagesim.types import IndexMeta
from tests.embedders import PixelEmbedder
from tests.shop import encoded


class CountingEmbedder(PixelEmbedder):
    """Counts what the model is given, and may be slow or fail."""

    def __init__(self, *, pause: float = 0.0, fails_on: tuple[int, int] | None = None, broken: bool = False) -> None:
        super().__init__()
        self.pause = pause
        self.fails_on = fails_on
        self.broken = broken
        self.batches: list[int] = []

    def best_batch(self) -> int:
        return 4

    def embed_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        self.batches.append(len(images))
        time.sleep(self.pause)
        if self.broken or any(image.size == self.fails_on for image in images):
            raise RuntimeError("cannot")
        return super().embed_images(images)


class FakeTarget(Target):
    """A target whose embedder is given."""

    given: CountingEmbedder

    @property
    def embedder(self) -> CountingEmbedder:  # type: ignore[override]
        return self.given


def target(embedder: CountingEmbedder) -> Target:
    meta = IndexMeta(fingerprint=embedder.fingerprint, dims=embedder.dims)
    made = FakeTarget(None, "here", meta)  # type: ignore[arg-type]
    object.__setattr__(made, "given", embedder)
    return made


def picture(colour: str, size: tuple[int, int] = (40, 30)) -> Picture:
    file = BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return Picture(f"{colour}.png", BytesIO(file.getvalue()))


COLOURS = ("red", "green", "blue", "yellow", "black", "white", "orange", "purple", "pink", "brown")


@pytest.mark.django_db
def test_every_picture_gets_its_vector_in_batches() -> None:
    embedder = CountingEmbedder()
    vectors = Vectors([target(embedder)])
    found = vectors.resolve([picture(colour) for colour in COLOURS])
    assert embedder.batches == [4, 4, 2]
    for each, colour in zip(found, COLOURS, strict=True):
        vector = vectors.get(each.digest, embedder.fingerprint)
        assert vector is not None
        assert np.allclose(vector, PixelEmbedder().embed_images([Image.new("RGB", (40, 30), colour)])[0], atol=1e-5)
    assert Embedding.objects.count() == len(COLOURS)
    assert not EmbeddingLease.objects.exists()


@pytest.mark.django_db
def test_known_pictures_are_not_decoded_or_embedded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = CountingEmbedder()
    Vectors([target(embedder)]).resolve([picture("red")])
    monkeypatch.setattr(module.images, "decode", lambda *args, **kwargs: pytest.fail("decoded again"))
    twice = Vectors([target(embedder)])
    twice.resolve([picture("red"), picture("red")])
    assert (embedder.batches, twice.embedded, twice.opened) == ([1], 0, 2)


@pytest.mark.django_db
def test_the_vectors_of_pictures_read_before_are_loaded_by_one_query(django_assert_num_queries: Any) -> None:
    pictures = [picture("red", (40, 30 + number)) for number in range(2 * module.LOOKUP_BATCH)]
    found = Vectors([target(CountingEmbedder())]).resolve(pictures)
    again = [replace(each, digest="", known_digest=each.digest) for each in found]
    vectors = Vectors([target(CountingEmbedder())])
    with django_assert_num_queries(1):
        assert [each.digest for each in vectors.resolve(again)] == [each.digest for each in found]
    assert (vectors.opened, vectors.embedded) == (len(pictures), 0)


@pytest.mark.django_db
def test_the_same_picture_twice_in_a_batch_is_embedded_once() -> None:
    embedder = CountingEmbedder()
    vectors = Vectors([target(embedder)])
    found = vectors.resolve([picture("red"), picture("blue"), picture("red")])
    assert vectors.embedded == 2
    assert found[0].digest == found[2].digest
    assert not any(each.error for each in found)


@pytest.mark.django_db
def test_a_file_of_several_items_is_read_once(media_root: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """For instance when variants show the pictures of their product, or products share one of a library."""
    field: Any = Photo._meta.get_field("file")
    reads: list[str] = []
    read = module.images.read
    monkeypatch.setattr("imagesim.images.read", lambda file: reads.append(file.name) or read(file))
    for name, colour in (("shared.png", "red"), ("own.png", "blue")):
        field.storage.save(name, picture_file(colour))
    names = ["shared.png", "own.png", "gone.png"] * 3
    wanted = [Picture(name, FieldFile(Photo(), field, name)) for name in names]  # type: ignore[no-untyped-call]
    vectors = Vectors([target(CountingEmbedder())])

    found = vectors.resolve(wanted)

    assert sorted(reads) == ["gone.png", "own.png", "shared.png"]
    assert (vectors.opened, vectors.embedded) == (3, 2)
    assert [each.name for each in found] == names
    assert [(each.digest, each.error) for each in found] == 3 * [(each.digest, each.error) for each in found[:3]]
    assert [bool(each.digest) for each in found[:3]] == [True, True, False]

    monkeypatch.setattr("imagesim.images.read", Mock(side_effect=ConnectionError("no route")))
    again = [replace(each, known_digest=f"{number}") for number, each in enumerate(wanted[::3])]
    assert [each.digest for each in vectors.resolve(again)] == ["0", "1", "2"], "each has what was last read of it"


@pytest.mark.django_db
def test_the_same_picture_is_embedded_once_however_late_it_comes() -> None:
    """Pictures are looked up in groups, ahead of those that are embedded."""
    vectors = Vectors([target(CountingEmbedder())])
    pictures = [picture("red", (40, 30 + number)) for number in range(module.LOOKUP_BATCH)]
    vectors.resolve([*pictures, *(picture("red", (40, 30 + number)) for number in range(module.LOOKUP_BATCH))])
    assert vectors.embedded == module.LOOKUP_BATCH == Embedding.objects.count()


@pytest.mark.django_db
def test_a_bad_picture_affects_no_other() -> None:
    embedder = CountingEmbedder(fails_on=(50, 50))
    bad = Picture("bad.jpg", BytesIO(b"\xff\xd8\xff not a picture"))
    odd = picture("red", (50, 50))
    found = Vectors([target(embedder)]).resolve([picture("red"), bad, picture("green"), odd, picture("blue")])
    assert [bool(each.error) for each in found] == [False, True, False, True, False]
    assert found[1].permanent
    assert "cannot embed" in found[3].error


class OddEmbedder(CountingEmbedder):
    """Its vectors are multiplied for square pictures, as by a half-precision model that overflows."""

    factor: Any = np.nan

    def embed_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        factors = [[self.factor if image.width == image.height == 50 else 1] for image in images]
        return super().embed_images(images) * np.array(factors, np.float32)


@pytest.mark.django_db
@pytest.mark.parametrize("factor", [np.nan, np.inf, 0])
def test_a_vector_that_no_index_takes_is_not_stored(factor: float) -> None:
    """It would make its item fail each time, even after the model was fixed."""
    embedder = OddEmbedder()
    embedder.factor = factor
    found = Vectors([target(embedder)]).resolve([picture("red"), picture("blue", (50, 50)), picture("green")])
    assert ["not finite" in each.error for each in found] == [False, True, False]
    assert not found[1].permanent
    assert Embedding.objects.count() == 2
    embedder.factor = 1
    again = Vectors([target(embedder)]).resolve([picture("blue", (50, 50))])
    assert not again[0].error
    assert Embedding.objects.count() == 3


class LimitedEmbedder(CountingEmbedder):
    """A service that answers every second request, like one that limits their rate."""

    def embed_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        vectors = super().embed_images(images)
        if len(self.batches) % 2:
            raise EmbedderError("it answered 429")
        return vectors


@pytest.mark.django_db
def test_a_service_that_answers_now_and_then_is_not_blamed_on_pictures() -> None:
    found = Vectors([target(LimitedEmbedder())]).resolve([picture("red"), picture("green")])
    assert sorted(each.error for each in found) == ["", "The model cannot embed it: it answered 429"]
    failed = max(found, key=lambda each: each.error)
    assert failed.unreachable
    assert not failed.permanent


@pytest.mark.django_db
@pytest.mark.parametrize("at", [1, 3])
def test_a_time_limit_is_not_blamed_on_pictures(at: int) -> None:
    class EndedEmbedder(CountingEmbedder):
        def embed_images(self, images: Sequence[Image.Image]) -> np.ndarray:
            if len(self.batches) + 1 == at:
                raise SoftTimeLimitExceeded
            return super().embed_images(images)

    with pytest.raises(SoftTimeLimitExceeded):
        Vectors([target(EndedEmbedder(fails_on=(50, 50)))]).resolve([picture("red"), picture("red", (50, 50))])
    assert not EmbeddingLease.objects.exists()


@pytest.mark.django_db
def test_at_a_stop_no_more_files_are_read() -> None:
    """The worker waits for those that are being read, each of which can take long in a remote storage."""
    stopped: list[float] = []
    begun: list[float] = []

    class StoppedEmbedder(CountingEmbedder):
        def embed_images(self, images: Sequence[Image.Image]) -> np.ndarray:
            stopped.append(time.monotonic())
            raise KeyboardInterrupt

    class SlowFile(BytesIO):
        def seek(self, *args: Any) -> int:
            begun.append(time.monotonic())
            time.sleep(0.3)
            while stopped and time.monotonic() < stopped[0] + 1:  # a busy machine needs this time to cancel the others
                time.sleep(0.05)
            return super().seek(*args)

    pictures = [Picture(str(n), SlowFile(encoded(Image.new("RGB", (20 + n, 20))))) for n in range(80)]
    with pytest.raises(KeyboardInterrupt):
        Vectors([target(StoppedEmbedder())]).resolve(pictures)
    assert sum(each > stopped[0] for each in begun) <= 2


@pytest.mark.django_db
def test_a_model_that_always_fails_is_not_blamed_on_pictures(caplog: pytest.LogCaptureFixture) -> None:
    found = [picture("red")]
    with pytest.raises(EmbedderError, match="The model fails: RuntimeError: cannot"):
        Vectors([target(CountingEmbedder(broken=True))]).resolve(found)
    assert not found[0].error
    assert not EmbeddingLease.objects.exists()
    assert "in embed_images" in caplog.text  # whoever writes an embedder needs the line


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (None, r"The model's vectors have the shape \(\), not \(1, 64\)."),
        (np.ones(64), r"The model's vectors have the shape \(64,\), not \(1, 64\)."),
        (np.ones((1, 10)), r"The model's vectors have the shape \(1, 10\), not \(1, 64\)."),
        (np.zeros((1, 64)), "One of the model's vectors is zero or not finite."),
    ],
)
def test_wrong_vectors_are_described(monkeypatch: pytest.MonkeyPatch, rows: Any, message: str) -> None:
    monkeypatch.setattr(CountingEmbedder, "embed_images", lambda self, images: rows)
    with pytest.raises(EmbedderError, match=message):
        Vectors([target(CountingEmbedder())]).resolve([picture("red")])


class LaggingReplica:
    """A database router for a shop whose replica does not have the last rows yet."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str | None:
        return "no such database" if model is EmbeddingLease else None

    def db_for_write(self, model: type[Model], **hints: Any) -> str:
        return "default"


@pytest.mark.django_db
def test_leases_are_not_read_from_a_replica(settings: Any) -> None:
    """Otherwise, a worker would never see its own leases, and wait for ever."""
    settings.DATABASE_ROUTERS = [LaggingReplica()]
    leases = EmbeddingLeases()
    assert leases.lease({("digest", "fingerprint")}) == {("digest", "fingerprint")}
    leases.release()


@pytest.mark.django_db
def test_a_lease_is_exclusive_until_it_expires() -> None:
    first, second = EmbeddingLeases(), EmbeddingLeases()
    wanted = [("a", "m"), ("b", "m")]
    assert first.lease(wanted[:1]) == {("a", "m")}
    assert second.lease(wanted) == {("b", "m")}
    EmbeddingLease.objects.filter(digest="a").update(until=timezone.now() - timedelta(seconds=1))
    assert second.lease(wanted) == set(wanted)
    first.release()
    second.release()
    assert not EmbeddingLease.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(("setting", "seconds"), [(10, 10), (3600, 120)])
def test_leases_are_renewed_when_half_of_their_time_is_over(
    settings: Any, monkeypatch: pytest.MonkeyPatch, setting: int, seconds: int
) -> None:
    settings.IMAGESIM = {**settings.IMAGESIM, "SYNC_LEASE_SECONDS": setting}
    begun = timezone.now()
    leases = EmbeddingLeases()

    def left(after: float) -> list[float]:
        monkeypatch.setattr(timezone, "now", lambda: begun + timedelta(seconds=after))
        leases.renew()
        untils = EmbeddingLease.objects.order_by("digest").values_list("until", flat=True)
        return [(until - begun).total_seconds() for until in untils]

    assert left(0) == []
    leases.lease([("a", "m")])
    assert left(0.4 * seconds) == [seconds]
    leases.lease([("b", "m")])
    assert left(0.4 * seconds) == [seconds, 1.4 * seconds]
    assert left(0.6 * seconds) == [1.6 * seconds, 1.6 * seconds]
    leases.release()
    assert left(2 * seconds) == []


@pytest.mark.django_db
def test_the_leases_on_the_embeddings_are_renewed_during_the_work(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise, another worker computes them, too, if the model takes longer than a lease."""
    settings.IMAGESIM = {**settings.IMAGESIM, "SYNC_LEASE_SECONDS": 10}
    begun = timezone.now()

    class SlowEmbedder(CountingEmbedder):
        def best_batch(self) -> int:
            return 1

        def embed_images(self, images: Sequence[Image.Image]) -> np.ndarray:
            vectors = super().embed_images(images)
            now = begun + timedelta(seconds=7 * len(self.batches))
            monkeypatch.setattr(timezone, "now", lambda: now)
            assert not EmbeddingLease.objects.filter(until__lte=now).exists()
            return vectors

    embedder = SlowEmbedder()
    Vectors([target(embedder)]).resolve([picture(colour) for colour in COLOURS[:4]])
    assert embedder.batches == [1, 1, 1, 1]


@pytest.mark.django_db
def test_embeddings_leased_by_a_dead_worker_are_made_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = CountingEmbedder()
    dead = EmbeddingLeases()
    one = picture("red")
    data = one.file.getvalue()
    dead.lease([(module.images.digest(data), embedder.fingerprint)])
    waits: list[float] = []

    def expire(seconds: float) -> None:
        waits.append(seconds)
        EmbeddingLease.objects.update(until=timezone.now() - timedelta(seconds=1))

    monkeypatch.setattr(module.time, "sleep", lambda seconds: expire(seconds))
    vectors = Vectors([target(embedder)])
    vectors.resolve([one])
    assert waits
    assert vectors.embedded == 1


@pytest.mark.django_db
def test_the_lease_on_the_items_is_renewed_during_the_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever takes long: files from a slow storage, another worker's embeddings, the model."""
    renewed: list[str] = []
    stage = "reading"

    def renew() -> None:
        renewed.append(stage)

    embedder = CountingEmbedder()
    Vectors([target(embedder)]).resolve([picture(colour) for colour in COLOURS])
    # Only reading: the vectors are stored, but the digests of the files are not known.
    monkeypatch.setattr(module, "LOOKUP_BATCH", 2)
    Vectors([target(embedder)], renew=renew).resolve([picture(colour) for colour in COLOURS])
    assert len(renewed) == len(COLOURS) // 2

    renewed.clear()
    stage = "waiting"
    other = EmbeddingLeases()
    file = picture("red", (41, 30))
    other.lease([(module.images.digest(file.file.getvalue()), embedder.fingerprint)])
    monkeypatch.setattr(module.time, "sleep", lambda seconds: len(renewed) > 2 and other.release())
    Vectors([target(embedder)], renew=renew).resolve([file])
    assert len(renewed) > 3

    renewed.clear()
    stage = "embedding"
    monkeypatch.setattr(module, "LOOKUP_BATCH", 100)
    Vectors([target(embedder)], renew=renew).resolve([picture(colour, (42, 30)) for colour in COLOURS])
    assert len(renewed) == 1 + len(embedder.batches[-3:])  # one chunk of files, three batches


@pytest.fixture
def _closing(transactional_db: None) -> Iterator[None]:
    yield
    connection.close()


@pytest.mark.usefixtures("_closing")
def test_two_workers_with_the_same_pictures_embed_each_once() -> None:
    embedder = CountingEmbedder(pause=0.05)
    results: list[Vectors] = []
    errors: list[Any] = []
    barrier = threading.Barrier(2)

    def work() -> None:
        try:
            vectors = Vectors([target(embedder)])
            found = [picture(colour) for colour in COLOURS]
            barrier.wait()
            found = vectors.resolve(found)
            assert all(vectors.get(each.digest, embedder.fingerprint) is not None for each in found)
            results.append(vectors)
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not errors
    assert sum(vectors.embedded for vectors in results) == len(COLOURS)
    assert sum(embedder.batches) == len(COLOURS)
