"""Parts of a query that are joined or excluded, and queries for everything."""

from __future__ import annotations

from collections.abc import Iterator
from unittest.mock import Mock

import pytest

import imagesim
from imagesim.exceptions import EmbedderError
from imagesim.indexes.validation import MAX_NONE_OF
from imagesim.indexing.rebuild import rebuild
from imagesim.language.word_roles import Roles
from imagesim.retrieval.query_vector import any_vector
from imagesim.retrieval.retriever import open_index
from imagesim.retrieval.words.clauses import clauses_of, joined_parts, says_everything
from imagesim.retrieval.words.reader import QueryReader
from imagesim.retrieval.words.readings import complete, read_words
from imagesim.testing.embedders import PixelEmbedder
from imagesim.types import Filters, Hits, Query
from tests import shop
from tests.shop import forget, picture, product

ROLES = Roles({"sho": ("shoes",), "shoe": ("shoes",), "hat": ("hats",)}, things=frozenset({"salt", "shirt"}))


@pytest.mark.parametrize(
    ("typed", "language", "wanted", "excluded"),
    [
        ("plants but no cacti", "en", "plants", ("cacti",)),
        ("Plants, but NOT cacti", "en", "Plants", ("cacti",)),
        ("plants except cacti, ferns and no bonsai", "en", "plants", ("cacti", "ferns", "bonsai")),
        ("furniture other than the chairs", "en", "furniture", ("chairs",)),
        ("anything but shoes", "en", "anything", ("shoes",)),
        ("all items but shoes", "en", "all items", ("shoes",)),
        ("Pflanzen, aber keine Kakteen", "de", "Pflanzen", ("Kakteen",)),
        ("alles außer Schuhe", "de", "alles", ("Schuhe",)),
        ("plantes sauf les cactus", "fr", "plantes", ("cactus",)),
        ("plantas excepto cactus", "es", "plantas", ("cactus",)),
        ("piante ma non cactus", "it", "piante", ("cactus",)),
        ("planten maar geen cactussen", "nl", "planten", ("cactussen",)),
        ("rośliny oprócz kaktusów", "pl", "rośliny", ("kaktusów",)),
        ("plantas exceto cactos", "pt", "plantas", ("cactos",)),
        ("sofa instead of a chair", "en", "sofa", ("chair",)),
        ("Schuhe statt Stiefel", "de", "Schuhe", ("Stiefel",)),
        ("zapatos en vez de botas", "es", "zapatos", ("botas",)),
        ("shoes not leather", "en", "shoes", ("leather",)),
        ("shoes without leather, red", "en", "shoes , red", ("leather",)),
        ("sofa not made of leather", "en", "sofa", ("leather",)),
        ("leather-free shoes", "en", "shoes", ("leather",)),
        ("non-leather sofa", "en", "sofa", ("leather",)),
        ("bag no leather no plastic", "en", "bag", ("leather", "plastic")),
        (
            "bag no leather no leather no fur no wool no silk no wood no glass no metal",
            *("en", "bag", ("leather", "fur", "wool", "silk", "wood", "glass")),  # as many as are asked for
        ),
        ("Stuhl nicht aus Holz", "de", "Stuhl", ("Holz",)),
        ("plastikfreie Bürste", "de", "Bürste", ("plastik",)),
        ("canapé sans cuir", "fr", "canapé", ("cuir",)),
        ("bolso que no sea de cuero", "es", "bolso que", ("cuero",)),
        ("pollo sin piel", "es", "pollo sin piel", ()),
        ("sedia non di plastica", "it", "sedia", ("plastica",)),
        ("stoel niet van leer", "nl", "stoel", ("leer",)),
        ("torba bez metalu", "pl", "torba", ("metalu",)),
        ("bolsa sem plástico", "pt", "bolsa", ("plástico",)),
        ("arte no metal", "pt", "arte no metal", ()),  # on the metal
        ("not leather", "en", "not leather", ()),
        ("glass free standing", "en", "glass free standing", ()),
        ("non-stick pan", "en", "non-stick pan", ()),
        ("shoes but comfortable", "en", "shoes but comfortable", ()),
        ("nothing but flowers", "en", "nothing but flowers", ()),
        ("shoes without laces", "en", "shoes without laces", ()),  # there are such shoes
        ("dress but without sleeves", "en", "dress but without sleeves", ()),
        ("except shoes", "en", "except shoes", ()),
        ("shoes except", "en", "shoes except", ()),
        ("exceptional shoes", "en", "exceptional shoes", ()),
        ("plants except " + ", ".join("bcdefgh"), "en", "plants except b, c, d, e, f, g, h", ()),
    ],
)
def test_what_is_excluded_is_not_wanted(typed, language, wanted, excluded):
    """ "Plants but no cacti" must not show cacti."""
    assert clauses_of(typed, tuple(sorted({"en", language})), Roles()) == (wanted, excluded)


