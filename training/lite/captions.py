"""Labels as text: many wordings, British and American synonyms, wide and narrow terms.

A :class:`Caption` is a text with its claims: the types, colours, genders and uses that it fits. A picture matches when
it fits all claims; empty claims fit everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# The words for each label; the label's own wording comes first. Outfit labels (lower case) share the words.
TYPES: dict[str, tuple[str, ...]] = {
    "Tshirts": ("t-shirt", "tshirts", "tee", "t shirt", "tee shirt", "crew neck tee", "graphic tee", "polo shirt"),
    "Shirts": ("shirt", "shirts", "button-down shirt", "dress shirt", "button-up", "collared shirt", "checked shirt"),
    "Casual Shoes": ("casual shoes", "casual shoe", "sneakers", "trainers", "canvas shoes", "everyday shoes"),
    "Sports Shoes": ("sports shoes", "sports shoe", "running shoes", "trainers", "athletic shoes", "gym shoes"),
    "Formal Shoes": (
        "formal shoes",
        "formal shoe",
        "oxfords",
        "dress shoes",
        "leather shoes",
        "brogues",
        "derby shoes",
    ),
    "Tops": ("top", "tops", "women's top", "blouse", "sleeveless top", "tunic top"),
    "Kurtas": ("kurta", "kurtas", "Indian tunic", "ethnic shirt"),
    "Kurtis": ("kurti", "kurtis", "short kurta", "ethnic tunic"),
    "Watches": ("watch", "watches", "wristwatch", "wrist watch", "timepiece", "analog watch"),
    "Handbags": ("handbag", "handbags", "purse", "tote bag", "shoulder bag", "ladies' bag", "satchel"),
    "Heels": ("heels", "heel", "high heels", "pumps", "high-heeled shoes", "stilettos", "wedges"),
    "Sunglasses": ("sunglasses", "shades", "sun glasses", "aviators", "dark glasses"),
    "Sweaters": ("sweater", "sweaters", "jumper", "pullover", "knitwear", "cardigan", "knitted top"),
    "Sandals": ("sandals", "sandal", "strappy sandals", "open-toed shoes", "summer sandals"),
    "Wallets": ("wallet", "wallets", "billfold", "leather wallet", "card holder", "coin purse"),
    "Flip Flops": ("flip flops", "flip-flops", "thongs", "slippers", "beach slippers", "sliders"),
    "Sweatshirts": ("sweatshirt", "sweatshirts", "hoodie", "hooded top", "hooded sweatshirt", "fleece"),
    "Belts": ("belt", "belts", "leather belt", "waist belt"),
    "Trousers": ("trousers", "pants", "slacks", "chinos", "formal trousers", "dress pants"),
    "Jeans": ("jeans", "denim", "denim trousers", "denims", "blue jeans", "skinny jeans"),
    "Socks": ("socks", "pair of socks", "ankle socks", "sock"),
    "Jackets": ("jacket", "jackets", "coat", "outerwear", "windbreaker", "bomber jacket", "padded jacket"),
    "Flats": ("flats", "flat shoes", "ballet flats", "ballerinas", "pumps without heels", "slip-ons"),
    "Backpacks": ("backpack", "backpacks", "rucksack", "knapsack", "school bag", "daypack"),
    "Briefs": ("briefs", "underpants", "underwear", "men's briefs", "undies"),
    "Shorts": ("shorts", "short pants", "bermudas", "bermuda shorts"),
    "Innerwear Vests": (
        "innerwear vest",
        "innerwear vests",
        "undershirt",
        "tank top",
        "singlet",
        "sleeveless undershirt",
    ),
    "Caps": ("cap", "caps", "baseball cap", "hat", "peaked cap"),
    "Track Pants": ("track pants", "joggers", "sweatpants", "tracksuit bottoms", "jogging bottoms", "sports trousers"),
    "Ties": ("tie", "ties", "necktie", "silk tie"),
    "Clutches": ("clutch", "clutches", "clutch bag", "evening bag"),
    "Mufflers": ("muffler", "mufflers", "woollen scarf", "winter scarf", "knitted scarf"),
    "Dresses": ("dress", "dresses", "frock", "gown", "summer dress", "evening dress"),
    "Accessory Gift Set": ("accessory gift set", "gift set", "gift box", "belt and wallet set"),
    "Trunk": ("trunk", "trunks", "boxer briefs", "boxers", "men's underwear"),
    "Skirts": ("skirt", "skirts", "mini skirt", "knee-length skirt"),
    "Scarves": ("scarf", "scarves", "silk scarf", "shawl", "neckerchief"),
    "Perfume and Body Mist": ("perfume", "perfume and body mist", "fragrance", "eau de toilette", "bottle of scent"),
    "Cufflinks": ("cufflinks", "cuff links", "pair of cufflinks"),
    "Capris": ("capris", "capri pants", "three-quarter trousers", "cropped trousers"),
    "Laptop Bag": ("laptop bag", "laptop case", "computer bag", "briefcase"),
    "Tunics": ("tunic", "tunics", "long top"),
    "Stockings": ("stockings", "tights", "hosiery", "pantyhose"),
    "Leggings": ("leggings", "legging", "tights"),
    "Duffel Bag": ("duffel bag", "gym bag", "sports bag", "holdall", "travel bag"),
    "Mobile Pouch": ("mobile pouch", "phone pouch", "phone case"),
    "Deodorant": ("deodorant", "body spray"),
    "Tracksuits": ("tracksuit", "tracksuits", "jogging suit"),
    "Sports Sandals": ("sports sandals", "trekking sandals"),
    "Gloves": ("gloves", "pair of gloves", "mittens"),
    "Bra": ("bra", "brassiere", "lingerie"),
    "Messenger Bag": ("messenger bag", "courier bag", "cross-body bag"),
    "Umbrellas": ("umbrella", "umbrellas"),
    "Dupatta": ("dupatta", "stole"),
    "Lounge Shorts": ("lounge shorts", "pyjama shorts"),
    "bag": ("bag",),
    "purse": ("purse", "clutch bag", "small bag"),
    "blazer": ("blazer", "suit jacket", "sports jacket", "tailored jacket"),
    "blouse": ("blouse", "women's shirt"),
    "bodysuit": ("bodysuit",),
    "boots": ("boots", "ankle boots", "leather boots", "boot"),
    "bracelet": ("bracelet", "bangle"),
    "cape": ("cape", "poncho"),
    "cardigan": ("cardigan", "knitted jacket"),
    "clogs": ("clogs",),
    "coat": ("coat", "overcoat", "trench coat", "winter coat"),
    "dress": ("dress", "frock", "summer dress"),
    "flats": ("flats", "ballet flats"),
    "glasses": ("glasses", "spectacles", "eyeglasses"),
    "gloves": ("gloves",),
    "hat": ("hat", "fedora", "sun hat", "beanie"),
    "heels": ("heels", "high heels"),
    "hoodie": ("hoodie", "hooded sweatshirt"),
    "jacket": ("jacket", "leather jacket", "denim jacket"),
    "jeans": ("jeans", "denim"),
    "jumper": ("jumper", "sweater"),
    "leggings": ("leggings",),
    "loafers": ("loafers", "moccasins", "slip-on shoes"),
    "necklace": ("necklace", "pendant", "chain"),
    "pants": ("pants", "trousers"),
    "pumps": ("pumps", "court shoes"),
    "romper": ("romper", "playsuit", "jumpsuit"),
    "sandals": ("sandals",),
    "scarf": ("scarf",),
    "shirt": ("shirt",),
    "shoes": ("shoes",),
    "shorts": ("shorts",),
    "skirt": ("skirt",),
    "sneakers": ("sneakers", "trainers"),
    "socks": ("socks",),
    "stockings": ("stockings",),
    "suit": ("suit", "two-piece suit"),
    "sunglasses": ("sunglasses",),
    "sweater": ("sweater", "jumper"),
    "sweatshirt": ("sweatshirt",),
    "t-shirt": ("t-shirt", "tee"),
    "tie": ("tie",),
    "tights": ("tights",),
    "top": ("top", "tank top"),
    "vest": ("vest", "waistcoat", "gilet"),
    "wallet": ("wallet",),
    "watch": ("watch",),
    "wedges": ("wedges", "wedge heels", "platform shoes"),
}

# Wide terms, and the labels that they include.
WIDE: dict[tuple[str, ...], tuple[str, ...]] = {
    ("shoes", "footwear", "pair of shoes"): (
        "Casual Shoes", "Sports Shoes", "Formal Shoes", "Heels", "Flats", "boots", "clogs", "flats", "heels", "loafers",
        "pumps", "shoes", "sneakers", "wedges",
    ),
    ("bag", "bags"): (
        "Handbags", "Backpacks", "Clutches", "Laptop Bag", "Duffel Bag", "Messenger Bag", "bag", "purse",
    ),
    ("underwear", "innerwear"): ("Briefs", "Innerwear Vests", "Trunk", "Bra"),
    ("eyewear",): ("Sunglasses", "glasses", "sunglasses"),
    ("headwear",): ("Caps", "hat"),
    ("bottoms", "legwear"): (
        "Trousers", "Jeans", "Shorts", "Track Pants", "Capris", "Leggings", "jeans", "pants", "shorts", "leggings",
    ),
    ("knitwear",): ("Sweaters", "cardigan", "jumper", "sweater"),
    ("outerwear",): ("Jackets", "blazer", "cape", "coat", "jacket"),
    ("sportswear", "activewear", "gym clothes"): ("Track Pants", "Tracksuits", "Sports Shoes"),
    ("ethnic wear", "Indian clothes"): ("Kurtas", "Kurtis", "Dupatta", "Churidar"),
    ("neckwear",): ("Ties", "tie", "Mufflers", "Scarves", "scarf"),
}  # fmt: skip

COLOURS: dict[str, tuple[str, ...]] = {
    "Black": ("black", "jet black"),
    "White": ("white",),
    "Off White": ("off-white", "off white"),
    "Grey": ("grey", "gray"),
    "Grey Melange": ("grey melange", "heather grey"),
    "Charcoal": ("charcoal", "dark grey", "dark gray"),
    "Blue": ("blue",),
    "Navy Blue": ("navy blue", "navy", "dark blue"),
    "Turquoise Blue": ("turquoise", "turquoise blue", "aqua"),
    "Teal": ("teal",),
    "Brown": ("brown",),
    "Coffee Brown": ("coffee brown", "dark brown"),
    "Tan": ("tan", "light brown", "camel"),
    "Beige": ("beige", "sand-coloured"),
    "Khaki": ("khaki",),
    "Cream": ("cream", "ivory"),
    "Red": ("red", "bright red"),
    "Maroon": ("maroon", "dark red", "burgundy", "wine-red"),
    "Burgundy": ("burgundy",),
    "Rust": ("rust",),
    "Green": ("green",),
    "Olive": ("olive", "olive green"),
    "Sea Green": ("sea green",),
    "Fluorescent Green": ("fluorescent green", "neon green"),
    "Purple": ("purple", "violet"),
    "Lavender": ("lavender", "lilac", "light purple"),
    "Pink": ("pink",),
    "Peach": ("peach",),
    "Magenta": ("magenta", "hot pink", "fuchsia"),
    "Yellow": ("yellow",),
    "Mustard": ("mustard", "mustard yellow"),
    "Orange": ("orange",),
    "Silver": ("silver",),
    "Steel": ("steel", "stainless steel"),
    "Gold": ("gold", "golden"),
    "Bronze": ("bronze",),
    "Copper": ("copper",),
    "Multi": ("multicolour", "multicolored", "colourful"),
}

# Neither right nor wrong, as a navy shirt is not a wrong answer to "blue shirt".
NEAR_COLOURS: tuple[frozenset[str], ...] = tuple(
    map(
        frozenset,
        (
            ("Blue", "Navy Blue"), ("Blue", "Turquoise Blue"), ("Turquoise Blue", "Teal"), ("Green", "Teal"),
            ("Green", "Olive"), ("Green", "Sea Green"), ("Green", "Fluorescent Green"), ("Khaki", "Olive"),
            ("Grey", "Charcoal"), ("Grey", "Grey Melange"), ("Black", "Charcoal"), ("Silver", "Grey"),
            ("Silver", "Steel"), ("Steel", "Grey"), ("White", "Off White"), ("White", "Cream"), ("Off White", "Cream"),
            ("Cream", "Beige"), ("Beige", "Tan"), ("Beige", "Khaki"), ("Brown", "Coffee Brown"), ("Brown", "Tan"),
            ("Brown", "Rust"), ("Brown", "Bronze"), ("Brown", "Copper"), ("Copper", "Bronze"), ("Gold", "Copper"),
            ("Gold", "Mustard"), ("Yellow", "Mustard"), ("Red", "Maroon"), ("Maroon", "Burgundy"), ("Red", "Burgundy"),
            ("Orange", "Rust"), ("Orange", "Peach"), ("Pink", "Peach"), ("Pink", "Magenta"), ("Purple", "Magenta"),
            ("Purple", "Lavender"), ("Pink", "Lavender"),
        ),
    )
)  # fmt: skip

# Equivalent labels of the two sources.
SAME: dict[str, tuple[str, ...]] = {
    "bag": ("Handbags", "Backpacks", "Clutches", "Messenger Bag", "purse"),
    "purse": ("Handbags", "Clutches", "bag"),
    "blazer": ("Jackets", "jacket", "suit", "coat"),
    "blouse": ("Tops", "Shirts", "shirt", "top"),
    "boots": ("shoes", "Casual Shoes", "Heels"),
    "cape": ("Jackets", "coat"),
    "cardigan": ("Sweaters", "sweater", "jumper", "jacket"),
    "coat": ("Jackets", "jacket", "blazer"),
    "dress": ("Dresses", "Tunics"),
    "flats": ("Flats", "shoes"),
    "glasses": ("Sunglasses", "sunglasses"),
    "gloves": ("Gloves",),
    "hat": ("Caps",),
    "heels": ("Heels", "pumps", "shoes", "wedges"),
    "hoodie": ("Sweatshirts", "sweatshirt"),
    "jacket": ("Jackets", "coat", "blazer"),
    "jeans": ("Jeans", "pants"),
    "jumper": ("Sweaters", "sweater"),
    "leggings": ("Leggings", "tights"),
    "loafers": ("Casual Shoes", "Formal Shoes", "shoes", "Flats"),
    "pants": ("Trousers", "Jeans", "jeans"),
    "pumps": ("Heels", "heels", "shoes"),
    "sandals": ("Sandals", "Heels", "shoes"),
    "scarf": ("Scarves", "Mufflers"),
    "shirt": ("Shirts", "blouse", "top"),
    "shoes": ("Casual Shoes", "Sports Shoes", "Formal Shoes", "Flats", "Heels", "boots", "sneakers", "heels", "pumps"),
    "shorts": ("Shorts",),
    "skirt": ("Skirts",),
    "sneakers": ("Casual Shoes", "Sports Shoes", "shoes"),
    "socks": ("Socks",),
    "stockings": ("Stockings", "tights"),
    "suit": ("blazer", "Jackets"),
    "sunglasses": ("Sunglasses",),
    "sweater": ("Sweaters", "jumper", "Sweatshirts", "sweatshirt"),
    "sweatshirt": ("Sweatshirts", "hoodie", "sweater"),
    "t-shirt": ("Tshirts", "top", "shirt"),
    "tie": ("Ties",),
    "tights": ("Stockings", "Leggings", "stockings"),
    "top": ("Tops", "Tshirts", "Innerwear Vests", "blouse", "t-shirt", "shirt"),
    "vest": ("Innerwear Vests", "Jackets"),
    "wallet": ("Wallets",),
    "watch": ("Watches",),
    "wedges": ("Heels", "heels", "shoes"),
}

GENDERS: dict[str, tuple[str, ...]] = {
    "Men": ("men's", "mens", "gents'", "male"),
    "Women": ("women's", "womens", "ladies'", "female"),
    "Boys": ("boys'", "kids'"),
    "Girls": ("girls'", "kids'"),
}
USES: dict[str, tuple[str, ...]] = {
    "Formal": ("formal", "business", "smart", "office"),
    "Sports": ("sports", "sporty", "athletic"),
    "Ethnic": ("ethnic", "Indian", "traditional"),
    "Casual": ("casual", "everyday"),
}
FRAMES = (
    "{}", "{}", "{}", "a {}", "a photo of a {}", "photo of {}", "a picture of a {}", "{} on a white background",
    "product photo of a {}", "buy {}", "{} for sale", "I am looking for a {}", "phone photo of a {}", "new {}",
)  # fmt: skip


@dataclass(frozen=True)
class Caption:
    """A text and its claims; an empty claim fits everything."""

    text: str
    types: frozenset[str] = frozenset()
    colour: str = ""
    gender: str = ""
    use: str = ""
    product: str = ""
    noun: str = ""


def _pick(rng: np.random.Generator, words: Sequence[str]) -> str:
    """Pick one of the words, mostly one of the first, which are the usual ones."""
    return words[min(int(rng.exponential(1.6)), len(words) - 1)]


def _frame(rng: np.random.Generator, words: str) -> str:
    return FRAMES[rng.integers(len(FRAMES))].format(words)


def draw(labels: dict[str, str], rng: np.random.Generator) -> Caption:
    """Draw one caption that is true for a picture with these labels, complete to a random degree."""
    if labels.get("product"):
        return _draw_product(labels, rng)
    kind, colour = labels.get("articleType", ""), labels.get("baseColour", "")
    gender, use = labels.get("gender", ""), labels.get("usage", "")
    with_type = kind in TYPES and rng.random() < 0.9
    with_colour = colour in COLOURS and (rng.random() < 0.6 or not with_type)
    with_gender = gender in GENDERS and rng.random() < 0.2
    with_use = use in USES and with_type and rng.random() < (0.1 if use != "Casual" else 0.02)
    types = frozenset([kind]) if with_type else frozenset()
    noun = _pick(rng, TYPES[kind]) if with_type else "item"
    if with_type and rng.random() < 0.08:
        for words, members in WIDE.items():
            if kind in members:
                noun, types = words[rng.integers(len(words))], frozenset(members)
                break
    if not with_type:
        noun = ("", "clothes", "item", "fashion", "product")[rng.integers(5)]
    adjectives, tail = [], ""
    if with_use:
        adjectives.append(_pick(rng, USES[use]))
    if with_gender:
        adjectives.append(_pick(rng, GENDERS[gender]))
    if with_colour:
        adjectives.insert(int(rng.integers(len(adjectives) + 1)), _pick(rng, COLOURS[colour]))
    if with_colour and noun and rng.random() < 0.1:
        adjectives.remove(next(a for a in adjectives if a in COLOURS[colour]))
        tail = f" in {COLOURS[colour][0]}"
    text = (" ".join([*adjectives, noun]) + tail).strip() or "product"
    return Caption(
        _frame(rng, text),
        types,
        colour if with_colour else "",
        gender if with_gender else "",
        use if with_use else "",
        noun=noun,
    )


def _draw_product(labels: dict[str, str], rng: np.random.Generator) -> Caption:
    """Draw a caption for a picture of a grocery: its kind, the product, or both."""
    kind, product = labels["articleType"], labels["product"]
    with_product = product != kind and rng.random() < 0.5
    words = product if with_product else kind
    if with_product and kind not in product and rng.random() < 0.5:
        words = f"{product} {kind}"
    return Caption(_frame(rng, words.lower()), frozenset([kind]), product=product if with_product else "", noun=words)


def evaluation_texts(kind: str, colour: str = "") -> list[str]:
    """Return the wordings for evaluating a label: its own words, not the ones that train best."""
    words = (f"{colour} {kind}" if colour else kind).lower()
    return [words, f"a photo of {words}"]


def _near_colours() -> dict[str, set[str]]:
    near: dict[str, set[str]] = {}
    for pair in NEAR_COLOURS:
        for one in pair:
            near.setdefault(one, set()).update(pair)
    return near


def _near_types() -> dict[str, set[str]]:
    near: dict[str, set[str]] = {}
    for one, others in SAME.items():
        for other in others:
            near.setdefault(one, set()).add(other)
            near.setdefault(other, set()).add(one)
    return near


FALSE, NEAR, TRUE = 0, 1, 2
CLAIMS = ("articleType", "baseColour", "gender", "usage", "product")


class Judge:
    """Decides which captions are true for which pictures, many at a time."""

    def __init__(self, captions: Sequence[Caption], pictures: Sequence[dict[str, str]]) -> None:
        self.values = {claim: sorted({labels.get(claim, "") for labels in pictures}) for claim in CLAIMS}
        self.pictures = np.array([[self.values[c].index(p.get(c, "")) for c in CLAIMS] for p in pictures], np.int16)
        near_colours, near_types = _near_colours(), _near_types()
        self.tables = []
        for claim in CLAIMS:
            known: dict[tuple[object, ...], list[int]] = {}  # many captions have the same claims
            table = np.full((len(captions), len(self.values[claim])), TRUE, np.int8)
            for row, caption in enumerate(captions):
                said = (
                    (caption.types, caption.noun)
                    if claim == "articleType"
                    else (caption.colour, caption.gender, caption.use, caption.product)
                )
                if said not in known:
                    known[said] = [
                        _verdict(caption, claim, value, near_colours, near_types) for value in self.values[claim]
                    ]
                table[row] = known[said]
            self.tables.append(table)

    def __call__(self, captions: np.ndarray, pictures: np.ndarray) -> np.ndarray:
        """Return int8 (captions, pictures): TRUE, FALSE, or NEAR for a match that should not count as wrong."""
        out = np.full((len(captions), len(pictures)), TRUE, np.int8)
        for number, table in enumerate(self.tables):
            np.minimum(out, table[captions][:, self.pictures[pictures, number]], out=out)
        return out


class ColourJudge:
    """Decides which pictures share a colour: NEAR if the colours are close or unknown."""

    def __init__(self, colours: np.ndarray) -> None:
        names, self.place = np.unique(colours, return_inverse=True)
        near = _near_colours()
        self.table = np.full((len(names), len(names)), FALSE, np.int8)
        for i, one in enumerate(names):
            for j, other in enumerate(names):
                if one not in COLOURS or other not in COLOURS or other in near.get(one, ()):
                    self.table[i, j] = NEAR
                if i == j and one in COLOURS:
                    self.table[i, j] = TRUE

    def __call__(self, picked: np.ndarray) -> np.ndarray:
        """Return int8 (picked, picked); a picture is not its own match."""
        place = self.place[picked]
        verdict = self.table[place][:, place]
        np.fill_diagonal(verdict, NEAR)
        return verdict


def _verdict(
    caption: Caption, claim: str, value: str, near_colours: dict[str, set[str]], near_types: dict[str, set[str]]
) -> int:
    if claim == "articleType":
        if not caption.types or value in caption.types:
            return TRUE
        near = caption.noun in TYPES.get(value, ()) or any(value in near_types.get(one, ()) for one in caption.types)
        return NEAR if near else FALSE
    wanted = {
        "baseColour": caption.colour,
        "gender": caption.gender,
        "usage": caption.use,
        "product": caption.product,
    }[claim]
    if not wanted or value == wanted:
        return TRUE
    if claim == "product":
        return FALSE
    if claim == "baseColour":
        return NEAR if not value or value in near_colours.get(wanted, ()) else FALSE
    if claim == "gender":
        return NEAR if value in ("", "Unisex") else FALSE
    return NEAR
