"""Which words name a kind of thing, and which only say what it is like: from the categories of the entries."""

from __future__ import annotations

from dataclasses import replace

import pytest

import imagesim
from demo_shop.shop.models import Category, Product
from imagesim.calibration import Calibration
from imagesim.indexes import get_index
from imagesim.indexing.fit_roles import Described, effective_number, fit_roles
from imagesim.indexing.sync import sync
from imagesim.items.registry import registry
from imagesim.language.word_roles import Roles, is_size, shortest_before
from imagesim.models import StoredCalibration
from imagesim.retrieval.relevance import calibration_of
from tests.shop import picture, product, sync_and_calibrate

DEPARTMENTS = {name: frozenset({"sneakers", "boots"}) for name in ("sneakers", "boots")}


def entry(category: str, name: str, described: str = "", shelf: str = "", called: str = "") -> Described:
    """An entry whose description weighs a third of its name; ``shelf``: words of its category, ``called``: the
    category's name."""
    weights = dict.fromkeys(described.split(), 1 / 3)
    return Described(
        frozenset({category}),
        weights | dict.fromkeys((*name.split(), *shelf.split(), *called.split()), 1.0),
        frozenset(name.split()),
        called=frozenset({tuple(called.split())} if called else ()),
    )


CATALOGUE = [
    *(entry("sneakers", f"runner {n}", "white lace", shelf="shoe") for n in range(4)),
    *(entry("boots", f"boot {n}", "leather", shelf="shoe") for n in range(4)),
    entry("paints", "yellow paint", "the floor", shelf="paint"),
    *(entry("paints", f"red paint {n}", "shoe rack", shelf="paint") for n in range(3)),
    entry("wines", "red"),
    entry("wines", "white", "leather"),
    entry("lamps", "red glow"),
    entry("plants", "red fern"),
    entry("lamps", "desk glow"),
    *(entry(category, "acme") for category in ("wines", "lamps", "paints")),
]


