"""Stems in several threads, as those of a web process ask for them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from imagesim.indexes import stemmers

WORDS = [f"{first}{last}" for first in ("garten", "tisch", "leucht", "hand") for last in ("ungen", "lampen", "schuhe")]


@pytest.fixture
def _frequent_switches() -> Iterator[None]:
    """Threads take turns after each microsecond, in place of five milliseconds."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("_frequent_switches")
def test_threads_do_not_share_the_state_of_a_stemmer() -> None:
    """Queries failed, or found nothing for words whose wrong stems were cached, while two were answered at once."""
    expected = [stemmers.stem(word, "de") for word in WORDS]

    def stems(_number: int) -> list[list[str]]:
        return [[stemmers.stem(word, "de") for word in WORDS] for _ in range(30)]

    with ThreadPoolExecutor(8) as threads:
        for found in threads.map(stems, range(8)):
            assert all(each == expected for each in found)


@pytest.mark.parametrize(("code", "language"), [("42", "en"), ("zegelring5", "nl"), ("peyote42", "id")])
def test_what_ends_with_a_digit_has_no_other_form(code: str, language: str) -> None:
    """Stemmers remove letters from the middle or the start of some, and take longer for a code than for a word."""
    assert stemmers.stem(code, language) == code
