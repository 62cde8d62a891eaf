"""Queries for the benchmarks: descriptions in German with their English translation, and nonsense."""

from __future__ import annotations

from collections.abc import Mapping

DESCRIPTIVE: tuple[tuple[str, str, frozenset[str]], ...] = tuple(
    (german, english, frozenset(categories.split()))
    for german, english, categories in (
        ("blaue Schuhe", "blue shoes", "sneakers running-shoes"),
        ("schwarze Laufschuhe", "black running shoes", "running-shoes"),
        ("bequeme Turnschuhe", "comfortable trainers", "sneakers running-shoes"),
        ("weiße Sneaker", "white sneakers", "sneakers"),
        ("hohe Schuhe aus Leder", "leather high-tops", "sneakers"),
        ("T-Shirt mit Aufdruck", "T-shirt with a print", "t-shirts"),
        ("weißes T-Shirt", "white T-shirt", "t-shirts"),
        ("warmer Pullover mit Kapuze", "warm jumper with a hood", "hoodies"),
        ("Kapuzenpullover", "hooded sweatshirt", "hoodies"),
        ("Poloshirt mit Muster", "polo shirt with a pattern", "polo-shirts"),
        ("bequemer Sessel", "comfortable armchair", "chairs sofas-tables"),
        ("Stuhl für die Küche", "chair for the kitchen", "chairs"),
        ("Hocker aus Holz", "wooden stool", "chairs"),
        ("graues Sofa", "grey sofa", "sofas-tables"),
        ("Couch aus Leder", "leather couch", "sofas-tables"),
        ("kleiner Tisch neben dem Bett", "small table beside the bed", "sofas-tables"),
        ("Schreibtisch", "desk", "sofas-tables"),
        ("buntes Kissen", "colourful cushion", "decor"),
        ("Lampe für die Decke", "ceiling lamp", "decor"),
        ("blaue Wandfarbe", "blue wall paint", "paints"),
        ("Farbe zum Streichen", "paint for walls", "paints"),
        ("Kaktus im Topf", "cactus in a pot", "plants"),
        ("Pflanze mit Blüten", "plant with flowers", "plants"),
        ("pflegeleichte Zimmerpflanze", "easy-care house plant", "plants"),
        ("alte Kamera", "old camera", "cameras"),
        ("Fotoapparat", "photo camera", "cameras"),
        ("Objektiv mit Zoom", "zoom lens", "cameras"),
        ("dünner Laptop", "thin laptop", "computers"),
        ("Bildschirm für den Computer", "screen for the computer", "computers"),
        ("mechanische Tastatur", "mechanical keyboard", "computers"),
        ("Maus ohne Kabel", "mouse without a cable", "computers"),
        ("Kabel zum Laden", "charging cable", "parts"),
        ("Festplatte", "hard disk", "parts"),
        ("Ball zum Spielen", "ball to play with", "balls"),
        ("Fußball", "football", "balls"),
        ("rotes Skateboard", "red skateboard", "outdoor"),
        ("Zelt für zwei", "tent for two", "outdoor"),
        ("frischer Saft", "fresh juice", "juices"),
        ("dunkles Bier", "dark beer", "beer-wine"),
        ("Flasche Rotwein", "bottle of red wine", "beer-wine"),
    )
)
"""(German, English, relevant categories) for the demo shop."""

NONSENSE: tuple[str, ...] = (
    "asdfghjkl qwerty", "\N{PILE OF POO}", "xqzvw", "lorem ipsum dolor", "1234567890", "!!!???", "qqqq wwww", "zzzzzz",
    "blorptang", "frindle snark", "gnarfle", "wibblequux", "ooooooo", "hjkl", "foo bar baz", "mxyzptlk",
    "\N{SNOWMAN}\N{SNOWMAN}", "supercalifragilistic", "null undefined", "select from where",
)  # fmt: skip

ELSEWHERE: tuple[str, ...] = (
    "lawn mower", "wedding ring", "car tyre", "violin", "dog food", "washing machine", "swimming goggles",
    "baby stroller", "fishing rod", "hair dryer", "vacuum cleaner", "trumpet", "chess board", "snow shovel",
    "toothbrush", "electric drill", "bathtub", "motorcycle helmet",
    "parachute", "telescope", "accordion", "wheelchair", "chainsaw", "surf wax",
    "saxophone", "hammock stand", "kitchen sink", "garage door", "roof tiles", "printer toner",
)  # fmt: skip
"""Things that no data set contains."""

