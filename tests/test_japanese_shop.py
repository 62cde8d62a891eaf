"""A shop in Japanese, from its products to the answers."""

from __future__ import annotations

import pytest
from django.utils import translation

import imagesim
from demo_shop.shop.models import Category, Product
from imagesim.indexing.rebuild import rebuild
from imagesim.items.registry import registry
from imagesim.types import TextSpec
from tests import shop
from tests.shop import forget, picture, product

SHELVES = {
    "スーツ": ["ウールスーツ ネイビー", "ビジネススーツ 2ボタン"],
    "スーツケース": ["機内持ち込みスーツケース", "軽量スーツケース TSAロック"],
    "スニーカー": ["キャンバススニーカー ホワイト", "ランニングスニーカー"],
    "スピーカー": ["防水スピーカー", "ブックシェルフスピーカー"],
    "ソックス": ["コットンソックス ホワイト", "アンクルソックス"],
    "メガネ": ["ブルーライトカット メガネ", "老眼鏡"],
    "ソファ": ["2人掛けソファ", "レザーソファ"],
    "ぬいぐるみ": ["くまのぬいぐるみ", "うさぎのぬいぐるみ"],
    "ジュース": ["リンゴジュース", "みかんジュース"],
    "手・小物": ["手袋 毛糸", "手帳 方眼", "手鏡 丸", "手提げ 帆布"],  # its name shares a character with its products
}

BRANDS = {"キャンバススニーカー ホワイト": "Converse", "防水スピーカー": "Sony", "レザーソファ": "New Balance"}

ASKED = {
    "スーツ": "スーツ",
    "背広": "スーツ",
    "スーツケース": "スーツケース",
    "旅行かばん": "スーツケース",
    "メンズスニーカー": "スニーカー",
    "スニーカーはありますか": "スニーカー",
    "運動靴": "スニーカー",
    "白い靴下": "ソックス",
    "めがね": "メガネ",
    "眼鏡": "メガネ",
    "革のソファー": "ソファ",
    "クマのぬいぐるみ": "ぬいぐるみ",
    "りんごのジュース": "ジュース",
    "グローブ": "手・小物",
    "コンバースのスニーカー": "スニーカー",
    "ソニー スピーカー": "スピーカー",
    "ニューバランス": "ソファ",
    "ロレックス": "",
    "テント": "",
}


@pytest.mark.django_db
@pytest.mark.parametrize("index_kind", shop.TWO_DAILY)
def test_a_shop_in_japanese(index_kind, request, settings, media_root, monkeypatch) -> None:
    """Each of these must find something, and not speakers for sneakers or suitcases for suits."""
    specs = {"name": TextSpec(3.0, "ja"), "category__name": TextSpec(2.0, "ja", category=True)}
    specs["brand"] = TextSpec(2.0, "ja")
    monkeypatch.setitem(vars(registry.for_model(Product)), "text_specs", specs)
    index = shop.index_for(request, index_kind)
    settings.IMAGESIM = {"SYNC": "manual", "EMBEDDER": shop.EMBEDDER, "INDEX": index}
    for shelf, (name, products) in enumerate(SHELVES.items()):
        for number, each in enumerate(products):
            made = product(f"{shelf}-{number}", picture("red", mark=shelf * 4 + number), category=f"shelf-{shelf}")
            Product.objects.filter(pk=made.pk).update(name=each, brand=BRANDS.get(each, ""))
        Category.objects.filter(slug=f"shelf-{shelf}").update(name=name)
    rebuild()
    forget()
    try:
        with translation.override("ja"):
            hits = {text: imagesim.search(text=text, min_relevance=0.5) for text in ASKED}
        found = {text: {hit.item.category.name for hit in each} for text, each in hits.items()}
        assert found == {text: {name} - {""} for text, name in ASKED.items()}
    finally:
        shop.drop_index()
