"""No request costs more than its budget. For a longer run: ``make hostile``."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile.__main__ import attack
from tests.hostile.running import Report

pytestmark = pytest.mark.timeout(600)
FILES = int(os.environ.get("IMAGESIM_HOSTILE_FILES", "300"))
ODD = FILES // 5


@pytest.fixture(scope="module")
def report() -> Iterator[Report]:
    with tempfile.TemporaryDirectory(prefix="imagesim-hostile-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield attack(folder, seed=1, count=FILES, odd=ODD, storm_seconds=1.0, seconds=FILES / 25)


def test_every_budget_is_kept(report: Report) -> None:
    assert not report.problems, report


def test_all_attacks_were_sent(report: Report) -> None:
    assert report.files_sent == FILES
    assert report.odd_sent == ODD
    assert 0 < report.event_rows <= report.event_rows_allowed
    assert len(report.honest) >= 5
    assert all(count for _, count, _ in report.honest.values())
