"""The contract of embedders. Subclass it with a fixture ``embedder`` to run the tests."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from PIL import Image, ImageDraw

from imagesim.embedders import BaseEmbedder
from imagesim.exceptions import BadQuery

TOLERANCE = 5e-3  # bf16 sums differ with the size of the batch


def pictures() -> list[Image.Image]:
    """Return upright RGB images of several shapes."""
    made = []
    for size, ground, ink in (
        ((64, 64), "white", "red"),
        ((300, 120), "navy", "yellow"),
        ((120, 300), "grey", "green"),
        ((1, 1), "black", "black"),
        ((500, 400), "orange", "purple"),
    ):
        image = Image.new("RGB", size, ground)
        ImageDraw.Draw(image).ellipse((size[0] // 4, size[1] // 4, size[0] // 2 + 1, size[1] // 2 + 1), fill=ink)
        made.append(image)
    return made


class EmbedderContract:
    @pytest.fixture
    def embedder(self) -> BaseEmbedder:
        raise NotImplementedError

    def assert_unit(self, vectors: np.ndarray, rows: int, embedder: BaseEmbedder) -> None:
        assert isinstance(vectors, np.ndarray)
        assert vectors.dtype == np.float32
        assert vectors.shape == (rows, embedder.dims)
        assert np.isfinite(vectors).all()
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)

    def test_images_are_unit_rows_in_order(self, embedder: BaseEmbedder) -> None:
        images = pictures()
        vectors = embedder.embed_images(images)
        self.assert_unit(vectors, len(images), embedder)
        np.testing.assert_allclose(embedder.embed_images(images[::-1])[::-1], vectors, atol=TOLERANCE)

    def test_a_vector_does_not_depend_on_the_batch(self, embedder: BaseEmbedder) -> None:
        images = pictures()
        together = embedder.embed_images(images)
        alone = np.concatenate([embedder.embed_images([image]) for image in images])
        np.testing.assert_allclose(alone, together, atol=TOLERANCE)

    def test_more_images_than_a_batch(self, embedder: BaseEmbedder) -> None:
        images = pictures()[:3]
        many = embedder.embed_images(images * 15)
        self.assert_unit(many, 45, embedder)
        np.testing.assert_allclose(many[42:], many[:3], atol=TOLERANCE)

    def test_prepared_images_are_the_same(self, embedder: BaseEmbedder) -> None:
        images = pictures()
        prepared = [embedder.prepare(image) for image in images]
        np.testing.assert_allclose(embedder.embed_prepared(prepared), embedder.embed_images(images), atol=TOLERANCE)

    def test_empty_input(self, embedder: BaseEmbedder) -> None:
        self.assert_unit(embedder.embed_images([]), 0, embedder)
        if embedder.supports_texts:
            self.assert_unit(embedder.embed_texts([]), 0, embedder)

    def test_images_are_not_modified(self, embedder: BaseEmbedder) -> None:
        images = pictures()
        before = [image.tobytes() for image in images]
        embedder.embed_images(images)
        assert [image.tobytes() for image in images] == before

    def test_texts_are_unit_rows_in_order(self, embedder: BaseEmbedder) -> None:
        if not embedder.supports_texts:
            pytest.skip("this model does not embed texts")
        texts = ["red dress", "", "  ", "größe 42 🙂 \u0000", "laptop " * 500]
        vectors = embedder.embed_texts(texts)
        self.assert_unit(vectors, len(texts), embedder)
        np.testing.assert_allclose(embedder.embed_texts(texts[::-1])[::-1], vectors, atol=TOLERANCE)
        alone = np.concatenate([embedder.embed_texts([text]) for text in texts])
        np.testing.assert_allclose(alone, vectors, atol=TOLERANCE)

    def test_the_fingerprint_is_short_and_stable(self, embedder: BaseEmbedder) -> None:
        fingerprint = embedder.fingerprint
        assert 0 < len(fingerprint) <= 64
        assert fingerprint.isprintable()
        embedder.warm_up()
        assert embedder.fingerprint == fingerprint

    def test_several_threads_can_load_the_model(self, embedder: BaseEmbedder) -> None:
        images, results = pictures(), {}

        def work(number: int) -> None:
            results[number] = embedder.embed_images(images)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(results) == 4
        expected = embedder.embed_images(images)  # after the threads, so that they load the model
        for vectors in results.values():
            np.testing.assert_allclose(vectors, expected, atol=TOLERANCE)

    def test_components_partition_the_vector(self, embedder: BaseEmbedder) -> None:
        start = 0
        for part in embedder.components.values():
            assert part.start == start
            start = part.stop
        assert start in (0, embedder.dims)

    def test_reweighted_queries_have_unit_length(self, embedder: BaseEmbedder) -> None:
        vectors = embedder.embed_images(pictures())
        for name in embedder.components:
            for weight in (0, 0.5, 3, -0.5):
                self.assert_unit(embedder.reweight(vectors, {name: weight}), len(vectors), embedder)
        np.testing.assert_allclose(
            embedder.reweight(vectors, dict.fromkeys(embedder.components, 1.0)), embedder.reweight(vectors), atol=1e-6
        )

    @pytest.mark.parametrize(
        "weights", [{"smell": 1.0}, {"colour": float("nan")}, {"colour": "much"}, {"colour": True}]
    )
    def test_invalid_weights_are_rejected(self, embedder: BaseEmbedder, weights: dict[str, object]) -> None:
        with pytest.raises(BadQuery):
            embedder.reweight(embedder.embed_images(pictures()[:1]), weights)  # type: ignore[arg-type]

    def test_the_checks_pass(self, embedder: BaseEmbedder) -> None:
        assert embedder.check() == []
