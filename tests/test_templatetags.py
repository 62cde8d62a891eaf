from __future__ import annotations

import logging
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.contrib.staticfiles.storage import ManifestStaticFilesStorage
from django.core.cache import cache
from django.core.files.storage import FileSystemStorage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse, QueryDict
from django.template import Context, Template
from django.test import RequestFactory
from django.urls import NoReverseMatch, include, path, resolve
from django.utils import translation

import imagesim
from demo_shop.shop.models import Product
from imagesim.exceptions import BadQuery, IndexUnavailable, NotRegistered
from imagesim.items import Items
from imagesim.items.registry import registry
from imagesim.pages import widgets
from imagesim.pages.refinement import Refinement
from imagesim.pages.thumbnails import Pictures
from imagesim.retrieval.look import Look
from tests import shop
from tests.shop import encoded, picture, product

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _settings(settings, media_root):
    settings.IMAGESIM = {"SYNC": "manual", "MIN_RELEVANCE": 0.0, "EMBEDDER": shop.EMBEDDER}  # pixels are not calibrated
    # imagesim's own templates, not those by which the demo shop overrides them.
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [Path(imagesim.__file__).parent / "templates"]}]
    cache.clear()


@pytest.mark.parametrize("tag", ["image_search", "shop_the_look"])
def test_a_form_that_nobody_answers_is_logged(settings, caplog, tag):
    render(f"{{% {tag} %}}")
    settings.ROOT_URLCONF = "demo_shop.shop.urls"
    render(f"{{% {tag} action='/search/' %}}")
    assert not caplog.messages
    render(f"{{% {tag} %}}")
    (message,) = caplog.messages
    assert message.startswith(f"{{% {tag} %}} has no answers: include imagesim.rest.urls")


@pytest.fixture
def shelf() -> dict[str, Product]:
    shelf = {
        "red": product("red", picture("red"), price="10.00"),
        "crimson": product("crimson", picture("crimson"), price="90.00", stock=0),
        "darkred": product("darkred", picture("darkred"), category="hats", price="20.00"),
        "blue": product("blue", picture("blue"), price="30.00"),
    }
    shop.index()
    return shelf


def render(source: str, **context: object) -> str:
    return Template("{% load imagesim %}" + source).render(Context(context))


def found(html: str) -> list[str]:
    return [name for name in ("crimson", "darkred", "blue") if f">{name}</span>" in html]


def test_htmx_leaves_alone_what_the_scripts_answer(shelf):
    """With ``hx-boost`` on the page, it must not follow their links and send their forms as well."""
    shop_page = (
        "{% search_bar action='/' look='/look/' %}{% image_search action='/' hits=hits next_url='?page=2' %}"
        "{% shop_the_look action='/look/' samples=samples %}"
    )
    html = render(shop_page, hits=imagesim.similar_to(shelf["red"]), samples=[{"url": "/a.jpg", "name": "a"}])
    answered = "imagesim-(?:bar-camera|next|sample=|search__form|start)"
    places = re.findall(f".*{answered}.*", html)
    assert len(places) == 5
    assert all('hx-boost="false"' in place for place in places)
    # Without the API the pages answer the forms, and Turbo shows no answer to a form that is not a redirect.
    assert [place.count('data-turbo="false"') for place in places if "<form" in place] == [1, 1]


