"""Brands that are typed in katakana and written in Latin letters."""

from __future__ import annotations

import pytest

from imagesim.language.katakana import LONGEST, name_of
from imagesim.language.word_roles import Roles
from imagesim.retrieval.words.reader import QueryReader

BRANDS = [
    "adidas", "asics", "balance", "bose", "bosch", "canon", "casio", "cartier", "champion", "coach", "coleman",
    "columbia", "converse", "cort", "dyson", "edwin", "face", "fender", "fendi", "gucci", "hermes", "hunter", "kate",
    "kappa", "lacoste", "lauren", "levi", "makita", "michelin", "millet", "miele", "nescafe", "new", "nikon", "nike",
    "north", "olympus", "panasonic", "patagonia", "philips", "pilot", "prada", "puma", "ralph", "reebok", "rolex",
    "roxy", "salomon", "samsonite", "seiko", "sharp", "shimano", "smith", "sony", "spade", "staub", "suunto",
    "swatch", "tiger", "vans", "wilson", "yamaha", "yonex",
]  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("ナイキ", "nike"),
        ("アディダス", "adidas"),
        ("プーマ", "puma"),
        ("コンバース", "converse"),
        ("キヤノン", "canon"),
        ("キャノン", "canon"),
        ("ヨネックス", "yonex"),
        ("ロキシー", "roxy"),
        ("スウォッチ", "swatch"),
        ("シャープ", "sharp"),
        ("エルメス", "hermes"),
        ("ウィルソン", "wilson"),
        ("ネスカフェ", "nescafe"),
        ("サムソナイト", "samsonite"),
        ("ダイソン", "dyson"),
        ("ニューバランス", "new balance"),
        ("ノースフェイス", "north face"),
        ("ラルフローレン", "ralph lauren"),
        ("ケイトスペード", "kate spade"),
    ],
)
def test_a_name_is_known_by_its_sound(typed: str, name: str) -> None:
    assert name_of(typed, BRANDS) == name


@pytest.mark.parametrize(
    "typed",
    [
        "ミズノ", "オメガ", "ロジクール", "ゲス", "ヘッド", "ノキア", "ナイフ", "フェンス", "ボックス", "キャンバス",
        "ソニック", "スニーカー", "ランニング", "ミレー", "コ", "ン", "ー", "", "ナイキ!", "ナ" * LONGEST + "イキ",
    ],
)  # fmt: skip
def test_no_other_name_is_taken_for_it(typed: str) -> None:
    """ "ミレー" may be Millet or Miele."""
    assert name_of(typed, BRANDS) == ""


@pytest.mark.parametrize(
    ("typed", "same"),
    [
        ("ナイキ", ["nike"]),
        ("白い ナイキ", ["白い nike"]),
        ("ナイキスニーカー", ["nike スニーカー"]),
        ("ナイキのスニーカー", ["nike スニーカー"]),
        ("スニーカー", []),
        ("スニーカー オメガ", []),
        ("コート", []),  # a coat, and not by Cort
        ("ソニー", []),  # the catalogue has it in katakana, too
        ("nike", []),
    ],
)
def test_a_brand_in_katakana_is_also_searched_by_its_latin_name(typed: str, same: list[str]) -> None:
    """ "ナイキ" must find shoes by Nike."""
    brands = frozenset({"nike", "sony", "cort", "ソニー"})
    roles = Roles({"スニーカ": ("sneakers",)}, brands, frozenset(), brands=brands)
    found = QueryReader(roles, ["ja"], lambda _word: False).read_texts(typed)
    assert [each.text for each in found.alternatives] == same
