"""Turn image files into vectors: read them, identify them by digest, and embed those without a stored vector."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from imagesim import images
from imagesim.circuit_breaker import log_repeated
from imagesim.database import batched, for_thread, primary, retry_conflicts, stored_array
from imagesim.embedders import BaseEmbedder
from imagesim.exceptions import BadImage, ConfigurationError, EmbedderError
from imagesim.images import colours
from imagesim.indexing.interruptions import INFRASTRUCTURE_ERRORS
from imagesim.indexing.leases import EmbeddingKey, EmbeddingLeases
from imagesim.indexing.pictures import Picture, by_file, like_read, read_file
from imagesim.indexing.write_targets import Target, embedders_of
from imagesim.items.measured_colours import store, stored
from imagesim.metrics import timed
from imagesim.models import Embedding
from imagesim.runtime import threads

if TYPE_CHECKING:
    from imagesim.types import Vector

logger = logging.getLogger("imagesim.indexing.sync")

T = TypeVar("T")
R = TypeVar("R")

READERS = 8
READ_AHEAD = 16
"""Files read but not yet decoded."""
LOOKUP_BATCH = 16
DECODE_AHEAD = 24
"""Images decoded ahead of the model, each reduced to the model's input size; at most as many are at full size
as there are threads."""
WAIT_SECONDS = 0.05
COLOURS = "colours"
"""Stands for the main colours among the fingerprints of the models that an image is opened for."""


@dataclass(frozen=True)
class Content:
    """The bytes of an image, and what is to be computed from it: the fingerprints of models, and ``COLOURS``."""

    digest: str
    data: bytes
    wanted: Sequence[str]


@dataclass(frozen=True)
class ModelInputs:
    """The input of each model for one image, by fingerprint."""

    digest: str
    inputs: Mapping[str, Any]
    colours: tuple[str, ...] | None = None
    """The main colours, if they were measured."""


class Vectors:
    """The embeddings of a batch by (digest, fingerprint): loaded from the table, or computed and stored there.

    Threads read, decode and resize while the model works on earlier images. A bounded number of images is ahead of
    the model, so memory does not depend on how many there are.
    """

    def __init__(self, targets: Sequence[Target], renew: Callable[[], object] = lambda: None) -> None:
        """``renew`` is called every few images, so that the lease on the items does not expire meanwhile."""
        # Two indexes of one model share its vectors. The model itself is loaded only if a vector is missing.
        self._targets = {target.meta.fingerprint: target for target in targets}
        self._renew_items = renew
        self._known: dict[EmbeddingKey, Vector] = {}
        self.colours: dict[str, tuple[str, ...]] = {}
        """The main colours of the images of those items that have them measured, by digest."""
        self._errors: dict[str, dict[str, Any]] = {}
        """By digest, the error fields for the pictures of an image that cannot be embedded."""
        self._leases = EmbeddingLeases()
        self._resolved: dict[Picture, Picture] = {}
        self.embedded = 0
        self.opened = 0

    def get(self, digest: str, fingerprint: str) -> Vector | None:
        return self._known.get((digest, fingerprint))

    def resolve(self, pictures: Iterable[Picture]) -> list[Picture]:
        """Load or compute the vectors of the pictures; return each with its digest, or with an error.

        Only files whose digest or vector is unknown are read.

        :raises EmbedderError: if the model cannot be loaded or fails on every image.
        """
        self._resolved = {picture: picture for picture in pictures}
        usable = [picture for picture in self._resolved if not picture.error]
        self._load(usable)
        to_open = [each for each in usable if not each.digest or self._missing(each)]
        if to_open:
            try:
                enter = for_thread()
                with (
                    ThreadPoolExecutor(READERS, initializer=enter) as readers,
                    ThreadPoolExecutor(threads(), initializer=enter) as workers,
                ):
                    left = to_open
                    while left:
                        with closing(self._contents(left, readers)) as contents:  # when stopped, no more files are read
                            self._make(contents, workers)
                        left = self._wait(to_open)
            finally:
                self._leases.release()
        for picture in to_open:
            found = self._resolved[picture]
            if found.digest in self._errors:
                self._resolved[picture] = replace(found, **self._errors[found.digest])
        return list(self._resolved.values())

    def _renew(self) -> None:
        self._renew_items()
        self._leases.renew()

    def _missing(self, picture: Picture) -> list[str]:
        """Return the models that have not embedded the picture, and ``COLOURS`` if these are wanted but not known."""
        digest = picture.last_digest
        missing = [fingerprint for fingerprint in self._targets if (digest, fingerprint) not in self._known]
        return [*missing, COLOURS] if picture.measured and digest not in self.colours else missing

    def _load(self, pictures: Iterable[Picture]) -> None:
        """Load the stored vectors of pictures that were read, now or before, and their stored colours if these are
        wanted."""
        missing = {(each.last_digest, name) for each in pictures if each.last_digest for name in self._missing(each)}
        for page in batched(sorted({digest for digest, name in missing if name != COLOURS}), 500):
            rows = Embedding.objects.filter(digest__in=page, fingerprint__in=list(self._targets))
            for digest, fingerprint, vector in rows.values_list("digest", "fingerprint", "vector"):
                self._known[digest, fingerprint] = stored_array(vector)
        self.colours.update(stored({digest for digest, name in missing if name == COLOURS}))

    def _contents(self, pictures: Iterable[Picture], readers: ThreadPoolExecutor) -> Generator[Content]:
        """Read the files; yield those whose vectors are not stored and not leased by other workers, each once. Never
        decodes."""
        same = by_file(pictures)
        read_ahead = ahead(readers, read_file, same, window=READ_AHEAD)
        begun: set[EmbeddingKey] = set()
        for chunk in batched(read_ahead, LOOKUP_BATCH):
            self._renew()
            self.opened += len(chunk)
            data: dict[str, bytes] = {}
            for picture, result in chunk:
                if isinstance(result, Exception):
                    raise result
                resolved, content = result
                for each in same[picture]:
                    if resolved.error and each.digest and self._missing(each) == [COLOURS]:
                        continue  # it has its vectors; a later reconcile opens it again
                    self._resolved[each] = resolved if each is picture else like_read(each, resolved)
                if content is not None:
                    data[resolved.digest] = content
            seen = [self._resolved[each] for picture, _ in chunk for each in same[picture]]
            self._load(seen)
            missing = {
                (each.digest, name) for each in seen if each.digest in data for name in self._missing(each)
            } - begun
            to_measure = {key for key in missing if key[1] == COLOURS}  # too little work to be worth a lease
            ours = to_measure | self._leases.lease(missing - to_measure)
            begun |= ours
            for digest in sorted({digest for digest, _name in ours}):
                if digest not in self._errors:
                    wanted = [name for name in (*self._targets, COLOURS) if (digest, name) in ours]
                    yield Content(digest, data[digest], wanted)

    def _make(self, contents: Iterator[Content], workers: ThreadPoolExecutor) -> None:
        """Decode the images and embed them batch by batch; store the colours that were measured."""
        batch: list[ModelInputs] = []
        measured: dict[str, tuple[str, ...]] = {}
        size = 1
        for content, result in ahead(workers, self._decode, contents, window=DECODE_AHEAD):
            if isinstance(result, BadImage):
                short = _was_short_of_memory(result)
                self._errors[content.digest] = {"error": str(result), "permanent": not short, "unreachable": short}
            elif isinstance(result, EmbedderError | ConfigurationError):
                raise result
            elif isinstance(result, Exception):
                self._keep_error(content.digest, result)
            else:
                if result.colours is not None:
                    measured[content.digest] = result.colours
                if not result.inputs:
                    continue
                if not batch:
                    size = max(embedder.best_batch() for embedder in self._embedders(result.inputs).values())
                batch.append(result)
                if len(batch) >= size:
                    self._embed(batch)
                    batch = []
        if batch:
            self._embed(batch)
        if measured:
            store(measured)
            self.colours.update(measured)

    def _decode(self, content: Content) -> ModelInputs:
        """Decode an image and reduce it to the input of each model. Runs in a thread; uses no database."""
        embedders, is_measured = self._embedders(content.wanted), COLOURS in content.wanted
        sides = [embedder.min_decode_side for embedder in embedders.values()] + [colours.SIDE] * is_measured
        if not sides:
            return ModelInputs(content.digest, {})
        try:
            image = images.decode(content.data, min_decode_side=max(sides))
        except BadImage as error:
            if embedders:
                raise
            # It has its vectors, and keeps them. With more memory, a later reconcile measures it.
            return ModelInputs(content.digest, {}, None if _was_short_of_memory(error) else ())
        measured = colours.measure(image) if is_measured else None
        inputs = {name: embedder.prepare(image) for name, embedder in embedders.items()}
        return ModelInputs(content.digest, inputs, measured)

    def _embedders(self, wanted: Collection[str]) -> dict[str, BaseEmbedder]:
        return embedders_of(self._targets.values(), wanted)

    @timed("embed.batch")
    def _embed(self, batch: Sequence[ModelInputs]) -> None:
        """Embed a batch with each model and store the vectors; keep the errors of images on which a model fails."""
        used = dict.fromkeys(fingerprint for each in batch for fingerprint in each.inputs)
        for fingerprint, embedder in self._embedders(used).items():
            together = [each for each in batch if fingerprint in each.inputs]
            parts = [together]
            while parts:
                part = parts.pop(0)
                prepared = [each.inputs[fingerprint] for each in part]
                try:
                    rows = checked(embedder.embed_prepared(prepared), len(part), embedder)
                except INFRASTRUCTURE_ERRORS:
                    raise
                except Exception as error:
                    if part is together:
                        require_works(embedder, error)
                        parts = [[each] for each in together]  # one of them is the cause
                    else:
                        self._keep_error(part[0].digest, error)
                    continue
                made = {(each.digest, fingerprint): row for each, row in zip(part, rows, strict=True)}
                store_vectors(made)
                self._known.update(made)
                self.embedded += len(made)
        self._renew()

    def _wait(self, pictures: Sequence[Picture]) -> list[Picture]:
        """Wait for the embeddings that other workers have leased; return the pictures, if any, whose leases expired in
        the meantime and are now this worker's."""
        while True:
            read = {picture: self._resolved[picture] for picture in pictures}
            read = {p: each for p, each in read.items() if not each.error and each.digest not in self._errors}
            self._load(read.values())
            wanted = {(p.digest, name) for p in read.values() for name in self._missing(p) if self._embedders([name])}
            if not wanted:
                return []
            if free := {digest for digest, _name in self._leases.lease(wanted)}:
                return [picture for picture, each in read.items() if each.digest in free]
            time.sleep(WAIT_SECONDS)
            self._renew()

    def _keep_error(self, digest: str, error: Exception) -> None:
        """Keep the error of an image. An embedder that answers only now and then, such as a rate-limited service, fails
        on any."""
        again = isinstance(error, EmbedderError | MemoryError)
        reason = str(error) if isinstance(error, EmbedderError) else f"{type(error).__name__}: {error}"
        message = f"The model cannot embed it: {reason}"
        self._errors[digest] = {"error": message, "permanent": not again, "unreachable": again}


