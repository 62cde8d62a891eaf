"""Lists of words for limits of a price, by the code of their language; longer ones before what they begin with."""

from __future__ import annotations

CURRENCIES = (
    "euros|euro|eur|dollars|dollar|usd|bucks|pounds|pound|quid|gbp|franken|francs|francos|franchi|chf|złotych|złote|"
    "zloty|zł|pln|kronor|kroner|kronen|kr|sek|nok|dkk|korun|kč|czk|рублей|руб|лир|tl|lira|reais|reales|pesos"
)
"""Words and codes of currencies, as a pattern."""

SIGNS = r"us\$|[$€£¥₹₺₽₩￥]"
"""Signs of currencies, as a pattern."""

LESS_THAN = {
    "cs": "levnější než|méně než|pod",
    "da": "billigere end|mindre end|under",
    "de": "günstiger als|billiger als|weniger als|unterhalb von|unter",
    "en": "cheaper than|less than|lower than|below|under",
    "es": "más barato que|por debajo de|menos de|debajo de",
    "fi": "halvempi kuin|alle",
    "fr": "en dessous de|inférieur à|moins cher que|moins de",
    "it": "al di sotto di|al di sotto dei|meno di|sotto i|sotto",
    "nb": "billigere enn|mindre enn|under",
    "nl": "goedkoper dan|minder dan|onder de|onder",
    "pl": "tańsze niż|mniej niż|poniżej",
    "pt": "mais barato que|menos de|abaixo de",
    "ru": "дешевле|меньше|менее",
    "sv": "billigare än|mindre än|under",
}
"""Before the lowest price that is too high."""

AT_MOST = {
    "cs": "maximálně|nejvýše|max|do",
    "da": "højst|maksimalt|max|op til",
    "de": "bis zu|bis|höchstens|maximal|max",
    "en": "no more than|not more than|not over|up to|at most|maximum|max",
    "es": "como máximo|máximo|hasta",
    "fi": "enintään|korkeintaan",
    "fr": "jusqu['’]?\\s?à|au maximum|au plus|maximum|max",
    "it": "fino a|al massimo|massimo|max",
    "nb": "høyst|maksimalt|maks|opptil",
    "nl": "niet meer dan|hoogstens|maximaal|max|tot",
    "pl": "maksymalnie|najwyżej|max|do",
    "pt": "no máximo|até",
    "ru": "не дороже|до",
    "sv": "högst|maximalt|max|upp till",
}
"""Before the highest price."""

IN_NAMES = ("max", "mak", "máx", "massimo")
"""How words for a maximum begin that also stand in names: without a currency, "Air Max 90" has no price."""

AT_LEAST = {
    "cs": "více než|alespoň|nad|od",
    "da": "mere end|mindst|over|fra",
    "de": "teurer als|mehr als|mindestens|oberhalb von|über|ab",
    "en": "more expensive than|more than|at least|minimum|above|over|from",
    "es": "a partir de|más de|al menos|mínimo|desde",
    "fi": "vähintään|yli",
    "fr": "à partir de|au moins|plus de|dès",
    "it": "a partire da|più di|almeno|oltre|sopra i|sopra",
    "nb": "mer enn|minst|over|fra",
    "nl": "duurder dan|meer dan|minstens|minimaal|vanaf|boven de|boven",
    "pl": "więcej niż|co najmniej|powyżej|od",
    "pt": "a partir de|mais de|acima de|pelo menos",
    "ru": "дороже|больше|от",
    "sv": "mer än|minst|över|från",
}
"""Before the lowest price. With a currency only: "from 3" is mostly an age."""

BETWEEN = {
    "cs": ("mezi", "a"),
    "da": ("mellem", "og"),
    "de": ("zwischen", "und"),
    "en": ("between", "and"),
    "es": ("entre", "y"),
    "fr": ("entre", "et"),
    "it": ("tra|fra", "e"),
    "nb": ("mellom", "og"),
    "nl": ("tussen", "en"),
    "pl": ("między", "a|i"),
    "pt": ("entre", "e"),
    "ru": ("между", "и"),
    "sv": ("mellan", "och"),
}
"""Before and between two prices."""

TO = {
    "cs": "až|do", "da": "til", "de": "bis", "en": "to", "es": "a", "fr": "à", "it": "a", "nb": "til", "nl": "tot",
    "pl": "do", "pt": "a", "ru": "до", "sv": "till",
}  # fmt: skip
"""Between two prices. With a currency only: "2 to 4" may be sizes or persons."""

BEFORE_LIMIT = {
    "de": "für", "en": "costing|costs|cost|priced|for|at|is", "es": "por", "fr": "pour|à", "it": "per|a", "nl": "voor",
    "pt": "por",
}  # fmt: skip
"""What may stand before a limit, and asks for nothing without it: "shoes for under 50"."""

AGED_OR_COUNTED = {
    "de": "kinder|kind|kids|babys|baby|jungen|mädchen|personen",
    "en": "kids|kid|children|child|toddlers|toddler|babies|baby|infants|boys|girls|people|persons|adults|anyone|"
    "everyone|someone|those|thirty|forty",
    "es": "niños|niñas|niño|niña|bebés|bebé|personas",
    "fr": "enfants|enfant|bébés|bébé|garçons|filles|personnes",
    "it": "bambini|bambino|bambine|neonati|persone",
    "nl": "kinderen|kind|baby|jongens|meisjes|personen",
    "pl": "dzieci|dziecko|osób",
    "pt": "crianças|criança|bebês|bebé|pessoas",
}
"""Before a limit that is one of age or number: "toys for kids under 5"."""

AT_MOST_BEHIND = {"ja": "以下|以内|まで", "ko": "이하", "zh": "以下|以内|之内"}
LESS_THAN_BEHIND = {"ja": "未満", "ko": "미만"}
AT_LEAST_BEHIND = {"ja": "以上", "ko": "이상", "zh": "以上"}
"""The same in languages in which they stand behind the number and its currency."""

CURRENCIES_BEHIND = "円|元|块|块钱|人民币|원|ユーロ|ドル|欧元|美元|유로|달러"
"""Currencies in these languages."""

PARTICLES = "の|的"
"""What connects such a limit with the word behind it."""
