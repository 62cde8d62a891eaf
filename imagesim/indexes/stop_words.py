"""Lists of words that name no product, and tables of word forms, by the code of their language."""

from __future__ import annotations

import re
from pathlib import Path


def read_lists(path: Path) -> dict[str, str]:
    """Return the lists of words in a file, by the code of their language, which stands before each in brackets."""
    _, *found = re.split(r"^\[(\w+)\]$", path.read_text("utf-8"), flags=re.MULTILINE)
    return dict(zip(found[::2], found[1::2], strict=True))


FOLDER = Path(__file__).with_name("words")

STOP_WORDS = {
    "en": "a an and are as at be by for from i in is it my of on or that the this to with your we me some",
    "de": "der die das den dem des ein eine einer eines einem einen und oder für mit von vom zum zur im in am an auf "
    "aus bei ist zu als auch nach ich mein meine",
    "fr": "le la les l un une des du de d et ou pour avec sans en dans sur au aux ce cette est à",
    "es": "el la los las un una unos unas y o de del para con sin en por al es que",
    "it": "a il lo la i gli le l un uno una e o di d del dello della dei degli delle dell per con senza in nel nella "
    "nello nei negli nelle nell su sul sulla sulle sull da dall al alla alle agli all è",
    "nl": "de het een deze die dit dat en of voor met van in op te bij aan uit is",
    "pl": "i lub albo w we na z ze do dla od po o u pod nad jest są",
    "pt": "o a os as um uma uns umas e ou de do da dos das para com sem em no na nas por pelo pela ao à às",
    "cs": "a bez do i je jsou k ke na nebo o od po pro s se ta ten to u v ve z za ze",
    "da": "af at de den det eller en er et for fra i med min mine mit og om på som til uden ved",
    "ar": "أو إلى على عن في مع من هذا هذه و",
    "el": "για ένα ένας η ή και με μια ο οι σε στα στη στην στο στον τα τη την της το τον του των από",
    "fi": "että ja kanssa ne on se tai tämä",
    "he": "או אל את ו זה זו על עם של",
    "hu": "a az egy és vagy",
    "nb": "av de den det ei eller en er et for fra i med min mine mitt og om på som til uten ved å",
    "ru": "без в во для до за и из или к ко на о об от по с со у это",
    "sv": "att av de den det eller en ett från för i med min mina mitt och om på som till utan vid är",
    "tr": "bir bu da de ile için mi mu mü mı o ve veya şu",
}
"""Words without a meaning of their own, which are left out wherever other words remain."""

PARTICLES = frozenset("的了吗呢子가과는도로를색에와은을의이")
"""Characters of Chinese and Korean behind a word that say nothing of what it means."""

ELIDED = frozenset({
    "all", "c", "coll", "d", "dall", "dell", "j", "jusqu", "l", "lorsqu", "m", "n", "nell", "puisqu", "qu", "quell",
    "quelqu", "quest", "s", "sant", "sull", "t", "un",
})  # fmt: skip
"""Words that lose their last vowel before another vowel, as in French, Italian and Catalan ("d'été", "dell'olio")."""

FEATURES = {
    "ar": "بدون مع", "cs": "bez pro s se", "da": "for med til uden", "de": "für mit ohne",
    "el": "για με χωρίς", "en": "for with without",
    "es": "con para sin", "fr": "avec pour sans", "he": "בלי ללא עם", "it": "con per senza", "nb": "for med til uten",
    "nl": "met voor zonder", "pl": "bez dla z ze", "pt": "com para sem", "ru": "без для с со",
    "sv": "för med till utan",
}  # fmt: skip
"""Words after which a name says what a thing has, or what it is for: a "baby monitor with camera" is no camera."""

QUALITIES = {"en": "compatible free friendly proof resistant safe"}
"""Words before which a word says what a thing stands, or is without: what is "dishwasher safe" is no dishwasher."""

