"""The rules that ``benchmarks.catalogues.ablation`` leaves out."""

from pkgutil import resolve_name

import pytest

from benchmarks.catalogues.ablation import RULES, _noting, _replaced


@pytest.mark.parametrize("name", RULES)
def test_a_rule_is_replaced_and_put_back(name):
    owner, _dot, attribute = RULES[name][0].rpartition(".")
    rule = getattr(resolve_name(owner), attribute)
    with _replaced(name, lambda _rule, without: without):
        assert getattr(resolve_name(owner), attribute) is not rule
    assert getattr(resolve_name(owner), attribute) is rule


@pytest.mark.parametrize(("found", "other", "acts"), [([1], (1,), False), ([1], [2], True), ("a", "", True)])
def test_a_rule_acts_where_its_result_differs(found, other, acts):
    noted = []
    rule = _noting(lambda: noted.append(True), lambda: found, lambda: other)
    assert rule() == found
    assert bool(noted) == acts
