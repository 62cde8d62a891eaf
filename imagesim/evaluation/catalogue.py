"""The stored embeddings of a catalogue as arrays, and which items are relevant to which.

Relevance is taken from the catalogue itself, or from a file of judged pairs.
"""

from __future__ import annotations

import csv
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import numpy as np

from imagesim.database import batched, stored_array
from imagesim.events import judged_pairs
from imagesim.exceptions import BadQuery, NotIndexed, format_choices
from imagesim.items import Items
from imagesim.models import Embedding, ItemImage, ItemState

if TYPE_CHECKING:
    import numpy.typing as npt

    from imagesim.types import Vector

T = TypeVar("T")

CHUNK = 500


@dataclass(frozen=True)
class Catalogue:
    """``vectors`` (n, d) of all images, row ``i`` belonging to item ``owner[i]``; the rest has one value per item."""

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
        """Return the row of each item's main image (items,)."""
        return np.searchsorted(self.owner, np.arange(len(self)))


def fingerprints(items: Items[Any]) -> list[str]:
    """Return the fingerprints of the models whose embeddings are stored for this catalogue's images."""
    digests = ItemImage.objects.filter(state__model=items.label).exclude(digest="").values("digest")
    return sorted(Embedding.objects.filter(digest__in=digests).values_list("fingerprint", flat=True).distinct())