@pytest.mark.parametrize(
    ("typed", "language", "parts"),
    [
        ("shoes and bags", "en", ("shoes", "bags")),
        ("shoes,bags / hats", "en", ("shoes", "bags", "hats")),
        ("red shoes, bags, and hats", "en", ("red shoes", "bags", "hats")),
        ("shoes & bags + hats", "en", ("shoes", "bags", "hats")),
        ("Schuhe oder Taschen", "de", ("Schuhe", "Taschen")),
        ("shoes", "en", ()),
        ("1/2 inch", "en", ()),
        ("0,5 l", "en", ()),
        ("black and", "en", ()),
        ("a, b, c, d, e, f, g", "en", ()),
    ],
)
def test_joined_parts(typed, language, parts):
    assert joined_parts(typed, (language,)) == parts


@pytest.mark.parametrize(
    ("typed", "language"),
    [
        ("all products", "en"),
        ("Show me everything, please", "en"),
        ("items", "en"),
        ("what things do you have?", "en"),
        ("alle Produkte", "de"),
        ("zeig mir alles", "de"),
        ("tous les produits", "fr"),
        ("todos los productos", "es"),
        ("tutti i prodotti", "it"),
        ("alle producten", "nl"),
        ("wszystkie produkty", "pl"),
        ("todos os produtos", "pt"),
    ],
)
def test_everything(typed, language):
    assert says_everything(typed, (language,), Roles())


@pytest.mark.parametrize("typed", ["all shoes", "sale", "new", "", "products 50", "all photos", "hello", "s"])
def test_not_everything(typed):
    assert not says_everything(typed, ("en",), Roles())


@pytest.mark.parametrize("typed", ["everything", "Everything!", "things"])
def test_not_what_something_is_called(typed):
    """A shop may have a book "Everything"."""
    roles = Roles(things=frozenset({"everyth", "thing"}))
    assert not says_everything(typed, ("en",), roles)
    assert says_everything("show me everything", ("en",), roles)


@pytest.mark.parametrize(
    ("typed", "lacking", "others"),
    [
        ("shoes and bags", ["bags"], "shoes"),
        ("umbrellas or hats", ["umbrellas"], "hats"),
        ("shoes, bags, and hats", ["bags"], "shoes and hats"),
        ("red shoes and cheap bags", ["cheap bags"], "red shoes"),
        ("shoes and hats", [], ""),
        ("shoes and salt", [], "shoes and salt"),
        ("bags and umbrellas", [], ""),  # it has neither
        ("salt and vinegar crisps", [], ""),  # who asks for these wants no salt
        ("shoes and size 42", [], ""),
        ("shoes and bg", [], ""),
        ("shoes and velvet", [], ""),  # which is only said of things
    ],
)
def test_what_the_catalogue_lacks_beside_what_it_has(typed, lacking, others):
    """ "Shoes and bags" must show the shoes of a shop without bags."""
    words = {"shoes", "bags", "umbrellas", "hats", "salt", "vinegar", "crisps"}
    roles = Roles(ROLES.kinds, frozenset({"red", "velvet"}), things=frozenset({"salt"}), colours=frozenset({"red"}))
    reading = QueryReader(roles, ["en"], words.__contains__, "en").read_query(typed, ())
    assert ([each.text for each in reading.lacking], reading.others) == (lacking, others)


@pytest.mark.parametrize("typed", ["shoes, hats", "shoes / hats", "shoes and hats"])
def test_each_of_several_things_is_sought(typed):
    """ "Shoes, hats" are no hats for shoes."""
    reading = QueryReader(ROLES, ["en"], {"shoes", "hats"}.__contains__, "en").read_query(typed, ())
    assert reading.is_complete
    assert reading.wanted == "shoes and hats"
    assert reading.texts.categories == {"shoes", "hats"}


@pytest.mark.parametrize("typed", ["shoes, lamps", "shoes and lamps"])
def test_so_is_what_only_things_are_called(typed):
    """No category has the name of the lamps."""
    roles = Roles(ROLES.kinds, things=frozenset({"lamp"}))
    reading = QueryReader(roles, ["en"], {"shoes", "lamps"}.__contains__, "en").read_query(typed, ())
    assert reading.wanted == typed
    assert reading.others == "shoes and lamps"
    assert [each.text for each in reading.things.alternatives] == ["shoes", "lamps"]


def test_the_name_of_a_category_is_one_thing():
    kinds = {"bath": ("bath-body",), "body": ("bath-body",), "bodi": ("bath-body",)}
    names = {("bath", "body"): ("bath-body",), ("bath", "bodi"): ("bath-body",)}
    reader = QueryReader(Roles(kinds, names=names), ["en"], {"bath", "body"}.__contains__, "en")
    reading = reader.read_query("bath & body", ())
    assert reading.texts.own.is_whole
    assert reading.is_complete