class TestNonce:
    """The nonce of a Content-Security-Policy: without it, a browser runs none of the scripts under 'strict-dynamic'."""

    TAGS = (
        "{% similar_products product %}{% search_bar action='/' look='/look/' %}{% refine refinement %}"
        "{% image_search action='/' %}{% shop_the_look action='/' %}"
    )

    def scripts(self, settings, product, **context):
        settings.IMAGESIM = {**settings.IMAGESIM, "EVENTS": True}
        refinement = Refinement(Product, QueryDict("sort=price"), sort={"price": "Price"})
        refinement.apply(imagesim.similar_to(product))
        return re.findall("<script[^>]*>", render(self.TAGS, product=product, refinement=refinement, **context))

    def test_of_the_context_or_the_request(self, shelf, settings, rf):
        request = rf.get("/")
        request.csp_nonce = "r4nd0m"
        for context in ({"csp_nonce": "r4nd0m"}, {"request": request}):
            scripts = self.scripts(settings, shelf["red"], **context)
            assert len(scripts) == 5
            assert all(' nonce="r4nd0m"' in script for script in scripts)

    def test_a_page_that_does_not_use_one(self, shelf, settings, rf):
        class Unused:
            """Like the nonce of Django 6.0: false until it is rendered, which adds it to the header."""

            def __bool__(self) -> bool:
                return False

            def __str__(self) -> str:
                raise AssertionError("rendered")

        for context in ({}, {"request": rf.get("/")}, {"csp_nonce": Unused()}):
            assert not any("nonce" in script for script in self.scripts(settings, shelf["red"], **context))


def test_a_storage_with_hashes_renames_the_imports_of_modules(tmp_path):
    written: dict[str, Any] = {"ManifestStaticFilesStorage": ManifestStaticFilesStorage}
    page = (Path(imagesim.__file__).parents[1] / "docs" / "template-tags.md").read_text()
    exec(textwrap.dedent(re.findall(r"( +class ModuleStorage.+?)```", page, re.DOTALL)[0]), written)
    source = Path(imagesim.__file__).parent / "static"
    shutil.copytree(source, tmp_path, dirs_exist_ok=True)
    names = [str(file.relative_to(source)) for file in source.rglob("*.*") if file.suffix in (".js", ".css")]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "other.js").write_text('/** @type {import("../missing").Missing} */')
    paths = {name: (FileSystemStorage(source), name) for name in names}
    paths["other/other.js"] = (FileSystemStorage(tmp_path), "other/other.js")
    processed = list(written["ModuleStorage"](location=tmp_path).post_process(paths))
    assert not [error for _name, _made, error in processed if isinstance(error, Exception)]
    hashed = {(tmp_path / made) for _name, made, _changed in processed}
    imported = [
        module.parent / name
        for module in hashed
        if module.suffix == ".js"
        for name in re.findall(r'^(?:import|export)\b.*"(\.[^"]+)";$', module.read_text(), re.MULTILINE)
    ]
    assert len(imported) > 20
    assert {each.resolve() for each in imported} <= {each.resolve() for each in hashed}


