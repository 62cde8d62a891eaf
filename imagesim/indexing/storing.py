"""From what is to be written to what became of it, in every index that must hear of it."""

from __future__ import annotations

from collections.abc import Sequence

from imagesim.exceptions import IndexMissing
from imagesim.indexing.documents import Outcome, Prepared
from imagesim.indexing.leases import SyncResult
from imagesim.indexing.write_targets import Target
from imagesim.models import ItemImage, Scope


def write(prepared: Sequence[Prepared], targets: Sequence[Target]) -> None:
    """Write to every target and keep each result.

    :raises IndexUnavailable: if a target cannot be reached; nothing is marked then.
    """
    for target in targets:
        todo = [each for each in prepared if target.backing_index in each.operations and not _unchanged(each, targets)]
        if not todo:
            continue
        try:
            results = target.index.write(
                [each.operations[target.backing_index] for each in todo], backing_index=target.backing_index
            )
        except IndexMissing:
            if target.active:
                raise
            continue  # the rebuild gave up and dropped it
        for each, result in zip(todo, results, strict=True):
            each.results.append(result)


def _unchanged(each: Prepared, targets: Sequence[Target]) -> bool:
    """Whether the one index there is holds just this already: an item saved without a change that shows."""
    state = each.state
    return (
        len(targets) == 1
        and state.scope == Scope.METADATA
        and state.outcome == Outcome.INDEXED
        and bool(state.checksum)
        and state.checksum == each.checksum
        and not each.retry
    )


def mark_of(each: Prepared) -> SyncResult:
    failed = [result for result in each.results if result.status == "failed"]
    mark = SyncResult(each.state, each.outcome, each.error, each.checksum, written=bool(each.results) and not failed)
    mark.retry = each.retry
    if each.pictures is not None:
        mark.images = [
            ItemImage(
                state=each.state,
                position=position,
                name=picture.name[:500],
                digest=picture.digest,
                error=picture.error,
                permanent=picture.permanent,
            )
            for position, picture in enumerate(each.pictures)
        ]
    if failed:
        mark.outcome = Outcome.FAILED
        mark.error = failed[0].error
        mark.retry = mark.patient = all(result.retryable for result in failed)
        mark.checksum = ""
    return mark
