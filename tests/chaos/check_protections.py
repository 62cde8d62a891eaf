"""With a protection disabled, the harness must find differences: ``make protections``.

Not part of ``make test``: it takes six minutes.
"""

from __future__ import annotations

import pytest

from tests.chaos.running import chaos

pytestmark = [pytest.mark.timeout(1200), pytest.mark.usefixtures("elasticsearch_url", "redis_url", "postgres")]


@pytest.mark.parametrize(
    ("protection", "faults"),
    [
        ("changes", ["kill_worker", "kill_redis", "double_messages"]),
        ("versions", ["delay_a_write", "double_messages"]),
        ("reconcile", ["double_messages"]),
    ],
)
def test_a_disabled_protection_is_noticed(protection, faults):
    result = chaos(
        *("--seconds", "40", "--seed", "11", "--every", "1", "--patience", "60"),
        *("--without", protection, "--faults", *faults),
    )
    assert not result["clean"]
    assert result["lost"] + result["stale"] + result["orphaned"] > 0
