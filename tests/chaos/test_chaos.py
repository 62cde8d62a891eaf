"""A short run of the harness loses nothing. What it finds with a protection disabled: ``check_protections.py``."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.chaos.running import chaos

pytestmark = [pytest.mark.timeout(1200), pytest.mark.usefixtures("elasticsearch_url", "redis_url", "postgres")]
SECONDS = os.environ.get("IMAGESIM_CHAOS_SECONDS", "30")
SEED = os.environ.get("IMAGESIM_CHAOS_SEED", "7")


def test_nothing_is_lost():
    """A short run has the faults of a long one, and fewer writes between them, which take most of the time."""
    assert_nothing_is_lost(*([] if "IMAGESIM_CHAOS_SECONDS" in os.environ else ["--pause", "0.12"]))


def test_each_protection_can_be_disabled():
    program = """
import os
import django; django.setup()
from tests.chaos import protections
for name in protections.NAMES:
    if not os.fork():
        protections.switch_off(name)
        os._exit(0)
    assert os.wait()[1] == 0, name
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def assert_nothing_is_lost(*arguments: str) -> None:
    result = chaos("--seconds", SECONDS, "--seed", SEED, *arguments)
    wrong = ("lost", "stale", "orphaned", "wrongly_failed")
    assert {name: result[name] for name in wrong} == dict.fromkeys(wrong, 0)
    assert result["clean"]
    assert result["operations"] > 10 * float(SECONDS)
    assert result["kills"] >= 2
