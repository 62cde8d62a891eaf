"""A release goes out with its own version and its own notes."""

from __future__ import annotations

import pytest

from tools.release import notes
from tools.system import Failure

CHANGELOG = """# Changelog

## [Unreleased]

## [1.2.0] - 2026-03-01

### Added

- Something new.

## [1.1.0] - 2026-01-01

## [1.0.0]

- Not dated.
"""


def test_the_notes_are_the_section_of_the_version():
    assert notes("v1.2.0", "1.2.0", CHANGELOG) == "### Added\n\n- Something new."


@pytest.mark.parametrize(
    ("tag", "version", "problem"),
    [
        ("v1.2.1", "1.2.0", "does not match imagesim.__version__"),
        ("1.2.0", "1.2.0", "does not match imagesim.__version__"),
        ("v1.3.0", "1.3.0", "no line of the form"),
        ("v1.0.0", "1.0.0", "no line of the form"),
        ("v1.1.0", "1.1.0", "says nothing"),
    ],
)
def test_what_does_not_agree_is_refused(tag, version, problem):
    with pytest.raises(Failure, match=problem):
        notes(tag, version, CHANGELOG)