@retry_conflicts
def store_vectors(vectors: Mapping[EmbeddingKey, Vector]) -> None:
    """Store embeddings, except those that another worker, which was considered dead, has stored meanwhile."""
    rows = [
        Embedding(digest=digest, fingerprint=fingerprint, vector=vector.astype("<f4").tobytes())
        for (digest, fingerprint), vector in sorted(vectors.items(), key=lambda each: each[0])
    ]
    primary(Embedding).bulk_create(rows, ignore_conflicts=True)


def checked(rows: Any, count: int, embedder: BaseEmbedder) -> Vector:
    """Return the vectors that an embedder made of ``count`` images as float32 (count, dims). They are stored and then
    never computed again, so they are checked.

    :raises EmbedderError: if their shape is wrong, or an index could not take one of them.
    """
    import numpy as np

    vectors: Vector = np.asarray(rows, dtype=np.float32)
    wanted = (count, embedder.dims)
    if vectors.shape != wanted:
        raise EmbedderError(f"The model's vectors have the shape {vectors.shape}, not {wanted}.")
    lengths = np.linalg.norm(vectors, axis=-1)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise EmbedderError("One of the model's vectors is zero or not finite.")
    return vectors


def ahead(
    pool: ThreadPoolExecutor, work: Callable[[T], R], values: Iterable[T], *, window: int
) -> Iterator[tuple[T, R | Exception]]:
    """Yield each value with the result of ``work``, or with the exception it raised, in order.

    The pool works on at most ``window`` values ahead of the reader, so memory is bounded however slow the reader is.

    :raises SystemExit: if the interpreter is shutting down, which says nothing about the values.
    """
    waiting: deque[tuple[T, Future[R]]] = deque()
    iterator = iter(values)
    try:
        for value in islice(iterator, window):
            waiting.append((value, _submit(pool, work, value)))
        while waiting:
            value, future = waiting.popleft()
            error = future.exception()
            if error is not None and not isinstance(error, Exception):
                raise error
            result: R | Exception = future.result() if error is None else error
            for following in islice(iterator, 1):
                waiting.append((following, _submit(pool, work, following)))
            yield value, result
    finally:
        for _, future in waiting:
            future.cancel()


def _was_short_of_memory(error: BadImage) -> bool:
    """Return whether memory ran out, which says nothing about the image: there may be enough later."""
    return isinstance(error.__cause__, MemoryError)


def _submit(pool: ThreadPoolExecutor, work: Callable[[T], R], value: T) -> Future[R]:
    try:
        return pool.submit(work, value)
    except RuntimeError as error:
        if "shutdown" in str(error):  # the interpreter shuts down, which daemon threads outlive
            raise SystemExit from error
        raise EmbedderError(f"Pictures cannot be read: {error}. Raise the limits on memory and threads.") from error


def require_works(embedder: BaseEmbedder, error: Exception) -> None:
    """:raises EmbedderError: if the model also fails on a plain image."""
    from PIL import Image

    try:
        checked(embedder.embed_prepared([embedder.prepare(Image.new("RGB", (64, 64), "grey"))]), 1, embedder)
    except EmbedderError:
        raise
    except Exception:
        log_repeated(logger, logging.ERROR, "model", "the model fails", exc_info=error)
        raise EmbedderError(f"The model fails: {type(error).__name__}: {error}") from error
