"""Lists of words that name no product, and tables of word forms, by the code of their language."""

from __future__ import annotations

import re
from pathlib import Path

SAME_LISTS = {"bs": "hr", "ms": "id", "no": "nb"}
"""The codes of languages that have the lists of another one: Bosnian those of Croatian, Malay those of Indonesian, and
Norwegian, without saying which of its forms is meant, those of Bokmål."""


def with_same(table: dict[str, str]) -> dict[str, str]:
    """Return a table by language, also by the codes of :data:`SAME_LISTS`."""
    return {**table, **{code: table[other] for code, other in SAME_LISTS.items() if other in table}}


def read_lists(path: str | Path) -> dict[str, str]:
    """Return the lists of words in a file, by the code of their language, which is in brackets before each, and also by
    the codes of :data:`SAME_LISTS`.

    A relative path is relative to the lists of this package."""
    text = (Path(__file__).with_name("words") / path).read_text("utf-8")
    _, *found = re.split(r"^\[(\w+)\]$", text, flags=re.MULTILINE)
    return with_same(dict(zip(found[::2], found[1::2], strict=True)))


def read_table(path: str | Path) -> dict[str, dict[str, list[str]]]:
    """Return the lines of a file by their name, which is before each, and by the language in brackets above."""
    found: dict[str, dict[str, list[str]]] = {}
    for language, lines in read_lists(path).items():
        for line in filter(None, lines.splitlines()):
            name, _, words = line.partition(": ")
            found.setdefault(name, {}).setdefault(language, []).append(words)
    return found


def as_lists(lines: dict[str, list[str]]) -> dict[str, str]:
    """Return the lines of one name of :func:`read_table` as one list by language."""
    return {language: " ".join(each) for language, each in lines.items()}


STOP_WORDS = read_lists("stop_words.txt")
"""Words without a meaning of their own, which are left out wherever other words remain."""

PARTICLES = frozenset("的了吗呢子가과는도로를색에와은을의이")
"""Chinese and Korean characters after a word that say nothing about its meaning."""

ELIDED = frozenset({
    "all", "c", "coll", "d", "dall", "dell", "j", "jusqu", "l", "lorsqu", "m", "n", "nell", "puisqu", "qu", "quell",
    "quelqu", "quest", "s", "sant", "sull", "t", "un",
})  # fmt: skip
"""Words that lose their last vowel before another vowel, as in French, Italian and Catalan ("d'été", "dell'olio")."""

FEATURES = read_lists("features.txt")
"""Words after which a name says what a thing has, or what it is for: a "baby monitor with camera" is not a camera."""

RELATIONS = read_lists("relations.txt")
"""Further words after which a description only mentions things: a mirror that hangs "over the sofa" is not a sofa."""

QUALITIES = {
    "de": "inklusive nicht", "en": "compatible free friendly included not proof resistant safe", "es": "incluidas no",
    "fr": "incluses non", "it": "incluse non", "nl": "inbegrepen niet",
}  # fmt: skip
"""Words before which a word says what a thing withstands, includes or lacks: something "dishwasher safe" is not a
dishwasher, and "batteries not included" is not a battery."""

PREPOSITIONS = read_lists("prepositions.txt")
"""Further words after which a query says what a thing is for, or what it is like ("shirt in red", "Stuhl aus Holz")."""

QUALIFIERS = read_lists("qualifiers.txt")
"""Words that say for whom, where or when a thing is used, or what it is like, and never what it is: an office chair is
a chair, gym shoes are shoes, and a comfy chair is a chair. Words that make it another thing are not listed (ice cream,
a bar stool, a hot dog, an artificial plant), nor adjectives with the stem of something that is sold. Languages whose
adjectives follow need fewer: there, any unknown word directly after a thing says what it is like."""

FILLERS = read_lists("fillers.txt")
"""Words for asking and buying, which weigh very little in matches of words
(:data:`~imagesim.indexes.text_scores.FILLER`) and are not embedded unless the catalogue calls something by them."""

PICTURES = read_lists("pictures.txt")
"""Those of the fillers that may say what a thing is for: a "picture of a vase" is a vase, a "picture frame" a frame."""