class TestRoles:
    roles = fit_roles(CATALOGUE, DEPARTMENTS, ["green", "paint"])

    def test_a_word_of_most_of_a_category_names_it(self):
        assert self.roles.kinds["shoe"] == ("boots", "sneakers")  # what descriptions of paint say counts for less
        assert self.roles.kinds["paint"] == ("paints",)
        assert self.roles.kinds["boot"] == ("boots",)

    def test_one_beside_it_in_a_name_or_in_no_name_is_a_modifier(self):
        assert {"yellow", "floor", "leather", "lace"} <= self.roles.modifiers

    def test_one_in_names_all_over_the_catalogue_is_too(self):
        assert "red" in self.roles.modifiers
        assert "acme" in self.roles.modifiers

    def test_any_other_is_left_open(self):
        for word in ("desk", "white"):
            assert word not in self.roles.kinds
            assert word not in self.roles.modifiers
            assert word in self.roles.things

    def test_a_colour_is_a_modifier_even_where_it_is_all_of_a_name(self):
        assert "green" in self.roles.modifiers
        assert "paint" in self.roles.kinds  # the catalogue knows better
        assert self.roles.colours == {"green"}
        assert "white" in fit_roles(CATALOGUE, DEPARTMENTS, ["white"]).modifiers

    @pytest.mark.parametrize(
        ("word", "stems", "expected"),
        [
            ("boots", {"boot"}, {"boot"}),
            ("yelow", {"yelow"}, {"yellow"}),
            ("shoez", {"shoez"}, {"shoe"}),
            ("desks", {"desk"}, {"desk"}),  # not a misspelling of a word with another role
            ("leatehr", {"leatehr"}, {"leather"}),
            ("kiwi", {"kiwi"}, {"kiwi"}),
            ("rde", {"rde"}, {"rde"}),  # too short to tell
            ("4711", {"4711"}, {"4711"}),
        ],
    )
    def test_a_misspelled_word_has_the_role_of_the_nearest(self, word, stems, expected):
        assert set(self.roles.stems_of(word, stems)) == expected

    @pytest.mark.parametrize(
        ("words", "heads", "named"),
        [
            ("yellow shoe", (1,), {"boots", "sneakers"}),
            ("shoe yellow", (0,), {"boots", "sneakers"}),
            ("shoe boot", (), {"boots"}),
            ("red boot paint", (1, 2), {"boots", "paints"}),
            ("yellow desk", (1,), set()),
            ("yellow helmet", (1,), set()),  # the catalogue does not know it
            ("shoe polish", (), set()),
            ("red yellow", (), set()),
            ("", (), set()),
        ],
    )
    def test_the_heads_of_a_query(self, words, heads, named):
        assert self.roles.interpret([{word} for word in words.split()])[:2] == (heads, frozenset(named))

    @pytest.mark.parametrize(
        ("words", "head", "specify", "heads", "named"),
        [
            ("shoe rack", 1, (0,), (), set()),
            ("rack shoe", 0, (1,), (), set()),  # as in French
            ("rack shoe", 1, (0,), (1,), {"boots", "sneakers"}),
            ("shoe acme", 1, (0,), (0,), {"boots", "sneakers"}),
            ("rack", 0, (), (), set()),
            ("paint floor", 1, (0,), (), set()),
        ],
    )
    def test_the_head_of_a_compound_that_descriptions_alone_mention(self, words, head, specify, heads, named):
        meaning = self.roles.interpret([{word} for word in words.split()], (), head, specify)
        assert (meaning.heads, meaning.categories) == (heads, frozenset(named))

    def test_what_a_query_mentions_beside_unknown_words(self):
        assert self.roles.interpret([{"kiwi"}, {"paint"}])[:3] == ((), frozenset(), frozenset({"paints"}))
        assert self.roles.interpret([{"kiwi"}, {"helmet"}]).mentioned == frozenset()

    def test_words_that_ask_for_nothing(self):
        kiwi_paint = [{"kiwi"}, {"paint"}]
        assert self.roles.interpret(kiwi_paint, fillers={0})[:2] == ((1,), frozenset({"paints"}))
        assert self.roles.interpret(kiwi_paint, fillers={0, 1})[0] == ()

    def test_a_word_that_specifies_a_kind_is_not_asked_for_alone(self):
        """ "moth paint" asks for paint, and not for a moth orchid."""
        roles = Roles({"paint": ("paints",)}, things=frozenset({"moth"}))
        both = [{"moth"}, {"paint"}]
        assert roles.interpret(both)[0] == ()
        assert roles.interpret(both, head=1, specify=[0])[:3] == ((1,), frozenset(), frozenset({"paints"}))
        assert roles.interpret(both, head=0, specify=[1])[0] == ()  # paint is a kind
        assert roles.interpret([{"kiwi"}, {"paint"}], head=1, specify=[0])[0] == ()  # it may be all that is sought

    def test_what_a_kind_of_another_thing_is_for(self):
        """ "Bird food" must not show food for dogs, and "history books" must not show things called "History" as the
        closest."""
        names = {("dog", "food"): ("dog-food",), ("fish", "food"): ("fish-food",), ("bird",): ("bird-cages",)}
        kinds = {"food": ("dog-food", "fish-food"), "bird": ("bird-cages",)}
        roles = Roles(kinds, frozenset({"cheap"}), names=names)
        food = {"dog-food", "fish-food"}
        for first, categories, mentioned in (("bird", set(), {"bird-cages"} | food), ("cheap", food, food)):
            found = roles.interpret([{first}, {"food"}], head=1, specify=[0])
            assert (found.categories, found.mentioned) == (categories, mentioned)
        whole = replace(roles, names=names | {("food",): ("dog-food", "fish-food")})
        assert whole.interpret([{"bird"}, {"food"}], head=1, specify=[0]).categories == {"dog-food", "fish-food"}

    def test_a_word_of_a_list_names_a_part_of_the_category(self):
        def furniture(text: str) -> Described:
            name = frozenset(text.split())
            return Described(frozenset({"living"}), dict.fromkeys(name, 1.0), name, frozenset({"sofa", "table"}))

        roles = fit_roles(
            [furniture("red sofa"), furniture("grey sofa"), furniture("oak table"), entry("x", "lamp")], {}
        )
        assert roles.kinds["sofa"] == roles.kinds["table"] == ("living",)
        assert roles.interpret([{"sofa"}]).partly == {"living"}
        assert roles.interpret([{"sofa"}, {"table"}]).partly == frozenset()
        assert Roles.from_json(roles.to_json()) == roles

    def test_a_number_names_nothing(self):
        """In "28 cm pan", it must not be as essential as the pan, where others are called frying pans."""
        sizes = [entry("pans", "frypan 28 cm"), entry("pans", "grillpan 24 cm"), entry("pots", "stockpot 24 cm")]
        roles = fit_roles(sizes, {})
        assert {"24", "28"} <= roles.modifiers

    def test_stored_with_the_calibration(self):
        stored = Calibration(roles=self.roles).to_json()
        assert Calibration.from_json(stored).roles == self.roles
        del stored["roles"]["things"]  # as stored by an earlier version: no word is taken for a misspelling
        assert Calibration.from_json(stored).roles.stems_of("yelow", {"yelow"}) == {"yelow"}
        del stored["roles"]
        assert Calibration.from_json(stored).roles == Roles()

    def test_without_categories_no_word_names_any(self):
        words = [Described(frozenset(), {"shoe": 1.0}, frozenset({"shoe"})) for _ in range(9)]
        assert fit_roles(words, {}).kinds == {}