class TestSimilarProducts:
    def test_shows_similar_products_with_links(self, shelf):
        html = render("{% similar_products product %}", product=shelf["red"])
        assert set(found(html)) == {"crimson", "darkred", "blue"}
        assert ">red</span>" not in html
        assert f'href="{shelf["blue"].get_absolute_url()}"' in html
        blue = Pictures(registry.for_item(shelf["blue"]), shelf["blue"], "").url(320)
        assert f'src="{blue}"' in html
        assert "Similar products" in html

    @pytest.mark.parametrize(
        ("arguments", "names"),
        [
            ("limit=1", ["crimson"]),
            ("same_category=True", ["crimson", "blue"]),
            ("in_stock=True", ["darkred", "blue"]),
            ("category='hats'", ["darkred"]),
            ("price__lte=25", ["darkred"]),
            ("price__gt=25 in_stock=True", ["blue"]),
            ("filters=filters", ["crimson"]),
            ("offset=1 limit=1", ["blue"]),  # of the same kind
            ("offset=1 limit=1 same_category=False", ["darkred"]),
            ("like='blue^9' limit=1", ["blue"]),
            ("like=other unlike=product diversity=0.2 limit=1", ["blue"]),
            ("category='hats' fallback='wider' limit=2", ["crimson", "darkred"]),
        ],
    )
    def test_takes_the_arguments_of_similar_to(self, shelf, arguments, names):
        html = render(
            "{% similar_products product " + arguments + " %}",
            product=shelf["red"],
            other=shelf["blue"],
            filters={"price": 90},
        )
        assert found(html) == names

    def test_agrees_with_python(self, shelf):
        source = "{% similar_hits product limit=3 as cards %}{% for card in cards %}{{ card.item.pk }} {% endfor %}"
        html = render(source, product=shelf["red"])
        assert html.split() == [str(hit.item.pk) for hit in imagesim.similar_to(shelf["red"], limit=3)]

    @pytest.mark.parametrize("blank", ["", " ", [], [""], None])
    def test_a_blank_category_is_no_restriction(self, shelf, client, blank):
        """Like an empty field of a form: the same in a tag, in Python and over REST."""
        everything = [hit.item.name for hit in imagesim.similar_to(shelf["red"], limit=8)]
        assert [hit.item.name for hit in imagesim.similar_to(shelf["red"], limit=8, category=blank)] == everything
        tag = "{% similar_products product category=blank min_relevance=0 %}"
        assert found(render(tag, product=shelf["red"], blank=blank)) == everything
        url = f"/api/visual/items/shop.product/{shelf['red'].pk}/similar/"
        given = {"category": blank or "", "min_relevance": "0", "limit": 8}
        assert [hit["item"]["name"] for hit in client.get(url, given).json()["results"]] == everything

    def test_heading_and_empty_text(self, shelf):
        html = render("{% similar_products product heading=words %}", product=shelf["red"], words="More <like> this")
        assert "More &lt;like&gt; this" in html
        html = render("{% similar_products product brand='none such' empty='Nothing yet' %}", product=shelf["red"])
        assert "Nothing yet" in html
        assert render("{% similar_products product brand='none such' %}", product=shelf["red"]).strip() == ""

    def test_a_card_shows_the_price_as_the_scripts_do(self, shelf, client, monkeypatch, caplog):
        """Its place must not stay empty on the cards that the server renders."""
        (card,) = widgets.cards(widgets.similar_hits(shelf["red"], limit=1))
        url = f"/api/visual/items/shop.product/{shelf['red'].pk}/similar/"
        (fetched,) = client.get(url, {"limit": 1}).json()["results"]
        assert card.details == fetched["item"]["details"] == {"price": "€ 90.00", "badge": "Sold out"}
        place = '<p class="imagesim-hit__price" data-imagesim-slot="price"'
        source = "{% similar_products product limit=1 %}"
        assert f"{place}>€ 90.00</p>" in render(source, product=shelf["red"])
        for details in (lambda item: None, lambda item: {}, lambda item: {"price": ""}, lambda item: item.nothing):
            monkeypatch.setattr(registry.for_model(Product), "get_details", details)
            assert f"{place} hidden></p>" in render(source, product=shelf["red"])
        assert "ProductItems.get_details() fails" in caplog.text
        assert f"{place} hidden></p>" in render("{% image_search %}"), "the template of the scripts"

    def test_a_shop_overrides_the_card(self, shelf, settings, tmp_path):
        (tmp_path / "imagesim").mkdir()
        (tmp_path / "imagesim" / "hit.html").write_text("<b>{{ card.item.price }}</b>")
        settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]
        assert "<b>20.00</b>" in render("{% similar_products product %}", product=shelf["red"])

    def test_without_an_index_the_page_is_rendered(self, caplog):
        lonely = product("lonely", picture("red"))
        with caplog.at_level(logging.WARNING, "imagesim.pages.widgets"):
            assert render("before{% similar_products product %}after", product=lonely).split() == ["before", "after"]
        assert f"shop.product:{lonely.pk}" in caplog.text

    def test_with_an_unavailable_index_the_page_is_rendered(self, shelf, monkeypatch, caplog):
        def down(*args: object, **kwargs: object) -> None:
            raise IndexUnavailable("Elasticsearch cannot be reached.")

        monkeypatch.setattr("imagesim.indexes.local.LocalIndex.search", down)
        assert render("before{% similar_products product %}after", product=shelf["red"]).split() == ["before", "after"]
        assert "cannot be reached" in caplog.text

    def test_an_item_without_embedding_has_no_similar_products(self, shelf):
        hits = widgets.similar_hits(product("new", picture("red")))
        assert hits == []
        assert "no embedding yet" in hits.degraded

    @pytest.mark.parametrize("timeout", [0, 60])
    def test_an_item_that_is_not_saved_has_no_similar_products(self, shelf, caplog, timeout):
        """For instance on the preview of a page that an editor is writing."""
        draft = Product(name="draft", slug="draft", category=shelf["red"].category)
        with caplog.at_level(logging.INFO, "imagesim.pages.widgets"):
            page = render(f"a {{% similar_products product timeout={timeout} %}} z", product=draft)
        assert page.split() == ["a", "z"]
        assert "not saved yet" in caplog.text

    def test_template_errors_are_raised(self, shelf):
        with pytest.raises(BadQuery, match="colr"):
            render("{% similar_products product colr='red' %}", product=shelf["red"])
        with pytest.raises(NotRegistered):
            render("{% similar_products thing %}", thing=shelf["red"].category)

    def test_a_filter_that_the_index_has_not_yet_shows_nothing(self, shelf, monkeypatch, caplog):
        """Otherwise, every product page would fail from the deployment of the filter to the end of the rebuild."""
        items = registry.for_model(Product)
        monkeypatch.setattr(type(items), "filters", {**items.filters, "slug": "slug"})
        monkeypatch.delitem(items.__dict__, "kinds", raising=False)
        assert render("{% similar_products product slug='x' %}", product=shelf["red"]).strip() == ""
        assert "run `manage.py imagesim_rebuild`" in caplog.text
        del items.__dict__["kinds"]

    def test_the_cache_avoids_searches_but_loads_the_items(self, shelf, monkeypatch):
        source = "{% similar_products product timeout=60 %}"
        first = render(source, product=shelf["red"])
        with monkeypatch.context() as patched:
            patched.setattr("imagesim.retrieval.search.Search", None)
            assert render(source, product=shelf["red"]) == first
            with pytest.raises(TypeError):  # other arguments are another question
                render("{% similar_products product timeout=60 limit=2 %}", product=shelf["red"])
        shelf["blue"].delete()
        assert set(found(render(source, product=shelf["red"]))) == {"crimson", "darkred"}

    def test_degraded_answers_are_not_cached(self, monkeypatch):
        lonely = product("lonely", picture("red"))
        assert widgets.similar_hits(lonely, timeout=60) == []
        product("other", picture("red"))
        shop.index()
        assert len(widgets.similar_hits(lonely, timeout=60)) == 1


