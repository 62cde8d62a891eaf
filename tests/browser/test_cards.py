"""Cards of the page that visitors drag to a place for photos."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.template import Context, Engine

import imagesim
from tests.browser.conftest import until
from tests.browser.pages import picture

pytestmark = pytest.mark.timeout(600)


OWN = Path(imagesim.__file__).parent
PICTURE = """data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' width='320' height='320'></svg>"""
BOTH = """<!doctype html>
<meta name="viewport" content="width=device-width">
<link rel="stylesheet" href="/imagesim/imagesim.css">
<ul class="imagesim-grid imagesim" role="list" id="server">%s</ul>
<ul class="imagesim-grid imagesim" role="list" id="script"></ul>
<template>%s</template>
"""
FETCHED = """async (hits) => {
  const { renderHit } = await import("/imagesim/hits.js");
  const template = document.querySelector("template");
  document.querySelector("#script").append(...hits.map((hit) => renderHit(template, hit)));
}"""
SHAPES = """(list) => [...document.querySelectorAll(`${list} > li, ${list} > li *`)].map((element) => {
  const { width, height } = element.getBoundingClientRect();
  return [element.tagName, element.checkVisibility() && element.innerText, Math.round(width), Math.round(height)];
})"""


@pytest.mark.parametrize("width", [360, 1280])
def test_cards_of_the_server_and_of_the_scripts_look_the_same(chromium: Any, width: int) -> None:
    """With a price and without."""
    shown = [
        {"title": "Canvas sneaker", "url": "/1/", "details": {"price": "€ 1,299.00"}, "similar_url": "/1/#similar"},
        {"title": "Boots", "url": "/2/", "details": {"price": ""}, "similar_url": ""},
        {"title": "Clogs", "url": "", "details": {}, "similar_url": ""},
    ]
    shown = [{"image_url": PICTURE, "thumbnail_url": PICTURE, "srcset": "", **each} for each in shown]
    engine = Engine(dirs=[OWN / "templates"], libraries={"i18n": "django.templatetags.i18n"})
    hit = engine.get_template("imagesim/hit.html")
    cells = [f"<li>{hit.render(Context({'card': SimpleNamespace(**each)}))}</li>" for each in shown]
    fetched = [
        {
            "item": {"model": "shop.product", "pk": "1", "name": each["title"], "similar": each["similar_url"], **each},
            "image": {"srcset": "", "thumbnail": PICTURE, "url": PICTURE},
        }
        for each in shown
    ]
    html = BOTH % ("".join(cells), f"<li>{hit.render(Context({'card': None}))}</li>")
    page = chromium.new_page(viewport={"width": width, "height": 900}, base_url="http://shop.test")
    page.route("**/*", lambda route: route.fulfill(body=html, content_type="text/html; charset=utf-8"))
    page.route("**/imagesim/*", lambda route: route.fulfill(path=OWN / "static" / urlsplit(route.request.url).path[1:]))
    page.goto("/")
    page.evaluate(FETCHED, fetched)
    assert page.evaluate(SHAPES, "#server") == page.evaluate(SHAPES, "#script")
    assert page.locator("#server .imagesim-hit__price:visible").all_inner_texts() == ["€ 1,299.00"]
    picture(page, f"cards-{width}")
    page.close()


def drag(page: Any, source: Any, target: Any) -> None:
    """Slowly enough for the browser to see a drag; ``target`` is a locator."""
    start, end = source.bounding_box(), target.bounding_box()
    page.mouse.move(start["x"] + 30, start["y"] + start["height"] / 2)
    page.mouse.down()
    page.mouse.move(end["x"] + 20, end["y"] + 15, steps=8)
    page.mouse.move(end["x"] + 30, end["y"] + 20, steps=3)
    page.mouse.up()


@pytest.mark.parametrize(
    ("part", "target"),
    [
        (".card__image", "[data-imagesim-drop]"),
        (".card__name", ".imagesim-bar__form"),
        pytest.param(".card__image", ".imagesim-bar__form", marks=pytest.mark.long),
        pytest.param(".card__name", "[data-imagesim-drop]", marks=pytest.mark.long),
    ],
)
def test_a_card_that_is_dropped_where_a_photo_goes_is_searched(open_page: Any, part: str, target: str) -> None:
    """It must not be taken for a picture of another site, nor the search field take its address for words."""
    page = open_page(viewport={"width": 1280, "height": 2200})  # card and field are in view
    page.goto("/")
    page.wait_for_load_state("networkidle")  # a drag that begins before the scripts are there is the browser's own
    card = page.locator("main .card").first
    name = card.locator(".card__name").inner_text()
    drag(page, card.locator(part), page.locator(target))
    page.wait_for_url("**/look/?photo=*")
    page.locator("[data-imagesim-results]:not([aria-busy]) .card__name").first.wait_for()
    page.get_by_role("button", name="Whole photo").click()
    page.locator("[data-imagesim-results] .card__name").get_by_text(name, exact=True).wait_for()


@pytest.mark.long
def test_a_card_whose_picture_cannot_be_read_is_explained(open_page: Any) -> None:
    """For instance from an image server that does not let scripts read its pictures."""
    page = open_page(viewport={"width": 1280, "height": 2200})
    for target in ("[data-imagesim-drop]", ".imagesim-bar__form"):
        page.goto("/")
        page.wait_for_load_state("networkidle")
        page.route("**/thumbnail/**", lambda route: route.abort())
        drag(page, page.locator("main .card__image").first, page.locator(target).first)
        page.get_by_text("Save the picture first").locator("visible=true").first.wait_for()
        page.unroute_all()
    page.close()
    page.errors.clear()  # the requests that failed; after the page is closed there are no more


def test_words_that_are_dropped_on_the_photo_field_are_no_picture(page: Any) -> None:
    page.goto("/look/")
    heading = page.locator("h1")
    heading.click(click_count=3)
    drag(page, heading, page.locator("[data-imagesim-drop]"))
    until(page, "document.querySelector('[data-imagesim-status]').textContent !== ''")
    assert "not a picture" in page.locator("[data-imagesim-status]").inner_text()