class TestNamesOfCategories:
    def test_a_word_that_only_specifies_what_a_category_is_called_names_nothing(self):
        """ "Curved screen" must not show screen protectors, nor "hammer drill" hammers where descriptions mention
        drills."""

        def called(category: str, name: str, *kind: str, **words: float) -> Described:
            found = frozenset(name.split())
            return Described(
                frozenset({category}), dict.fromkeys((*found, *kind), 1.0) | words, found, called=frozenset({kind})
            )

        shop = [
            *(called("protectors", f"film {n}", "screen", "protector") for n in range(3)),
            *(called("drills", f"combi {n}", "cordless", "drill") for n in range(3)),
            *(called("hammers", f"club {n}", "hammer", drill=0.3) for n in range(9)),
        ]
        roles = fit_roles(shop, {})
        assert "screen" not in roles.kinds
        assert roles.kinds["drill"] == ("drills",)
        assert roles.kinds["protector"] == ("protectors",)

    def test_a_list_in_the_name_of_a_department_is_not_of_all_its_categories(self):
        """ "White shoes" must not show bags in the department "Clothes & shoes", which has "Running shoes"."""
        called = {"running": "running shoe", "dresses": "dress", "bags": "bag"}
        shop = [
            replace(entry(category, f"{category}{n}", called=name), listed=frozenset({"clothes", "shoe"}))
            for category, name in called.items()
            for n in range(3)
        ]
        roles = fit_roles(shop, dict.fromkeys(called, frozenset(called)))
        assert roles.kinds["shoe"] == ("running",)
        assert roles.kinds["clothes"] == ("bags", "dresses", "running")  # any of which may be meant
        sofas = [replace(entry("sofas-tables", f"x{n}"), listed=frozenset({"sofa", "shoe"})) for n in range(3)]
        assert fit_roles([*shop, *sofas], {}).kinds["shoe"] == ("bags", "dresses", "running", "sofas-tables")

    def test_a_word_that_a_name_lists_is_a_kind_though_others_have_it_in_theirs(self):
        """ "Butter" must not show peanut butter and croissants, but what is in the category "Butter & spreads"."""
        butter = [
            replace(entry("butter-spreads", f"salted{n}"), listed=frozenset({"butter", "spread"})) for n in range(3)
        ]
        others = [entry(category, f"butter {category}") for category in ("jams", "croissants", "biscuits")]
        departments = {each: frozenset({each}) for each in ("butter-spreads", "jams", "croissants", "biscuits")}
        assert fit_roles([*butter, *others], departments).kinds["butter"] == ("butter-spreads",)
        many = [entry(f"{category}{n}", f"butter {n}") for category in ("jams", "croissants") for n in range(4)]
        assert "butter" not in fit_roles([*butter, *many], departments).kinds

    """A shop of furniture, where "table" is in the names of many categories and in all departments."""

    roles = fit_roles(
        [
            *(entry("coffee-tables", f"lack{n} table", called="coffee table") for n in range(4)),
            *(entry("garden-tables", f"sun{n} table", called="garden table") for n in range(3)),
            *(entry("bedside-tables", f"moon{n} table", called="bedside table") for n in range(3)),
            *(entry("table-lamps", f"glow{n} lamp oak", called="table lamp") for n in range(3)),
            *(entry("garden-chairs", f"rest{n} chair oak", called="garden chair") for n in range(3)),
            *(entry("stools", f"sit{n}", called="stool") for n in range(2)),
            *(entry("bar-stools", f"high{n}", called="bar stool") for n in range(2)),
            *(entry("glasses", f"sip{n}", called="glass") for n in range(2)),
            *(entry("vases", f"bloom{n} {kind}", called="vase") for n, kind in enumerate(("glass", "glass", "", ""))),
            entry("sale", "old glass oak", called="stool"),
            *(entry("sale", name) for name in ("last table", "rug oak", "bowl", "mat")),
        ],
        {},
        ["white"],
    )

    def test_the_last_word_of_a_name_is_what_its_things_are(self):
        assert self.roles.kinds["table"] == ("bedside-tables", "coffee-tables", "garden-tables")
        assert self.roles.kinds["stool"] == ("bar-stools", "stools")
        assert "glass" not in self.roles.kinds  # the word is in more names elsewhere

    @pytest.mark.parametrize(
        ("words", "heads", "named"),
        [
            ("garden table", (), {"garden-tables"}),  # and not garden chairs
            ("table garden", (), {"garden-tables"}),
            ("oak garden table", (1, 2), {"garden-tables"}),
            ("table lamp", (), {"table-lamps"}),
            ("stool", (), {"stools", "bar-stools"}),
            ("bar stool", (), {"bar-stools"}),
            ("glass", (), {"glasses"}),
            ("white glass", (1,), {"glasses"}),
        ],
    )
    def test_someone_who_types_all_of_a_name_asks_for_that_category(self, words, heads, named):
        found = self.roles.interpret([{word} for word in words.split()])
        assert (found.heads, found.categories, found.in_full) == (heads, named, True)

    @pytest.mark.parametrize("words", ["oak glass", "garden lamp chair", "garden table vase", "garden", "sip1", "pet"])
    def test_not_someone_who_asks_for_something_else(self, words):
        assert not self.roles.interpret([{word} for word in words.split()]).in_full

    def test_a_word_that_ends_the_name_of_a_category_is_sought(self):
        """ "Food scale" must not show dog food in a shop with kitchen scales, although many categories have some."""
        names = {("food",): ("food",), ("kitchen", "scale"): ("scales",)}
        roles = Roles({"food": ("food",)}, frozenset({"scale", "tin"}), names=names)
        assert not roles.interpret([{"food"}, {"scale"}], head=1, specify=[0]).in_full
        assert roles.interpret([{"food"}, {"tin"}], head=1, specify=[0]).in_full

    def test_a_name_may_say_what_its_things_are_for(self):
        roles = Roles(
            {"shoe": ("shoes", "running")}, names={("run", "shoe"): ("running",), ("shoe",): ("shoes", "running")}
        )
        for for_running in ({"run"}, {"runner"}):
            found = roles.interpret([{"shoe"}, for_running], fillers={1})
            assert found.categories == ({"running"} if for_running == {"run"} else {"shoes", "running"})

    def test_a_misspelled_name_of_several_categories_names_all_of_them(self):
        """ "Thirts" are one slip away from shirts and from T-shirts."""
        roles = Roles(
            {"shirt": ("shirts",), "tshirt": ("t-shirts",)},
            names={("dress", "shirt"): ("formal",), ("tshirt",): ("t-shirts",), ("shirt",): ("shirts", "formal")},
        )
        found = roles.interpret([{"shirt", "tshirt"}])
        assert (found.categories, found.in_full) == ({"shirts", "formal", "t-shirts"}, True)
        assert roles.interpret([{"dress"}, {"shirt"}]).categories == {"formal"}  # only the longest name

    def test_a_name_that_is_common_elsewhere_is_what_is_specified(self):
        """ "Flower pot" must not show flowers because pots stand in many categories."""
        roles = Roles(
            {"desk": ("desks",)}, frozenset({"flower", "pot"}), things=frozenset(), names={("pot",): ("pots",)}
        )
        found = roles.interpret([{"flower"}, {"pot"}], head=1, specify=[0])
        assert (found.heads, found.categories) == ((1,), {"pots"})
        assert roles.interpret([{"pot"}, {"flower"}], head=1, specify=[0]).heads == ()

    def test_a_name_of_several_words_may_be_specified_further(self):
        """ "Italian red wine" must not show only a hamper that has these words in its name and contains a bottle, but
        red wine."""

        def asked(words):
            found = self.roles.interpret([{word} for word in words.split()], head=2, specify=[0, 1])
            return found.categories if found.in_full else None

        assert asked("rug garden table") == {"garden-tables"}
        assert asked("garden table rug") is None
        assert asked("marble garden table") is None  # the catalogue lacks the word
        assert asked("rug bar stool") == {"bar-stools"}

    def test_several_words_for_one_category_are_a_name_of_it(self):
        assert TestRoles.roles.interpret([{"shoe"}, {"boot"}]).in_full
        assert not TestRoles.roles.interpret([{"boot"}, {"paint"}]).in_full
        assert not TestRoles.roles.interpret([{"shoe"}]).in_full

    def test_a_whole_name_without_the_kind_that_is_sought_is_none_of_it(self):
        """ "Bike chain" must not show bikes in a shop where many things other than chains have a chain."""
        names = {("bike",): ("road-bikes",), ("chain",): ("chains",)}
        roles = Roles({"bike": ("road-bikes",)}, frozenset({"chain"}), names=names)
        assert roles.interpret([{"bike"}, {"chain"}], head=1, specify=[0]).categories == {"chains"}
        assert roles.interpret([{"chain"}, {"bike"}], head=1, specify=[0]).categories == {"road-bikes"}

    def test_beside_a_category_of_the_name_the_others_of_the_department_are_not_of_the_kind(self):
        """ "Picture frame" must not show the hooks of a department "Framing"."""
        roles = Roles({"frame": ("frames", "hooks")}, frozenset({"wide"}), names={("frame",): ("frames",)})
        assert roles.interpret([{"wide"}, {"frame"}], head=1, specify=[0]).categories == {"frames"}
        assert roles.interpret([{"unknown"}, {"frame"}], head=1, specify=[0]).mentioned == {"frames", "hooks"}

    def test_a_kind_is_not_what_its_word_specifies(self):
        """ "Leather watch" must not show watch straps first in the department "Watches"."""
        shop = [
            replace(
                entry(category, "strap" if category == "straps" else "slim", called=called), called=frozenset(names)
            )
            for category, called, *names in (
                ("mens", "man watch", ("man", "watch"), ("watch",)),
                ("womens", "woman watch", ("woman", "watch"), ("watch",)),
                ("straps", "watch strap", ("watch", "strap"), ("watch",)),
                ("tvs", "tv", ("tv",)),
                ("brackets", "tv bracket", ("tv", "bracket"), ("tv",)),
                ("sticks", "stick tv", ("stick",), ("tv",)),
            )
            for _ in range(3)
        ]
        roles = fit_roles(shop, {})
        assert roles.names["watch",] == ("mens", "womens")
        assert roles.names["tv",] == ("tvs",)
        found = roles.interpret([{"watch"}])
        assert (found.categories, found.specified) == ({"mens", "womens"}, {"straps"})
        assert roles.interpret([{"watch"}, {"strap"}]).categories == {"straps"}

    def test_a_unit_is_no_kind(self):
        """ "Jug 2 l" must not name paints, most of which are in tins of 5 l."""
        roles = fit_roles([entry("paints", f"tint{n} l", shelf="paint") for n in range(4)], {})
        assert "l" not in roles.kinds
        assert "paint" in roles.kinds

    def test_nor_is_its_word_the_unit_of_what_is_called_so(self):
        """ "Amplifier" must find the "Guitar amps" of a category."""
        shop = [entry("amps", f"combo{n}", shelf="guitar amp", called="guitar amp") for n in range(4)]
        assert fit_roles(shop, {}).kinds["amp"] == ("amps",)

    def test_they_are_stored(self):
        stored = Roles.from_json(self.roles.to_json())
        assert stored == self.roles
        assert list(stored.names) == list(self.roles.names)  # the longest first


