"""Lists of words for what a query requires or excludes, by the code of their language."""

from __future__ import annotations

PEOPLE: dict[str, tuple[tuple[str, ...], ...]] = {
    "da": (
        ("herre herrer mænd drenge dreng", "dame damer kvinder kvinde piger pige"),
        ("børn barn baby drenge dreng piger pige", "herre herrer mænd dame damer kvinder kvinde voksne"),
    ),
    "de": (
        ("herren herr männer mann jungs buben", "damen dame frauen frau mädchen"),
        ("kinder kind baby babys jungs buben mädchen", "herren männer damen frauen erwachsene"),
    ),
    "en": (
        ("men mens man mans male males gents gentleman gentlemen boys boy", "women womens woman ladies lady female "
         "females girls girl"),
        ("kids kid children childrens child boys boy toddler toddlers infant infants",
         "men mens man gents women womens woman ladies lady adult adults"),
    ),
    "es": (
        ("hombre hombres caballero caballeros masculino masculina niño niños", "mujer mujeres señora señoras dama "
         "damas femenino femenina niña niñas"),
        ("niño niños niña niñas bebé bebés infantil", "hombre hombres caballero mujer mujeres señora dama adulto "
         "adultos"),
    ),
    "fr": (
        ("homme hommes masculin masculine garçon garçons", "femme femmes dame dames féminin féminine fille filles"),
        ("enfant enfants bébé bébés garçon garçons fille filles", "homme hommes femme femmes dame adulte adultes"),
    ),
    "it": (
        ("uomo uomini maschile maschili bambino", "donna donne femminile femminili bambina bambine"),
        ("bambino bambini bambina bambine neonato neonati", "uomo uomini donna donne adulto adulti"),
    ),
    "nb": (
        ("herre herrer menn gutter gutt", "dame damer kvinner kvinne jenter jente"),
        ("barn baby gutter jenter", "herre herrer menn dame damer kvinner kvinne voksne"),
    ),
    "nl": (
        ("heren heer mannen man jongens jongen", "dames dame vrouwen vrouw meisjes meisje"),
        ("kinderen kinder kind baby jongens meisjes", "heren mannen dames vrouwen volwassenen"),
    ),
    "pl": (
        ("męskie męski męska mężczyzn mężczyzna chłopięce chłopca", "damskie damski damska kobiet kobieta "
         "dziewczęce dziewczynki"),
        ("dziecięce dziecięca dzieci chłopięce dziewczęce", "męskie męski męska damskie damski damska dorosłych"),
    ),
    "pt": (
        ("homem homens masculino masculina menino meninos", "mulher mulheres feminino feminina senhora menina meninas"),
        ("criança crianças bebé bebê menino menina infantil", "homem homens mulher mulheres adulto adultos"),
    ),
    "sv": (
        ("herr herrar män pojkar pojke", "dam damer kvinnor kvinna flickor flicka"),
        ("barn baby pojkar flickor", "herr herrar män dam damer kvinnor kvinna vuxna"),
    ),
}  # fmt: skip
"""Kinds of people, each as groups of which one excludes the others: who asks for shoes for men, or for boys, does not
want women's shoes, and who asks for shoes for children not those of adults. English "girls" may be women, and "baby" is
a shade."""

PLACES: dict[str, tuple[str, ...]] = {
    "de": ("bad badezimmer", "schlafzimmer", "küche küchen esszimmer", "garten terrasse terrassen balkon outdoor",
           "büro", "kinderzimmer", "auto"),
    "en": ("bathroom bath", "bedroom", "kitchen dining", "garden outdoor outdoors patio terrace balcony", "office",
           "nursery", "car"),
    "es": ("baño", "dormitorio", "cocina comedor", "jardín exterior terraza", "oficina", "coche"),
    "fr": ("bain", "chambre", "cuisine", "jardin extérieur terrasse", "bureau", "voiture"),
    "it": ("bagno", "cucina", "giardino esterno terrazza", "ufficio", "auto"),
    "nl": ("badkamer", "slaapkamer", "keuken eetkamer", "tuin terras balkon buiten", "kantoor", "auto"),
    "pl": ("łazienkowe łazienkowy łazienkowa łazienki", "kuchenne kuchenny kuchenna kuchni", "ogrodowe ogrodowy "
           "ogrodowa ogrodu", "biurowe biurowy biurowa biura"),
    "pt": ("banheiro", "quarto", "cozinha", "jardim exterior varanda", "escritório"),
}  # fmt: skip
"""Places, as groups of which one excludes the others in the name of a category: "Kitchen scales" are no bathroom
scales."""

