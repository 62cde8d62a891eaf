"""Words of a query that name no product, by the code of their language."""

from __future__ import annotations

STOP_WORDS = {
    "en": "a an and are as at be but by for from i in is it my of on or that the this to with your we me some",
    "de": "der die das den dem des ein eine einer eines einem einen und oder für mit von vom zum zur im in am an auf "
    "aus bei ist zu als auch nach ich mein meine",
    "fr": "le la les l un une des du de d et ou pour avec sans en dans sur au aux ce cette est à",
    "es": "el la los las un una unos unas y o de del para con sin en por al es que",
    "it": "a il lo la i gli le l un uno una e o di d del della dei dell per con senza in nell su sull da dall al alla "
    "all è",
    "nl": "de het een en of voor met van in op te bij aan uit is",
    "pl": "i lub albo w we na z ze do dla od po o u pod nad jest są",
    "pt": "o a os as um uma uns umas e ou de do da dos das para com sem em no na por ao",
}
"""Words without a meaning of their own, which are left out wherever other words remain."""

ELIDED = frozenset({
    "all", "c", "d", "dall", "dell", "j", "jusqu", "l", "lorsqu", "m", "n", "nell", "puisqu", "qu", "quell", "s",
    "sull", "t",
})  # fmt: skip
"""Words that lose their vowel before another, as in French, Italian and Catalan ("d'été", "dell'olio")."""

FILLERS = {
    "de": "angebot beste bestellen bild billig bis bitte brauche du es euro foto gibt größe gut günstig haben habt "
    "hat hübsch ihr kaufen laden meinem meinen meiner mir möchte neu online preis preiswert qualität schön shop sie "
    "suche suchen toll uns unser unter was welche wie will wir wo zeig zeigen",
    "en": "affordable am any beautiful below best buy cheap could did do does dollars euro euros find give good "
    "great has have how image inexpensive less look looking lovely need new nice online order our photo photos "
    "picture pictures please popular pretty price quality sale shop should show size store than there these those "
    "under us want what where which would you",
    "es": "barato bonito bueno buscar busco calidad comprar cómo cuál dónde euros favor foto hasta hay imagen mejor "
    "menos mi mis muéstrame necesito nos nuevo oferta online precio qué quiero rebajas su sus talla tienda tiene "
    "tienen yo",
    "fr": "acheter ai avez beau belle bon bonne boutique ces cher cherche chère commander euros image j je joli "
    "jolie jusqu ligne ma magasin meilleur meilleure mes moi moins mon montrez nos notre nous nouveau nouvelle où "
    "pas photo prix promo promotion qualité quel quelle quelles quels qui soldes taille trouver veux vos votre "
    "voudrais vous",
    "it": "acquistare avete bello buono cerco che come comprare dove economico euro favore fino foto immagine io "
    "meno mi mia mie miei migliore mio mostrami negozio nuovo offerta online prezzo quale quali qualità saldi taglia "
    "trovare voglio vorrei",
    "nl": "aanbieding alstublieft beste bestellen euro foto goed goedkoop graag heb hebben hoe ik je jij jullie "
    "kopen kwaliteit laat maat mij mijn mooi nieuw onder online prijs toon tot waar wat welke wil winkel zien zoek",
    "pl": "cena chcę czy dobry euro gdzie jaki jakość kupić macie mi moja moje mojego mój najlepszy nowy online pokaż "
    "poniżej potrzebuję promocja proszę rozmiar sklep szukam ta tani te ten wyprzedaż zamówić zdjęcie zł ładny",
    "pt": "abaixo até barato bom bonito como comprar eu euros favor foto imagem loja melhor menos meu meus minha "
    "minhas mostre nos novo oferta onde online preciso preço procuro promoção quais qual qualidade quero reais "
    "tamanho tem têm",
}
"""Words of asking and buying, which are left out unless the catalogue calls something so."""

AMOUNTS = frozenset({
    "size", "under", "below", "than", "größe", "unter", "bis", "taille", "moins", "jusqu", "talla", "menos", "hasta",
    "taglia", "meno", "fino", "maat", "onder", "tot", "rozmiar", "poniżej", "do", "tamanho", "até",
})  # fmt: skip
"""Words after which a number is a size or a price ("size 42", "under 50"), which filters know and texts do not."""

SIZES = frozenset({"xs", "s", "m", "l", "xl", "xxl", "xxxl"})
"""Sizes that are no number, which are one after such a word only."""

CONJUNCTIONS = {
    "ca": "i", "cs": "a", "da": "og", "de": "und", "en": "and", "es": "y", "fi": "ja", "fr": "et", "it": "e",
    "nb": "og", "nl": "en", "no": "og", "pl": "i", "pt": "e", "ro": "și", "sv": "och", "tr": "ve",
}  # fmt: skip
"""The word for "and", without regard to case."""

HEAD_FIRST = frozenset({"ar", "ca", "es", "fr", "ga", "he", "id", "it", "pl", "pt", "ro"})
"""Languages in which the word for what a thing is comes first ("silla de oficina"); in others it is the last ("office
chair")."""

INFLECTIONS = {"da": "e er", "de": "e en er s", "nb": "e er", "nl": "en s", "no": "e er", "sv": "a ar or er"}
"""What the last word of a compound may have after its stem ("Hängelampe", "Handtaschen"), in languages that write
compounds as one word."""
