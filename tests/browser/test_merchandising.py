"""What a merchandiser does: write a rule in the admin, see what it does, save it, and find it in the shop."""

from __future__ import annotations

import re

import pytest

from tests.browser.conftest import until
from tests.browser.pages import fits, is_accessible, log_in, picture

pytestmark = pytest.mark.timeout(600)
ADD = "/admin/imagesim_merchandising/rule/add/"


@pytest.mark.parametrize(("width", "words"), [(768, "juice"), pytest.param(1280, "polo shirt", marks=pytest.mark.long)])
def test_a_rule_is_written_previewed_and_saved(open_page, width, words):
    page = open_page(viewport={"width": width, "height": 900})
    log_in(page)
    page.goto(ADD)
    page.locator("#id_name").fill(f"Not in stock last {width}")
    assert page.locator("#id_pins").is_hidden()
    page.locator("#id_action").select_option("pin")
    assert page.locator("#id_pins").is_visible()
    assert page.locator("#id_factor").is_hidden()
    picker = page.locator(".field-pins .rule-picker")
    assert picker.bounding_box()["x"] == page.locator("#id_pins").bounding_box()["x"]
    form = page.locator("#rule_form").bounding_box()
    for name in ("when", "action"):
        field = page.locator(f"#id_{name}").bounding_box()
        assert field["x"] + field["width"] <= form["x"] + form["width"], name  # it must not be cut off on a tablet
    page.locator("#preview-words").fill("shirt")
    page.locator("#rule-preview-button").focus()
    page.keyboard.press("Enter")
    page.locator("#rule-preview .errorlist").wait_for()  # no products yet
    page.goto(ADD)
    page.locator("#id_name").fill(f"Cable first {width}")
    page.locator("#id_when").select_option("equal")
    page.locator("#id_triggers").fill(words)
    page.locator("#id_action").select_option("pin")
    picker.get_by_role("combobox").fill("juice")
    picker.get_by_role("option").first.wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    picker.get_by_role("combobox").fill("ethernet")
    picker.get_by_role("option", name="Ethernet").first.click()
    picker.locator("[data-slot=earlier]").nth(1).click()
    picker.locator("[data-slot=remove]").nth(1).click()
    pins = page.locator("#id_pins").input_value()
    assert pins.startswith("1: shop.product:")
    assert "Ethernet" in picker.locator(".rule-chosen").inner_text()
    key = pins.rpartition(":")[2]
    page.locator("#preview-words").fill(words)
    page.locator("#rule-preview-button").click()
    page.locator("#rule-preview .rule-sides").wait_for()
    after = page.locator("section[aria-labelledby=rule-after] li")
    assert f"Cable first {width}" in after.first.inner_text()
    assert page.locator("section[aria-labelledby=rule-before] li").count() > 1
    until(page, "[...document.querySelectorAll('#rule-preview img')].slice(0, 4).every((each) => each.naturalWidth)")
    assert fits(page)
    is_accessible(page, ".rule-question")
    picture(page, f"rule-{width}")
    page.locator("[name=_save]").click()
    page.locator(".messagelist .success").wait_for()
    answer = page.request.get(f"/api/visual/search/?q={words}").json()
    assert answer["results"][0]["item"]["pk"] == key
    assert answer["results"][0]["rules"] == [f"Cable first {width}"]
    picture(page, f"rules-{width}")


def test_enter_saves_a_rule_and_in_the_preview_shows_it(page):
    log_in(page)
    page.goto(ADD)
    page.locator("#id_name").fill("By keyboard")
    page.locator("#id_action").select_option("bury")
    page.locator("#id_filters").fill("in_stock = no")
    page.locator("#preview-words").fill("shirt")
    page.locator("#preview-words").press("Enter")
    page.locator("#rule-preview .rule-sides").wait_for()
    page.locator("#id_name").press("Enter")
    page.locator(".messagelist .success").wait_for()