@pytest.mark.django_db
@pytest.mark.slow
class TestAnswers:
    @pytest.fixture(params=shop.TWO_DAILY, autouse=True)
    def _shop(self, request, settings, media_root) -> Iterator[None]:
        """A shop whose pictures are similar within their category."""
        index = shop.index_for(request, request.param)
        settings.IMAGESIM = {"SYNC": "manual", "EMBEDDER": shop.EMBEDDER, "INDEX": index}
        things = {
            "plants": ("green", "Column Cactus", "Norfolk Pine", "Bonsai"),
            "shoes": ("red", "Runner", "Slipper", "Loafer"),
            "cameras": ("black", "Instant Camera", "Zoom Camera", "Press Camera"),
            "garden": ("yellow", "Lantern", "Trowel", "Rake"),
        }
        for category, (colour, *names) in things.items():
            for number, name in enumerate(names):
                product(name, picture(colour, mark=number), category=category)
        rebuild()
        forget()
        yield
        shop.drop_index()

    def shown(self, text: str, **arguments: object) -> set[str]:
        return {hit.item.name for hit in imagesim.search(text=text, min_relevance=0.4, **arguments)}

    def said(self, hits: Hits) -> list[str]:
        return [message.text for message in hits.messages]

    def test_what_is_excluded_is_not_shown(self):
        """Neither a category, nor what is called so."""
        assert self.shown("plants") == {"Column Cactus", "Norfolk Pine", "Bonsai"}
        assert self.shown("plants but no cactus") == {"Norfolk Pine", "Bonsai"}
        assert self.shown("cameras except instant and press cameras") == {"Zoom Camera"}
        assert self.shown("shoes and cameras but not shoes") == {"Instant Camera", "Zoom Camera", "Press Camera"}

    def test_everything_but_what_is_excluded(self):
        hits = imagesim.search(text="anything but shoes", min_relevance=0.4, facets=["brand"], limit=12)
        assert {hit.item.category.slug for hit in hits} == {"plants", "cameras", "garden"}
        assert len(hits) == 9

    def test_everything(self, monkeypatch):
        """Nothing else is known about it, so the model is not needed."""
        monkeypatch.setattr(PixelEmbedder, "embed_texts", Mock(side_effect=EmbedderError("no model")))
        hits = imagesim.search(text="all products", min_relevance=0.9, limit=7)
        rest = imagesim.search(text="all products", min_relevance=0.9, limit=7, offset=hits.next_offset)
        assert (len(hits), len(rest)) == (7, 5)
        assert len({hit.item.pk for hit in (*hits, *rest)}) == 12
        assert not hits.messages

    def test_what_the_shop_has_of_several_things_is_shown(self):
        hits = imagesim.search(text="shoes and umbrellas", min_relevance=0.4)
        assert {hit.item.name for hit in hits} == {"Runner", "Slipper", "Loafer"}
        assert self.said(hits) == ["Nothing here is called “umbrellas”."]
        assert self.shown("lantern, cameras") == {"Lantern", "Instant Camera", "Zoom Camera", "Press Camera"}

    def test_what_is_called_by_all_of_the_words_is_one_thing(self):
        """ "War & Peace" must not show "Peace" first."""
        for name in ("Peace", "War", "War and Peace"):
            product(name, picture("white"), category="books")
        rebuild()
        forget()
        for text in ("war & peace", "War and Peace", "peace, war"):
            assert imagesim.search(text=text)[0].item.name == "War and Peace"

    @pytest.mark.parametrize("name", ["Coffee Instead of Tea", "Not Leather Wallet", "Dogs Except Cats"])
    def test_a_name_that_seems_to_exclude_something(self, name):
        """Whoever types the name of a product gets the product."""
        for each in (name, "Coffee", "Tea", "Leather Wallet", "Cats"):
            product(each, picture("white"), category="books")
        rebuild()
        forget()
        hits = imagesim.search(text=name.lower(), min_relevance=0.4)
        assert hits[0].item.name == name
        assert not self.said(hits)

    def test_a_name_that_seems_to_exclude_a_colour(self):
        product("No Black Pepper Crackers", picture("white"), category="garden")
        rebuild()
        forget()
        reader = QueryReader(Roles(colours=frozenset({"black"})), ["en"], {"black"}.__contains__, "en")
        index, meta = open_index(Filters(), "words")
        query = Query(any_vector(meta))
        for typed, unwanted in (("no black pepper crackers", set()), ("pepper crackers, not black", {"black"})):
            reading, _filters = complete(reader.read_query(typed, ()), query, index)
            assert reading.unwanted == unwanted

    def test_a_page_with_as_many_exclusions_as_an_index_takes(self):
        rules = tuple(Filters(keys=(f"shop.product:{number}",)) for number in range(MAX_NONE_OF))
        index, meta = open_index(Filters(), "words")
        reading = read_words("shoes except slippers", (), meta)
        query = Query(any_vector(meta), Filters(none_of=rules))
        _reading, filters = complete(reading, query, index)
        assert len(filters.none_of) == MAX_NONE_OF

    def test_what_only_a_description_mentions_is_not_lacking(self, monkeypatch):
        """A large catalogue has more words than those whose roles are known."""
        product("Stand", picture("blue"), category="garden", description="For umbrellas.")
        rebuild()
        forget()
        monkeypatch.setattr(Roles, "has", lambda self, stems: "umbrella" not in stems and bool(stems))
        assert not any("umbrellas" in text for text in self.said(imagesim.search(text="shoes and umbrellas")))
