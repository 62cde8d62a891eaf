"""Shop the look: with a pointer, with the keyboard alone, and without JavaScript."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from django.utils.translation import override
from PIL import Image

from imagesim.pages import widgets
from tests.browser.conftest import SCREENSHOTS, until
from tests.browser.test_shopper import assert_accessible

pytestmark = pytest.mark.timeout(600)

WIDTHS = [(360, 740), pytest.param(768, 1024, marks=pytest.mark.long), (1280, 900)]
BOX = "[data-imagesim-box]"
REGION = "**/look/*/region/"


SENT = """
window.photos = [];
const plain = window.fetch;
window.fetch = (url, options) => {
  const photo = options?.body instanceof FormData ? options.body.get("image") : null;
  if (photo) photo.text().then((text) => window.photos.push({ size: photo.size, type: photo.type, text }));
  return plain(url, options);
};
"""
"""Record what the page sends, because Playwright does not see the files of a form."""

DECODED = """
window.bitmaps = [];
const decode = window.createImageBitmap;
window.createImageBitmap = (...given) => decode(...given).then((bitmap) => (window.bitmaps.push(bitmap), bitmap));
"""
"""Record what the page decodes; a bitmap that is freed has no size."""


def wait_for_results(page: Any) -> None:
    """Wait until the last request is answered and its hits are shown."""
    page.locator("[data-imagesim-view]:not([hidden]) [data-imagesim-chips] button").first.wait_for()
    page.locator("[data-imagesim-results]:not([aria-busy])").wait_for()


def chips(page: Any) -> list[str]:
    return [text.strip() for text in page.locator("[data-imagesim-chips] button").all_inner_texts()]


def results(page: Any) -> list[str]:
    return [text.strip() for text in page.locator("[data-imagesim-results] .card__name").all_inner_texts()]


def box_style(page: Any) -> dict[str, float]:
    """Return the box in percent of the photo."""
    style: dict[str, str] = page.locator(BOX).evaluate(
        "({style}) => ({left: style.left, top: style.top, width: style.width, height: style.height})"
    )
    return {side: float(value.removesuffix("%")) for side, value in style.items()}


def region(request: Any) -> list[float]:
    """Return the box in the request."""
    box: list[float] = json.loads(re.search(r'name="region"\r\n\r\n(.+?)\r\n', request.post_data)[1])  # type: ignore[index]
    return box


def open_sample(page: Any, sample: str) -> Any:
    """Open the page with one of its sample photos."""
    page.goto("/look/")
    page.get_by_role("link", name=re.compile(sample)).click()
    wait_for_results(page)
    return page


def take_screenshot(page: Any, name: str) -> None:
    """Take a screenshot of the page, with every image loaded, if the run is configured for it."""
    if not SCREENSHOTS:
        return
    for image in page.locator("[data-imagesim-results] img").all():
        image.scroll_into_view_if_needed()
    until(page, "[...document.images].every((image) => !image.currentSrc || image.complete)")
    page.evaluate("scrollTo(0, 0)")
    Path(SCREENSHOTS).mkdir(parents=True, exist_ok=True)
    page.screenshot(path=Path(SCREENSHOTS) / f"look-{name}-{page.viewport_size['width']}.png", full_page=True)


@pytest.mark.parametrize(("width", "height"), WIDTHS)
def test_from_a_photo_to_similar_products(open_page, width, height):
    page = open_page(viewport={"width": width, "height": height})
    page.goto("/")
    page.get_by_role("link", name="Shop the look").click()
    assert_accessible(page)
    take_screenshot(page, "start")
    open_sample(page, "white T-shirt")
    names = chips(page)
    assert {"Top", "Whole photo"} <= set(names)
    assert page.locator(".imagesim-look__dot").count() == len(names) - 1
    told = page.locator("[data-imagesim-status]").inner_text()
    assert all(name in told for name in names[:-1])
    page.get_by_role("button", name="Top").click()
    assert re.search("Tee|Polo|Hoodie", results(page)[0])
    assert page.locator(BOX).is_visible()
    assert page.get_by_role("button", name="Top").get_attribute("aria-pressed") == "true"
    assert_accessible(page)
    take_screenshot(page, "found")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
    page.get_by_role("button", name="Another photo").click()
    assert page.get_by_label("A photo with something you like").is_visible()
    assert page.evaluate("document.activeElement.type") == "file"


def test_the_status_counts_the_results_in_the_language_of_the_page(open_page):
    """And not, for instance, as "Top: Results found: 6"."""
    page = open_page(locale="de")
    open_sample(page, "weißem T-Shirt")
    told = page.locator("[data-imagesim-status]").inner_text()
    assert re.fullmatch("Auf Ihrem Foto gesehen: [^.]+[.] ([^:]+: )?[0-9]+[+]? Treffer", told), told
    count = (
        "([results, ...given]) => import('/static/imagesim/hits.js').then((hits) => hits.countHits(results, ...given))"
    )
    for language, counted in {
        "en": {1: "1 result", 2: "2 results"},
        "fr": {1: "1 résultat", 6: "6 résultats"},
        "pl": {1: "1 wynik", 3: "3 wyniki", 5: "5 wyników", 12: "12 wyników", 22: "22 wyniki"},
    }.items():
        with override(language):
            texts = {"textResults": widgets.results_text()}
        assert {number: page.evaluate(count, [texts, number]) for number in counted} == counted
    assert page.evaluate(count, [texts, 12, True]) == "12+ wyników"


def test_dots_select_their_region(page):
    open_sample(page, "white T-shirt")
    page.get_by_role("button", name="Whole photo").click()
    before = page.locator("[data-imagesim-title]").inner_text()
    dot = page.locator(".imagesim-look__dot:not([data-active])").first
    name = dot.get_attribute("title")
    dot.click()
    assert page.locator("[data-imagesim-title]").inner_text() == name != before
    assert page.locator(BOX).get_attribute("aria-label") == f"Box around: {name}"
    told = page.locator("[data-imagesim-status]").inner_text()
    assert told.startswith(f"{name}: ")
    page.get_by_role("button", name="Whole photo").click()
    assert page.locator(BOX).is_hidden()


def test_the_region_with_the_most_relevant_hit_of_its_kind_is_selected(page):
    def answer(route: Any) -> None:
        response = route.fetch()
        data = response.json()
        found = next(each for each in data["regions"] if each["results"])
        hit = found["results"][0]
        for name, relevance, stage in [("Lamp", 0.5, ""), ("Vase", 0.8, ""), ("Rug", 0.9, "wider")]:
            results = [{**hit, "relevance": relevance, "stage": stage}]
            data["regions"].append({**found, "name": name, "results": results})
        data["regions"].remove(found)
        route.fulfill(response=response, json=data)

    page.route("**/api/visual/look/", answer)
    open_sample(page, "white T-shirt")
    assert page.locator("[data-imagesim-title]").inner_text() == "Vase"


def test_a_moved_box_does_not_send_the_photo_again(page):
    open_sample(page, "juice")
    page.get_by_role("button", name="Whole photo").click()
    area = page.locator("[data-imagesim-stage]").bounding_box()

    def at(x: float, y: float) -> tuple[float, float]:
        return area["x"] + x * area["width"], area["y"] + y * area["height"]

    with page.expect_request(REGION) as asked:  # draw around the orange bottle
        page.mouse.move(*at(0.21, 0.28))
        page.mouse.down()
        page.mouse.move(*at(0.26, 0.6), steps=4)
        page.mouse.move(*at(0.34, 0.88), steps=4)
        page.mouse.up()
    assert len(asked.value.post_data_buffer) < 2000
    wait_for_results(page)
    assert chips(page)[-2:] == ["Your box", "Whole photo"]
    assert region(asked.value) == pytest.approx([0.21, 0.28, 0.13, 0.6], abs=0.02)
    assert "Juice" in results(page)[0]
    with page.expect_request(REGION) as asked:  # move it to the green one
        page.mouse.move(*at(0.27, 0.6))
        page.mouse.down()
        page.mouse.move(*at(0.58, 0.6), steps=8)
        page.mouse.up()
    wait_for_results(page)
    assert region(asked.value) == pytest.approx([0.52, 0.28, 0.13, 0.6], abs=0.02)
    assert "Juice" in results(page)[0]
    before = box_style(page)
    with page.expect_request(REGION):  # drag its lower right corner
        corner = page.locator("[data-handle=se]").bounding_box()
        page.mouse.move(corner["x"] + 16, corner["y"] + 16)
        page.mouse.down()
        page.mouse.move(corner["x"] + 46, corner["y"] + 16, steps=4)
        page.mouse.up()
    wait_for_results(page)
    assert box_style(page)["width"] > before["width"] + 3
    assert box_style(page)["left"] == pytest.approx(before["left"], abs=0.01)
    assert_accessible(page)


def test_a_tap_outside_the_regions_searches_around_it(open_page):
    page = open_page(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    open_sample(page, "juice")
    page.get_by_role("button", name="Whole photo").click()
    stage = page.locator("[data-imagesim-stage]")
    area = stage.bounding_box()
    with page.expect_request(REGION):
        stage.tap(position={"x": area["width"] * 0.9, "y": area["height"] * 0.62})
    wait_for_results(page)
    assert box_style(page)["left"] > 60
    assert "Bean" in " ".join(results(page)[:3]) or "Juice" in results(page)[0]


@pytest.mark.parametrize(
    ("width", "height"),
    [
        (1280, 900),
        pytest.param(360, 740, marks=pytest.mark.long),
        pytest.param(768, 1024, marks=pytest.mark.long),
    ],
)
def test_using_only_the_keyboard(open_page, width, height):
    page = open_page(viewport={"width": width, "height": height})
    page.goto("/look/")
    sample = page.get_by_role("link", name=re.compile("white T-shirt"))
    for _ in range(40):
        if sample.evaluate("element => element === document.activeElement"):
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    wait_for_results(page)
    assert page.evaluate("document.activeElement.closest('[data-imagesim-chips]') !== null")
    page.get_by_role("button", name="Top").focus()
    page.keyboard.press("Enter")
    for _ in range(12):
        if page.evaluate("document.activeElement.matches('[data-imagesim-box]')"):
            break
        page.keyboard.press("Shift+Tab")
    before = box_style(page)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowUp")
    moved = box_style(page)
    assert moved["left"] == pytest.approx(before["left"] - 4, abs=0.01)
    assert moved["top"] == pytest.approx(before["top"] - 2, abs=0.01)
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("Shift+ArrowUp")
    smaller = box_style(page)
    assert smaller["width"] == pytest.approx(before["width"] - 2, abs=0.01)
    assert smaller["height"] == pytest.approx(before["height"] - 2, abs=0.01)
    status = page.locator("[data-imagesim-status]")
    status.get_by_text("from the left").wait_for()  # the position, for screen readers
    with page.expect_request(REGION):
        page.keyboard.press("Enter")
    wait_for_results(page)
    assert re.search(": [0-9]+[+]? results?$", status.inner_text())
    assert page.evaluate("document.activeElement.matches('[data-imagesim-box]')")
    with page.expect_request(REGION):
        page.keyboard.press("Escape")
    wait_for_results(page)
    assert box_style(page) == pytest.approx(before, abs=0.01)


def test_a_box_is_drawn_without_a_pointer(page):
    open_sample(page, "juice")
    draw = page.get_by_role("button", name="Draw a box")
    draw.focus()
    with page.expect_request(REGION):
        page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.matches('[data-imagesim-box]')")
    assert draw.get_attribute("aria-pressed") == "true"
    assert "Your box" in chips(page)
    wait_for_results(page)
    assert "Drag over the photo" in page.locator("[data-imagesim-status]").inner_text()  # until a box is drawn
    page.keyboard.press("ArrowRight")
    with page.expect_request(REGION):
        page.keyboard.press("Enter")
    wait_for_results(page)
    assert draw.get_attribute("aria-pressed") == "false"


def test_a_box_is_drawn_without_dragging(page):
    """By two taps on its corners, as WCAG 2.5.7 requires."""
    open_sample(page, "juice")
    page.get_by_role("button", name="Draw a box").click()
    wait_for_results(page)
    area = page.locator("[data-imagesim-stage]").bounding_box()
    for x, y in ((0.8, 0.9), (0.3, 0.25)):
        draw = page.get_by_role("button", name="Draw a box")
        assert draw.get_attribute("aria-pressed") == "true"
        page.mouse.click(area["x"] + area["width"] * x, area["y"] + area["height"] * y)
    assert draw.get_attribute("aria-pressed") == "false"
    wait_for_results(page)
    expected = {"left": 30, "top": 25, "width": 50, "height": 65}
    assert box_style(page) == pytest.approx(expected, abs=1)
    page.mouse.click(area["x"] + area["width"] * 0.9, area["y"] + area["height"] * 0.2)  # again around a point
    wait_for_results(page)
    assert box_style(page)["width"] < 40


def test_a_box_drawn_around_a_thing_finds_what_the_thing_found(page):
    """Without a label, the box of a T-shirt that is drawn again would find nothing. A box drawn elsewhere has no
    label."""
    open_sample(page, "white T-shirt")
    page.get_by_role("button", name="Top").click()
    wait_for_results(page)
    found = results(page)
    with page.expect_request(REGION) as asked:
        page.get_by_role("button", name="Draw a box").click()
    assert b"top" in asked.value.post_data_buffer
    wait_for_results(page)
    assert results(page) == found
    for _time in range(12):
        page.locator(BOX).press("ArrowUp")
        page.locator(BOX).press("ArrowLeft")
    with page.expect_request(REGION) as asked:
        page.locator(BOX).press("Enter")
    assert b"label" not in asked.value.post_data_buffer


def test_a_box_of_the_visitor_is_named_and_announced(page):
    """It must not be the "Box around: Your box", with no indication of where it is."""
    open_sample(page, "juice")
    page.get_by_role("button", name="Whole photo").click()
    area = page.locator("[data-imagesim-stage]").bounding_box()
    page.evaluate("""() => {
        window.told = [];
        const status = document.querySelector("[data-imagesim-status]");
        new MutationObserver(() => window.told.push(status.textContent)).observe(status, { childList: true });
    }""")
    page.mouse.move(area["x"] + 0.2 * area["width"], area["y"] + 0.2 * area["height"])
    page.mouse.down()
    page.mouse.move(area["x"] + 0.6 * area["width"], area["y"] + 0.8 * area["height"], steps=6)
    page.mouse.up()
    wait_for_results(page)
    place = re.compile(
        "^Your box: [12][0-9] % from the left, [12][0-9] % from the top, [34][0-9] % wide, [56][0-9] % high"
    )
    assert place.fullmatch(page.locator(BOX).get_attribute("aria-label"))
    told = page.evaluate("window.told")
    assert any(place.match(text) for text in told), told
    assert re.match("Your box: ([0-9]+[+]? results?$|No)", told[-1]), told
    page.locator(BOX).press("ArrowRight")
    before = page.locator(BOX).get_attribute("aria-label")
    page.locator(BOX).press("Enter")
    wait_for_results(page)
    assert page.locator(BOX).get_attribute("aria-label") != before


def test_names_of_things_are_on_one_line_on_a_phone(open_page):
    page = open_page(viewport={"width": 360, "height": 740})
    open_sample(page, "white T-shirt")
    page.get_by_role("button", name="Draw a box").click()
    wait_for_results(page)
    heights = page.locator("[data-imagesim-chips] button").evaluate_all("all => all.map((each) => each.offsetHeight)")
    assert set(heights) == {48}


def test_the_photo_that_was_chosen_last_is_shown(page):
    page.goto("/look/")
    source = page.locator("[data-imagesim-sample]").first.get_attribute("data-imagesim-sample")
    late = []
    page.route(f"**{source}", lambda route: late.append(route))
    page.get_by_role("link", name=re.compile("white T-shirt")).click()
    blank = BytesIO()
    Image.new("RGB", (300, 300), "white").save(blank, "PNG")
    page.get_by_label("A photo with something you like").set_input_files(
        {"name": "blank.png", "mimeType": "image/png", "buffer": blank.getvalue()}
    )
    wait_for_results(page)
    for route in late:
        route.continue_()
    page.wait_for_timeout(1000)
    wait_for_results(page)
    assert chips(page) == ["Whole photo"]


def test_a_photo_with_nothing_that_is_sold_says_so(page):
    """For an outfit that the shop has nothing like, it must not say that nothing was recognised, nor how to move a
    box."""
    page.goto("/look/")
    blank = BytesIO()
    Image.new("RGB", (300, 300), "white").save(blank, "PNG")
    page.get_by_label("A photo with something you like").set_input_files(
        {"name": "blank.png", "mimeType": "image/png", "buffer": blank.getvalue()}
    )
    page.get_by_text("Nothing found. Tap what you like").wait_for()
    assert page.locator("[data-imagesim-look] > [role=status]").inner_text() == "Whole photo: 0 results"
    keys = page.get_by_text("Drag the box or its corners.")
    assert not keys.is_visible()
    page.get_by_role("button", name="Draw a box").click()
    keys.wait_for()


@pytest.mark.parametrize("status", [200, 415])
def test_who_types_while_a_photo_is_searched_goes_on(page, status):
    """The answer must not move the keyboard to the results, or to the field of the photo, in the middle of a word."""
    page.goto("/look/")
    late = []
    page.route("**/api/visual/look/", lambda route: late.append(route))
    page.get_by_role("link", name=re.compile("white T-shirt")).click()
    words = page.get_by_role("combobox", name="Search by words")
    words.press_sequentially("sho")
    while not late:
        page.wait_for_timeout(50)
    if status == 200:
        late[0].continue_()
        wait_for_results(page)
    else:
        late[0].fulfill(status=status, json={"detail": "No picture."})
        page.get_by_text("No picture.").wait_for()
    page.keyboard.type("es")
    assert words.input_value() == "shoes"
    page.errors.clear()  # the refused request


def test_a_tap_does_not_end_the_search_for_regions(page):
    page.goto("/look/")
    late = []
    page.route("**/api/visual/look/", lambda route: late.append(route))
    page.get_by_role("link", name=re.compile("white T-shirt")).click()
    until(page, "document.querySelector('[data-imagesim-stage][data-busy] img')?.complete")
    area = page.locator("[data-imagesim-stage]").bounding_box()
    page.mouse.click(area["x"] + area["width"] / 2, area["y"] + area["height"] / 2)
    while not late:
        page.wait_for_timeout(50)
    for route in late:
        route.continue_()
    wait_for_results(page)
    assert {"Top", "Whole photo"} <= set(chips(page))


def test_results_stay_when_a_region_left_before_is_answered(page):
    open_sample(page, "juice")
    late = []
    page.route(REGION, lambda route: late.append(route))
    page.get_by_role("button", name="Draw a box").click()
    page.get_by_role("button", name="Whole photo").click()
    assert page.locator("[data-imagesim-results]").get_attribute("aria-busy") is None
    shown = results(page)
    assert shown
    while not late:
        page.wait_for_timeout(50)
    for route in late:
        route.fulfill(json={"results": [], "closest": [], "more": False, "token": ""})
    page.wait_for_timeout(500)
    assert results(page) == shown


@pytest.mark.long
def test_a_photo_that_is_pasted_while_a_region_is_searched_is_shown(page):
    open_sample(page, "juice")
    page.route(REGION, lambda route: None)  # never answered
    page.get_by_role("button", name="Draw a box").click()
    late = []
    page.route("**/api/visual/look/", lambda route: late.append(route))
    paste = """async ([address]) => {
        const photo = await (await fetch(address)).blob();
        const transfer = new DataTransfer();
        transfer.items.add(new File([photo], "photo.jpg", { type: "image/jpeg" }));
        document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true }));
    }"""
    asked = []
    page.on("request", lambda request: "/visual/search/" in request.url and asked.append(request.url))
    page.evaluate(paste, [page.locator("[data-imagesim-sample]").first.get_attribute("data-imagesim-sample")])
    while not late:
        page.wait_for_timeout(50)
    page.wait_for_timeout(500)
    late[0].continue_()
    wait_for_results(page)
    assert "Whole photo" in chips(page)
    assert asked == []  # not the former region, cut out of the new photo


def test_filters_apply_to_every_region(page):
    open_sample(page, "juice")
    page.get_by_role("button", name="Whole photo").click()
    assert "Bean Juice" not in results(page)  # sold out
    with page.expect_request(REGION) as asked:
        page.get_by_label("In stock only").uncheck()
    assert '"in_stock"' not in asked.value.post_data
    wait_for_results(page)
    page.get_by_text("Narrow it down").click()
    with page.expect_request(REGION):
        page.get_by_label("Category").select_option(label="Paints")
    wait_for_results(page)
    assert all("Paint" in name for name in results(page))
    with page.expect_request(REGION):
        page.get_by_label("To €").fill("1")
        page.get_by_label("To €").press("Tab")
    wait_for_results(page)
    assert results(page) == []
    assert page.locator("[data-imagesim-message]").inner_text().startswith("Nothing found")
    assert_accessible(page)


@pytest.mark.long
def test_an_expired_photo_is_cropped_in_the_browser(page):
    page.add_init_script(SENT)
    open_sample(page, "juice")
    gone = {"code": "photo_gone", "detail": "This photo has expired; send it again."}
    page.route(REGION, lambda route: route.fulfill(status=410, content_type="application/json", body=json.dumps(gone)))
    with page.expect_request("**/api/visual/search/"):
        page.get_by_role("button", name="Draw a box").click()
    wait_for_results(page)
    whole, part = page.evaluate("window.photos")
    assert (part["type"], whole["size"] > part["size"]) == ("image/jpeg", True)
    assert all("Juice" in name for name in results(page))
    page.unroute(REGION)
    with page.expect_request("**/api/visual/search/"):  # the look is not requested again either
        page.locator(BOX).press("Enter")
    wait_for_results(page)
    page.errors[:] = [error for error in page.errors if "status of 410" not in error]


def test_errors_are_shown_and_can_be_retried(page):
    page.route("**/api/visual/look/", lambda route: route.abort())
    page.goto("/look/")
    page.get_by_role("link", name=re.compile("white T-shirt")).click()
    page.locator("[data-imagesim-message]").get_by_text("is not available").wait_for()
    assert_accessible(page)
    page.unroute("**/api/visual/look/")
    assert page.get_by_role("button", name="Draw a box").is_disabled()  # the box would take the place of the retry
    page.locator("[data-imagesim-photo]").click(position={"x": 60, "y": 60}, force=True)
    page.get_by_role("button", name="Try again").click()
    wait_for_results(page)
    assert results(page)
    assert page.get_by_role("button", name="Whole photo").is_visible()
    assert page.get_by_role("button", name="Draw a box").is_enabled()
    page.errors[:] = [error for error in page.errors if "ERR_FAILED" not in error]


REFUSALS = [(413, "This picture is too large."), (429, "Please wait 7 seconds"), (502, "The search is not available.")]


@pytest.mark.long
@pytest.mark.parametrize(("status", "text"), REFUSALS)
def test_what_a_proxy_refuses_is_explained(page, status, text):
    """A proxy's answer is a page, not JSON. A visitor must not be told to try a photo that is too large again "in a
    moment"."""
    page.route(
        re.compile("/api/visual/(look|search)/$"),
        lambda route: route.fulfill(status=status, headers={"Retry-After": "7"}, content_type="text/html", body="<p>"),
    )
    page.goto("/look/")
    page.get_by_role("link", name=re.compile("white T-shirt")).click()
    page.get_by_text(text).wait_for()
    page.goto("/search/")
    page.evaluate("delete document.querySelector('[data-imagesim-search]').dataset.look")
    data = BytesIO()
    Image.new("RGB", (300, 300), "white").save(data, "PNG")
    photo = {"name": "photo.png", "mimeType": "image/png", "buffer": data.getvalue()}
    page.get_by_label("Search with a photo").set_input_files(photo)
    page.locator("[data-imagesim-status][data-error]").get_by_text(text).wait_for()
    page.errors.clear()  # the browser logs the refused requests


