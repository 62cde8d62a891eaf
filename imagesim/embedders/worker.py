"""An embedder that has a Celery worker do the work, so that web processes need not hold the model."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.core.checks import CheckMessage, Error

from imagesim.conf import Backend
from imagesim.embedders.base import BaseEmbedder
from imagesim.embedders.image_codec import to_base64_png
from imagesim.exceptions import EmbedderError

if TYPE_CHECKING:
    from PIL.Image import Image

    from imagesim.types import Vector


class WorkerEmbedder(BaseEmbedder):
    """Sends queries to a worker and waits for the answer; inside a worker it is the inner embedder itself.

    - ``inner``: the embedder the workers hold, as in the setting EMBEDDER (BACKEND and OPTIONS).
    - ``queue``: the Celery queue to send to, so that a query need not wait behind a catalogue.
    - ``timeout``: seconds to wait for an answer. Celery needs a result backend.
    """

    def __init__(
        self, *, inner: dict[str, Any], queue: str = "imagesim-queries", timeout: float = 10.0, image_size: int = 384
    ) -> None:
        super().__init__()
        self._backend = Backend(inner["BACKEND"], dict(inner.get("OPTIONS") or {}))
        self._queue = queue
        self._timeout = timeout
        self._image_size = image_size

    @property
    def inner(self) -> BaseEmbedder:
        from imagesim.embedders import get_embedder

        return get_embedder(self._backend)

    @property
    def supports_texts(self) -> bool:  # type: ignore[override]
        return self.inner.supports_texts

    @property
    def dims(self) -> int:
        return self.inner.dims

    @property
    def fingerprint(self) -> str:
        return self.inner.fingerprint

    def embed_images(self, images: Sequence[Image]) -> Vector:
        if _in_worker():
            return self.inner.embed_images(images)
        return self._ask("image", [to_base64_png(image, self._image_size) for image in images])

    def embed_texts(self, texts: Sequence[str]) -> Vector:
        if _in_worker():
            return self.inner.embed_texts(texts)
        return self._ask("text", list(texts))

    def precision_report(self) -> str:
        return self.inner.precision_report()

    def check(self) -> list[CheckMessage]:
        messages = self.inner.check()
        try:
            import celery  # noqa: F401
        except ImportError:
            messages.append(
                Error("WorkerEmbedder needs Celery.", hint="pip install 'imagesim[celery]'", id="imagesim.E205")
            )
        return messages

    def _ask(self, modality: str, values: list[str]) -> Vector:
        import numpy as np
        from celery.exceptions import CeleryError
        from celery.exceptions import TimeoutError as CeleryTimeout
        from kombu.exceptions import KombuError

        from imagesim.tasks import embed

        try:
            # Nobody reads the answer after the time-out, so the question expires then, too.
            sent = embed.apply_async((modality, values), queue=self._queue, expires=self._timeout, retry=False)
            rows = sent.get(timeout=self._timeout)
        except CeleryTimeout as error:
            raise EmbedderError(
                f"No worker answered within {self._timeout} s; is one reading the queue {self._queue!r}?"
            ) from error
        except (CeleryError, KombuError, OSError) as error:
            raise EmbedderError(f"The query cannot be sent to a worker: {error}") from error
        return np.frombuffer(base64.b64decode(rows), dtype="<f4").reshape(len(values), -1).copy()


def _in_worker() -> bool:
    try:
        from celery import current_task
    except ImportError:
        return True
    return bool(current_task) and not current_task.request.called_directly