def test_an_item_without_a_page_does_not_fail_the_page_of_others(shelf, monkeypatch):
    monkeypatch.setattr(type(registry.for_model(Product)), "get_similar_url", Items.get_similar_url)
    Product.objects.filter(pk=shelf["crimson"].pk).update(slug="")
    nowhere = Product.objects.get(pk=shelf["crimson"].pk)
    with pytest.raises(NoReverseMatch):
        nowhere.get_absolute_url()

    assert set(found(render("{% similar_products product %}", product=shelf["red"]))) == {"crimson", "darkred", "blue"}
    html = render("{% find_similar product %}", product=nowhere)
    assert "href=" not in html
    assert " hidden>" in html


class TestImageSearch:
    def test_posts_to_a_page_of_the_shop_and_names_the_api(self):
        html = render("{% image_search action='/find/' %}", csrf_token="t0ken")
        assert html.index('name="q"') < html.index('name="image"'), "most visitors come with words"
        assert 'action="/find/" method="post" enctype="multipart/form-data"' in html
        assert 'name="csrfmiddlewaretoken" value="t0ken"' in html
        assert 'data-api="/api/visual/search/"' in html
        assert 'accept="image/jpeg,image/png,image/webp,image/avif,image/gif' in html

    def test_names_the_header_of_the_csrf_token(self, settings):
        assert 'value="t0ken" data-header="X-CSRFTOKEN"' in render("{% image_search %}", csrf_token="t0ken")
        settings.CSRF_HEADER_NAME = "HTTP_X_SHOP_TOKEN"
        for tag in ("image_search", "shop_the_look"):
            assert 'value="t0ken" data-header="X-SHOP-TOKEN"' in render(f"{{% {tag} %}}", csrf_token="t0ken")

    def test_without_an_action_it_posts_to_its_own_page(self):
        html = render("{% image_search %}", request=RequestFactory().get("/here/"))
        assert 'action="/here/"' in html
        assert "data-page" not in html

    def test_its_own_page_with_reserved_characters(self):
        html = render("{% image_search %}{% shop_the_look %}", request=RequestFactory().get("/50%25%3Foff/"))
        assert html.count('action="/50%25%3Foff/"') == 2

    def test_works_without_the_rest_api(self, settings):
        settings.ROOT_URLCONF = "demo_shop.shop.urls"
        assert 'data-api=""' in render("{% image_search action='/find/' %}")

    def test_shows_the_hits_of_the_page(self, shelf):
        hits = imagesim.search(text="blue", limit=1)
        html = render("{% image_search action='/' hits=hits text=text %}", hits=hits, text="<blue>")
        assert found(html) == ["blue"]
        assert 'value="&lt;blue&gt;"' in html
        html = render("{% image_search action='/' hits=hits %}", hits=imagesim.Hits())
        assert "Nothing found" in html.split("data-imagesim-status")[1]

    def test_nothing_is_inline(self, shelf):
        html = render("{% image_search action='/' %}{% similar_products product %}", product=shelf["red"])
        assert "style=" not in html
        assert "<style" not in html
        assert " on" not in [attribute[:3] for attribute in html.split('="')]
        assert html.count("<script") == html.count('<script type="module" src=')

    def test_german(self):
        with translation.override("de"):
            html = render("{% image_search action='/' %}")
        assert "Oder mit einem Foto suchen" in html


