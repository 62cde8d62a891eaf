"""The words of other languages than English for garments in the names of shops' categories."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import cache

from imagesim.indexes.analysis import fold, stem_of
from imagesim.indexes.query_words import query_words
from imagesim.indexes.stop_words import HEAD_FIRST, INFLECTIONS

SHORTEST_PART = 4
"""Letters that a word has at least to be found at the end of a compound, as "schuh" is in "Damenschuhe"."""

_TRANSLITERATED = {"de": str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"})}
"""How slugs may spell letters, if not without their accents."""

NO_GARMENT = "none"
"""The label of words that end like a garment's, or name one that is not seen."""

WORDS: dict[str, dict[str, str]] = {
    "de": {
        "top": "oberteil shirt hemd bluse pullover pulli strickjacke strickware tunika sweatshirt weste",
        "outerwear": "jacke mantel blazer sakko anorak parka weste strickjacke cardigan poncho",
        "trousers": "hose jeans chino leggings",
        "shorts": "shorts bermuda capri",
        "skirt": "rock",
        "dress": "kleid overall jumpsuit",
        "shoes": "schuh stiefel stiefelette sneaker sandale sandalette ballerina slipper pantolette halbschuh mokassin",
        "bag": "tasche rucksack turnbeutel geldbörse portemonnaie clutch",
        "hat": "hut mütze kappe cap beanie sonnenhut strohhut sommerhut damenhut herrenhut kopfbedeckung",
        "scarf": "schal halstuch kopftuch seidentuch stola",
        "glasses": "brille",
        "belt": "gürtel",
        "hosiery": "strumpfhose strumpf socke",
        "suit": "anzug smoking sakko",
        NO_GARMENT: "handschuh badehose unterhose unterhemd nachthemd badeanzug schlafanzug unterrock schutzbrille "
        "klobrille toilettenbrille bademantel schwimmweste pflege",
    },
    "es": {
        "top": "camiseta camisa blusa polo jersey suéter sudadera túnica chaleco",
        "outerwear": "chaqueta abrigo cazadora blazer parka gabardina chubasquero poncho chaleco cárdigan",
        "trousers": "pantalón vaquero jean legging mallas chino",
        "shorts": "short bermuda",
        "skirt": "falda",
        "dress": "vestido mono peto",
        "shoes": "zapato zapatilla calzado bota botín sandalia mocasín bailarina tacón chancla alpargata",
        "bag": "bolso bolsa mochila cartera monedero bandolera riñonera",
        "hat": "sombrero gorra gorro boina",
        "scarf": "bufanda pañuelo fular",
        "glasses": "gafas",
        "belt": "cinturón",
        "hosiery": "calcetín panti",
        "suit": "traje esmoquin",
        NO_GARMENT: "lencería",
    },
    "fr": {
        "top": "chemise chemisier blouse pull polo sweat débardeur tunique gilet",
        "outerwear": "veste manteau blouson blazer parka imperméable trench doudoune cape poncho gilet cardigan",
        "trousers": "pantalon jean legging jogging chino",
        "shorts": "short bermuda",
        "skirt": "jupe",
        "dress": "robe combinaison salopette",
        "shoes": "chaussure botte bottine sandale basket escarpin ballerine mocassin talon tong espadrille",
        "bag": "sac cabas pochette portefeuille portemonnaie maroquinerie",
        "hat": "chapeau casquette bonnet béret",
        "scarf": "écharpe foulard étole",
        "glasses": "lunettes",
        "belt": "ceinture",
        "hosiery": "collant chaussette",
        "suit": "costume tailleur smoking",
        NO_GARMENT: "lingerie",
    },
    "it": {
        "top": "maglia maglietta camicia camicetta blusa polo maglione felpa tunica gilet",
        "outerwear": "giacca cappotto giubbotto piumino blazer parka impermeabile poncho gilet cardigan",
        "trousers": "pantalone jeans leggings chino",
        "shorts": "pantaloncino short bermuda",
        "skirt": "gonna",
        "dress": "vestito abito salopette",
        "shoes": "scarpa calzatura stivale stivaletto sandalo sneaker mocassino ballerina décolleté tacco infradito",
        "bag": "borsa zaino portafoglio pochette tracolla",
        "hat": "cappello berretto",
        "scarf": "sciarpa foulard stola",
        "glasses": "occhiali",
        "belt": "cintura",
        "hosiery": "calza calzino collant",
        "suit": "smoking",
        NO_GARMENT: "lingerie",
    },
    "nl": {
        "top": "bovenkleding shirt overhemd overhemden blouse trui sweater polo tuniek vest",
        "outerwear": "jas jack blazer colbert winterjas zomerjas regenjas parka vest poncho",
        "trousers": "broek jeans legging chino",
        "shorts": "short bermuda",
        "skirt": "rok minirok spijkerrok",
        "dress": "jurk jumpsuit tuinbroek",
        "shoes": "schoen laars laarzen sneaker sandaal ballerina slipper hakken instapper",
        "bag": "tas handtas schoudertas rugtas laptoptas schooltas reistas rugzak portemonnee",
        "hat": "hoed muts pet zonnehoed",
        "scarf": "sjaal omslagdoek",
        "glasses": "bril",
        "belt": "riem ceintuur",
        "hosiery": "panty sok sokken kous kousen",
        "suit": "pak kostuum smoking",
        NO_GARMENT: "handschoen zwembroek onderbroek skibril duikbril badjas hondenriem toiletbril verzorging",
    },
    "pl": {
        "top": "koszula koszulka bluzka bluza sweter polo tunika kamizelka",
        "outerwear": "kurtka płaszcz marynarka żakiet parka blezer poncho kamizelka kardigan",
        "trousers": "spodnie jeansy dżinsy legginsy chinosy",
        "shorts": "szorty spodenki bermudy",
        "skirt": "spódnica spódniczka",
        "dress": "sukienka suknia kombinezon",
        "shoes": "buty obuwie kozaki botki sandały trampki półbuty szpilki baleriny mokasyny klapki czółenka",
        "bag": "torba torebka plecak portfel kopertówka",
        "hat": "kapelusz czapka beret kaszkiet",
        "scarf": "szalik szal chusta apaszka",
        "glasses": "okulary",
        "belt": "pasek paski",
        "hosiery": "rajstopy pończochy skarpety skarpetki",
        "suit": "garnitur smoking",
        NO_GARMENT: "bielizna",
    },
    "pt": {
        "top": "camiseta camisa blusa polo suéter camisola moletom túnica colete",
        "outerwear": "jaqueta casaco blazer sobretudo parka blusão poncho colete cardigã",
        "trousers": "calça jeans legging chino",
        "shorts": "short calção bermuda",
        "skirt": "saia",
        "dress": "vestido macacão jardineira",
        "shoes": "sapato sapatilha calçado bota botim sandália tênis ténis mocassim chinelo",
        "bag": "bolsa mochila carteira mala pochete",
        "hat": "chapéu chapéus boné gorro boina",
        "scarf": "cachecol cachecóis lenço echarpe",
        "glasses": "óculos",
        "belt": "cinto",
        "hosiery": "meia collant",
        "suit": "terno fato smoking",
        NO_GARMENT: "lingerie",
    },
}


