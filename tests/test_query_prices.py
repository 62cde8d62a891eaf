"""The price limits that a query names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from unittest.mock import Mock

import pytest
from django.core.cache import cache

import imagesim
from demo_shop.shop.models import Product
from imagesim.checks.items import check_items
from imagesim.exceptions import EmbedderError
from imagesim.indexes import get_index
from imagesim.items.registry import registry
from imagesim.language import word_lists
from imagesim.language.analysis import MAX_WORD
from imagesim.language.word_roles import Roles
from imagesim.retrieval import rerank
from imagesim.retrieval.words import prices
from imagesim.retrieval.words.price_patterns import WORDS
from imagesim.retrieval.words.prices import PriceLimits, limits_of, price_limits
from imagesim.testing.embedders import PixelEmbedder
from imagesim.types import Hits, Message
from tests import shop
from tests.shop import picture


@pytest.mark.parametrize(
    ("typed", "language", "rest", "limits"),
    [
        ("dress under 50", "en", "dress", {"lt": 50}),
        ("Dress UNDER 50 please", "en", "Dress please", {"lt": 50}),
        ("dress under 50, blue", "en", "dress , blue", {"lt": 50}),
        ("shoes for under $50", "en", "shoes", {"lt": 50}),
        ("hat under £20.50", "en", "hat", {"lt": 20.5}),
        ("a gift costing less than 20 euros for mum", "en", "a gift for mum", {"lt": 20}),
        ("bike up to 2k", "en", "bike", {"lte": 2000}),
        ("red dress between 20 and 40", "en", "red dress", {"gte": 20, "lte": 40}),
        ("laptops from $500 to $1,000", "en", "laptops", {"gte": 500, "lte": 1000}),
        ("50-100 € jacket", "en", "jacket", {"gte": 50, "lte": 100}),
        ("over $50 bags", "en", "bags", {"gte": 50}),
        ("bags over $20 under $50", "en", "bags", {"gte": 20, "lt": 50}),  # "under $50" must not be searched as words
        ("Taschen unter 50 €, ab 20 €", "de", "Taschen", {"gte": 20, "lt": 50}),
        ("shoes <50", "en", "shoes", {"lt": 50}),
        ("under 50", "en", "", {"lt": 50}),
        ("dress under 50", "de", "dress", {"lt": 50}),
        ("sofa max. 1.299,00 €", "de", "sofa", {"lte": 1299}),
        ("Sofa bis 1'299 CHF", "de", "Sofa", {"lte": 1299}),
        ("Schuhe ab 100 €", "de", "Schuhe", {"gte": 100}),
        ("Jacke zwischen 50 und 80 Euro", "de", "Jacke", {"gte": 50, "lte": 80}),
        ("robe à moins de 49,90 euros", "fr", "robe", {"lt": 49.9}),
        ("robe jusqu'à 50 €", "fr", "robe", {"lte": 50}),
        ("canapé à moins de 1 299,50 €", "fr", "canapé", {"lt": 1299.5}),
        ("canapé moins de 1\u202f299 €", "fr", "canapé", {"lt": 1299}),
        ("kanapa do 12 000", "pl", "kanapa", {"lte": 12_000}),
        ("soffa mellan 9 000 och 12 000 kr", "sv", "soffa", {"gte": 9000, "lte": 12_000}),
        ("size 42 100-150 € shoes", "en", "size 42 shoes", {"gte": 100, "lte": 150}),
        ("vestido por menos de 30", "es", "vestido", {"lt": 30}),
        ("vestito sotto i 50 euro", "it", "vestito", {"lt": 50}),
        ("jurk onder de 50", "nl", "jurk", {"lt": 50}),
        ("vestido até 30 euros", "pt", "vestido", {"lte": 30}),
        ("buty do 200 zł", "pl", "buty", {"lte": 200}),
        ("5000円以下のワンピース", "ja", "ワンピース", {"lte": 5000}),
        ("3,000円から5,000円のワンピース", "ja", "ワンピース", {"gte": 3000, "lte": 5000}),
        ("ワンピース 3000～5000円", "ja", "ワンピース", {"gte": 3000, "lte": 5000}),
        ("100到200元的鞋", "zh-hans", "鞋", {"gte": 100, "lte": 200}),
        ("5만원에서 10만원 가방", "ko", "가방", {"gte": 50_000, "lte": 100_000}),
        ("100元以下的鞋", "zh-hans", "鞋", {"lte": 100}),
        ("5만원 이하 가방", "ko", "가방", {"lte": 50_000}),
        ("рокля до 50 лв", "bg", "рокля", {"lte": 50}),
        ("φόρεμα κάτω από 50 ευρώ", "el", "φόρεμα", {"lt": 50}),
        ("haljina između 30 i 50 eura", "hr", "haljina", {"gte": 30, "lte": 50}),
        ("5000 Ft alatti ruha", "hu", "ruha", {"lt": 5000}),
        ("کفش زیر 500 تومان", "fa", "کفش", {"lt": 500}),
        ("gaun di bawah 50", "id", "gaun", {"lt": 50}),
        ("rochie până la 200 lei", "ro", "rochie", {"lte": 200}),
        ("šaty pod 50 €", "sk", "šaty", {"lt": 50}),
        ("obleka do 50 €", "sl", "obleka", {"lte": 50}),
        ("сукня від 500 до 900 грн", "uk", "сукня", {"gte": 500, "lte": 900}),
        ("שמלה עד 200 ₪", "he", "שמלה", {"lte": 200}),
        ('שמלה מתחת ל-200 ש"ח', "he", "שמלה", {"lt": 200}),
        ("¥5000以下の靴", "ja", "靴", {"lte": 5000}),
        ("靴 ￥3000〜￥5000", "ja", "靴", {"gte": 3000, "lte": 5000}),
        ("¥200到500的鞋", "zh-hans", "鞋", {"gte": 200, "lte": 500}),
        ("₩50000 이하 신발", "ko", "신발", {"lte": 50_000}),
        ("1万5000円以下の靴", "ja", "靴", {"lte": 15_000}),
        ("1만5천원 이하 신발", "ko", "신발", {"lte": 15_000}),
        ("₹500 से ₹1000 के बीच के जूते", "hi", "जूते", {"gte": 500, "lte": 1000}),
        ("जूते ₹500 तक", "hi", "जूते", {"lte": 500}),
        ("500 TL altı ayakkabı", "tr", "ayakkabı", {"lt": 500}),
        ("500 TL'nin altında elbise", "tr", "elbise", {"lt": 500}),
        ("500 liradan ucuz elbise", "tr", "elbise", {"lt": 500}),
        ("elbise 500 TL'ye kadar", "tr", "elbise", {"lte": 500}),
        ("100-200 TL arası elbise", "tr", "elbise", {"gte": 100, "lte": 200}),
        ("₺1.000 üzeri çanta", "tr", "çanta", {"gte": 1000}),
        ("en fazla 500 TL çanta", "tr", "çanta", {"lte": 500}),
        ("فستان أقل من 200 ريال", "ar", "فستان", {"lt": 200}),
        ("حذاء من 50 إلى 100 درهم", "ar", "حذاء", {"gte": 50, "lte": 100}),
        ("حذاء بين 50 و100 درهم", "ar", "حذاء", {"gte": 50, "lte": 100}),
        # Words for "than" that mean "from", too, after a comparative in any form.
        ("فستان بأقل من 200 ريال", "ar", "فستان", {"lt": 200}),
        ("по-евтини от 50 лв", "bg", "", {"lt": 50}),
        ("παπούτσια φθηνότερα από 50 ευρώ", "el", "παπούτσια", {"lt": 50}),
        ("کفش ارزان تر از 500 تومان", "fa", "کفش", {"lt": 500}),
        ("kaput jeftiniji od 50 eur", "hr", "kaput", {"lt": 50}),
        ("kaput skuplji od 50 eur", "hr", "kaput", {"gte": 50}),
        ("batai pigesni nei 50 eur", "lt", "batai", {"lt": 50}),
        ("apavi lētāki par 50 eur", "lv", "apavi", {"lt": 50}),
        ("buty tansze od 50 zl", "pl", "buty", {"lt": 50}),
        ("lacnejšie od 50 eur", "sk", "", {"lt": 50}),
        ("plašč cenejši od 50 eur", "sl", "plašč", {"lt": 50}),
        ("капут јефтинији од 5000 дин", "sr", "капут", {"lt": 5000}),
        ("взуття дешевші від 500 грн", "uk", "взуття", {"lt": 500}),
        # A negation makes the opposite of a limit.
        ("coat no less than 50 €", "en", "coat", {"gte": 50}),
        ("nothing under $20", "en", "", {"gte": 20}),
        ("Mantel nicht mehr als 50 €", "de", "Mantel", {"lte": 50}),
        ("vestido no más de 50 euros", "es", "vestido", {"lte": 50}),
        ("pas plus de 50 € la robe", "fr", "la robe", {"lte": 50}),
        ("vestito che non costi più di 50 euro", "it", "vestito che", {"lte": 50}),
        ("inte dyrare än 500 kr", "sv", "", {"lte": 500}),
        ("nie drożej niż 50 zł", "pl", "", {"lte": 50}),
        ("kaput ne skuplji od 50 eur", "hr", "kaput", {"lte": 50}),
        ("обувь не больше 500 руб", "ru", "обувь", {"lte": 500}),
        ("hats not under 20 €, not over 50 €", "en", "hats", {"gte": 20, "lte": 50}),
        ("500 रुपये से कम जूते", "hi", "जूते", {"lt": 500}),
        ("जूते 200 से 500 रुपये", "hi", "जूते", {"gte": 200, "lte": 500}),
        ("suknelė nuo 30 iki 50 eurų", "lt", "suknelė", {"gte": 30, "lte": 50}),
        ("kleita līdz 50 eiro", "lv", "kleita", {"lte": 50}),
        ("haljina do 5.000 dinara", "sr", "haljina", {"lte": 5000}),
        ("хаљина између 3000 и 5000 дин", "sr", "хаљина", {"gte": 3000, "lte": 5000}),
        ("เดรส ไม่เกิน 500 บาท", "th", "เดรส", {"lte": 500}),
        ("váy dưới 200k", "vi", "váy", {"lt": 200_000}),
        ("giày từ 300.000 đến 500.000đ", "vi", "giày", {"gte": 300_000, "lte": 500_000}),
    ],
)
def test_limits_of_a_price(typed, language, rest, limits):
    found = price_limits(typed, [language])
    assert found is not None
    assert (found.text, found.limits) == (rest, limits)


RANGES = [
    ("en", "bag over 50 but under 100 €", "bag", {"gte": 50, "lt": 100}),
    ("en", "more than 20 and less than 40 euros", "", {"gte": 20, "lt": 40}),
    ("en", "less than $40 & more than 20", "", {"gte": 20, "lt": 40}),
    ("en", "hats over 20 and under 50", "hats", {"gte": 20, "lt": 50}),
    ("en", "no less than 20 but no more than $50", "", {"gte": 20, "lte": 50}),
    ("en", "nothing under 20 or over 50 €", "", {"gte": 20, "lte": 50}),  # one negation for both
    ("en", "neither under 20 nor over 50 €", "", {"gte": 20, "lte": 50}),
    ("en", "50 € or more but less than 100", "", {"gte": 50, "lt": 100}),
    ("de", "Jacke ab 50 bis unter 100 Euro", "Jacke", {"gte": 50, "lt": 100}),
    ("de", "ab 20 €, aber nicht über 50", "", {"gte": 20, "lte": 50}),
    ("fr", "plus de 50 et moins de 100 €", "", {"gte": 50, "lt": 100}),
    ("es", "bolso de más de 50 y menos de 100 €", "bolso de", {"gte": 50, "lt": 100}),
    ("ar", "حقيبة أكثر من 50 وأقل من 100 ريال", "حقيبة", {"gte": 50, "lt": 100}),  # "and" is written as one with "less"
    ("he", "תיק מעל 50 ומתחת ל-100 ₪", "תיק", {"gte": 50, "lt": 100}),
    ("ja", "3000以上5000円以下の靴", "靴", {"gte": 3000, "lte": 5000}),
    ("th", "มากกว่า50แต่ไม่เกิน100บาท", "", {"gte": 50, "lte": 100}),
    ("tr", "500 TL üzeri ama 1000 altı çanta", "çanta", {"gte": 500, "lt": 1000}),
]


@pytest.mark.parametrize(("language", "typed", "rest", "limits"), RANGES)
def test_a_lower_and_an_upper_limit_beside_each_other(language, typed, rest, limits):
    """ "Bag over 50 but under 100 €" must not show what costs 20 €. The currency may be beside one of the numbers."""
    found = price_limits(typed, [language])
    assert found is not None
    assert (found.text, found.limits) == (rest, limits)


@pytest.mark.parametrize("language", sorted(WORDS["joining"]))
def test_every_language_has_ranges_of_two_limits(language):
    def phrases(number: int, *names: str) -> list[str]:
        """Return the phrases of these lists that are plain words, with a number."""
        lines = {name: WORDS[name].get(language, ()) for name in names}
        words = [(name, word) for name in names for line in lines[name] for word in line.split("|")]
        plain = [
            (name, word) for name, word in words if not re.search(r"[^\w\s]", re.sub(r"[\u0900-\u0e7f]", "", word))
        ]
        return [f"{number}{{}} {word}" if "behind" in name else f"{word} {number}{{}}" for name, word in plain]

    more = phrases(50, "more than", "more than behind", "at least", "at least behind")
    less = phrases(100, "less than", "less than behind", "at most", "at most behind")
    joining = next(word for word in WORDS["joining"][language][0].split("|") if len(word) > 1 or language == "hr")
    assert more
    assert less
    for lower, upper in product(more, less):
        for first, second in ((lower, upper), (upper, lower)):
            typed = f"{first.format('')} {joining} {second.format(' €')}"
            found = price_limits(typed, [language])
            assert found is not None, typed
            assert (found.text, sorted(found.limits.values())) == ("", [50, 100]), typed


@pytest.mark.parametrize("repeated", ["1元以下", "5000円以上", "不到5但"])
def test_many_limits_without_spaces_are_no_words_to_look_up(monkeypatch, repeated):
    """All of the text before each of 125 limits, or behind it, is one word, which took seconds in 39 languages."""
    looked_up = []
    stem_of = word_lists.stem_of
    monkeypatch.setattr(word_lists, "stem_of", lambda word, language: looked_up.append(word) or stem_of(word, language))
    price_limits((repeated * 125)[:500], ["zh", "ja"])
    assert max(map(len, looked_up), default=0) <= MAX_WORD


NEGATED = [
    ("en", "50 €", "more than {}|over {}|pricier than {}", "less than {}|under {}|cheaper than {}"),
    ("de", "50 €", "mehr als {}|über {}|teurer als {}", "weniger als {}|unter {}|billiger als {}"),
    ("fr", "50 €", "plus de {}|plus cher que {}|au-dessus de {}", "moins de {}|en dessous de {}"),
    ("es", "50 €", "más de {}|mas de {}|por encima de {}", "menos de {}|por debajo de {}"),
    ("it", "50 €", "più di {}|oltre {}|superiore a {}", "meno di {}|inferiore a {}"),
    ("cs", "50 Kč", "více než {}|nad {}|dražší než {}", "méně než {}|pod {}"),
    ("hi", "500 रुपये", "{} से ज्यादा|{} से अधिक", "{} से कम"),
    ("fa", "500 تومان", "بیشتر از {}|بالای {}", "کمتر از {}|زیر {}"),
]
"""Languages with a price, and their comparatives for more and for less."""

NEGATIONS_BESIDE = {
    "en": "can't be {}|can’t be {}|cant be {}|cannot cost {}|must not cost {}|don't want to spend {}|nothing {}|nto {}",
    "de": "nicht {}|darf nicht {} kosten|auf keinen Fall {}|will nicht {} ausgeben|nihct {}|nich {}",
    "fr": "pas {}|ne doit pas coûter {}|je ne veux pas payer {}|jamais {}",
    "es": "no {}|no puede costar {}|que no cueste {}|no quiero gastar {}",
    "it": "non {}|non deve costare {}|che non costi {}|non voglio spendere {}",
    "cs": "ne {}|nesmí stát {}|nechci utratit {}",
    "hi": "{} नहीं|{} न हो|{} का नहीं",
    "fa": "{} نباشد|نه {}",
}


@pytest.mark.parametrize(("language", "price", "more", "less"), NEGATED)
def test_a_negation_makes_the_opposite_of_a_comparative(language, price, more, less):
    """Whatever verbs of costing and wanting are between, "can't be more than 50 €" must not mean at least 50 €."""
    for operator, comparatives in (("lte", more), ("gte", less)):
        for comparative in comparatives.split("|"):
            for frame in NEGATIONS_BESIDE[language].split("|"):
                typed = frame.format(comparative.format(price))
                found = price_limits(typed, [language])
                assert found is not None, typed
                assert set(found.limits) == {operator}, typed


@pytest.mark.parametrize(
    ("typed", "language", "limits"),
    [
        ("can't be more than 50", "en", {"lte": 50}),  # like "at most 50", without a currency
        ("shouldn't exceed 50", "en", {"lte": 50}),
        ("jacket no more expensive than 50", "en", {"lte": 50}),
        ("exceeding 50 €", "en", {"gte": 50}),
        ("soll 50 € nicht überschreiten", "de", {"lte": 50}),
        ("ne doit pas dépasser 50 €", "fr", {"lte": 50}),
        ("non deve superare 50 euro", "it", {"lte": 50}),
        ("niet duurder dan 50", "nl", {"lte": 50}),
        ("50 € or less", "en", {"lte": 50}),
        ("50 € and up", "en", {"gte": 50}),
        ("less than or equal to 50 €", "en", {"lte": 50}),
        ("from 20 up to 50 €", "en", {"gte": 20, "lte": 50}),
        ("12 990 Ft alatti ruha", "hu", {"lt": 12_990}),
        ("不要100元以上的鞋", "zh-hans", {"lte": 100}),
        ("鞋不超过100元", "zh-hans", {"lte": 100}),
        ("hide everything over 50 €", "en", {"lte": 50}),
        ("hide all that cost more than 50 €", "en", {"lte": 50}),
        ("shoes, except over 50 €", "en", {"lte": 50}),
        ("masquer tout ce qui dépasse 50 €", "fr", {"lte": 50}),
        ("alles über 50 € ausblenden", "de", {"lte": 50}),
        ("versteck alles über 50 €", "de", {"lte": 50}),
        ("blende alles über 50 € aus", "de", {"lte": 50}),
        ("ich gebe nicht mehr als 50 € aus", "de", {"lte": 50}),
        ("filter out everything over 50 €", "en", {"lte": 50}),
        ("excluez tout ce qui est à plus de 50 €", "fr", {"lte": 50}),
        ("excluye más de 50 €", "es", {"lte": 50}),
        ("escludi sopra i 50 €", "it", {"lte": 50}),
        ("non meno di 20 né più di 50 €", "it", {"gte": 20, "lte": 50}),
        ("non ne voglio spendere più di 50 €", "it", {"lte": 50}),
        ("non oltre i 50 €", "it", {"lte": 50}),
        ("tra i 20 e i 50 €", "it", {"gte": 20, "lte": 50}),
        ("tussen de 20 en 50 euro", "nl", {"gte": 20, "lte": 50}),
        ("desde 20 hasta 50 €", "es", {"gte": 20, "lte": 50}),
        ("à partir de 20 jusqu'à 50 €", "fr", {"gte": 20, "lte": 50}),
        ("mind. 20 €, max. 50 €", "de", {"gte": 20, "lte": 50}),
        # The negation of the second is not that of the first.
        ("under 50 € but not over 60 €", "en", {"lt": 50}),
        ("unter 50 €, nicht über 60 €", "de", {"lt": 50}),
        ("over 50 € but not under 40 €", "en", {"gte": 50}),
        ("500 TL altı veya 1000 TL üzeri olmasın", "tr", {"gte": 500, "lte": 1000}),
        # A negation may stand behind.
        ("mehr als 50 € will ich nicht ausgeben", "de", {"lte": 50}),
        ("mehr als 50 darf es nicht kosten", "de", {"lte": 50}),
        ("über 50 € ist mir zu teuer", "de", {"lte": 50}),
        ("unter 20 € bitte nicht", "de", {"gte": 20}),
        ("meer dan 50 € mag het niet kosten", "nl", {"lte": 50}),
        ("laat alles boven 50 € weg", "nl", {"lte": 50}),
        ("over 50 € is too much", "en", {"lte": 50}),
        ("más de 50 € no quiero gastar", "es", {"lte": 50}),
        ("oltre i 50 € no", "it", {"lte": 50}),
        ("plus de 50 € c'est trop cher", "fr", {"lte": 50}),
        ("ab 20 €, soll aber nicht über 50 kosten", "de", {"gte": 20, "lte": 50}),
        ("over 20 €, not over 50", "en", {"gte": 20, "lte": 50}),
        ("Tasche über 50 € nicht schwarz", "de", {"gte": 50}),
        ("Kleid unter 50 € nicht zu teuer", "de", {"lt": 50}),
        ("under 50 €, not more", "en", {"lt": 50}),
        ("schoenen boven 50 € niet zwart", "nl", {"gte": 50}),
        ("menos de 50 € no muy caro", "es", {"lt": 50}),
        # A second negation only repeats the first in some languages, and makes a statement of both in others.
        ("no quiero nada por encima de 50 €", "es", {"lte": 50}),
        ("non voglio niente sopra i 50 euro", "it", {"lte": 50}),
        ("ничего не дороже 500 руб", "ru", {"lte": 500}),
        ("hiçbir şey 500 TL üzeri olmasın", "tr", {"lte": 500}),
        ("nothing not under 50 €", "en", {"lt": 50}),
        ("don't show anything that is not over 50 €", "en", {"gte": 50}),
        ("nada que no cueste menos de 50 €", "es", {"lt": 50}),
        # What negates something else does not negate the limit.
        ("cow hide over 200 €", "en", {"gte": 200}),
        ("non stick pan over 50 €", "en", {"gte": 50}),
        ("without hood over 50 €", "en", {"gte": 50}),
        ("dress without sleeves over 50 €", "en", {"gte": 50}),
        ("no bags, over 50 €", "en", {"gte": 50}),
        ("no show socks under 10 €", "en", {"lt": 10}),
        ("giày cho dưới 200k", "vi", {"lt": 200_000}),  # "cho" (for) is not "chớ" (do not)
        ("chăn dưới 200k", "vi", {"lt": 200_000}),  # a blanket is not "chẳng" (not)
        ("coat not black over 50 €", "en", {"gte": 50}),
        ("nicht zu teuer, unter 50 €", "de", {"lt": 50}),
        ("pas trop cher moins de 50 €", "fr", {"lt": 50}),
        ("pokemon go under 50 €", "en", {"lt": 50}),
    ],
)
def test_limits_as_shoppers_state_them(typed, language, limits):
    found = price_limits(typed, [language])
    assert found is not None
    assert found.limits == limits


@pytest.mark.parametrize(
    ("typed", "language"),
    [
        ("needn't be under 50 €", "en"),
        ("does not need to cost less than 50 €", "en"),
        ("muss nicht unter 50 € sein", "de"),
        ("never not under 50 €", "en"),
        ("don't want nothing over 50 €", "en"),
        ("No bags over 50 €", "en"),  # it may be the bags that are not wanted
        ("I want no bags over 50 €", "en"),
        ("don't show me bags that are not over 50 €", "en"),
        ("no bags from 20 to 50 €", "en"),
        ("no bags over 20 and under 50 €", "en"),
        ("not a cheap one over 20 and under 50 €", "en"),
        ("Keine Taschen über 50 €", "de"),
        ("pas de sacs de plus de 50 €", "fr"),
        ("nothing over 20 and under 50 €", "en"),
        ("bags over $50 under $20", "en"),  # nothing satisfies both
        ("over 100 and under 50 €", "en"),
        ("bags under $20, brown, over $50", "en"),
        ("coat not from 20 to 50 €", "en"),
        ("palto ne od 50 €", "hr"),
        ("from €50 to €20", "en"),
        ("not a cheap one over 50 €", "en"),
    ],
)
def test_a_limit_that_is_not_certain_is_none(typed, language):
    assert price_limits(typed, [language]) is None


@pytest.mark.parametrize(
    ("typed", "language"),
    [
        ("dress", "en"),
        ("kids under 5", "en"),
        ("kids over 3 and under 8", "en"),
        ("kids under 8 and over 3", "en"),
        ("niños de más de 3 y menos de 8", "es"),
        ("niños de menos de 8", "es"),
        ("leksaker för barn över 3 och under 8", "sv"),
        ("between 20 and 30 cm", "en"),
        ("shelf over 20 cm and under 30", "en"),
        ("box over 20 and under 30 litres", "en"),
        ("コート 100～120cm", "ja"),
        ("toys for children under 3 years", "en"),
        ("leksaker under 3 år", "sv"),
        ("legetøj under 3 år", "da"),
        ("size under 42", "en"),
        ("desk under 120 cm", "en"),
        ("tv over 50 inch", "en"),
        ("games from 3", "en"),
        ("toys not under 3", "en"),
        ("nicht zwischen 50 und 100 €", "de"),
        ("pants 30 to 32", "en"),
        ("30 under 30", "en"),
        ("under 20's trousers", "en"),
        ("nike air max 90", "en"),
        ("iphone 15 pro max 256", "en"),
        ("between 40 and 20 euros", "en"),  # nothing can cost that
        ("shelf under 50%", "en"),
        ("Kinderwagen bis 22 kg", "de"),
        ("Kleid unter 50", "fr"),  # only English is read in addition to the languages of the shop
        ("under " + "9" * 400, "en"),
    ],
)
def test_numbers_that_are_no_price(typed, language):
    assert price_limits(typed, [language]) is None


@pytest.mark.parametrize(
    ("typed", "language", "rest"),
    [
        ("toys for kids over 3 and under 20 €", "en", "toys for kids over 3 and"),
        ("puzzle ab 3, unter 20 €", "de", "puzzle ab 3"),
        ("box over 20 cm and under 20 €", "en", "box over 20 cm and"),
        ("подарок для детей до 20", "ru", "подарок для детей"),
    ],
)
def test_a_price_beside_an_age_or_a_length(typed, language, rest):
    found = price_limits(typed, [language])
    assert found is not None
    assert found.text == rest
    assert set(found.limits) <= {"lt", "lte"}


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"lt": 50.0}, "Only what costs less than 50 is shown."),
        ({"lte": 19.9}, "Only what costs at most 19.90 is shown."),
        ({"gte": 5.0}, "Only what costs at least 5 is shown."),
        ({"gte": 5.0, "lte": 10.0}, "Only what costs between 5 and 10 is shown."),
        ({"gte": 5.0, "lt": 10.0}, "Only what costs between 5 and 10 is shown."),
    ],
)
def test_what_a_page_says(limits, message):
    assert PriceLimits("", limits).message() == Message(message)


@pytest.fixture(params=shop.TWO_DAILY)
def shelf(request, settings, media_root, db) -> Iterator[dict[str, Product]]:
    index = shop.index_for(request, request.param)
    settings.IMAGESIM = {"SYNC": "manual", "MIN_RELEVANCE": 0.0, "EMBEDDER": shop.EMBEDDER, "INDEX": index}
    cache.clear()
    yield shop.shelf(with_texts=True)  # the products cost 10, 20 … 60
    shop.drop_index()


def names(hits: Hits) -> set[str]:
    return {hit.item.name for hit in hits}


def said(hits: Hits) -> list[str]:
    return [message.text for message in hits.messages]


class TestSearch:
    def test_only_what_costs_less_is_shown(self, shelf):
        """In "dress under 50", the price must not be ignored."""
        hits = imagesim.search(text="red under 30")
        assert names(hits) == {"red", "dark"}
        assert said(hits) == ["Only what costs less than 30 is shown."]

    def test_facets_and_further_pages_keep_to_it(self, shelf):
        hits = imagesim.search(text="red between 20 and 40 euros", limit=2, facets=["brand"])
        rest = imagesim.search(text="red between 20 and 40 euros", limit=2, offset=2)
        assert names(hits) | names(rest) == {"dark", "orange", "hat"}
        assert dict(hits.facets["brand"].values) == {"acme": 2, "zeta": 1}
        assert not rest.messages

    def test_it_applies_beside_the_filters_of_the_page(self, shelf):
        assert names(imagesim.search(text="red under 50", filters={"price__gte": 20, "price__lt": 40})) == {
            "dark",
            "orange",
        }

    def test_if_nothing_costs_that_the_closest_costs_more(self, shelf):
        hits = imagesim.search(text="red under 5")
        assert not hits
        assert names(Hits(hits.closest)) >= {"red", "dark"}
        assert said(hits) == ["Nothing was found at this price."]

    def test_a_photo_with_a_limit_alone(self, shelf):
        hits = imagesim.search(image=picture("blue"), text="under 55")
        assert [hit.item.name for hit in hits][:1] == ["blue"]
        assert "navy" not in names(hits)

    @pytest.mark.parametrize(
        "text", ["under 30", "something nice under 30", "What can I get for under 30 €?", "Gift ideas for under 30 €"]
    )
    def test_without_other_words_all_that_costs_it_is_shown(self, shelf, monkeypatch, text):
        """Nothing else is known about it, so the model is not needed."""
        monkeypatch.setattr(PixelEmbedder, "embed_texts", Mock(side_effect=EmbedderError("no model")))
        hits = imagesim.search(text=text, min_relevance=0.9, limit=1)
        rest = imagesim.search(text=text, min_relevance=0.9, limit=1, offset=hits.next_offset)
        assert (len(hits), len(rest)) == (1, 1)
        assert names(hits) | names(rest) == {"red", "dark"}
        assert said(hits) == ["Only what costs less than 30 is shown."]
        assert not rest.more

    def test_if_nothing_costs_it_nothing_is_close(self, shelf):
        hits = imagesim.search(text="anything under 5")
        assert not hits
        assert not hits.closest
        assert said(hits) == ["Only what costs less than 5 is shown."]

    @pytest.mark.parametrize("text", ["size 10 under 30 €", "photos under 30 €", "red things under 30", "30 €"])
    def test_other_words_ask_for_something(self, shelf, text):
        found = limits_of(text, [registry.for_model(Product)], get_index().meta())
        assert found is None or not found.is_all

    def test_so_do_gifts_in_a_shop_that_calls_something_a_gift(self, shelf, monkeypatch):
        roles = Roles(modifiers=frozenset({"gift"}))
        monkeypatch.setattr(prices, "calibration_of", lambda meta: Mock(roles=roles))
        assert not limits_of("gifts under 30 €", [registry.for_model(Product)], get_index().meta()).is_all

    def test_words_beside_what_is_not_wanted_are_searched_as_they_are(self, shelf):
        """Without the limit, nothing would be sought, and the mean of no vectors would divide by zero."""
        hits = imagesim.search(text="under 30", unlike="blue")
        assert hits
        assert not hits.messages

    @pytest.mark.parametrize("name", ["", "cost"])
    def test_a_shop_without_such_a_filter(self, shelf, monkeypatch, name):
        monkeypatch.setattr(type(registry.for_model(Product)), "price_filter", name)
        hits = imagesim.search(text="red under 30")
        assert "hat" in names(hits)
        assert not hits.messages

    @pytest.mark.parametrize("text", ["red", "red under 30"])
    def test_a_rule_can_name_the_words_with_their_limit_or_without(self, shelf, text):
        asked = []

        class Recorder:
            version, label_categories, variants = "1", {}, ()

            def plan(self, question):
                asked.append((question.text, question.typed))

        with rerank.replaced_by(Recorder()):
            imagesim.search(text=text)
        assert asked == [("red", text)]


def test_a_price_filter_that_is_no_number(monkeypatch):
    monkeypatch.setattr(type(registry.for_model(Product)), "price_filter", "brand")
    (found,) = [each for each in check_items() if each.id == "imagesim.E016"]
    assert found.msg == "ProductItems: price_filter names 'brand', not a filter of kind 'number'."