@pytest.mark.long
@pytest.mark.parametrize("refusals", [2, 3])
def test_a_photo_that_finds_the_server_busy_is_sent_again(page, refusals):
    """Of six visitors who choose a photo at the same time, three must not be told that the server is busy."""
    sent = []

    def answer(route):
        sent.append(route.request.url)
        if len(sent) > refusals:
            return route.continue_()
        return route.fulfill(status=503, headers={"Retry-After": "0"}, json={"code": "busy", "detail": "Too busy."})

    page.route("**/api/visual/look/", answer)
    page.goto("/look/")
    page.get_by_role("link", name=re.compile("white T-shirt")).click()
    if refusals < 3:
        wait_for_results(page)
        assert results(page)
    else:
        page.get_by_text("Too busy.").wait_for()
    assert len(sent) == 3
    page.errors.clear()  # the browser logs the refused requests


@pytest.mark.parametrize("status", [*(pytest.param(status, marks=pytest.mark.long) for status in (0, 429)), 503])
def test_a_photo_that_cannot_be_fetched_now_keeps_its_address(page, status):
    """Otherwise, it would be said to have expired, and a reload would no longer find it."""
    open_sample(page, "white T-shirt")
    shown, address = results(page), page.url
    page.route("**/photo/", lambda route: route.fulfill(status=status, json={}) if status else route.abort())
    page.reload()
    page.locator("[data-imagesim-status][data-error]").get_by_text("again").wait_for()
    assert page.get_by_text("expired").count() == 0
    assert page.url == address
    page.unroute("**/photo/")
    page.reload()
    wait_for_results(page)
    assert results(page) == shown
    page.errors.clear()  # the requests that failed