QUALIFIED: tuple[str, ...] = (
    "mens {}", "women's {}", "ladies {}", "modern {}", "big {}", "small {}", "{} for the office", "kitchen {}",
    "outdoor {}", "comfortable {}", "summer {}", "{} for grandpa", "elegant {}", "premium {}", "sophisticated {}",
    "{} eu 42", "{} xl", "hardwearing {}", "affordable designer {}", "practical {}",
)  # fmt: skip
"""How people say what a thing should be like, or who or where it is for; some of these are in no list of the app."""

OCCASIONS: tuple[str, ...] = (
    "gym {}", "hiking {}", "travel {}", "wedding {}", "party {}", "work {}", "beach {}", "school {}", "birthday {}",
    "athletic {}", "camping {}", "evening {}", "picnic {}", "graduation {}", "opera {}", "barbecue {}",
)  # fmt: skip
"""How people say what a thing is for; some of these are in no list of the app."""

PHRASES: tuple[str, ...] = (
    "cheap {}", "buy {} online", "do you have {}?", "show me your best {}", "nice {} please", "{} size 42",
    "I am looking for {}", "a photo of {}",
)  # fmt: skip
"""What people write around the word for what they want."""

SYNONYMS: Mapping[str, Mapping[str, str]] = {
    "demo": {
        "gym shoes": "sneakers", "tennis shoes": "sneakers", "trainers": "sneakers running-shoes",
        "settee": "sofas-tables", "couch": "sofas-tables", "bicycle": "outdoor", "pushbike": "outdoor",
        "photographic camera": "cameras", "laptop computer": "computers", "disk drive": "parts", "hard disk": "parts",
        "tee shirt": "t-shirts", "jersey": "t-shirts", "vino": "beer-wine", "hooded sweatshirt": "hoodies",
        "computer screen": "computers", "easy chair": "chairs sofas-tables", "footstool": "chairs",
    },
    "fashion": {
        "knapsack": "Backpacks Rucksacks", "haversack": "Backpacks Rucksacks", "brassiere": "Bra", "bangle": "Bracelet",
        "wristband": "Bracelet", "jockey shorts": "Briefs", "frock": "Dresses", "duffle bag": "Duffel-Bag",
        "pocketbook": "Handbags Wallets", "purse": "Handbags Wallets", "blue jeans": "Jeans", "denim": "Jeans",
        "sari": "Sarees", "dark glasses": "Sunglasses", "shades": "Sunglasses", "jumper": "Sweaters",
        "necktie": "Ties", "pair of trousers": "Trousers", "vest": "Waistcoat Innerwear-Vests", "billfold": "Wallets",
        "notecase": "Wallets", "short pants": "Shorts", "leotards": "Tights", "underdrawers": "Boxers Shorts Briefs",
        "pullover": "Sweaters", "trainers": "Sports-Shoes Casual-Shoes", "sneakers": "Sports-Shoes Casual-Shoes",
        "wristwatch": "Watches", "timepiece": "Watches", "brolly": "Umbrellas", "bum bag": "Waist-Pouch",
        "sweatpants": "Track-Pants", "slacks": "Trousers", "pantyhose": "Stockings Tights", "spectacles": "Sunglasses",
        "high heels": "Heels", "thongs": "Flip-Flops", "antiperspirant": "Deodorant",
    },
    "grocery": {
        "eggplant": "Aubergine", "brinjal": "Aubergine", "alligator pear": "Avocado", "cuke": "Cucumber",
        "kiwi fruit": "Kiwi", "chinese gooseberry": "Kiwi", "capsicum": "Pepper", "pawpaw": "Papaya", "spud": "Potato",
        "tater": "Potato", "soured cream": "Sour-Cream", "love apple": "Tomato", "courgette": "Zucchini",
        "gingerroot": "Ginger", "beetroot": "Red-Beet", "clementine": "Satsumas", "tangerine": "Satsumas",
        "mandarin orange": "Satsumas", "soya milk": "Soy-Milk", "yogurt": "Yoghurt",
    },
}  # fmt: skip
"""Other words for what a shop sells, with the categories that are meant: first those that WordNet 3.1 lists for the
names of its categories, in the sense of the product, then words of everyday language."""
