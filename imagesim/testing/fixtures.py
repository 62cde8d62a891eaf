"""Fixtures for a shop's own tests: ``pytest_plugins = ["imagesim.testing.fixtures"]`` in its ``conftest.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import pytest

from imagesim import testing

if TYPE_CHECKING:
    from imagesim.indexing.sync import SyncReport


@pytest.fixture
def imagesim_settings() -> Iterator[None]:
    """:data:`imagesim.testing.SETTINGS` for one test: a tiny embedder, the local index, no thread and no message."""
    with testing.override_imagesim():
        yield


@pytest.fixture
def sync_inline(imagesim_settings: None) -> Callable[[], AbstractContextManager[SyncReport]]:
    """:func:`imagesim.testing.sync_inline` under these settings."""
    return testing.sync_inline