PREPOSITIONS = {
    "ar": "في من", "cs": "do na z ze", "da": "af i", "de": "aus fürs im in zum zur", "el": "από σε", "en": "from in",
    "es": "en", "fr": "en",
    "it": "in", "nb": "av i", "nl": "in uit van", "pl": "do na w we", "pt": "em", "ru": "в из на", "sv": "av i",
}  # fmt: skip
"""Further words after which a query says what a thing is for, or what it is like ("shirt in red", "Stuhl aus Holz")."""

QUALIFIERS = read_lists(FOLDER / "qualifiers.txt")
"""Words that say for whom, where or when a thing is used, or what it is like, and never what it is: an office chair is
a chair, gym shoes are shoes, and a comfy chair is a chair. Words with which a thing becomes another are not listed (ice
cream, a bar stool, a hot dog, an artificial plant), nor adjectives with the stem of something that is sold. Languages
whose adjectives follow need fewer: there, any unknown word directly behind a thing says what it is like."""

FILLERS = read_lists(FOLDER / "fillers.txt")
"""Words for asking and buying, which weigh very little in matches of words
(:data:`~imagesim.indexes.query_words.FILLER`) and are not embedded unless the catalogue calls something so."""

PICTURES = {
    "cs": "fotka obrázek", "da": "billede foto", "de": "bild foto", "en": "image photo picture", "es": "foto imagen",
    "fi": "kuva", "fr": "image photo", "it": "foto immagine", "nb": "bilde foto", "nl": "foto", "pl": "zdjęcie",
    "pt": "foto imagem", "ru": "фото", "sv": "bild foto", "tr": "fotoğraf resim",
}  # fmt: skip
"""Those of the fillers that may say what a thing is for: a "picture of a vase" is a vase, a "picture frame" a frame."""

AMOUNTS = frozenset({
    "eu", "uk", "us", "age", "aged", "ages", "alter", "ab", "âge", "edad", "età", "idade", "leeftijd", "wiek",
    "size", "under", "below", "than", "größe", "unter", "bis", "taille", "moins", "jusqu", "talla", "menos", "hasta",
    "taglia", "meno", "fino", "maat", "onder", "tot", "rozmiar", "poniżej", "do", "tamanho", "até",
    "storlek", "størrelse", "koko", "velikost", "размер", "до", "beden", "numara",
})  # fmt: skip
"""Words after which a number is a size, an age or a price ("size 42", "under 50"), known to filters rather than to
texts."""

NEGATIONS = {
    "de": "kein keine keinem keinen keiner keines nicht ohne", "en": "no non not without", "es": "no sin",
    "fr": "pas sans", "it": "non senza", "nl": "geen niet zonder", "pl": "bez nie", "pt": "não sem",
    "cs": "bez ne", "da": "ikke uden", "fi": "ei", "nb": "ikke uten", "ru": "без не", "sv": "inte utan",
}  # fmt: skip
"""Words after which a colour is excluded ("lamp, not white")."""

SHADES = {
    "de": "blass dunkel dunkle hell himmel königs kräftig marine nacht tief zart",
    "en": "bright brighter dark darker deep light lighter navy night pale royal sky",
    "es": "celeste claro claros intenso marino noche oscuro oscuros pálido",
    "fr": "ciel clair claire foncé foncée marine nuit pâle vif vive",
    "it": "acceso chiaro notte pallido scuro",
    "nl": "bleek donker fel hemels konings licht marine nacht",
    "pl": "blado ciemno ciemny jasno jasny",
    "pt": "celeste claro claros escuro escuros marinho noite pálido",
    "cs": "světle tmavě",
    "da": "lyse marine mørke",
    "fi": "tumman vaalean",
    "nb": "lyse marine mørke",
    "ru": "светло темно ярко",
    "sv": "ljus ljusa marin mörk mörka",
    "tr": "açık koyu",
}
"""Words that belong to the name of a colour beside it ("light blue", "bleu clair"), or are its first part
("hellblau")."""

SIZES = frozenset({"xs", "s", "m", "l", "xl", "xxl", "xxxl"})
"""Sizes that are not numbers. Those of one letter count as a size only after one of ``AMOUNTS``."""