@pytest.mark.long
def test_the_address_of_results_has_their_filters(page):
    open_sample(page, "white T-shirt")
    page.get_by_text("Narrow it down").click()
    for change in (
        lambda: page.get_by_label("In stock only").uncheck(),
        lambda: page.get_by_label("Category").select_option("t-shirts"),
        lambda: page.get_by_label("To €").fill("80"),
    ):
        with page.expect_request(REGION):
            change()
            page.get_by_label("To €").blur()
        wait_for_results(page)
    shown, address = results(page), page.url
    assert address.endswith("&category=t-shirts&price__lte=80&in_stock=")
    page.goto("/")
    page.goto(address)
    wait_for_results(page)
    assert results(page) == shown
    assert page.get_by_label("To €").input_value() == "80"
    assert page.get_by_label("Category").input_value() == "t-shirts"
    assert not page.get_by_label("In stock only").is_checked()
    page.get_by_role("button", name="Another photo").click()
    assert page.url.endswith("/look/")


def test_a_filter_that_changes_while_a_photo_is_searched_applies(page):
    page.goto("/look/")
    late = []
    page.route("**/api/visual/look/", lambda route: late.append(route))
    page.get_by_role("link", name=re.compile("juice")).click()
    while not late:
        page.wait_for_timeout(50)
    page.get_by_label("In stock only").uncheck()
    with page.expect_request(REGION) as asked:
        late[0].continue_()
    assert '"in_stock"' not in asked.value.post_data
    wait_for_results(page)