AMOUNTS = frozenset({
    "eu", "uk", "us", "age", "aged", "ages", "alter", "ab", "âge", "edad", "età", "idade", "leeftijd", "wiek",
    "size", "under", "below", "than", "größe", "unter", "bis", "taille", "moins", "jusqu", "talla", "menos", "hasta",
    "taglia", "meno", "fino", "maat", "onder", "tot", "rozmiar", "poniżej", "do", "tamanho", "até",
    "سایز", "storlek", "størrelse", "koko", "velikost", "размер", "до", "beden", "numara",
    "розмір", "méret", "μέγεθος", "νούμερο", "mărime", "mărimea", "veľkosť", "veličina",
    "sz", "gr", "pointure", "tg", "mt", "rozm", "tam", "str", "stl", "vel",
})  # fmt: skip
"""Words after which a number is a size, an age or a price ("size 42", "under 50"), known to filters rather than to
texts."""

MEASURES = read_table("measures.txt")
"""Words that say what a number next to them measures ("80 cm wide"), or how exactly ("at least 2 m")."""

NEGATIONS = read_lists("negations.txt")
"""Words after which a colour is excluded ("lamp, not white")."""

SHADES = read_lists("shades.txt")
"""Words that belong to the name of a colour next to it ("light blue", "bleu clair"), or are its first part
("hellblau")."""

SIZES = frozenset({"xs", "s", "m", "l", "xl", "xxl", "xxxl"})
"""Sizes that are not numbers. Those of one letter count as a size only after one of ``AMOUNTS``."""

NAMED_SIZES = frozenset({
    "grande", "large", "media", "mediana", "medium", "média", "pequeña", "piccola", "small", "unica", "unique", "única",
    "único",
})  # fmt: skip
"""Words for sizes that count as one only after one of ``AMOUNTS`` ("size medium")."""

LENGTHS = frozenset({
    "cali", "cm", "feet", "foot", "ft", "inch", "inches", "m", "meter", "meters", "metre", "metres", "metri", "metro",
    "metros", "metrów", "metry", "mm", "mètre", "mètres", "polegadas", "pollici", "pouce", "pouces", "pulgadas", "zoll",
})  # fmt: skip
"""Units of length."""

UNITS = LENGTHS | frozenset({
    "a", "ah", "amp", "anni", "anos", "ans", "años", "bar", "cl", "cv", "dl", "g", "gallon", "gallons", "gb", "ghz",
    "gr", "gram", "gramm", "grams", "h", "hp", "hz", "jaar", "jahre", "jahren", "kg", "km", "kw", "l", "lat", "lb",
    "lbs", "liter", "liters", "litre", "litres", "litri", "litro", "litros", "litry", "litrów", "lm", "lt", "ltr",
    "lumen", "mah", "mb", "mg", "mhz", "ml", "months", "nm", "ounce", "ounces", "oz", "ps", "tb", "v", "volt", "volts",
    "w", "watt", "watts", "year", "years", "år",
})  # fmt: skip
"""Units of a number before them. A query for "dumbbell 5 kg" asks for a dumbbell, not for a "kg"."""

NUMBERS_OF_THINGS = {
    "de": "acht drei dutzend fünf neun paar packung sechs sieben stk stück vier zehn zwei zwölf",
    "en": "assortment bundle dozen multipack pack packs pair pairs pcs piece pieces set sets",
    "es": "cinco cuatro diez doce docena dos nueve ocho pack paquete par pares seis set siete tres uds unidades",
    "fr": "cinq deux dix douzaine lot paire paires pcs quatre sept set six trois",
    "it": "cinque confezione dieci due nove otto paio pezzi pz quattro sei set sette tre",
    "nl": "acht drie dozijn negen paar stuks tien twaalf twee vier vijf zes zeven",
    "pl": "cztery dwa dwie dziesięć dziewięć osiem pięć siedem sześć szt sztuk sztuki trzy",
    "pt": "cinco conjunto dez dois duas dúzia kit nove oito pacote par pares quatro seis sete três unidades",
    "vi": "bộ cặp đôi",
}  # fmt: skip
"""Words that say how many of a thing there are: someone who types "knife set" asks for knives, and not for any set."""

CONTAINERS = read_lists("containers.txt")
"""Words that say how many of a thing there are if "of" follows: a "case of beer" is beer, a "pencil case" is a case."""

PROBLEMS = read_lists("problems.txt")
"""Words for what people buy things against. No shop sells a headache: who types it asks for what helps."""

REMEDIES = read_lists("remedies.txt")
"""Words for what is done about a problem, in whichever form: "acne treatment" asks for anything that is for acne, and
for no treatment of warts."""