@pytest.mark.slow
def test_a_page_with_similar_products_never_imports_torch():
    """In a separate process: this one may have imported it for another test."""
    lines = ("import sys, django", "django.setup()", "import imagesim.templatetags.imagesim")
    program = "; ".join((*lines, "sys.exit('torch' in sys.modules)"))
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0


class TestShopTheLook:
    def test_names_the_api_and_the_page(self):
        html = render("{% shop_the_look action='/look/' limit=6 %}", csrf_token="t0ken")
        assert 'action="/look/" method="post" enctype="multipart/form-data"' in html
        assert 'name="csrfmiddlewaretoken" value="t0ken"' in html
        assert 'data-api="/api/visual/look/"' in html
        assert 'data-region-api="/api/visual/look/TOKEN/region/"' in html
        assert 'data-search-api="/api/visual/search/"' in html
        assert 'data-limit="6"' in html
        assert 'capture="environment"' in html

    def test_works_without_the_rest_api(self, settings):
        settings.ROOT_URLCONF = "demo_shop.shop.urls"
        assert 'data-api=""' in render("{% shop_the_look action='/look/' %}")
        assert 'action="/here/"' in render("{% shop_the_look %}", request=RequestFactory().get("/here/"))

    def test_samples(self):
        samples = [{"url": "/media/a.jpg", "name": "<a>", "page": "?sample=a"}, {"url": "/media/b.jpg", "name": "b"}]
        html = render("{% shop_the_look samples=samples %}", samples=samples)
        assert 'href="?sample=a" data-imagesim-sample="/media/a.jpg"' in html
        assert 'href="/media/b.jpg" data-imagesim-sample="/media/b.jpg"' in html
        assert 'alt="&lt;a&gt;"' in html
        assert "data-imagesim-sample=" not in render("{% shop_the_look %}")

    def test_shows_the_hits_of_the_page(self, shelf):
        look = imagesim.shop_the_look(picture("blue"), regions=[(0, 0, 1, 0.5)], limit=1)
        html = render("{% shop_the_look look=look %}", look=look)
        assert found(html) == ["blue"]
        assert "Your box</h2>" in html
        html = render("{% shop_the_look look=look %}", look=imagesim.shop_the_look(picture("blue"), limit=1))
        assert "Whole photo</h2>" in html
        assert "data-imagesim-server" not in render("{% shop_the_look %}")

    def test_weak_hits_of_wider_categories_are_dropped(self):
        def hits(*scores: tuple[float, str]) -> imagesim.Hits:
            return imagesim.Hits([imagesim.Hit(None, score, None, stage) for score, stage in scores], more=True)

        kept = widgets.drop_weak_fallback(hits((0.9, ""), (0.5, ""), (0.8, "wider"), (0.6, "wider")))
        assert ([hit.score for hit in kept], kept.more) == ([0.9, 0.5, 0.8], True)
        assert len(widgets.drop_weak_fallback(hits((0.3, "wider"), (0.2, "wider")))) == 2
        assert widgets.drop_weak_fallback(hits()) == []

    def test_nothing_is_inline(self):
        html = render("{% shop_the_look %}")
        assert "style=" not in html
        assert "<style" not in html
        assert " on" not in [attribute[:3] for attribute in html.split('="')]
        assert html.count("<script") == html.count('<script type="module" src=')

    def test_german(self):
        with translation.override("de"):
            html = render("{% shop_the_look %}")
        for english in ("Draw a box", "In stock only", "Whole photo", "Try again", "from the left", "movable box"):
            assert english not in html