def test_after_a_retry_the_keyboard_is_at_the_results(page):
    open_sample(page, "juice")
    page.route(REGION, lambda route: route.abort())
    page.get_by_label("In stock only").uncheck()
    page.get_by_role("button", name="Try again").wait_for()
    page.unroute(REGION)
    page.get_by_role("button", name="Try again").press("Enter")
    wait_for_results(page)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('[data-imagesim-list]') !== null")
    page.errors[:] = [error for error in page.errors if "ERR_FAILED" not in error]


def test_a_file_that_is_not_a_picture_is_rejected(page):
    page.goto("/look/")
    field = page.get_by_label("A photo with something you like")
    field.set_input_files({"name": "notes.txt", "mimeType": "text/plain", "buffer": b"notes"})
    page.locator("[data-imagesim-status]").get_by_text("not a picture").wait_for()
    field.set_input_files({"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": b"<html>"})
    page.locator("[data-imagesim-status]").get_by_text("not a picture that can be read").wait_for()
    assert page.get_by_role("button", name="Try again").is_hidden()
    assert page.locator("[data-imagesim-view]").is_hidden()
    assert field.is_visible()
    page.errors[:] = [error for error in page.errors if "status of 415" not in error]


def test_a_large_photo_is_made_smaller_and_loses_its_exif(page):
    image = Image.effect_noise((3000, 4000), 40).convert("RGB")
    exif = Image.Exif()
    exif[0x010E] = "secret-place"
    data = BytesIO()
    image.save(data, "JPEG", quality=85, exif=exif.tobytes())
    assert b"secret-place" in data.getvalue()
    page.add_init_script(SENT + DECODED)
    page.goto("/look/")
    page.get_by_label("A photo with something you like").set_input_files(
        {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": data.getvalue()}
    )
    wait_for_results(page)
    (sent,) = page.evaluate("window.photos")
    assert sent["size"] < len(data.getvalue()) / 2
    assert "secret-place" not in sent["text"]
    assert (
        page.evaluate("window.bitmaps.filter((each) => each.width).length") == 1
    )  # the URL of the view: the other is freed


def test_the_first_frame_of_a_gif_is_sent_as_a_jpeg(page):
    data = BytesIO()
    first, second = (Image.new("RGB", (200, 300), colour) for colour in ("white", "black"))
    first.save(data, "GIF", save_all=True, append_images=[second])
    page.add_init_script(SENT)
    page.goto("/look/")
    page.get_by_label("A photo with something you like").set_input_files(
        {"name": "photo.gif", "mimeType": "image/gif", "buffer": data.getvalue()}
    )
    wait_for_results(page)
    (sent,) = page.evaluate("window.photos")
    assert "JFIF" in sent["text"]


def test_views_and_clicks_are_sent_in_batches(page):
    with page.expect_request("**/api/visual/events/") as told:
        open_sample(page, "white T-shirt")
    events = json.loads(told.value.post_data)["events"]
    assert {event["kind"] for event in events} == {"view"}
    assert [event["position"] for event in events] == sorted(event["position"] for event in events)
    assert all(re.fullmatch(r"shop\.product:\d+", event["item"]) and event["token"] for event in events)
    assert told.value.response().ok
    with page.expect_request(tells_of_a_click):
        page.locator("[data-imagesim-results] a.card__link").first.click()
    page.wait_for_url("**/product/**")


def test_results_that_the_page_rendered_are_reported(page):
    with page.expect_request("**/api/visual/events/") as told:
        page.goto("/search/?q=shoes")
    events = json.loads(told.value.post_data)["events"]
    assert {event["kind"] for event in events} == {"view"}
    assert [event["position"] for event in events] == list(range(len(events)))
    assert told.value.response().ok
    with page.expect_request(tells_of_a_click):
        page.locator("[data-imagesim-results] a.card__link").first.click()


def test_a_menu_that_is_opened_on_a_hit_is_no_click(page):
    page.goto("/search/?q=shoes")
    hit = page.locator("[data-imagesim-results] a.card__link").first
    told = []
    page.on("request", lambda request: tells_of_a_click(request) and told.append(request))
    hit.click(button="right")
    page.wait_for_timeout(500)
    assert told == []
    with page.expect_request(tells_of_a_click):
        hit.click(button="middle")


@pytest.mark.long
def test_more_results_of_the_page_are_reported(page):
    with page.expect_request("**/api/visual/events/"):
        page.goto("/search/?q=white")
    page.get_by_role("link", name="Show more").click()
    card = page.locator("[data-imagesim-item][data-imagesim-position='12']")
    item = card.get_attribute("data-imagesim-item")
    with page.expect_request(tells_of_a_click) as told:
        card.locator("a.card__link").click()
    events = json.loads(told.value.post_data)["events"]
    assert (events[-1]["kind"], events[-1]["position"], events[-1]["item"]) == ("click", 12, item)


def tells_of_a_click(request: Any) -> bool:
    """Views are reported in separate requests, at any time; the answer may come after the page is left."""
    return request.url.endswith("/api/visual/events/") and '"click"' in (request.post_data or "")


def test_without_javascript_a_photo_is_posted_to_a_page(open_page: Callable[..., Any]):
    page = open_page(java_script_enabled=False)
    page.goto("/look/")
    source = page.locator("[data-imagesim-sample]").first.get_attribute("data-imagesim-sample")
    photo = page.request.get(source).body()
    page.get_by_label("A photo with something you like").set_input_files(
        {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": photo}
    )
    page.get_by_role("button", name="Find similar products").click()
    page.wait_for_load_state()
    shown = page.get_by_role("img", name="Your photo").and_(page.locator(".imagesim-look__asked img"))
    shown.wait_for()
    assert shown.evaluate("(image) => image.complete && image.naturalWidth > 100")
    assert page.locator(".imagesim-look__asked rect").count() >= 1
    top = page.get_by_role("region", name="Top")
    assert re.search("Tee|Polo|Hoodie", top.locator(".card__name").first.inner_text())
    page.get_by_role("link", name=re.compile("juice")).click()
    assert "Juice" in page.locator("[data-imagesim-server] .card__name").first.inner_text()
    assert page.locator("[data-imagesim-camera]").is_hidden()