CONJUNCTIONS = with_same({
    "bg": "и", "ca": "i", "cs": "a", "da": "og", "de": "und", "el": "και", "en": "and", "es": "y", "et": "ja",
    "fa": "و", "fi": "ja", "fr": "et", "gl": "e", "hi": "और", "hr": "i", "hu": "és", "id": "dan", "it": "e", "lt": "ir",
    "lv": "un", "nb": "og", "nl": "en", "nn": "og", "pl": "i", "pt": "e", "ro": "și", "ru": "и", "sk": "a", "sl": "in",
    "sr": "i", "sv": "och", "tr": "ve", "uk": "і", "vi": "và",
})  # fmt: skip
"""The word for "and" in each language, in lower case."""

JOINING = {"he": r"\sו(?=\w\w)", "sr": r"\s[иi]\s", "th": "และ"}
"""Regular expressions of the word for "and" in languages that do not always write it as a word of its own, or in which
it has two spellings; in others it has spaces around it."""

ATTACHED = {"he": "ב ל מ"}
"""Words that are written as one with the word behind them: the Hebrew "לאמבטיה" is "for the bathroom"."""

HEAD_FIRST = frozenset({
    "ar", "ca", "el", "es", "fa", "fr", "ga", "he", "id", "it", "ms", "pl", "pt", "ro", "th", "vi",
})  # fmt: skip
"""Languages in which the word that says what a thing is comes first ("silla de oficina"); in others it comes last
("office chair")."""

INFLECTIONS = with_same({
    "da": "e er", "de": "e en er s", "et": "d id", "fi": "i it t", "hu": "ak ek k ok", "ja": "", "nb": "e er",
    "nl": "en s", "sv": "a ar or er",
})  # fmt: skip
"""Endings that the last part of a compound may have after its stem ("Hängelampe", "Handtaschen"), in languages that
write compounds as one word. In Japanese, these are the words of katakana."""

SUFFIXES = {"de": "arm bar gel tor", "hu": "ing tal tok"}
"""Short words that also end words other than compounds: "waschbar", "Spiegel", "Generator", the Hungarian "kabátok"."""

OTHER_THINGS = {
    "de": "handschuh",
    "fi": "alushousu jaakaap puuvilla sukkahousu",
    "ja": "アイス アウトドア イヤリング オレンジ カーペット キャビネット クランプ グリルパン サングラス シーリング "
    "スパイス スプリング ソースパン ダンボール デバイス トラック トランプ トランペット バーコード フライパン "
    "フローリング ブラック ベアリング ホットドッグ マグネット ライス レコード",
    "nl": "handschoen",
}
"""Compounds that are not a kind of what their last part says: a glove ("Handschuh") is not a shoe, and a frying pan
("フライパン") is not bread. In Japanese, also words that only end like another one and, with a further word before
them, look like its compounds: what is "マットブラック" (matt black) is not a rack ("ラック")."""