@pytest.mark.long
def test_products_chosen_while_names_are_fetched_stay(page):
    log_in(page)
    page.goto(ADD)
    page.locator("#id_action").select_option("pin")
    late = []
    page.route("**/rule/products/?key=*", lambda route: late.append(route))
    page.locator("#id_pins").fill("1: 1")
    page.locator("#id_pins").press("Tab")
    while not late:
        page.wait_for_timeout(50)
    picker = page.locator(".field-pins .rule-picker")
    picker.get_by_role("combobox").fill("ethernet")
    picker.get_by_role("option", name="Ethernet").first.click()
    while len(late) < 2:
        page.wait_for_timeout(50)
    for route in reversed(late):
        with page.expect_response("**/rule/products/?key=*"):
            route.continue_()
    picker.locator(".rule-chosen li").nth(1).wait_for()
    page.wait_for_timeout(200)
    assert picker.locator(".rule-chosen li").count() == 2


@pytest.mark.long
def test_a_pinned_product_that_is_gone_is_named(page):
    """Its key alone would look like a product whose name has not loaded yet."""
    log_in(page)
    page.goto(ADD)
    page.locator("#id_action").select_option("pin")
    page.locator("#id_pins").fill("1: shop.product:1\n2: shop.product:9999")
    page.locator("#id_pins").press("Tab")
    gone = page.get_by_text("not in the shop at present")
    gone.nth(1).wait_for()
    assert page.locator(".field-pins .rule-chosen li", has=gone.locator("visible=true")).count() == 1


@pytest.mark.long
def test_a_rule_whose_pins_were_edited_is_saved_by_one_click(page):
    """The list below the field must not grow or shrink when the field is left, because the button would move away below
    the pointer."""
    log_in(page)
    page.goto(ADD)
    page.locator("#id_name").fill("Edited")
    page.locator("#id_enabled").uncheck()
    page.locator("#id_action").select_option("pin")
    pins = page.locator("#id_pins")
    pins.fill("1: 1\n2: 2\n3: 3")
    pins.press("Tab")
    chosen = page.locator(".field-pins .rule-chosen li")
    chosen.nth(2).wait_for()
    pins.fill("1: 1")
    pins.press("Tab")
    chosen.nth(1).wait_for(state="detached")
    pins.fill("1: 1\n2: 2\n3: 3")
    page.locator("[name=_save]").click(delay=100)
    page.locator(".messagelist .success").wait_for()


@pytest.mark.long
def test_a_line_that_is_no_pin_is_kept_when_a_product_is_chosen(page):
    log_in(page)
    page.goto(ADD)
    page.locator("#id_action").select_option("pin")
    page.locator("#id_pins").fill("1; 7\n2: 8")
    picker = page.locator(".field-pins .rule-picker")
    picker.get_by_role("combobox").fill("ethernet")
    picker.get_by_role("option", name="Ethernet").first.click()
    first, *others = page.locator("#id_pins").input_value().splitlines()
    assert first == "1; 7"
    assert [line.partition(":")[0] for line in others] == ["1", "2"]
    picker.locator(".rule-chosen li").nth(2).wait_for()
    assert picker.locator("[data-slot=earlier]:visible").count() == 2


@pytest.mark.long
def test_suggestions_do_not_open_over_a_product_that_was_chosen(page):
    log_in(page)
    page.goto(ADD)
    page.locator("#id_action").select_option("pin")
    picker = page.locator(".field-pins .rule-picker")
    words = picker.get_by_role("combobox")
    words.fill("ethernet")
    picker.get_by_role("option", name="Ethernet").first.wait_for()
    late = []
    page.route("**/rule/products/?q=*", lambda route: late.append(route))
    words.press("s")  # and before the products for these words are there
    picker.get_by_role("option", name="Ethernet").first.click()
    page.wait_for_timeout(300)
    for route in late:
        route.continue_()
    page.wait_for_timeout(500)
    assert words.input_value() == ""
    assert picker.get_by_role("option").count() == 0


def test_a_message_is_shown_where_it_is_searched(page):
    log_in(page)
    page.goto(ADD)
    page.locator("#id_name").fill("Sale")
    page.locator("#id_when").select_option("contain")
    page.locator("#id_triggers").fill("carrot")
    page.locator("#id_action").select_option("message")
    page.locator("#id_message").fill("All carrots half price")
    page.locator("#id_link").fill("/")
    page.locator("[name=_save]").click()
    page.locator(".messagelist .success").wait_for()
    page.goto("/search/?q=carrot+juice")
    page.get_by_role("link", name="All carrots half price").wait_for()


