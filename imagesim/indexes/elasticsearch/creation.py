"""Create a backing index, and see at once, rather than when it has been filled, whether the cluster lets it be used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from imagesim.exceptions import IndexUnavailable
from imagesim.indexes.elasticsearch.bulk import write_alias
from imagesim.indexes.elasticsearch.mapping import Server
from imagesim.indexes.elasticsearch.queries import CompiledQuery
from imagesim.indexes.elasticsearch.transport import Connection, milliseconds, types_of
from imagesim.indexes.validation import CompiledFilters
from imagesim.types import Filters, IndexMeta, Query

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch


def create(
    connection: Connection, server: Server, backing_index: str, meta: IndexMeta, body: Mapping[str, Any]
) -> None:
    """Create a backing index, which nothing searches yet; if it cannot be used, delete it.

    :raises IndexUnavailable: if no node takes its shards.
    :raises SearchIndexError: if the cluster refuses searches, for example because it allows no scripts.
    """
    client = connection.slow
    is_active = _make(client, backing_index, milliseconds(connection.server_seconds(slow=True)), body)
    try:
        # With an alias from a template, searches would find it before it is filled.
        client.options(ignore_status=404).indices.delete_alias(index=backing_index, name=connection.name)
        if not is_active:
            raise IndexUnavailable(
                f"No node of Elasticsearch at {connection.where} takes the shards of a new index {connection.name!r}: "
                f"{_why_unassigned(client, backing_index)}"
            )
        vector = np.eye(1, meta.dims, dtype=np.float32)[0]
        search = CompiledQuery(Query(vector, limit=1), vector, CompiledFilters(Filters()), {}, "cosine", 0)
        with connection.translated_errors():  # after a BadRequestError, the index would be made in another way
            connection.search(backing_index, search.bodies(server, "none"), slow=True)
    except Exception:
        client.indices.delete(index=backing_index, ignore_unavailable=True)
        raise


def _make(client: Elasticsearch, backing_index: str, timeout: str, body: Mapping[str, Any]) -> bool:
    """Make an index; return whether its shards are active in time."""
    from elasticsearch import BadRequestError

    aliases: dict[str, Any] = {write_alias(backing_index): {}}
    try:
        made = client.indices.create(index=backing_index, aliases=aliases, timeout=timeout, **body)
    except BadRequestError as error:
        if "resource_already_exists_exception" not in types_of(error.body):
            raise
        # Nobody else uses this name: the node that made it ended before it answered, and the client asked another one.
        health = client.options(ignore_status=408).cluster.health(
            index=backing_index, wait_for_status="yellow", timeout=timeout
        )
        return not health["timed_out"]
    return bool(made["shards_acknowledged"])


def _why_unassigned(client: Elasticsearch, backing_index: str) -> str:
    """Return what keeps the nodes from taking a shard."""
    found = client.cluster.allocation_explain(index=backing_index, shard=0, primary=True).body
    deciders = (each for node in found.get("node_allocation_decisions", ()) for each in node.get("deciders", ()))
    reasons = dict.fromkeys(each["explanation"] for each in deciders)  # many nodes have the same
    return "; ".join(reasons) or str(found.get("allocate_explanation"))