PLURALS = with_same({
    "bg": "-ове па-пи ик-ици е-ета ен-на ен-ни ен-но ял-ели яла-ели",
    "cs": "slo-sel dlo-del ice-ic",
    "da": "el-ler ffel-fler en-ner et-etter mmer-mre ue-uer ur-ure",
    "de": "achs-achse bs-bse fuchs-fuchse ks-kse ls-lse ns-nse ps-pse rs-rse",
    "el": "οι-ογια δι-δια ιο-ια", "en": "-s s-ses f-ves fe-ves", "es": "-s -es z-ces",
    "et": "-d -id",
    "fi": "kka-kat kki-kit kke-ket kko-kot kku-kut ppa-pat ppi-pit ppo-pot ppu-put tta-tat tti-tit tto-tot ttu-tut "
    "nka-ngat nki-ngit nky-ngyt nta-nnat nti-nnit ta-dat to-dot pa-vat in-imet tin-ttimet nen-set as-akset "
    "es-ekset is-ikset os-okset us-ukset ys-ykset kas-kkaat pas-ppaat tas-ttaat ngas-nkaat mmas-mpaat "
    "vas-paat he-hkeet ne-neet ni-net ri-ret si-set si-det llin-ltimet a-at e-et i-it o-ot u-ut y-yt yo-yot "
    "lta-llat lti-llit lto-llot rta-rrat e-eet a-ia a-oja e-eita i-eja o-oja u-uja y-yja he-hkeita nen-sia "
    "si-sia us-uksia pas-ppaita at-ia at-oja at-oita a-oita yt-yja ot-oja ut-uja it-eja ngat-nkia ngyt-nkyja "
    "dat-tia dat-toja kat-kkia in-imia eat-eita",
    "fr": "-s -x", "gl": "an-ans in-ins on-ons un-uns el-eis", "he": "ת-תות", "hi": "या-ए या-ये या-यों",
    "hr": "-ovi -evi k-ci h-si en-enje",
    "hu": "a-ak e-ek i-ik o-ok u-uk -ek -ok -ak a-at e-et o-ot kor-krok kor-krot tor-trak tor-trat",
    "it": "co-chi go-ghi ca-che ga-ghe aio-ai ano-ani asso-assi era-ere erna-erne icio-ici oio-oi ono-oni",
    "nb": "a-aer el-ler er-rer er-ere ffel-fler kkel-kler mmer-mre ue-uer",
    "nl": "-s -en f-ven s-zen b-bben d-dden f-ffen g-ggen k-kken "
    "l-llen m-mmen n-nnen p-ppen r-rren s-ssen t-tten",
    "pl": "ba-by ec-ce ek-ki el-le lo-el m-my sz-sze sz-szy ter-try",
    "pt": "-s m-ns ao-oes al-ais el-eis il-is ol-ois ul-uis",
    "ro": "-uri u-uri er-ere or-oare on-oane op-oape iu-ii el-ele el-ei ara-ari asa-ese asa-esele eanta-enti "
    "eanta-entile inda-inzi eaca-eci asca-asti osu-osie osu-osii egru-eagra egru-egre eagra-egre alb-alba alb-albe "
    "alba-albe erde-erzi astru-astra astru-astre",
    "ru": "ек-ки ок-ки ел-лы ол-лы ец-цы ень-ни ка-ек ка-ок ьцо-ец ло-ел ло-ол но-он ля-ель",
    "sk": "ica-ice ice-ic ka-ok ky-iek nky-niek ek-eky el-le en-ene", "sl": "elj-lji ec-ci esa-o",
    "sr": "-ovi -evi k-ci h-si en-enje nac-ncevi",
    "sv": "a-an r-rna el-lar el-ler er-rar or-orer",
    "uk": "а-і ии-а ии-і лець-льці ець-ці іл-оли іл-ола іж-ожі ок-ки ка-ок ко-ка ло-ла ом-оми ця-ці ня-ні ин-ини",
})  # fmt: skip
"""The endings of singular and plural, without accents, where stemmers may give the two different stems ("shelf",
"shelves"; the German "Keks", "Kekse"; the Dutch "hemd", "hemden"; the Swedish "stövel", "stövlar"; the Finnish "takki",
"takit"). In Russian, the plural may be the genitive, as after numbers and in "набор чашек" (set of cups) of "чашка"."""

DIMINUTIVES = {"nl": "je- jes- tje- tjes- nnetje-n nnetjes-n lletje-l lletjes-l mmetje-m mmetjes-m rretje-r rretjes-r"}
"""The endings of diminutives, with those of the words that they are made from: "lampje" asks for a lamp."""

FORMS_BY_NUMBER = frozenset({"en", "es", "fr", "pt"})
"""Languages whose nouns have a singular and a plural, as in :data:`PLURALS`, and no other forms: other words with the
stem are other words, or say what is done with a thing."""

PARTICIPLES = {"en": "ed"}
"""The ending of words for what was done to a thing ("hammered"), which have the stem of the word for another."""

IRREGULAR_PLURALS = read_lists("irregular_plurals.txt")
"""Words with an irregular plural, or another irregular form: in Korean of a colour, in French and in Scandinavian
languages of an adjective, in Japanese the word of another script for a colour, spelled as by
:func:`imagesim.language.kana.spelled`. "Men" and "women" are missing because they name departments of shops rather than
several persons."""

OWN_STEMS = read_lists("own_stems.txt")
"""Words with a stem of their own, because the stemmer gives them that of another thing that shops sell, of what things
are like, or of a frequent word: in German, leather ("Leder") gets the stem of LED; in English, leggings that of a
"three-legged table"; in Spanish, a baby ("bebé") that of drinking; and in French, a base that of "low" ("bas"). Each
form of such a word is listed, unless the stemmer gives it the same stem or the other word has it, too. In Portuguese,
most of the stems are plurals, because, without its accent, the stem of a gate ("portão") is the word for a door
("porta")."""

AUDIENCES = read_lists("audiences.txt")
"""Words for the same people for whom a thing is made: "ladies watch" asks for a "Women's watch"."""

EQUIVALENTS = read_lists("equivalents.txt")
"""Words that say the same of a thing: where it is from, of which decade it is, or its rank. "Irish whiskey" asks for a
whiskey that is made in Ireland, and "1960s dress" for a dress of the 60s."""

SPELLINGS = read_lists("spellings.txt")
"""Parts of words that have two correct spellings, such as American and British ones, so that neither is taken for a
typing error in the other."""