def labels_in(name: str, language: str, is_english: Callable[[str], bool]) -> frozenset[str]:
    """Return the labels of the word that says what the things of a category are; empty if no word of ``language`` does.

    That is the first garment of a name in languages such as Spanish, and the last one in others, and no complement, as
    in "accessoires pour chaussures"; none if a garment in English comes before it or behind it.
    """
    known, endings = _by_stem(language)
    words = [word for word in query_words(name, (language,)) if not word.complement]
    for word in words if language in HEAD_FIRST else reversed(words):
        stem = word.stems[language]
        if stem not in known:
            if is_english(word.word):
                break
            if language in INFLECTIONS:
                stem = max(filter(stem.endswith, endings), key=len, default=stem)
        if stem in known:
            return known[stem] - {NO_GARMENT}
    return frozenset()


@cache
def _by_stem(language: str) -> tuple[dict[str, frozenset[str]], frozenset[str]]:
    """The labels of each stem, and the stems with which compounds may end."""
    found: dict[str, frozenset[str]] = defaultdict(frozenset)
    endings: set[str] = set()
    for label, words in WORDS.get(language, {}).items():
        for word in words.split():
            spellings = (word, fold(word), word.translate(_TRANSLITERATED.get(language, {})))
            stems = {stem_of(spelling, language) for spelling in spellings}
            for stem in stems:
                found[stem] |= {label}
            if len(word) >= SHORTEST_PART:
                endings |= stems
    return dict(found), frozenset(endings)