class TestEvents:
    def test_similar_products_report_events_if_enabled(self, shelf, settings):
        quiet = render("{% similar_products product %}", product=shelf["red"])
        assert "data-imagesim-events" not in quiet
        assert "<script" not in quiet
        settings.IMAGESIM = {**settings.IMAGESIM, "EVENTS": True}
        html = render("{% similar_products product offset=1 limit=2 %}", product=shelf["red"])
        assert 'data-imagesim-events="/api/visual/events/"' in html
        assert re.search(r'data-token="[^"]{20,}"', html)
        assert re.findall(r'data-imagesim-position="(\d)"', html) == ["1", "2"]
        assert f'data-imagesim-item="shop.product:{shelf["darkred"].pk}"' in html
        assert "imagesim/events.js" in html

    def test_cached_similar_products_report_events(self, shelf, settings):
        settings.IMAGESIM = {**settings.IMAGESIM, "EVENTS": True}
        source = "{% similar_products product timeout=60 %}"
        tokens = {
            re.search(r'data-token="([^"]+)"', render(source, product=shelf["red"]))[1]  # type: ignore[index]
            for _ in range(2)
        }
        assert len(tokens) == 2


def test_cached_answers_keep_stages_and_facets(shelf, settings):
    settings.IMAGESIM = {**settings.IMAGESIM, "EVENTS": True}
    asked = {"category": "hats", "fallback": True, "facets": ["category"], "unlike": [shelf["blue"]], "timeout": 60}
    first, kept = (widgets.similar_hits(shelf["red"], **asked) for _time in range(2))
    assert [(hit.item, hit.stage) for hit in kept] == [(hit.item, hit.stage) for hit in first]
    assert kept[0].stage == ""
    assert {hit.stage for hit in kept[1:]} == {"wider"}
    assert kept.facets == first.facets
    assert kept.facets["category"].count == 3
    assert kept.token
    assert kept.token != first.token


def test_the_id_of_the_search_bar_is_that_of_its_form():
    """Fields elsewhere on the page belong to the form by their attribute ``form``."""
    assert '<form class="imagesim-bar__form" id="imagesim-bar"' in render("{% search_bar action='/' %}")
    assert '<form class="imagesim-bar__form" id="head"' in render("{% search_bar action='/' bar_id='head' %}")