UNITS = frozenset({
    "a", "ah", "amp", "anni", "anos", "ans", "años", "bar", "cali", "cl", "cm", "cv", "dl", "feet", "foot", "ft", "g",
    "gb", "ghz", "gram", "gramm", "grams", "h", "hp", "hz", "inch", "inches", "jaar", "jahre", "jahren", "kg", "km",
    "kw", "l", "lat", "lb", "lbs", "liter", "liters", "litre", "litres", "litri", "litro", "litros", "litry", "litrów",
    "lm", "lumen", "m", "mah", "mb", "mhz", "ml", "mm", "months", "nm", "oz", "polegadas", "pollici", "pouce", "pouces",
    "ps", "pulgadas", "tb", "v", "volt", "volts", "w", "watt", "watts", "year", "years", "zoll",
})  # fmt: skip
"""Units of a number before them. A query for "dumbbell 5 kg" asks for a dumbbell, not for a "kg"."""

NUMBERS_OF_THINGS = {
    "de": "paar packung stück", "en": "assortment bundle pack packs pair pairs piece pieces set sets",
    "es": "pack paquete par pares set", "fr": "lot paire paires set", "it": "confezione paio set",
    "nl": "paar stuks", "pt": "conjunto kit pacote par pares",
}  # fmt: skip
"""Words that say how many of a thing there are: who types "knife set" asks for knives, and not for any set."""

CONJUNCTIONS = {
    "ca": "i", "cs": "a", "da": "og", "de": "und", "el": "και", "en": "and", "es": "y", "fi": "ja", "fr": "et",
    "hu": "és", "it": "e", "nb": "og", "nl": "en", "no": "og", "pl": "i", "pt": "e", "ro": "și", "ru": "и",
    "sv": "och", "tr": "ve",
}  # fmt: skip
"""The word for "and" in each language, in lower case."""

HEAD_FIRST = frozenset({"ar", "ca", "es", "fr", "ga", "he", "id", "it", "pl", "pt", "ro"})
"""Languages in which the word that says what a thing is comes first ("silla de oficina"); in others it comes last
("office chair")."""

INFLECTIONS = {"da": "e er", "de": "e en er s", "nb": "e er", "nl": "en s", "no": "e er", "sv": "a ar or er"}
"""Endings that the last part of a compound may have after its stem ("Hängelampe", "Handtaschen"), in languages that
write compounds as one word."""

SUFFIXES = {"de": "arm bar gel tor"}
"""Short words with which other words end than compounds: "waschbar", "Spiegel", "Generator"."""

OTHER_THINGS = {"de": "handschuh", "nl": "handschoen"}
"""Compounds that are no kind of what their last part says: a glove ("Handschuh") is no shoe."""

PLURALS = {
    "da": "el-ler", "en": "-s s-ses f-ves fe-ves", "es": "-s -es z-ces", "fr": "-s -x",
    "it": "co-chi go-ghi ca-che ga-ghe", "nb": "el-ler er-rer",
    "nl": "-s -en f-ven s-zen b-bben d-dden f-ffen g-ggen k-kken "
    "l-llen m-mmen n-nnen p-ppen r-rren s-ssen t-tten",
    "pl": "ek-ki", "pt": "-s ao-oes al-ais el-eis ol-ois",
    "ru": "ек-ки ок-ки ел-лы ол-лы ец-цы ень-ни",
    "sv": "a-an r-rna el-lar el-ler er-rar",
}  # fmt: skip
"""The endings of singular and plural, without accents, where stemmers may give the two different stems ("shelf",
"shelves"; the Dutch "hemd", "hemden"; the Swedish "stövel", "stövlar")."""

DIMINUTIVES = {"nl": "je- jes- tje- tjes- nnetje-n nnetjes-n lletje-l lletjes-l mmetje-m mmetjes-m rretje-r rretjes-r"}
"""The endings of diminutives, with those of the words that they are made of: "lampje" asks for a lamp."""

FORMS_BY_NUMBER = frozenset({"en", "es", "fr", "pt"})
"""Languages whose nouns have a singular and a plural, as of :data:`PLURALS`, and no other forms: other words with the
stem are other words, or say what is done with a thing."""

PARTICIPLES = {"en": "ed"}
"""The ending of words for what was done to a thing ("hammered"), which have the stem of the word for another."""

IRREGULAR_PLURALS = {
    "en": "child-children foot-feet goose-geese mouse-mice tooth-teeth",
    "fr": "body-bodies oeil-yeux bas-basse beau-belle beaux-belles blanc-blanche blancs-blanches doux-douce "
    "epais-epaisse "
    "frais-fraiche gros-grosse long-longue longs-longues neuf-neuve neufs-neuves roux-rousse "
    "sec-seche secs-seches vieux-vieille",
    "ko": "검은-검정 까만-검정 노란-노랑 빨간-빨강 파란-파랑 하얀-흰색",
    "es": "jersey-jerseis jersey-jerséis",
    "nl": "ei-eieren kind-kinderen slot-sloten",
    "pt": "cao-caes pao-paes",
    "sv": "bla-blatt gra-gratt rod-rott",
}
"""Words with an irregular plural, or another irregular form: in Swedish and Korean of a colour, in French of an
adjective. "Men" and "women" are missing because they name departments of shops rather than several persons."""

AUDIENCES = {
    "da": "damer-kvinder damer-kvinde dame-kvinder dame-kvinde herrer-maend herre-maend",
    "de": "damen-frauen damen-frau dame-frauen herren-manner",
    "en": "ladies-women ladies-womens lady-women gents-men gents-mens kids-children kids-child kid-children",
    "es": "dama-mujer damas-mujer damas-mujeres senora-mujer senoras-mujer senoras-mujeres caballero-hombre "
    "caballeros-hombre caballeros-hombres femenino-mujer femenina-mujer masculino-hombre masculina-hombre",
    "fr": "dame-femme dames-femme dames-femmes messieurs-homme messieurs-hommes feminin-femme feminine-femme "
    "masculin-homme masculine-homme",
    "it": "signora-donna signore-donna signore-donne femminile-donna femminili-donna maschile-uomo maschili-uomo",
    "nb": "damer-kvinner damer-kvinne dame-kvinner dame-kvinne herrer-menn herre-menn",
    "nl": "dames-vrouwen dames-vrouw dame-vrouwen heren-mannen heer-mannen",
    "pt": "senhora-mulher senhoras-mulher senhoras-mulheres feminino-mulher feminina-mulher masculino-homem "
    "masculina-homem",
    "sv": "damer-kvinnor damer-kvinna dam-kvinnor dam-kvinna herrar-man herr-man",
}
"""Words for the same people, whom a thing is for: "ladies watch" asks for a "Women's watch"."""

SPELLINGS = {
    "fr": "cle-clef shampoing-shampooing",
    "en": "aluminum-aluminium analog-analogue armor-armour caliber-calibre catalog-catalogue center-centre "
    "chili-chilli color-colour cozy-cosy donut-doughnut draft-draught favor-favour fiber-fibre flavor-flavour "
    "gray-grey harbor-harbour humor-humour iza-isa ize-ise izi-isi jewelry-jewellery license-licence liter-litre "
    "luster-lustre meter-metre mold-mould mustache-moustache neighbor-neighbour odor-odour pajama-pyjama "
    "parlor-parlour plow-plough program-programme racquet-racket saber-sabre savory-savoury sulfur-sulphur "
    "theater-theatre tire-tyre vapor-vapour whiskey-whisky woolen-woollen yogurt-yoghurt eled-elled eler-eller "
    "eling-elling",
}
"""Parts of words that have two correct spellings, such as American and British ones, so that neither is taken for a
typing error of the other."""

for _table in (
    STOP_WORDS,
    FEATURES,
    PREPOSITIONS,
    QUALIFIERS,
    FILLERS,
    PICTURES,
    NEGATIONS,
    SHADES,
    AUDIENCES,
    PLURALS,
):
    _table["no"] = _table["nb"]  # the code for Norwegian that does not say which of its two forms