SEASONS: dict[str, str] = {
    "da": "vinter sommer", "de": "winter sommer herbst", "en": "winter summer autumn", "es": "invierno verano otoño",
    "fr": "hiver été automne", "it": "inverno estate autunno", "nb": "vinter sommer", "nl": "winter zomer herfst",
    "pl": "zima lato zimowe letnie", "pt": "inverno verão outono", "sv": "vinter sommar",
}  # fmt: skip

DIETS: dict[str, tuple[tuple[str, str], ...]] = {
    "de": (
        ("vegan vegane veganer veganes veganen veganem", ""),
        ("vegetarisch vegetarische vegetarischer vegetarisches vegetarischen",
         "vegan vegane veganer veganes veganen"),
        ("halal", ""), ("koscher koschere koscheres", ""), ("koffeinfrei entkoffeiniert koffeinfreier", ""),
    ),
    "en": (
        ("vegan", "plant_based"), ("vegetarian", "veggie vegan plant_based"), ("halal", ""), ("kosher", ""),
        ("decaf decaffeinated", ""),
    ),
    "es": (
        ("vegano vegana veganos veganas", ""), ("vegetariano vegetariana vegetarianos vegetarianas", "vegano vegana"),
        ("halal", ""), ("kosher", ""), ("descafeinado", ""),
    ),
    "fr": (
        ("vegan végane végan végétalien végétalienne", ""),
        ("végétarien végétarienne végétariens", "vegan végane végan végétalien végétalienne"),
        ("halal", ""), ("casher", ""), ("décaféiné", ""),
    ),
    "it": (
        ("vegano vegana vegani vegan", ""), ("vegetariano vegetariana vegetariani", "vegano vegana vegani vegan"),
        ("halal", ""), ("kosher", ""), ("decaffeinato", ""),
    ),
    "nl": (
        ("vegan veganistisch veganistische", "plantaardig plantaardige"),
        ("vegetarisch vegetarische", "vegan veganistisch veganistische plantaardig plantaardige"),
        ("halal", ""), ("koosjer", ""), ("cafeïnevrij cafeïnevrije decafe", ""),
    ),
    "pl": (
        ("wegański wegańska wegańskie", ""), ("wegetariański wegetariańska wegetariańskie",
         "wegański wegańska wegańskie"), ("halal", ""), ("koszerny koszerne", ""),
    ),
    "pt": (
        ("vegano vegana veganos veganas", ""), ("vegetariano vegetariana", "vegano vegana"), ("halal", ""),
        ("kosher", ""), ("descafeinado", ""),
    ),
}  # fmt: skip
"""Diets: the words for each, and those that mean no less ("plant_based" is two words)."""

ALLERGENS: dict[str, str] = {
    "de": "gluten laktose milch nuss nüsse soja weizen alkohol",
    "en": "gluten lactose dairy milk egg nut nuts peanut soy soya wheat meat alcohol",
    "es": "gluten lactosa leche soja trigo alcohol",
    "fr": "gluten lactose lait soja alcool",
    "it": "glutine lattosio latte soia alcol",
    "nl": "gluten lactose melk soja tarwe alcohol",
    "pl": "glutenu laktozy mleka alkoholu",
    "pt": "glúten lactose leite soja álcool",
}
"""Substances that some must not have: what is "gluten free" says so, and does not only mention gluten."""

SUBSTANCES: dict[str, str] = {
    "de": "koffein nickel parfum silikon zucker",
    "en": "aluminium aluminum bpa caffeine fat fluoride fragrance latex nickel palm paraben parabens perfume salt "
    "silicone sugar sulfate sulphate",
    "es": "azúcar cafeína níquel perfume sal",
    "fr": "caféine nickel parabène parfum sel sucre sulfate",
    "it": "caffeina nichel parabeni profumo sale zucchero",
    "nl": "cafeïne nikkel parfum suiker zout",
    "pl": "cukru kofeiny",
    "pt": "açúcar cafeína sal",
}
"""Substances that some avoid. What mentions one is taken to be without it: "no added sugar" is "sugar free"."""

FREE = {"en": "free"}
"""Words behind a substance that say that a thing is without it."""

FREE_ENDINGS = {"de": "frei freie freier freies freien freiem", "nl": "vrij vrije", "sv": "fri fritt fria"}
"""The same as the end of a compound."""
