"""Which operations of one call win, for indexes that compare versions themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from imagesim.indexes.validation import Prepared, prepare_any
from imagesim.types import Entry, IndexMeta, Removal, WriteResult

Results = dict[int, WriteResult]
"""By the number of the operation."""


def prepare_all(
    operations: Sequence[Entry | Removal], meta: IndexMeta
) -> tuple[dict[int, Prepared | Removal], Results]:
    """Return the valid operations by their number, and the results of the others."""
    valid: dict[int, Prepared | Removal] = {}
    results: Results = {}
    for number, operation in enumerate(operations):
        try:
            valid[number] = prepare_any(operation, meta)
        except ValueError as error:
            results[number] = WriteResult(operation.key, "failed", f"{error}.")
    return valid, results


def newest(
    operations: Sequence[Entry | Removal],
    valid: Mapping[int, Prepared | Removal],
    stored: Mapping[str, int],
    results: Results,
) -> dict[str, Prepared | Removal]:
    """Return the operation to store of each key: the last that is newer than those before it and than ``stored``, the
    version of each key. Adds the results of all."""
    versions = dict(stored)
    chosen: dict[str, Prepared | Removal] = {}
    for number, prepared in valid.items():
        key, version = operations[number].key, operations[number].version
        if version <= versions.get(key, 0):
            results[number] = WriteResult(key, "newer")
            continue
        versions[key] = version
        chosen[key] = prepared
        results[number] = WriteResult(key, "done")
    return chosen
