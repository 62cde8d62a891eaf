"""From an item's picture files to vectors: read, told apart by digest, embedded only if no vector is known."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from imagesim import images
from imagesim.cpu import threads
from imagesim.embedders import BaseEmbedder
from imagesim.exceptions import BadImage, ConfigurationError, EmbedderError
from imagesim.indexing.embedding_leases import EmbeddingLeases, Wanted
from imagesim.indexing.pipeline import ahead
from imagesim.indexing.write_targets import Target
from imagesim.models import Embedding
from imagesim.monitoring.timing import timed

if TYPE_CHECKING:
    from imagesim.types import Vector

logger = logging.getLogger("imagesim.indexing.sync")

READERS = 8
READ_AHEAD = 16
"""Files in memory, not yet decoded."""
LOOK_UP_AT_ONCE = 16
PREPARED_AHEAD = 24
"""Pictures ahead of the model, each as small as the model looks at it; only as many are decoded in full as there
are threads."""
WAIT_SECONDS = 0.05


@dataclass
class Picture:
    """One picture of an item on its way into an entry. Empty ``digest`` and ``error``: not looked at yet."""

    name: str
    file: Any = None
    digest: str = ""
    error: str = ""
    permanent: bool = False
    """Whether the error can never pass."""
    known_digest: str = ""
    """What lay under this name when last seen; stands in while the storage cannot be read."""
    unreachable: bool = False
    """Whether the storage did not answer, so that nobody knows whether the picture is there."""
    new: bool = False
    """Whether the item was never seen with it."""


@dataclass(frozen=True)
class Content:
    """The bytes of a picture, and the models whose vector of it is to be made here."""

    digest: str
    data: bytes
    fingerprints: Sequence[str] = ()


@dataclass(frozen=True)
class Prepared:
    """What the models take of a picture, by fingerprint."""

    digest: str
    inputs: dict[str, Any]


class Vectors:
    """The embeddings of a batch, by (digest, fingerprint): from the table, or made and put there.

    Reading, decoding and resizing go on in threads while the model is at the pictures before; a bounded
    number of them is ahead, so memory does not depend on how many there are.
    """

    def __init__(self, targets: Sequence[Target], alive: Callable[[], object] = lambda: None) -> None:
        # Two indexes of one model share its vectors. The model itself is asked for only if one is missing.
        self._targets = {target.meta.fingerprint: target for target in targets}
        self._alive = alive
        self._known: dict[Wanted, Vector] = {}
        self._errors: dict[str, str] = {}
        self._making = EmbeddingLeases()
        self.embedded = 0
        self.opened = 0

    def get(self, digest: str, fingerprint: str) -> Vector | None:
        return self._known.get((digest, fingerprint))

    def resolve(self, pictures: Iterable[Picture]) -> None:
        """Give every picture a digest and its vectors, or an error. Only what is not known is opened.

        :raises EmbedderError: if the model cannot be loaded or fails on every picture.
        """
        pictures = [picture for picture in pictures if not picture.error]
        self._load({picture.digest for picture in pictures if picture.digest})
        to_open = [picture for picture in pictures if not picture.digest or self._missing(picture.digest)]
        if not to_open:
            return
        try:
            with ThreadPoolExecutor(READERS) as readers, ThreadPoolExecutor(threads()) as workers:
                self._make(self._contents(to_open, readers), workers)
                self._wait(to_open, readers, workers)
        finally:
            self._making.release()
        for picture in to_open:
            if picture.digest in self._errors:
                picture.error, picture.permanent = self._errors[picture.digest], True

    def _missing(self, digest: str) -> list[str]:
        return [fingerprint for fingerprint in self._targets if (digest, fingerprint) not in self._known]

    def _load(self, digests: set[str]) -> None:
        import numpy as np

        wanted = sorted(digest for digest in digests if self._missing(digest))
        for start in range(0, len(wanted), 500):
            rows = Embedding.objects.filter(
                digest__in=wanted[start : start + 500], fingerprint__in=list(self._targets)
            ).values_list("digest", "fingerprint", "vector")
            for digest, fingerprint, vector in rows:
                self._known[digest, fingerprint] = np.frombuffer(bytes(vector), dtype="<f4")

    def _contents(self, pictures: Iterable[Picture], readers: ThreadPoolExecutor) -> Iterator[Content]:
        """Read and tell apart; go on with those whose vectors nobody has or is making. Never decodes."""
        read = ahead(readers, _read, pictures, window=READ_AHEAD)
        while chunk := list(islice(read, LOOK_UP_AT_ONCE)):
            self._alive()
            self.opened += len(chunk)
            data: dict[str, bytes] = {}
            for picture, content in chunk:
                if isinstance(content, Exception):
                    raise content
                if content is not None:
                    picture.digest, data[content.digest] = content.digest, content.data
                elif picture.unreachable:
                    picture.digest = picture.known_digest
            self._load({picture.digest for picture, _ in chunk if picture.digest})
            ours = self._making.lease([(d, fingerprint) for d in data for fingerprint in self._missing(d)])
            for digest in dict.fromkeys(digest for digest, _ in sorted(ours)):
                if digest not in self._errors:
                    yield Content(digest, data[digest], [f for f in self._missing(digest) if (digest, f) in ours])

    def _make(self, contents: Iterator[Content], workers: ThreadPoolExecutor) -> None:
        """Decode and embed, batch by batch."""
        batch: list[Prepared] = []
        size = 1
        prepared = ahead(workers, self._prepare, contents, window=PREPARED_AHEAD)
        for content, result in prepared:
            if isinstance(result, BadImage):
                self._errors[content.digest] = str(result)
            elif isinstance(result, EmbedderError | ConfigurationError):
                raise result
            elif isinstance(result, Exception):
                self._errors[content.digest] = _cannot_embed(result)
            else:
                batch.append(Prepared(content.digest, result))
                if len(batch) == 1:
                    size = max(embedder.best_batch() for embedder in self._embedders(result))
            if len(batch) >= size:
                self._embed_all(batch)
                batch = []
        if batch:
            self._embed_all(batch)

    def _prepare(self, content: Content) -> dict[str, Any]:
        """What each model takes of a picture, by fingerprint. Runs in a thread; touches no database."""
        embedders = {
            fingerprint: embedder
            for fingerprint in content.fingerprints
            if (embedder := self._embedder_of(self._targets[fingerprint]))
        }
        if not embedders:
            return {}
        image = images.decode(
            content.data, min_decode_side=max(embedder.min_decode_side for embedder in embedders.values())
        )
        return {fingerprint: embedder.prepare(image) for fingerprint, embedder in embedders.items()}

    def _embedders(self, fingerprints: Iterable[str]) -> list[BaseEmbedder]:
        found = (self._embedder_of(self._targets[fingerprint]) for fingerprint in fingerprints)
        return [embedder for embedder in found if embedder is not None]

    def _embed_all(self, batch: Sequence[Prepared]) -> None:
        for fingerprint, target in self._targets.items():
            inputs = {each.digest: each.inputs[fingerprint] for each in batch if fingerprint in each.inputs}
            if inputs and (embedder := self._embedder_of(target)):
                self._embed(embedder, inputs)
        self._alive()

    def _wait(self, pictures: Sequence[Picture], readers: ThreadPoolExecutor, workers: ThreadPoolExecutor) -> None:
        """Other workers are making some: take what they made, and make what they did not."""
        while True:
            unmade = [p for p in pictures if p.digest and not p.error and p.digest not in self._errors]
            self._load({picture.digest for picture in unmade})
            unmade = [p for p in unmade if any(self._can_make(f) for f in self._missing(p.digest))]
            if not unmade:
                return
            opened, before = self.opened, len(self._known) + len(self._errors)
            wanted = {(p.digest, f) for p in unmade for f in self._missing(p.digest)}
            free = {digest for digest, _ in self._making.lease(wanted)}
            if free:
                self._make(self._contents([p for p in unmade if p.digest in free], readers), workers)
                self.opened = opened
                if len(self._known) + len(self._errors) == before:
                    return  # it cannot be read any more; the picture says so
            else:
                time.sleep(WAIT_SECONDS)
                self._alive()

    def _can_make(self, fingerprint: str) -> bool:
        return self._embedder_of(self._targets[fingerprint]) is not None

    def _embedder_of(self, target: Target) -> BaseEmbedder | None:
        """None where the index in service was made by a model that is gone, while a rebuild is replacing it."""
        try:
            return target.embedder
        except ConfigurationError as error:
            if len(self._targets) == 1 or not target.active:
                raise
            logger.warning("%s", error)
            return None

    @timed("embed.batch")
    def _embed(self, embedder: BaseEmbedder, inputs: dict[str, Any]) -> None:
        """Embed and store; keeps the errors by digest of pictures on which the model fails."""
        digests = list(inputs)
        made: dict[str, Vector] = {}
        try:
            made.update(zip(digests, embedder.embed_prepared([inputs[d] for d in digests]), strict=True))
        except Exception as error:
            _require_works(embedder, error)
            for digest in digests:  # the model is well, so one of the pictures is the culprit
                try:
                    made[digest] = embedder.embed_prepared([inputs[digest]])[0]
                except Exception as single:
                    self._errors[digest] = _cannot_embed(single)
        Embedding.objects.bulk_create(
            [
                Embedding(digest=d, fingerprint=embedder.fingerprint, vector=vector.astype("<f4").tobytes())
                for d, vector in sorted(made.items())
            ],
            ignore_conflicts=True,  # one that was taken for dead may have been alive after all
        )
        self._known.update({(digest, embedder.fingerprint): vector for digest, vector in made.items()})
        self.embedded += len(made)


def _cannot_embed(error: Exception) -> str:
    return f"The model cannot embed it: {error}"


def _require_works(embedder: BaseEmbedder, error: Exception) -> None:
    """:raises EmbedderError: if the model fails on a plain picture too."""
    from PIL import Image

    try:
        embedder.embed_images([Image.new("RGB", (64, 64), "grey")])
    except EmbedderError:
        raise
    except Exception:
        raise EmbedderError(f"The model fails: {error}") from error


def _read(picture: Picture) -> Content | None:
    try:
        data = images.read(picture.file)
        return Content(images.digest(data), data)
    except BadImage as error:
        picture.error, picture.permanent = str(error), True
    except FileNotFoundError:
        picture.error = f"There is no file {picture.name!r} in the storage."
    except Exception as error:  # a storage raises what it likes: its client's errors, not only OSError
        picture.error = f"The storage cannot give {picture.name!r}: {type(error).__name__}: {error}"
        picture.unreachable = True
    return None
