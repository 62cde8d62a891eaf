"""The stored embeddings of a catalogue as arrays, with what decides which items are relevant to which."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from imagesim.exceptions import NotIndexed
from imagesim.items import Items
from imagesim.models import Embedding, ItemImage, ItemState

if TYPE_CHECKING:
    import numpy.typing as npt

    from imagesim.types import Vector

CHUNK = 500


@dataclass(frozen=True)
class Catalogue:
    """``vectors`` (n, d) of all images, row ``i`` belonging to item ``owner[i]``; the rest has one value an item."""

    label: str
    vectors: Vector
    owner: npt.NDArray[np.int64]
    names: tuple[str, ...]
    pks: tuple[str, ...]
    categories: tuple[frozenset[str], ...]
    groups: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.pks)

    @property
    def dims(self) -> int:
        return int(self.vectors.shape[1])

    def first_images(self) -> npt.NDArray[np.int64]:
        """The row of each item's main image (items,)."""
        return np.searchsorted(self.owner, np.arange(len(self)))


def fingerprints(items: Items[Any]) -> list[str]:
    """The models whose embeddings are stored for this catalogue's images."""
    digests = ItemImage.objects.filter(state__model=items.label).exclude(digest="").values("digest")
    return sorted(Embedding.objects.filter(digest__in=digests).values_list("fingerprint", flat=True).distinct())


def load(items: Items[Any], fingerprint: str, *, sample: int | None = None, seed: int = 0) -> Catalogue:
    """The catalogue as the database has it, or a random ``sample`` of so many items.

    :raises NotIndexed: if nothing of it was embedded by the model with this fingerprint.
    """
    outcome = ItemState.Outcome.INDEXED
    states = list(
        ItemState.objects.filter(model=items.label, outcome=outcome).order_by("id").values_list("id", flat=True)
    )
    if sample is not None and len(states) > sample:
        states = sorted(random.Random(seed).sample(states, sample))
    vectors: list[Vector] = []
    owner: list[int] = []
    names: list[str] = []
    pks: list[str] = []
    categories: list[frozenset[str]] = []
    groups: list[str] = []
    for chunk in _chunks(states):
        images = list(
            ItemImage.objects.filter(state__in=chunk)
            .exclude(digest="")
            .order_by("state_id", "position")
            .values_list("state_id", "state__object_pk", "name", "digest")
        )
        stored = dict(
            Embedding.objects.filter(fingerprint=fingerprint, digest__in={row[3] for row in images}).values_list(
                "digest", "vector"
            )
        )
        wanted = {pk for _, pk, _, digest in images if digest in stored}
        objects = {str(item.pk): item for item in items.for_reading(items.get_queryset()).filter(pk__in=sorted(wanted))}
        last = None
        for state_id, pk, name, digest in images:
            if digest not in stored or pk not in objects:
                continue
            if state_id != last:
                last = state_id
                item = objects[pk]
                pks.append(pk)
                categories.append(frozenset(items.get_categories(item)))
                groups.append(items.get_group(item) or pk)
            vectors.append(np.frombuffer(bytes(stored[digest]), dtype="<f4"))
            owner.append(len(pks) - 1)
            names.append(name)
    if not vectors:
        raise NotIndexed(
            f"No item of {items.label} has an embedding of the model {fingerprint!r} yet; "
            "run `manage.py imagesim_sync` first."
        )
    return Catalogue(
        items.label, np.stack(vectors), np.asarray(owner), tuple(names), tuple(pks), tuple(categories), tuple(groups)
    )


def _chunks(values: Sequence[int]) -> Iterator[list[int]]:
    iterator = iter(values)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk
