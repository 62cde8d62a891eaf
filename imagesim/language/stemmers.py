"""Find the stems of words with the Snowball stemmer of their language."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.metadata import version
from typing import Any

from imagesim.language.letters import fold
from imagesim.language.stop_words import OWN_STEMS

SNOWBALL = {
    "bg": "russian", "bs": "serbian", "ca": "catalan", "cs": "czech", "da": "danish", "de": "german", "el": "greek",
    "en": "english", "es": "spanish", "et": "estonian", "eu": "basque", "fa": "persian", "fi": "finnish",
    "fr": "french", "ga": "irish", "gl": "portuguese", "hi": "hindi", "hr": "serbian", "hu": "hungarian",
    "hy": "armenian", "id": "indonesian", "it": "italian", "lt": "lithuanian", "ms": "indonesian", "nb": "norwegian",
    "ne": "nepali", "nl": "dutch", "nn": "norwegian", "no": "norwegian", "pl": "polish", "pt": "portuguese",
    "ro": "romanian", "ru": "russian", "sk": "czech", "sl": "serbian", "sr": "serbian", "sv": "swedish", "ta": "tamil",
    "tr": "turkish", "uk": "russian",
}  # fmt: skip
"""The name of the Snowball stemmer for each language code; that of a related language if there is none: it finds most
plurals, and :data:`~imagesim.language.stop_words.PLURALS` has others. Arabic has a better one here."""

SHORTEST = 3
"""The minimum number of letters of a stem in a language with a preparing step: "ça" is too short for the Turkish
"çanta"."""

_S_PLURAL = re.compile(r"(?<=..[^aeiouy][aiouy])s$|(?<=.[^m]p)s$")
_TABLE_OR_FISH = re.compile(r"(.*[ft]isch)(?:e[mnrs]?|s)?")
_PLURAL_OR_POSSESSED = re.compile(r"(?<=...)l[ae]r[ıi]?$|(?<=[aeıioöuü])s[ıiuü]$")


_ADJECTIVE = re.compile(r"(?<=.ał)(?:y|a|e|ą|ego|ej|emu|ych|ym|ymi)$")
_GENITIVE_PLURAL = re.compile(r"(?<=...)ow$")
_NOT_SPELLED = re.compile("[\u0640\u064b-\u0652\u0670]")  # short vowels, and the letter that only makes a word wider
# The last two are those of a Persian keyboard.
_ALIFS = str.maketrans({"أ": "ا", "إ": "ا", "آ": "ا", "ى": "ي", "ة": "ه", "ی": "ي", "ک": "ك"})
_ARTICLE = re.compile("^(?:[وفبك]?ال|و?لل)(?=...)")
_WEAK = re.compile("[اويئؤء]+")
_SAAT = re.compile("^saat(?:i|leri?)$")
_VOWELS = frozenset("aeıioöuü")
_FINAL_LETTERS = str.maketrans("ךםןףץ", "כמנפצ")


def _dutch(word: str) -> str:
    """Return a Dutch word that ends with "e" with the ending "en", which the stemmer removes while it leaves the "e" of
    adjectives: "rode" gets the stem of "rood" only as "roden"."""
    return f"{word}n" if word.endswith("e") else word


def _polish(word: str) -> str:
    """Return a Polish word with the accent of its ending if that is typed without it ("butow"), and an adjective such
    as "biały" (white), which the stemmer takes for a verb, without its ending."""
    return _GENITIVE_PLURAL.sub("ów", _ADJECTIVE.sub("", word))


def _turkish(word: str) -> str:
    """Return a Turkish word without the ending of the plural, or of the last part of a compound, of which the stemmer
    would leave the "s": "çanta" for the second word of "omuz çantası". Its vowels are brought into harmony, so that
    "ayakkabi", typed without the letter "ı", has the endings of "ayakkabı"; but not in the foreign "saati" (watch)."""
    letters, back = list(_SAAT.sub("saat", word)), False
    for number, letter in enumerate(letters):
        if letter in "ıi" and back:
            letters[number] = "ı"
        elif letter in _VOWELS:
            back = letter in "aıou"
    return _PLURAL_OR_POSSESSED.sub("", "".join(letters))


_ARABIC = {"ستاره": "ستار", "ستائر": "ستار", "مكتبه": "مكتبه", "مكتبات": "مكتبه"}
"""Arabic words, as they are typed without the dots of the last letter, that have the consonants of another thing that
shops sell: curtains ("ستائر") with those of jackets, a bookcase ("مكتبة") with those of a desk."""


def _arabic(word: str) -> str:
    """Return the consonants of an Arabic word. Most plurals differ from the singular in their vowels, so no ending
    marks them: "فستان" (dress) and "فساتين", "كوب" (cup) and "أكواب"."""
    if word.isascii():
        return word
    word = _ARTICLE.sub("", _NOT_SPELLED.sub("", word)).translate(_ALIFS)
    if own := _ARABIC.get(word):
        return own
    for ending, least in (("ات", 2), ("ه", 2), ("ين", 3), ("ون", 3), ("ان", 3)):
        rest = word.removesuffix(ending)
        if rest != word and len(_WEAK.sub("", rest)) >= least:
            word = rest
    word = _WEAK.sub("و", word[1:] if word.startswith("ا") and len(word) > SHORTEST else word)
    word = word[:1] + word[1:].rstrip("و")
    strong = word[:1] + word[1:].replace("و", "")
    return strong if len(strong) >= SHORTEST else word


def _hebrew(word: str) -> str:
    """Return a Hebrew word without "and", the article and the endings of number, gender and the construct state: "שמל"
    for "שמלה" (dress), "השמלות", "ושמלות" and "שמלת"."""
    word = word.translate(_FINAL_LETTERS)
    for prefix in "וה":
        word = word[1:] if word.startswith(prefix) and len(word) > SHORTEST + 1 else word
    for ending, least in (("יימ", 2), ("ימ", 2), ("ות", 2), ("ה", 2), ("ת", 3), ("י", 3)):
        if word.endswith(ending) and len(word) - len(ending) >= least:
            return word[: -len(ending)]
    return word


_LATVIAN_ENDING = re.compile("(?<=...)(?:aj(?:iem|ai|am|os|as|a)|iem|ais|[ae]i|[aeiu]m|[aeiou]s|ie|[aeious])$")
_LATVIAN_J = re.compile("(?<=[bmpv])j$")
_LATVIAN_DIMINUTIVE = re.compile("(?<=i)t$")


def _latvian(word: str) -> str:
    """Return a Latvian word without its accents, which many type it without, and the ending of number and case: "naz"
    for "nazis" (knife) and "naži", "skap" for "skapis" (cupboard) and "skapji", "delis" for "dēlītis" (board) and
    "dēlīši"."""
    stem = _LATVIAN_ENDING.sub("", fold(word))
    return _LATVIAN_DIMINUTIVE.sub("s", _LATVIAN_J.sub("", stem))


def _german(word: str, stem_word: Callable[[str], str]) -> str:
    """Return the stem of a German word: without the "s" of the plural of "Sofas" or "Laptops", which the stemmer
    leaves, and with the end of "Esszimmertisch" and "Räucherfisch", which it takes for the ending of an adjective."""
    if found := _TABLE_OR_FISH.fullmatch(word):
        return found[1]
    return stem_word(_S_PLURAL.sub("", word))


_PLURAL_OF_INITIALS = re.compile(r"([^aeiouy]{2,}(?<!s))s")


def _english(word: str, stem_word: Callable[[str], str]) -> str:
    """Return the stem of an English word: without the "s" of "TVs" or "DVDs", which the stemmer leaves."""
    found = _PLURAL_OF_INITIALS.fullmatch(word)
    return found[1] if found else stem_word(word)


_HUNGARIAN_NOUN = re.compile(
    r"(.*(?:(?:kab|lap|bar|gr[áa]n)[áa]t|(?:bet|al[áa]t)[ée]t|(?<!r[óo])zs[áa]k|(?<!csé)szék|^szek|(?<!ke)fék"
    r"|(?:^|sötét|világos|király)kék|(?:der|eml|faz|ker|mell|term)ék"
    r"|(?:adal|ajánd|ajand|árny|borít|borit|fest|folyad|hullad|ját|jat|kell|kever|kötel|körny|marad|mért|nyomat"
    r"|tartoz|készül|keszul|toldal|töltel|vezet|vid)[ée]k|(?:abl|kup|sis|tas)ak|(?<=..)zet|(?:fel[üu]|k[ée]sz)let"
    r")|[mr]ák)(?:[aeo]k(?:[ae]t)?|[aeo]t|[kt][ae]l|j?[ae]|b[ae]n|h[eo]z)?"
)
_HUNGARIAN_ENDING = re.compile(
    r"(?<=..)([áé])(?:k|k[ae]t|kk[ae]l|kn[ae]k|t|v[ae]l|j[ae]|b[ae]n?|b[óő]l|h[eo]z|r[ae]|r[óő]l|t[óő]l|n[ae]k)$"
)
_SHORT_VOWEL = {"á": "a", "é": "e"}
_HUNGARIAN_WITH_K = re.compile(r"(..+[^aáeéiíoóöőuúüű]k)[ae]?")
_NO_CASE = re.compile(r"(?<=..)(?:(?<=[ae]r)[ae]|(?<=[aáeéiíoóöőuúüű][mn]))$")


def _hungarian(word: str, stem_word: Callable[[str], str]) -> str:
    """Return the stem of a Hungarian word. "lámpák" (lamps), "lámpát" and "lámpája" get that of "lámpa", although the
    stemmer does not remove the "a" from all of them; "táska" (bag), "kabát" (coat), "játék" (toy), "kamera" and
    "telefon" keep the letters at the end that it takes for the ending of a plural or case."""
    if found := _HUNGARIAN_NOUN.fullmatch(word):
        return found[1]
    if found := _HUNGARIAN_ENDING.search(word):
        word = word[: found.start()] + _SHORT_VOWEL[found[1]]
    if found := _HUNGARIAN_WITH_K.fullmatch(word):
        return found[1]
    return stem_word(_NO_CASE.sub("ok", word))


_SWEDISH_NOUN = re.compile(
    r".*(?:(?:chokl|limon|marmel|sall)ad|(?:adap|da|detek|moni|mo|projek|reflek|trak)tor"
    r"|(?:gener|indik|kondens|radi|regul|transform|ventil)ator|(?:kompres|proces|sen)sor"
    r"|(?:färs|gips|hals|keps|krans|lins|p[äa]ls|slips|snaps|spets)|(?:pak|stak|tap)et)"
)


def _swedish(word: str, stem_word: Callable[[str], str]) -> str:
    """Return the stem of a Swedish word. A noun that ends like another part of speech, such as "sallad" (salad),
    "dator" (computer) and "keps" (cap), gets that of its plural, because the stemmer removes such an ending only from
    the singular."""
    return stem_word(f"{word}er" if _SWEDISH_NOUN.fullmatch(word) else word)


def _italian(word: str, stem_word: Callable[[str], str]) -> str:
    """Return the stem of an Italian word. "bicchiere" (glass) gets that of "bicchieri", and "fioriere" (planters) that
    of "fioriera", in place of that of "fiori" (flowers)."""
    return stem_word(f"{word[:-1]}a" if word.endswith("iere") else word)


_LIKE_A_VERB = re.compile(r"(?<=..[ая][нл])[аоыу]?$")


def _russian(word: str, stem_word: Callable[[str], str]) -> str:
    """Return the stem of a Russian word. "стакан" (glass) and "зеркала" (mirrors), from which the stemmer would remove
    the "н" or "л" as from a verb, get that of the word with the ending of a genitive plural."""
    return stem_word(_LIKE_A_VERB.sub("ов", word))


_FINNISH_VOWEL = re.compile(r"(?<=...)(?:i|ej)$|(?<=..[oöuy])j$")
_TWICE = re.compile(r"([kpt])\1$")


def _finnish(word: str, stem_word: Callable[[str], str]) -> str:
    """Return the stem of a Finnish word. "tuoli" (chair) and "tuoleja" get that of "tuolin", without a vowel, and
    "takkeja" (coats) gets that of "takki"."""
    return _TWICE.sub(r"\1", _FINNISH_VOWEL.sub("", stem_word(word)))


def _listed(pairs: str) -> dict[str, str]:
    """Return the stems of words that are listed as "word-stem word-stem"."""
    return {word: own for word, _, own in (pair.partition("-") for pair in pairs.split())}


_LISTED = {language: _listed(pairs) for language, pairs in OWN_STEMS.items()}


def is_other_word(word: str, stem: str, language: str) -> bool:
    """Return whether a word has a stem of its own, in place of ``stem``: "schale" is not a form of "schal"."""
    own = _LISTED.get(language, {}).get(word)
    return own is not None and own != stem


PLURALS_ONLY = frozenset(word for word, own in _LISTED["en"].items() if word == own and word.endswith("s"))
"""English words without a singular."""

_OWN = {"ar": _arabic, "he": _hebrew, "lv": _latvian}
"""Languages without a Snowball stemmer, or with a better one here."""

_AROUND = {
    "de": _german, "en": _english, "fi": _finnish, "hu": _hungarian, "it": _italian, "ru": _russian, "sv": _swedish,
}  # fmt: skip
"""Languages with a function that calls the Snowball stemmer itself."""

_PREPARED = {"nl": _dutch, "pl": _polish, "tr": _turkish}
"""Languages with a step before the stemmer; both are applied twice, because a word can have two endings."""

CHANGED_WITHIN = frozenset({"ar", "bs", "ga", "he", "hr", "id", "ms", "nl", "sl", "sr"})
"""Languages in which the stem of a word may begin with letters other than those of the word."""


def stem(word: str, language: str) -> str:
    """Return the stem of a word in lower case; the word itself if there is no stemmer, or if it ends with a digit, as
    codes do, but not forms of words."""
    if word[-1:].isdigit():
        return word
    if own := _OWN.get(language):
        return own(word)
    name = SNOWBALL.get(language)
    if not name:
        return word
    if listed := _LISTED.get(language, {}).get(word):
        return listed
    stem_word: Callable[[str], str] = _stemmer(name).stemWord
    if around := _AROUND.get(language):
        return around(word, stem_word)
    prepare = _PREPARED.get(language)
    if not prepare:
        return stem_word(word)
    for _ in range(2):  # "fietsen" becomes "fiets", which has the stem "fiet"
        word = prepare(word)
        shorter = stem_word(word)
        if len(shorter) < SHORTEST:
            break
        word = shorter
    return word


def _stemmer(name: str) -> Any:
    """Return the stemmer of this name for the current thread; it keeps the word that it works on."""
    found = vars(_of_thread).get(name)
    if found is None:
        if (compiled := _compiled()) is not None:
            found = compiled.Stemmer(name, 0)  # words are cached elsewhere
        else:
            found = getattr(import_module(f"snowballstemmer.{name}_stemmer"), f"{name.title()}Stemmer")()
        vars(_of_thread)[name] = found
    return found


@cache
def _compiled() -> Any:
    """Return PyStemmer, which is 14 times as fast, if its stems are those of snowballstemmer, otherwise None.

    snowballstemmer would use it in any version. Older ones, which other packages may require, have other stems, and
    lack languages such as Polish.
    """
    try:
        import Stemmer
    except ImportError:
        return None
    return Stemmer if _minor(Stemmer.version()) == snowball_version() else None


def snowball_version() -> tuple[int, int]:
    """Return the major and minor version of snowballstemmer. Others may have other stems."""
    return _minor(version("snowballstemmer"))


def _minor(version: str) -> tuple[int, int]:
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


_of_thread = threading.local()