def load(items: Items[Any], fingerprint: str, *, sample: int | None = None, seed: int = 0) -> Catalogue:
    """Load the catalogue from the database, or a random ``sample`` of that many items.

    :raises NotIndexed: if the model with this fingerprint has embedded none of it.
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
    for chunk in batched(states, CHUNK):
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
                groups.append(items.group_key_of(item))
            vectors.append(stored_array(stored[digest]))
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


Source = Literal["category", "group", "image", "judged", "clicks"]
SOURCES: tuple[Source, ...] = get_args(Source)


@dataclass(frozen=True)
class Case:
    """One query: the row of its image, the items that must not be in the answer, and the grade of each relevant item.

    Queries share their ``grades`` where they can, because a category can have as many items as the catalogue.
    """

    row: int
    excluded_items: frozenset[int]
    excluded_rows: frozenset[int]
    grades: Mapping[int, float] = field(default_factory=dict)

    @property
    def relevant(self) -> dict[int, float]:
        """The grades of the items that may be answered."""
        return {item: grade for item, grade in self.grades.items() if item not in self.excluded_items}


def cases(
    catalogue: Catalogue, source: Source, *, judged: Path | None = None, queries: int | None = None, seed: int = 0
) -> list[Case]:
    """Return queries with their relevant items.

    - ``category``: items of other groups that share a category (variants would make it easy);
    - ``group``: the other variants of the same product;
    - ``image``: each picture but the first of an item must find the item by its other pictures;
    - ``judged``: a CSV with the columns query, item and (optional) grade, both primary keys;
    - ``clicks``: what visitors clicked and bought from similar products (:mod:`imagesim.events`).

    :raises BadQuery: if the source is unknown, or the file is unreadable or names items that do not exist.
    """

    def chosen(found: list[T]) -> list[T]:
        if queries is None or len(found) <= queries:
            return found
        return [found[i] for i in sorted(np.random.default_rng(seed).choice(len(found), queries, replace=False))]

    if source == "category":
        return _by_category(catalogue, chosen)  # chosen first, because each of them names its whole category
    if source == "group":
        found = _by_group(catalogue)
    elif source == "image":
        found = _by_image(catalogue)
    elif source == "judged":
        if judged is None:
            raise BadQuery("The source 'judged' needs a CSV file of judged pairs.")
        pairs = judged_pairs_of(catalogue, judged)
        found = _by_grades(catalogue, pairs)
        if pairs and not found:
            raise BadQuery(
                f"{judged} names no pair of items of {catalogue.label} that have an embedding; 'query' and 'item' are "
                f"primary keys, such as {catalogue.pks[0]!r}."
            )
    elif source == "clicks":
        found = _by_grades(catalogue, judged_pairs(catalogue.label))
    else:
        raise BadQuery(f"{source!r} is not a source of relevance; it can be {format_choices(SOURCES)}.")
    return chosen([case for case in found if case.grades])


def _members(labels: Iterable[Iterable[str]]) -> dict[str, list[int]]:
    members: dict[str, list[int]] = defaultdict(list)
    for item, names in enumerate(labels):
        for name in names:
            members[name].append(item)
    return members


def _by_category(catalogue: Catalogue, chosen: Callable[[list[int]], list[int]]) -> list[Case]:
    in_category = _members(catalogue.categories)
    in_group = {group: frozenset(items) for group, items in _members((group,) for group in catalogue.groups).items()}
    rows = catalogue.first_images()
    asked = [
        item
        for item, names in enumerate(catalogue.categories)
        if any(not in_group[catalogue.groups[item]].issuperset(in_category[name]) for name in names)
    ]
    found = []
    grades: dict[frozenset[str], dict[int, float]] = {}
    for item in chosen(asked):
        names = catalogue.categories[item]
        if names not in grades:
            grades[names] = dict.fromkeys(sorted({other for name in names for other in in_category[name]}), 1.0)
        found.append(Case(int(rows[item]), in_group[catalogue.groups[item]], frozenset(), grades[names]))
    return found


def _by_group(catalogue: Catalogue) -> list[Case]:
    in_group = _members((group,) for group in catalogue.groups)
    return [
        Case(
            int(row),
            frozenset({item}),
            frozenset(),
            {other: 1.0 for other in in_group[catalogue.groups[item]] if other != item},
        )
        for item, row in enumerate(catalogue.first_images())
    ]


def _by_image(catalogue: Catalogue) -> list[Case]:
    rows_of: dict[int, list[int]] = defaultdict(list)
    for row, item in enumerate(catalogue.owner):
        rows_of[int(item)].append(row)
    return [
        Case(row, frozenset(), frozenset({row}), {item: 1.0})
        for item, rows in rows_of.items()
        if len(rows) > 1
        for row in rows[1:]
    ]


def left_out(catalogue: Catalogue, judged: Path) -> tuple[list[tuple[str, str]], int]:
    """Return the judged pairs with an item that has no embedding or does not exist, and how many pairs there are."""
    pairs, known = judged_pairs_of(catalogue, judged), set(catalogue.pks)
    return [pair for pair in pairs if not known.issuperset(pair)], len(pairs)


def judged_pairs_of(catalogue: Catalogue, path: Path) -> dict[tuple[str, str], float]:
    """Return the grades in a file by the primary keys of query and item, which may be keys such as ``shop.product:7``,
    as in exports.

    :raises BadQuery: if it cannot be read.
    """

    def pk(given: str | None) -> str:
        return (given or "").strip().removeprefix(f"{catalogue.label}:")

    pairs: dict[tuple[str, str], float] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = {"query", "item"} - set(reader.fieldnames or ())
            if missing:
                raise BadQuery(
                    f"{path} has no column {min(missing)!r}; it needs 'query', 'item' and optionally 'grade'."
                )
            for line in reader:
                grade = float(line.get("grade") or 1.0)
                if not (grade >= 0 and np.isfinite(grade)):
                    raise ValueError(f"a grade cannot be {line['grade']!r}")
                pairs[pk(line["query"]), pk(line["item"])] = grade
    except (OSError, ValueError, csv.Error) as error:
        raise BadQuery(f"{path} cannot be read as judged pairs: {error}.") from error
    return pairs


def _by_grades(catalogue: Catalogue, pairs: Mapping[tuple[str, str], float]) -> list[Case]:
    position = {pk: item for item, pk in enumerate(catalogue.pks)}
    grades: dict[int, dict[int, float]] = defaultdict(dict)
    for (query_pk, item_pk), grade in pairs.items():
        query, item = position.get(query_pk), position.get(item_pk)
        if query is not None and item is not None and query != item and grade > 0:
            grades[query][item] = grade
    rows = catalogue.first_images()
    return [Case(int(rows[query]), frozenset({query}), frozenset(), found) for query, found in sorted(grades.items())]