@pytest.mark.parametrize("language", ["en", "de"])
def test_numbers_for_scripts_have_no_thousand_separators(shelf, settings, language):
    settings.USE_THOUSAND_SEPARATOR = True
    settings.IMAGESIM = {**settings.IMAGESIM, "EVENTS": True, "MAX_TEXT_LENGTH": 1000}
    hits, request = imagesim.similar_to(shelf["red"]), RequestFactory().get("/")
    with translation.override(language):
        search = render("{% image_search action='/' hits=hits offset=1200 %}", hits=hits, request=request)
        bar = render("{% search_bar action='/' look='/look/' %}", request=request)
        look = render(
            "{% shop_the_look look=look photo='/p.jpg' limit=1000 %}", look=Look((1200, 1600)), request=request
        )
    for html in (search, bar):
        assert 'data-max-bytes="20971520"' in html
        assert 'maxlength="1000"' in html
    assert 'data-imagesim-position="1200"' in search
    assert 'data-max-bytes="20971520"' in look
    assert 'data-limit="1000"' in look
    assert 'width="1200" height="1600"' in look


def test_a_page_outside_of_the_prefix_has_no_address_of_the_api(settings):
    urlconf = ModuleType("tenant_urls")
    urlconf.urlpatterns = [
        path("<slug:tenant>/api/", include("imagesim.rest.urls")),
        path("start/", lambda request: None),
    ]
    settings.ROOT_URLCONF = urlconf
    request = RequestFactory().get("/start/")
    request.resolver_match = resolve("/start/")
    assert widgets.api_url("search", request) == ""


@pytest.mark.parametrize(
    ("tag", "message"),
    [
        ("{% similar_products item timeout='soon' %}", "'timeout' is 'soon'; it must be a whole number."),
        ("{% similar_products item min_hits='two' %}", "'min_hits' is 'two'; it must be a whole number."),
        ("{% similar_products item filters='red' %}", "'filters' is 'red'; it must be a dict such as"),
        ("{% thumbnail item '' 'wide' %}", "'width' is 'wide'; it must be a whole number."),
        ("{% shop_the_look limit='x' %}", "'limit' is 'x'; it must be a whole number."),
    ],
)
def test_a_mistake_in_a_template_is_named(tag, message):
    with pytest.raises(BadQuery) as caught:
        Template("{% load imagesim %}" + tag).render(Context({"item": product("shoe")}))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("tag", ["similar_products", "find_similar", "product_regions", "thumbnail"])
def test_a_misspelled_variable_is_named(tag):
    with pytest.raises(NotRegistered, match=r"not '' of type str\. In a template, an empty string is often a"):
        Template("{% load imagesim %}{% " + tag + " prodcut %}").render(Context({"product": product("shoe")}))


@pytest.fixture
def unavailable(monkeypatch):
    def fail(*args, **arguments):
        raise IndexUnavailable("Elasticsearch at http://es1:9200 does not answer.")

    return lambda name: monkeypatch.setattr(imagesim, name, fail)


def snippets(page, language, start):
    """Return the blocks of code of a page of the docs that start like this."""
    text = (Path(__file__).parent.parent / "docs" / page).read_text()
    return re.findall(rf"^```{language}\n({re.escape(start)} .*?)^```$", text, re.M | re.S)


def test_the_search_page_of_the_docs(shelf, unavailable):
    code = snippets("template-tags.md", "python", "import")[0]
    shown = snippets("template-tags.md", "django", "{% if error")[0]

    def answer(request, name, context, status):
        assert status == (503 if failing else 200)
        return render(shown, request=request, **context)

    view = {"__name__": "shop.views"}
    exec(code, view)
    view["render"] = answer
    failing = False
    requests = RequestFactory()
    opened = view["search"](requests.get("/search/"))
    assert "<form" in opened
    assert "imagesim-hit__link" not in opened.partition("<template")[0]
    for request in (requests.get("/search/?q=red"), requests.post("/search/", {"q": "red"})):
        html = view["search"](request).partition("<template")[0]
        assert 'value="red"' in html
        assert html.count("imagesim-hit__link") == 3  # the blue one is not relevant
    photo = SimpleUploadedFile("red.png", encoded(picture("red")))
    assert "imagesim-hit__link" in view["search"](requests.post("/search/", {"image": photo})).partition("<template")[0]
    refused = view["search"](requests.post("/search/", {"image": SimpleUploadedFile("a.svg", b"<svg/>")}))
    assert '<p role="alert">This is not a picture that can be read' in refused
    long = view["search"](requests.get("/search/", {"q": "x" * 501}))
    assert '<p role="alert">' in long
    failing = True
    unavailable("search")
    assert '<p role="alert">The search is not available.' in view["search"](requests.get("/search/?q=red"))