def test_without_scripts_the_preview_is_a_page(open_page):
    page = open_page(java_script_enabled=False, locale="de-DE")
    log_in(page)
    page.goto(ADD)
    page.locator("#id_name").fill("Ohne Skript")
    page.locator("#id_action").select_option("bury")
    page.locator("#id_filters").fill("in_stock = yes")
    page.locator("#preview-words").fill("shirt")
    with page.context.expect_page() as opened:
        page.locator("#rule-preview-button").click()
    shown = opened.value
    shown.locator("#rule-after").wait_for()
    assert shown.locator("#rule-before").inner_text() == "Vorher"
    # Rules that other tests have saved may be named there, too.
    assert "durch „Ohne Skript“" in shown.locator("section[aria-labelledby=rule-after]").inner_text()


def test_the_names_of_places_are_on_one_line(open_page):
    """They must not be wrapped below their boxes, at the width of the names of fields."""
    page = open_page(locale="de")
    log_in(page)
    for address in ("/admin/imagesim_merchandising/rule/add/", "/admin/imagesim_experiments/experiment/add/"):
        page.goto(address)
        page.locator("#id_where label", has_text="Mit Worten suchen").evaluate(
            "(label) => label.append(' oder mit einem Bild, in jeder Sprache')"
        )
        heights = [each.bounding_box()["height"] for each in page.locator("#id_where label").all()]
        assert heights == pytest.approx([heights[0]] * 4, abs=2)


@pytest.mark.long
def test_the_form_works_in_a_theme_with_other_classes(page):
    """Themes of the admin have their own templates for forms, and lack Django's style sheets."""

    def other_theme(route):
        answer = route.fetch()
        page = re.sub(r"\b(form-row|field-\w+|flex-container)\b", "theirs", answer.text())
        route.fulfill(response=answer, body=re.sub(r"<link[^>]*/admin/css/[^>]*>", "", page))

    log_in(page)
    page.route(f"**{ADD}", other_theme)
    page.goto(ADD)
    assert page.locator(".form-row").count() == 0
    page.locator("#id_action").select_option("pin")
    assert page.locator("#id_factor").is_hidden()
    assert page.locator("label[for=id_factor]").is_hidden()
    assert page.get_by_text("Relevance is multiplied by it").is_hidden()
    picker = page.locator(".rule-picker:visible").first
    picker.get_by_role("combobox").fill("ethernet")
    picker.get_by_role("option", name="Ethernet").first.click()
    assert page.locator("#id_pins").input_value().startswith("1: shop.product:")
    remove = picker.locator("[data-slot=remove]")
    look = "(each) => [getComputedStyle(each).backgroundColor, getComputedStyle(each).color]"
    assert remove.evaluate(look) == ["rgb(65, 118, 144)", "rgb(255, 255, 255)"]
    page.locator("#id_action").select_option("boost")
    page.locator("#id_factor").fill("")
    page.locator("#id_filters").fill("in_stock = no")
    with page.expect_navigation():
        page.locator("[name=_save]").click()
    page.locator("#id_action").select_option("pin")
    assert page.locator("#id_factor").is_visible()  # its error must be seen


def test_a_choice_that_only_jquery_announces_shows_its_fields(page):
    """Some themes put Select2 on every select."""
    log_in(page)
    page.goto(ADD)
    page.evaluate("django.jQuery('#id_action').val('boost').trigger('change')")
    assert page.locator("#id_factor").is_visible()
    assert page.locator("#id_pins").is_hidden()
    page.evaluate("django.jQuery('#id_when').val('product').trigger('change')")
    assert page.locator(".field-triggers .rule-picker").is_visible()


def test_the_field_for_products_says_why_it_finds_none(open_page):
    page = open_page()
    log_in(page)
    page.goto(ADD)
    page.locator("#id_action").select_option("pin")
    picker = page.locator(".field-pins .rule-picker")
    reason = picker.locator("[data-imagesim-bar-reason]")
    words = picker.get_by_role("combobox")
    words.fill("xylophone")
    until(page, "document.querySelector('.field-pins [data-imagesim-bar-reason]').textContent === 'Nothing found.'")
    words.fill("juice")
    picker.get_by_role("option").first.wait_for()
    assert not reason.inner_text()
    page.route("**/products/?q=*", lambda route: route.fulfill(status=503))
    words.fill("juices")
    until(
        page, "document.querySelector('.field-pins [data-imagesim-bar-reason]').textContent.includes('not available')"
    )
    is_accessible(page, ".field-pins .rule-picker")
    page.errors.clear()  # the refused request