def test_effective_number():
    assert effective_number([1, 1, 1]) == pytest.approx(3)
    assert effective_number([9, 0, 0]) == pytest.approx(1)
    assert effective_number([]) == 0


@pytest.mark.slow
@pytest.mark.django_db
class TestSearch:
    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def shop(cls, kept):
        for number, colour in enumerate(("navy", "blue", "red", "green", "gold")):
            product(f"Shoe {number}", picture(colour), category="shoes")
            product(f"{colour.title()} paint", picture(colour), category="paints")
        sync_and_calibrate()

    def names(self, text: str, **options) -> list[str]:
        return [hit.item.name for hit in imagesim.search(text=text, **options)]

    def relevances(self, text: str) -> dict[str, float]:
        return {hit.item.name: hit.relevance for hit in imagesim.search(text=text, min_relevance=0.0)}

    def test_an_entry_that_has_only_the_modifier_is_not_called_so(self):
        """Without the roles, "gold shoes" would show gold paint first."""
        for text in ("gold shoes", "shoes gold", "godl shoes", "gold shoez", "shoez glod"):
            assert {name.partition(" ")[0] for name in self.names(text, limit=5)} == {"Shoe"}, text

    def test_nor_one_with_the_name_of_a_colour_and_nothing_else(self):
        """ "pink shoes" must not show a pink orchid first rather than a shoe."""
        product("Pink Moth", picture("pink"), category="plants")
        sync_and_calibrate()
        for text in ("pink shoes", "pnik shoes"):
            assert {name.partition(" ")[0] for name in self.names(text, limit=5)} == {"Shoe"}, text
        assert self.names("pink moth")[0] == "Pink Moth"

    def test_one_that_has_both_comes_first(self):
        product("Gold shoe", picture("gold"), category="shoes")
        sync()
        assert self.names("gold shoe")[0] == "Gold shoe"

    def test_a_modifier_alone_finds_what_has_it(self):
        assert self.names("gold")[0] == "Gold paint"

    def test_words_about_buying_and_slips_change_no_answer(self):
        for text in ("cheap gold shoes", "do you have gold shoes, please?", "hte gold shoes", "nice shoes in gold"):
            assert {name.partition(" ")[0] for name in self.names(text, limit=5)} == {"Shoe"}, text

    def test_a_colour_that_is_not_wanted(self):
        assert self.names("red paint", limit=1) == ["Red paint"]
        for text in ("paint no red", "no red paint", "paint without red or green"):
            assert self.names(text) == self.names("paint"), text

    def test_what_is_called_so_is_asked_for_and_not_what_only_mentions_it(self):
        """ "desk" must not show the cable that lies behind one."""
        product("Writing desk", picture("gold"), category="tables")
        product("Cable", picture("navy"), category="parts", description="Bright, so that you find it behind the desk.")
        sync_and_calibrate()
        found = self.relevances("desk")
        assert found["Writing desk"] > 0.9
        assert found["Cable"] < 0.4

    def test_what_is_called_so_is_asked_for_in_a_colour_too(self):
        """ "White lamp" must not show a white table with space for a lamp."""
        product("Pendant lamp", picture("black"), category="decoration")
        product("Bedside table", picture("brown"), category="tables", description="White, with place for a lamp.")
        sync_and_calibrate()
        found = self.relevances("white lamp")
        assert found["Pendant lamp"] > 0.4 > found["Bedside table"]

    def test_what_goes_with_a_kind_is_not_of_it(self):
        """ "wall clock" and "paint brush" must not show the paints because the description of one mentions both."""
        for paint in Product.objects.filter(name__endswith="paint"):
            Product.objects.filter(pk=paint.pk).update(name=f"{paint.name[:-6]} wall paint")
        Product.objects.filter(name="Red wall paint").update(description="Apply with a brush, also behind the clock.")
        sync_and_calibrate()
        assert len(self.names("wall paint", min_relevance=0.4)) == 5
        for text in ("wall clock", "paint brush"):
            found = set(self.names(text, min_relevance=0.4))
            assert found <= {"Red wall paint"}, text

    def test_what_it_is_for_is_not_asked_for(self):
        """ "Paint for shoes" must not show the shoes, and "paint for the bedroom" must show something."""
        for text in ("paint for shoes", "paint for the bedroom"):
            found = self.names(text, min_relevance=0.4)
            assert {name.partition(" ")[2] for name in found} == {"paint"}, text

    def test_what_is_called_so_is_shown_whatever_specifies_it(self):
        """ "Desk lamp" and "lamp for the desk" must not show the lamps only as the closest, and "yellow lamp" must show
        a lamp."""
        product("Oak desk", picture("brown"), category="furniture")
        for number in range(3):
            product(f"Bench {number}", picture("brown"), category="furniture")
            product(f"Vase {number}", picture("gray"), category="decoration")
        product("Pendant lamp", picture("gray"), category="decoration")
        product("Tall lamp", picture("black"), category="decoration")
        product("Glow", picture("gray"), category="decoration", description="As bright as a lamp.")
        sync_and_calibrate()
        for text in ("desk lamp", "lamp for the desk", "oak lamp"):
            assert set(self.names(text, min_relevance=0.4)) == {"Pendant lamp", "Tall lamp"}, text

    def test_the_whole_name_of_a_category_asks_for_no_other(self):
        """ "garden table" must not show garden chairs, nor "candle" candle holders, nor "glasses" a glass table."""
        kinds = {"Garden tables": "table", "Garden chairs": "seat", "Candles": "candle", "Glasses": "cup"}
        colours = ("red", "green", "blue", "gold")
        for (category, name), colour in zip(kinds.items(), colours, strict=True):
            for number in range(4):
                product(f"Sun{number} {name}", picture(colour), category=category)
        product("Lantern for a candle", picture("navy"), category="Candle holders")
        product("Oak table glass", picture("navy"), category="Coffee tables")
        product("Folding garden table", picture("red"), category="Camping")
        product("Black candle", picture("navy"), category="Gifts")
        sync_and_calibrate()
        for text, name in (("garden tables", "table"), ("candle", "candle"), ("glasses", "cup")):
            found = set(self.names(text, min_relevance=0.4)) - {"Folding garden table", "Black candle"}
            assert found == {f"Sun{number} {name}" for number in range(4)}, text
        assert "Folding garden table" in self.names("garden table", min_relevance=0.4)  # its name has these words
        assert self.names("oak table glass")[0] == "Oak table glass"
        assert self.names("black candle", min_relevance=0.4)[0] == "Black candle"

    def test_of_a_kind_the_best_comes_before_what_else_is_called_so(self):
        """ "Coat" must not show "Stress Coat", for aquariums, before the coats, nor "watch" straps among the
        watches."""
        for number in range(3):
            product(f"Warm coat {number}", picture("brown"), category="Dog coats")
            product(f"Slim watch {number}", picture("gold"), category="Men's watches")
            product(f"Watch strap {number}", picture("gold"), category="Watch straps")
        product("Stress coat", picture("navy"), category="Water")
        sync_and_calibrate()
        assert self.names("coat")[0].startswith("Warm")
        assert self.names("stress coat")[0] == "Stress coat"
        assert {name.partition(" ")[0] for name in self.names("watch")[:3]} == {"Slim"}
        assert self.names("watch strap 1")[0] == "Watch strap 1"

    def test_the_key_of_a_category_is_its_name_where_the_texts_have_none(self, monkeypatch):
        """ "garden chairs" must name a category even in a shop that searches only the names of its products."""
        items = registry.for_model(Product)
        names = {path: spec for path, spec in items.text_specs.items() if path.startswith("name")}
        monkeypatch.setitem(vars(items), "text_specs", names)
        for number in range(4):
            product(f"Chair {number}", picture("brown"), category="garden-chairs")
            product(f"Table {number}", picture("gray"), category="garden-tables")
            product(f"Seat {number}", picture("pink"), category="42")
        sync_and_calibrate()
        names = Calibration.from_json(StoredCalibration.objects.get().data).roles.names
        assert names["garden", "chair"] == ("garden-chairs",)
        assert not any("42" in name for name in names)

    def test_a_stop_word_has_no_role(self):
        """ "Pere" (pears) must not lose its role because "per" (for) has the same stem and stands in many names."""
        for number in range(3):
            product(f"Rack for shoes {number}", picture("brown"), category="racks")
        sync_and_calibrate()
        roles = Calibration.from_json(StoredCalibration.objects.get().data).roles
        assert roles.has({"rack"})
        assert not roles.has({"for"})

    def test_a_part_of_a_category_is_not_all_of_it(self):
        """ "sofa" must not show every table of "Sofas & tables" as a relevant hit."""
        for number, kind in enumerate(("sofa", "sofa", "desk")):
            product(f"Oak {kind} {number}", picture("brown"), category="Sofas & desks")
        sync_and_calibrate()
        assert {name.partition(" ")[2][:4] for name in self.names("sofa", min_relevance=0.5)} == {"sofa"}
        assert len(self.names("sofas and desks", min_relevance=0.5)) == 3

    def test_of_a_part_of_a_category_nothing_of_another_is_shown(self):
        for name in ("Oak sofa", "Red sofa", "Sofa with arms", "Oak desk", "Desk with drawers"):
            product(name, picture("brown"), category="Sofas & desks")
        sync_and_calibrate()
        assert set(self.names("red sofa", min_relevance=0.4)) == {"Red sofa"}
        assert set(self.names("sofa", min_relevance=0.4)) == {"Red sofa", "Oak sofa", "Sofa with arms"}

    def test_beside_an_unknown_word_the_kind_comes_closest(self):
        hits = imagesim.search(text="qwertyuiop shoes", min_relevance=0.5)
        assert len(hits) == 0
        assert {hit.item.name.partition(" ")[0] for hit in hits.closest} == {"Shoe"}
        assert len(imagesim.search(text="qwertyuiop asdfghjkl", min_relevance=0.5).closest) == 0

    def test_beside_an_unknown_word_what_is_called_by_the_others_comes_closest(self):
        """ "Nike zoom" must show the closest in a shop that has something by Nike, but no Zoom."""
        for number, name in enumerate(("Racket", "Bottle", "Towel")):
            product(name, picture("gray"), category=f"things {number}", brand="Acmex")
        sync_and_calibrate()
        for text in ("acmex qwertyuiop", "qwertyuiop acmex", "acmex 4711"):
            hits = imagesim.search(text=text, min_relevance=0.5)
            assert len(hits) == 0, text
            assert {hit.item.name for hit in hits.closest} == {"Racket", "Bottle", "Towel"}, text
        assert len(imagesim.search(text="gold qwertyuiop", min_relevance=0.5).closest) == 0  # says nothing by itself

    def test_beside_a_kind_the_number_of_an_article_asks_for_that_one_alone(self):
        """For "bearing 6299", which the shop lacks, other bearings must not be relevant."""
        for number in ("6204", "6205-2RS", "0 986 714 727"):
            product(f"Bearing {number}", picture("gray"), category="bearings")
        sync_and_calibrate()
        for text in ("bearing 6204", "6204", "bearing 0986714727", "acme bearing 0 986 714 727", "bearing 6205 2RS"):
            names = self.names(text, min_relevance=0.4)
            assert [name.replace(" ", "")[7:11] for name in names] == [
                ("6204", "6205", "0986")[0 if "6204" in text else 1 if "6205" in text else 2]
            ], text
        for text in ("bearing 6299", "bearing 0986714728"):
            hits = imagesim.search(text=text, min_relevance=0.4)
            assert len(hits) == 0, text
            assert {hit.item.category.name for hit in hits.closest} == {"Bearings"}, text
        assert len(imagesim.search(text="acme bearing 0 986 714 728", min_relevance=0.4)) == 0
        assert len(self.names("shoes 42", min_relevance=0.4)) == 5  # a size is not the number of an article

    def test_a_thread_is_no_size_and_a_unit(self):
        """ "M8*40" must not show T-shirts of size M because most sizes of a screw are not known."""
        head = product("Screw M3x8", picture("gray"), category="screws")
        for size in ("M8x40", "M8x50"):
            product(f"Screw {size}", picture("gray"), category="screws", parent=head)
        for size in ("M", "8"):
            product(f"Shirt {size}", picture("red"), category="shirts")
        sync_and_calibrate()
        for text in ("M8*40", "M8 x 40", "M8×40", "screw M8x40"):
            assert self.names(text, min_relevance=0.4)[0] == "Screw M8x40", text
            assert not any(name.startswith("Shirt") for name in self.names(text, min_relevance=0.4)), text

    def test_the_sizes_of_all_variants_are_known_and_none_is_a_kind(self):
        """Otherwise, only one of hundreds of sizes of a screw would be known."""
        head = product("Screw M3x8", picture("gray"), category="screws")
        for number in range(3):
            product(f"Screw M8x{40 + number}", picture("gray"), category="screws", parent=head)
            product(f"Bearing 6204 {number}", picture("navy", mark=number), category="bearings")
        sync_and_calibrate()
        roles = calibration_of(get_index().meta()).roles
        for size in ("m3x8", "m8", "m8x40", "m8x42", "6204"):
            assert roles.has({size}), size
            assert not roles.names_kind({size}), size

    def test_what_is_not_of_the_kind_is_not_called_so_by_its_word_alone(self):
        """ "Mushroom poster" must not show a poster hanger, nor a mushroom of another kind, in a shop that has
        posters."""
        for number in range(4):
            product(f"Great night {number}", picture("navy"), category="Film")
            product(f"Old town {number}", picture("gold"), category="Maps")
        department = Category.objects.create(name="Posters", slug="posters")
        Category.objects.filter(name__in=("Film", "Maps")).update(parent=department)
        product("Poster hanger", picture("gray"), category="Hanging")
        product("Mushroom chart", picture("red"), category="Botanical")
        sync_and_calibrate()
        hits = imagesim.search(text="mushroom poster", min_relevance=0.4)
        assert "Poster hanger" not in {hit.item.name for hit in hits}
        assert {hit.item.category.name for hit in hits.closest} <= {"Film", "Maps"}

    def test_the_whole_name_of_a_department_asks_for_no_other(self):
        """ "Contact lenses" must not show a case for them first."""
        for number in range(3):
            product(f"Soft {number}", picture("gray"), category="Day lenses")
            product(f"Tinted {number}", picture("gold"), category="Green lenses")
        product("Contact lens case", picture("navy"), category="Cases")
        department = Category.objects.create(name="Contact lenses", slug="contact")
        Category.objects.filter(name__endswith="Lenses").update(parent=department)
        sync_and_calibrate()
        found = self.names("contact lenses")
        assert {name.partition(" ")[0] for name in found[:6]} == {"Soft", "Tinted"}

    def test_a_compound_that_the_catalogue_lacks_finds_what_has_both_of_its_parts(self):
        """ "Ledersofa" must not show the sofas only as the closest, and "Tischlampe" must find something."""
        leather = "Aus hellem Leder, auf kurzen Beinen."
        product("Ranch", picture("brown"), category="sofas", name_de="Sofa Ranch", description_de=leather)
        product("Ease", picture("gray"), category="sofas", name_de="Sofa mit Knöpfen")
        sync_and_calibrate()
        assert self.names("Ledersofa", min_relevance=0.4) == ["Ranch"]

    def test_words_typed_apart_find_what_is_called_by_their_compound(self):
        """ "Sofa Leder" must not show the sofa of cloth first, nor "Kissen Leinen" nothing."""
        for name, german in {"Cloth": "Sofa Bergen Stoff", "Ranch": "Ledersofa Toronto", "Ease": "Sofa Ease"}.items():
            product(name, picture("gray"), category="sofas", name_de=german)
        product("Feather", picture("gold"), category="kissen", name_de="Kissen mit Federn")
        product("Linen", picture("gold"), category="kissen", name_de="Leinenkissen Ida")
        sync_and_calibrate()
        for text in ("Leder Sofa", "Sofa Leder", "Sofa aus Leder"):
            assert self.names(text, min_relevance=0.4)[0] == "Ranch", text
        assert self.names("Kissen Leinen", min_relevance=0.4)[0] == "Linen"
        assert self.names("Kissen Qwertz", min_relevance=0.4) == []

    def test_a_compound_of_a_category_and_a_beginning_of_words_finds_what_has_both(self):
        """ "Brotmesser" must not show the knives only as the closest, the "Brotzeitmesser" among them."""
        knives = {"Snack": "Brotzeitmesser 12 cm", "Folding": "Klinge klappbar", "Slices": "Brotschneider fein"}
        for name, german in knives.items():
            product(name, picture("gray"), category="Messer & Besteck", name_de=german)
        product("Box", picture("navy"), category="Dosen", name_de="Brotkasten aus Blech")
        sync_and_calibrate()
        assert set(self.names("Brotmesser", min_relevance=0.4)) == {"Snack", "Slices"}
        hits = imagesim.search(text="Pilzmesser", min_relevance=0.4)
        assert not hits  # no text mentions mushrooms
        assert {hit.item.category.name for hit in hits.closest} == {"Messer & Besteck"}

    def test_categories_with_compounds_for_names_are_of_the_kind(self):
        """ "Tisch" and "roter Tisch" must show tables, and not what only mentions one."""
        for number, (kind, colour) in enumerate(
            (kind, colour) for kind in ("Couch", "Ess") for colour in ("gray", "pink")
        ):
            product(f"T{number}", picture(colour), category=f"{kind}tische", name_de=f"{kind}tisch Alvik {number}")
        for number, name in enumerate(("Rollo", "Kerze", "Vase")):
            on_a_table = "Schön auf jedem Tisch."
            product(name, picture("red"), category="deko", name_de=f"{name} rot {number}", description_de=on_a_table)
        product("Gloves", picture("blue"), category="handschuhe", name_de="Handschuhe aus Wolle")
        product("Shoes", picture("navy"), category="schuhe", name_de="Schuhe aus Leinen")
        sync_and_calibrate()
        assert set(self.names("Tisch", min_relevance=0.4)) == {"T0", "T1", "T2", "T3"}
        roles = Calibration.from_json(StoredCalibration.objects.get().data).roles
        assert roles.kinds["tisch"] == ("Couchtische", "Esstische")
        assert roles.names["couch", "tisch"] == ("Couchtische",)
        assert "Gloves" not in self.names("Schuhe", min_relevance=0.4)

    def test_a_compound_of_the_whole_name_of_a_category_asks_for_it(self):
        """ "Paperclips" must not show a category "Paper clips & pins" only as the closest."""
        for number in range(3):
            product(f"Grips {number}", picture("gray"), category="grips")
            product(f"Ream {number}", picture("pink"), category="paper")
        Category.objects.filter(slug="grips").update(name="Paper clips & pins", name_de="")
        Category.objects.filter(slug="paper").update(name="Copier paper", name_de="")
        sync_and_calibrate()
        assert set(self.names("paperclips", min_relevance=0.4)) == {"Grips 0", "Grips 1", "Grips 2"}

    def test_what_is_called_by_a_compound_is_sought_if_no_category_is_called_so(self):
        """ "Zucker" must show something although descriptions mention sugar, and "Lachs" must not show only cat
        food."""
        for number in range(3):
            without = "Ohne Zucker, von Hand gemacht."
            product(f"Tea {number}", picture("green"), category="getraenke", name_de="Tee", description_de=without)
        product("Sugar", picture("gray"), category="backen", name_de="Feinzucker 1 kg")
        product("Cat food", picture("brown"), category="katzen", name_de="Nassfutter Lachs")
        product("Salmon", picture("pink"), category="fisch", name_de="Räucherlachs 100 g")
        sync_and_calibrate()
        assert self.names("Zucker", min_relevance=0.4) == ["Sugar"]
        assert set(self.names("Lachs", min_relevance=0.4)) == {"Cat food", "Salmon"}

    def test_a_compound_that_descriptions_alone_mention_is_divided(self):
        """ "Abendkleid" and "Lederhose" must find something although descriptions say that other things go well with
        one."""
        product("Bag", picture("navy"), category="taschen", name_de="Clutch", description_de="Passt zum Abendkleid.")
        product("Hat", picture("green"), category="huete", name_de="Filzhut", description_de="Zur Lederhose.")
        for number in range(3):
            product(f"Dress {number}", picture("pink"), category="kleider", name_de=f"Kleid Alba {number}")
            leather = "Aus weichem Leder." if number == 1 else ""
            product(f"Hose {number}", picture("gray"), category="hosen", name_de="Hose", description_de=leather)
        sync_and_calibrate()
        assert set(self.names("Abendkleid", min_relevance=0.4)) == {"Dress 0", "Dress 1", "Dress 2"}
        assert "Hose 1" in self.names("Lederhose", min_relevance=0.4)

    def test_what_has_only_the_first_part_of_a_compound_is_no_answer(self):
        """ "Edelstahltopf" must not show a steel chair whose description mentions pots."""
        beside = "Schützt den Tisch vor jedem heißen Topf."
        product("Chair", picture("gray"), category="sessel", name_de="Sessel aus Edelstahl", description_de=beside)
        for number in range(3):
            product(f"Pot {number}", picture("brown"), category="kochen", name_de=f"Topf mit Deckel {number}")
            product(f"Vase {number}", picture("pink"), category="deko", name_de=f"Vase {number}", description_de=beside)
        sync_and_calibrate()
        assert "Chair" not in self.names("Edelstahltopf", min_relevance=0.4)

    def test_a_mention_does_not_call_what_is_of_another_kind(self):
        """ "Roter Tisch" must not show a red blind, which protects the table from the sun, before tables."""
        product("Blind", picture("gray"), category="rollos", name_de="Rollo rot", description_de="Schützt den Tisch.")
        for number in range(3):
            product(f"Table {number}", picture("gray"), category="holztische", name_de=f"Tisch Alvik {number}")
            for kind in ("Lampe", "Vase", "Kerze"):
                colour = ("rot", "blau", "weiß")[number]
                product(f"{kind} {number}", picture("gray"), category=kind.lower(), name_de=f"{kind} {colour}")
        sync_and_calibrate()
        found = self.relevances("roter Tisch")
        assert min(found[f"Table {number}"] for number in range(3)) > found["Blind"]

    def test_beside_none_the_kind_that_a_compound_ends_with_does(self):
        hits = imagesim.search(text="gold climbingshoes", min_relevance=0.5)
        assert len(hits) == 0
        assert {hit.item.name.partition(" ")[0] for hit in hits.closest} == {"Shoe"}


@pytest.mark.parametrize(("ending", "least"), [("stuhl", 3), ("sofa", 3), ("tee", 0), ("シャツ", 2), ("イス", 3)])
def test_how_long_the_first_part_of_a_compound_is(ending, least):
    """Many words end with a short one and are no compounds of it, such as "Komitee" (committee) with "Tee" (tea)."""
    assert shortest_before(ending) == least


@pytest.mark.parametrize(("stem", "size"), [("42", True), ("5kg", True), ("s", False), ("mp3", False)])
def test_what_may_be_a_size(stem, size):
    assert is_size(stem) == size