def test_the_functions_of_the_docs_for_jinja(shelf, rf):
    code: dict[str, Any] = {}
    exec(snippets("template-tags.md", "python", "from django.template import engines\nfrom jinja2")[0], code)
    page = "{{ similar_products(product, limit=2) }}{{ image_search(action='/search/') }}{{ find_similar(product) }}"
    template = code["environment"](autoescape=True).from_string(page)
    html = template.render(product=shelf["red"], request=rf.get("/"))
    similar, _, form = html.partition("<form")
    assert similar.count("imagesim-hit__link") == 2
    assert 'name="csrfmiddlewaretoken"' in form
    assert "imagesim-find-similar" in form


def test_the_refined_search_of_the_docs(shelf, unavailable, monkeypatch):
    monkeypatch.setitem(sys.modules, "shop", sys.modules[Product.__module__.rpartition(".")[0]])
    monkeypatch.setitem(sys.modules, "shop.models", sys.modules[Product.__module__])
    code = snippets("template-tags.md", "python", "import")[1]
    shown = snippets("template-tags.md", "django", "{% if error")[1]

    def answer(request, name, context, status):
        assert status == (503 if failing else 200)
        return render(shown.replace("url 'search'", "url 'shop:search'"), request=request, **context)

    failing = False
    view = {"__name__": "shop.views"}
    exec(code, view)
    view["render"] = answer
    found = view["search"](RequestFactory().get("/search/?q=red&sort=-price"))
    assert found.partition("<template")[0].count("imagesim-hit__link") == 3  # the blue one is not relevant
    for query in ("?q=red&price__lt=cheap", "?q=red&brand=%00"):
        assert '<p role="alert">' in view["search"](RequestFactory().get(f"/search/{query}"))
    assert 'role="alert"' not in view["search"](RequestFactory().get("/search/"))  # no search yet
    photo = SimpleUploadedFile("red.png", encoded(picture("red")))
    for given in ({"q": "red", "price__lt": "95"}, {"q": "", "image": photo}):  # without JavaScript
        posted = view["search"](RequestFactory().post("/search/", given))
        assert "imagesim-hit__link" in posted.partition("<template")[0]
        assert ("?q=red&amp;price__lt=95&amp;sort=price" in posted) == ("price__lt" in given)
    refused = view["search"](RequestFactory().post("/search/", {"image": SimpleUploadedFile("a.svg", b"<svg/>")}))
    assert '<p role="alert">This is not a picture that can be read' in refused
    failing = True
    unavailable("search")
    assert '<p role="alert">The search is not available.' in view["search"](RequestFactory().get("/search/?q=red"))


def test_the_look_page_of_the_docs(shelf, unavailable):
    (code,) = snippets("shop-the-look.md", "python", "import")
    shown = {"__name__": "shop.views"}
    exec(code, shown)
    shown["render"] = lambda request, name, context, status: HttpResponse(status=status)

    def post(image):
        request = RequestFactory().post("/look/", {"image": image})
        request._dont_enforce_csrf_checks = True
        return shown["look"](request).status_code

    photo = encoded(picture("red"))
    assert shown["look"](RequestFactory().get("/look/")).status_code == 200
    assert post(SimpleUploadedFile("red.png", photo)) == 200
    assert post(SimpleUploadedFile("a.svg", b"<svg/>")) == 400
    unavailable("shop_the_look")
    assert post(SimpleUploadedFile("red.png", photo)) == 503
