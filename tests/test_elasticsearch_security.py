"""Elasticsearch with TLS and security switched on: the privileges in docs/operations.md suffice and grant no more."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from imagesim.exceptions import AccessRefused, IndexUnavailable, SearchIndexError
from imagesim.indexes.elasticsearch import ElasticsearchIndex
from imagesim.testing.index_samples import META, axis, entry, keys
from imagesim.types import Query, Removal
from tests.missing import missing
from tools import servers
from tools.system import Failure

pytestmark = [pytest.mark.timeout(400), pytest.mark.xdist_group("elasticsearch_security"), pytest.mark.long]
ROOT = Path(__file__).resolve().parent.parent
PASSWORD = "for-tests-only"


SUFFICIENT = ["read", "write", "manage"]


@dataclass
class SecureServer:
    url: str
    authority: Path
    keys: dict[str, str]
    """Encoded API keys by the name that the page gives their role."""

    def key(self, role: str, descriptors: dict[str, Any]) -> str:
        """Return a further API key, made as the page describes."""
        content = {"name": role, "role_descriptors": descriptors}
        return str(servers.as_superuser(self.url, self.authority, PASSWORD, "/_security/api_key", content)["encoded"])

    def index(self, key: str = "imagesim", name: str = "products", **options: Any) -> ElasticsearchIndex:
        given = {"api_key": self.keys[key], "ca_certs": str(self.authority), "replicas": 0, **options}
        return ElasticsearchIndex(hosts=self.url, name=name, **given)


def documented_roles() -> list[dict[str, Any]]:
    blocks = re.findall(r"```json\n(.*?)```", (ROOT / "docs" / "operations.md").read_text(), re.DOTALL)
    return [json.loads(block) for block in blocks if '"indices"' in block]


@pytest.fixture(scope="module")
def server() -> Iterator[SecureServer]:
    """A separate server, and an API key for each documented role."""
    with tempfile.TemporaryDirectory(prefix="imagesim-secure-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        try:
            process, url, authority = servers.secure_elasticsearch(folder, PASSWORD, short_lived=True)
        except (Failure, OSError) as error:
            missing(f"Elasticsearch with security cannot be had: {error}")
        try:
            process.start().wait_until_it_answers()
            made = SecureServer(url, authority, {})
            for roles in documented_roles():
                (role,) = roles
                made.keys[role] = made.key(role, roles)
            yield made
        except Failure as error:
            missing(f"Elasticsearch with security does not start: {error}")
        finally:
            process.kill()


@pytest.fixture
def index(server: SecureServer) -> Iterator[ElasticsearchIndex]:
    index = server.index()
    yield index
    for backing_index in index.backing_indexes():
        index.drop(backing_index)


def fill(index: ElasticsearchIndex) -> str:
    backing_index = index.create(META)
    results = index.write([entry(n, axis(n)) for n in range(3)], backing_index=backing_index)
    assert {result.status for result in results} == {"done"}
    index.promote(backing_index)
    return backing_index


def test_the_key_suffices_for_all_operations_on_an_index(index: ElasticsearchIndex) -> None:
    assert index.active() is None
    first = fill(index)
    assert keys(index, Query(axis(1), limit=1)) == ["1"]
    assert index.count() == 3

    # Rebuilt alongside the active index, while that one continues to change.
    second = index.create(META)
    index.write([entry(n, axis(n)) for n in range(2)], backing_index=second)
    index.write([Removal(entry(2, axis(2)).key, 9)])
    index.promote(second)
    index.drop(first)
    assert index.backing_indexes() == [second]
    assert index.active() == second
    index.refresh()
    assert index.count() == 2
    assert len(list(index.scan())) == 2


def test_a_cluster_that_refuses_the_searches_gets_no_index(index: ElasticsearchIndex, server: SecureServer) -> None:
    """Otherwise it would be filled for hours, made active, and found healthy, while no search succeeds."""
    setting = "search.allow_expensive_queries"

    def allow(value: str | None) -> None:
        content = {"persistent": {setting: value}}
        servers.as_superuser(server.url, server.authority, PASSWORD, "/_cluster/settings", content, "PUT")

    allow("false")
    try:
        with pytest.raises(SearchIndexError, match=setting):
            index.create(META)
    finally:
        allow(None)
    assert index.backing_indexes() == []


def test_the_key_of_a_web_process_is_read_only(index: ElasticsearchIndex, server: SecureServer) -> None:
    backing_index = fill(index)
    reader = server.index("imagesim-search")
    assert keys(reader, Query(axis(2), limit=1)) == ["2"]
    assert reader.meta() == META
    attempts: list[Callable[[], object]] = [
        lambda: reader.create(META),
        lambda: reader.drop(backing_index),
        lambda: reader.promote(backing_index),
    ]
    for attempt in attempts:
        with pytest.raises(SearchIndexError):
            attempt()
    with pytest.raises(AccessRefused):
        reader.write([entry(0, axis(5), version=99)])
    assert index.count() == 3


@pytest.mark.parametrize(
    ("cluster", "privileges", "names", "lacking"),
    [
        ([], SUFFICIENT, ["products", "products-*"], "monitor"),
        (["monitor"], ["read"], ["products", "products-*"], "view_index_metadata"),
        (["monitor"], ["read", "view_index_metadata"], ["products", "products-*"], "create_index"),
        (["monitor"], ["read", "view_index_metadata", "create_index"], ["products", "products-*"], "manage"),
        (["monitor"], SUFFICIENT, ["products-*"], r"on indices \[products\]"),
        (["monitor"], SUFFICIENT, ["products"], r"on indices \[products-"),
    ],
)
def test_a_privilege_that_a_key_lacks_is_named(
    server: SecureServer, cluster: list[str], privileges: list[str], names: list[str], lacking: str
) -> None:
    role = {"cluster": cluster, "indices": [{"names": names, "privileges": privileges}]}
    lesser = server.index(api_key=server.key("lesser", {"lesser": role}))
    with pytest.raises(AccessRefused, match=lacking):
        lesser.create(META)


def test_a_key_that_may_not_write_is_told(index: ElasticsearchIndex, server: SecureServer) -> None:
    backing_index = fill(index)
    role = {"cluster": ["monitor"], "indices": [{"names": ["products*"], "privileges": ["read", "manage"]}]}
    lesser = server.index(api_key=server.key("lesser", {"lesser": role}))
    with pytest.raises(AccessRefused, match="write"):
        lesser.write([entry(0, axis(5), version=99)], backing_index=backing_index)


@pytest.mark.parametrize("key", ["imagesim", "imagesim-search"])
def test_a_key_reaches_no_other_index(server: SecureServer, key: str) -> None:
    other = server.index(key, name="payments")
    with pytest.raises(AccessRefused, match=r"It said: (?!None)"):
        other.create(META)
    content = {"password": "x" * 12, "roles": ["superuser"]}
    client = other._client
    for method, path, body in (
        ("PUT", "/_security/user/mallory", content),
        ("PUT", "/payments/_doc/1", {"a": 1}),
        ("DELETE", "/payments", None),
        ("PUT", "/_cluster/settings", {"persistent": {"action.auto_create_index": "true"}}),
    ):
        answer = client.options(ignore_status=[400, 401, 403, 404]).perform_request(
            method, path, headers={"Accept": "application/json", "Content-Type": "application/json"}, body=body
        )
        assert answer.meta.status == 403, (path, answer.body)


def test_a_wrong_key_or_certificate_is_rejected(index: ElasticsearchIndex, server: SecureServer) -> None:
    fill(index)
    with pytest.raises(SearchIndexError) as refused:
        server.index(api_key="bm90OmFrZXk=").meta()
    assert "bm90OmFrZXk=" not in str(refused.value)
    untrusting = ElasticsearchIndex(hosts=server.url, name="products", api_key=server.keys["imagesim"])
    with pytest.raises(IndexUnavailable, match=r"renew its certificate if .* ca_certs") as failed:
        untrusting.meta()
    assert server.keys["imagesim"] not in str(failed.value)
