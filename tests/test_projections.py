"""Fitted projections, from the command to the answers of both indexes, without embedding again."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from django.core.management import call_command

import imagesim
from demo_shop.shop.models import Product
from imagesim.embedders import get_embedder
from imagesim.exceptions import IndexMissing
from imagesim.indexes import get_index
from imagesim.indexes.projections import Projection, choose, get_projection
from imagesim.indexing.rebuild import rebuild
from imagesim.indexing.sync import sync
from imagesim.models import FittedProjection
from imagesim.monitoring.health import get_health
from imagesim.monitoring.status import get_status
from tests import shop
from tests.shop import picture, product

pytestmark = pytest.mark.django_db
COLOURS = ("red", "darkred", "tomato", "blue", "navy", "royalblue", "green", "olive", "lime", "gold", "khaki", "pink")


@pytest.fixture(params=shop.INDEXES, autouse=True)
def _index(request, settings, media_root) -> Iterator[None]:
    with shop.with_index(request, settings, request.param):
        yield


@pytest.fixture
def shelf() -> dict[str, Product]:
    made = {name: product(name, picture(name), picture(name, mark=5)) for name in COLOURS}
    assert sync().failed == 0
    get_index().refresh()
    return made


def scores(hits: imagesim.Hits) -> dict[str, float]:
    return {hit.item.name: hit.score for hit in hits}


def expected(projection: Projection | None, query: str) -> dict[str, float]:
    """The best cosine of each item's two pictures with the query, calculated here."""
    embedder = get_embedder()

    def mapped(vectors: np.ndarray) -> np.ndarray:
        return vectors if projection is None else projection.apply(vectors)

    asked = mapped(embedder.embed_images([picture(query)]))[0]
    return {
        name: float((mapped(embedder.embed_images([picture(name), picture(name, mark=5)])) @ asked).max())
        for name in COLOURS
    }


def rebuild_without_embedding(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise AssertionError("something was embedded again")

    with monkeypatch.context() as patch:
        patch.setattr("tests.embedders.PixelEmbedder.embed_images", fail)
        assert rebuild().failed == 0
    get_index().refresh()


@pytest.mark.slow
def test_fewer_dimensions_take_effect_in_index_and_queries(shelf, monkeypatch):
    call_command("imagesim_tune", "--kind", "pca", "--dims", "6", verbosity=0)
    assert get_index().meta().dims == 64  # until the rebuild
    rebuild_without_embedding(monkeypatch)
    meta = get_index().meta()
    projection = get_projection(meta.projection)
    assert projection is not None
    assert (meta.dims, projection.kind, projection.dims_out) == (6, "pca", 6)
    answer = imagesim.search(image=picture("crimson"), limit=12)
    assert scores(answer) == pytest.approx(expected(projection, "crimson"), abs=1e-3)
    assert scores(imagesim.similar_to(shelf["red"], limit=1)).keys() <= {"tomato", "darkred"}
    mixed = imagesim.search(text="red", unlike=shelf["tomato"], diversity=0.4, limit=12)
    assert len(mixed) == 12

    product("crimson", picture("crimson"))  # what is saved later goes through it, too
    assert sync().failed == 0
    get_index().refresh()
    assert scores(imagesim.search(image=picture("crimson"), limit=1)) == pytest.approx({"crimson": 1}, abs=1e-3)

    call_command("imagesim_tune", "--kind", "none", verbosity=0)
    rebuild_without_embedding(monkeypatch)
    assert (get_index().meta().dims, get_index().meta().projection) == (64, "")


@pytest.mark.slow
def test_a_tuned_map_takes_effect(shelf, monkeypatch):
    """A map that was fitted to leave out half of the space, chosen as the command chooses one."""
    embedder = get_embedder()
    matrix = np.diag(np.r_[np.ones(32), np.full(32, 0.1)]).astype(np.float32)
    projection = Projection(embedder.fingerprint, "tuned", matrix, {})
    projection.save()
    before = scores(imagesim.search(image=picture("crimson"), limit=12))
    assert before == pytest.approx(expected(None, "crimson"), abs=1e-3)
    choose(projection.id)
    rebuild_without_embedding(monkeypatch)
    after = scores(imagesim.search(image=picture("crimson"), limit=12))
    assert after == pytest.approx(expected(projection, "crimson"), abs=1e-3)
    assert after != pytest.approx(before, abs=1e-3)


def test_a_projection_that_is_gone_is_reported(shelf):
    """As after a restore of an older database: no page showed anything, and health was ok."""
    embedder = get_embedder()
    projection = Projection(embedder.fingerprint, "tuned", np.eye(embedder.dims, 6, dtype=np.float32), {})
    projection.save()
    choose(projection.id)
    rebuild()
    FittedProjection.objects.all().delete()
    get_projection.cache_clear()
    assert {check.name: check.state for check in get_health()}["index"] == "degraded"
    assert "imagesim_rebuild" in get_status().index.error
    with pytest.raises(IndexMissing):
        imagesim.similar_to(shelf["red"])
    rebuild()
    assert {check.name: check.state for check in get_health()}["index"] == "ok"
    assert get_status().index.error == ""
    assert imagesim.similar_to(shelf["red"])
