"""The run under faults with the shop on MariaDB; part of ``make test-all``."""

from __future__ import annotations

import pytest

from tests.chaos.test_chaos import assert_nothing_is_lost

pytestmark = [pytest.mark.timeout(1200), pytest.mark.usefixtures("elasticsearch_url", "redis_url")]


def test_nothing_is_lost():
    assert_nothing_is_lost("--database", "mariadb")
