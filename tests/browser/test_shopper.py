"""The visitor's pages: browsing, searching with words and with a photo, the gallery."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.browser.conftest import SCREENSHOTS, until
from tests.browser.pages import ONLY_VIOLATIONS, log_in

pytestmark = pytest.mark.timeout(600)

LOOKS = [
    (360, 740, "light"),
    pytest.param(768, 1024, "light", marks=pytest.mark.long),
    pytest.param(1280, 900, "light", marks=pytest.mark.long),
    (1280, 900, "dark"),
]
PAGES = {
    "home": "/",
    "department": "/shop/home/",
    "category": "/shop/t-shirts/?in_stock=on",
    "product": "/product/confetti-plimsolls-mustard/",
    "variants": "/product/box-logo-hoodie/",
    "search": "/search/",
    "words": "/search/?q=yellow+shoes",
    "like": "/search/?like=banana-juice&colour=orange",
    "a long word": f"/search/?q={'x' * 300}",
    "refused": "/search/?q=red&category=none",
    "look": "/look/",
    "look of a sample": "/look/?sample=clothing",
    "all pictures": "/gallery/",
    "pictures of a colour": "/gallery/?colour=green",
    "gallery": "/gallery/instant-camera/?via=orange-juice",
    "missing": "/product/nothing/",
}


IN_VIEW = """(({ top, bottom }) => top >= 0 && bottom <= innerHeight)(
  document.querySelector("[data-imagesim-status]").getBoundingClientRect())"""


@pytest.fixture
def photo(page: Any, demo: str) -> dict[str, Any]:
    """Return a visitor's photo: a picture of the shop's orange juice, reduced, slightly rotated, as a JPEG."""
    page.goto("/product/orange-juice/")
    source = page.locator(".photos__slide img").get_attribute("src")
    image = Image.open(BytesIO(page.request.get(demo + source).body())).convert("RGBA").convert("RGB")
    image = image.resize((640, 640)).rotate(6, fillcolor="white")
    data = BytesIO()
    image.save(data, "JPEG", quality=80)
    return {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": data.getvalue()}


def results(page: Any) -> list[str]:
    return [text.strip() for text in page.locator("[data-imagesim-list] .card__name").all_inner_texts()]


def assert_accessible(page: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = axe.run(page, options=ONLY_VIOLATIONS)
    assert found.violations_count == 0, f"{page.url}: {found.generate_report()}"


def test_from_home_to_a_product_and_similar_ones(page):
    page.goto("/")
    page.get_by_role("navigation", name="Departments").get_by_role("link", name="Drinks").click()
    page.get_by_role("link", name="Juices").first.click()
    assert page.locator("h1").inner_text() == "Juices"
    page.get_by_role("link", name=re.compile("^Orange Juice")).click()
    similar = page.get_by_role("region", name="Looks like this")
    names = similar.locator(".card__name").all_inner_texts()
    assert 3 <= len(names) <= 10
    assert all("Juice" in name for name in names)  # the same category only
    similar.get_by_role("link").first.click()
    assert names[0] == page.locator("h1").inner_text()


def test_a_product_shows_one_picture_at_a_time(page):
    page.goto("/product/confetti-plimsolls-mustard/")
    assert page.locator(".photos__slide:visible").count() == 1
    page.get_by_role("link", name=re.compile("Picture 3")).click()
    assert "from above" in page.locator(".photos__slide:visible img").get_attribute("alt")
    assert page.locator("[data-thumb][aria-current]").count() == 1


def test_search_by_words_with_filters(page):
    page.goto("/")
    box = page.get_by_role("combobox", name="Search by words")
    box.fill("shoes")
    box.press("Enter")
    names = results(page)
    assert len(names) >= 6
    assert all(re.search("Shoe|Plimsolls|High-top", name) for name in names[:6])
    page.get_by_label("Category").select_option(label="Running shoes")
    page.get_by_label("In stock only").check()
    page.get_by_role("button", name="Apply").click()
    page.wait_for_url("**category=running-shoes**")
    assert set(results(page)) <= {"Prowl Running Shoe", "Featherweight Running Shoe", "City Mesh Running Shoe"}
    page.get_by_label("To €").fill("50")
    page.get_by_role("button", name="Apply").click()
    page.wait_for_url("**price__lte=50**")
    assert results(page) == ["City Mesh Running Shoe"]


def shown_prices(page):
    texts = page.locator("[data-imagesim-list] .price").all_inner_texts()
    return [float(text.removeprefix("€ ").replace(",", "")) for text in texts]


def test_more_results_by_words(page):
    page.goto("/search/?q=white")
    first = results(page)
    assert re.fullmatch(rf"{len(first)} of \d+ results", page.locator("[data-imagesim-status]").inner_text())
    page.get_by_role("link", name="Show more").click()
    until(page, "count => document.querySelectorAll('[data-imagesim-list] > li').length > count", len(first))
    both = results(page)
    assert both[: len(first)] == first
    assert len(set(both)) == len(both)
    page.locator("[data-imagesim-status]").get_by_text(f"{len(both)}").wait_for()


@pytest.mark.parametrize("leave", ["reload", "product and back"])
def test_more_results_are_still_there_when_the_visitor_returns(page, leave):
    page.goto("/search/?q=white")
    first = len(results(page))
    page.get_by_role("link", name="Show more").click()
    until(page, "count => document.querySelectorAll('[data-imagesim-list] > li').length > count", first)
    both = results(page)
    last = page.locator("[data-imagesim-list] > li").last
    last.scroll_into_view_if_needed()
    before = page.evaluate("scrollY")
    until(page, "before => history.state.imagesimScroll === before", before)
    if leave == "reload":
        page.reload()
    else:
        last.locator("a").first.click()
        page.wait_for_url("**/product/**")
        page.go_back()
    until(page, "count => document.querySelectorAll('[data-imagesim-list] > li').length == count", len(both))
    assert results(page) == both
    until(page, "before => Math.abs(scrollY - before) < 5", before)
    page.goto("/")
    page.goto("/search/?q=white")  # a separate search
    page.wait_for_timeout(300)
    assert len(results(page)) == first


@pytest.mark.parametrize("language", ["en", "de"])
def test_what_the_search_field_proposes_is_found(open_page, language):
    page = open_page(locale=language)
    page.goto("/")
    proposed = page.get_by_role("combobox").first.get_attribute("placeholder")
    for words in proposed.removesuffix(" …").split(", "):
        page.goto(f"/search/?q={words}")
        assert results(page), words


def test_two_clicks_on_more_results_append_them_once(page):
    page.goto("/search/?q=white")
    asked = []
    page.route("**/search/?q=white&page=2", lambda route: asked.append(route))
    more = page.get_by_role("link", name="Show more")
    more.click()
    more.click()
    page.wait_for_timeout(300)
    assert page.locator("[data-imagesim-status]").inner_text() == "Searching …"
    for route in asked:
        route.continue_()
    page.locator("[data-imagesim-results]:not([aria-busy])").wait_for()
    assert len(asked) == 1
    assert len(results(page)) == len(set(results(page)))


def test_who_has_to_log_in_for_more_results_is_taken_there(page):
    """Otherwise, the status would say "Searching …" for ever: the answer is a page without results."""
    page.goto("/search/?q=white")
    log_in = {"status": 200, "content_type": "text/html", "body": "<h1>Log in</h1>"}
    page.route("**/search/?q=white&page=2", lambda route: route.fulfill(**log_in))
    page.get_by_role("link", name="Show more").click()
    page.get_by_role("heading", name="Log in").wait_for()


def test_without_a_connection_the_results_stay(page):
    page.goto("/search/?q=white")
    first = results(page)
    page.context.set_offline(True)
    page.get_by_role("link", name="Show more").click()
    page.locator("[data-imagesim-status]").get_by_text("not available").wait_for()
    assert results(page) == first
    page.context.set_offline(False)
    page.get_by_role("link", name="Show more").click()
    until(page, "count => document.querySelectorAll('[data-imagesim-list] > li').length > count", len(first))
    assert page.locator("[data-imagesim-status][data-error]").count() == 0
    page.errors[:] = [error for error in page.errors if "ERR_INTERNET_DISCONNECTED" not in error]


def test_more_results_are_of_the_search_whose_results_are_shown(page):
    """What was typed since then must not come with the next page, and the link to more results of the former search
    must not stay."""
    page.goto("/search/?q=white")
    page.evaluate("delete document.querySelector('[data-imagesim-search]').dataset.page")  # a page without an address
    form = page.locator(".imagesim-search__form")  # the demo hides its field for words
    write = "(form, words) => { form.elements.namedItem('q').value = words; }"
    form.evaluate(write, "white")
    with page.expect_response("**/search/"):
        form.evaluate("form => form.requestSubmit()")
    button = page.get_by_role("button", name="Show more")
    button.wait_for()
    assert page.get_by_role("link", name="Show more").count() == 0
    form.evaluate(write, "yellow shoes")
    with page.expect_request("**/search/") as sent:
        button.click()
    assert re.search(r'name="text"\s+white\s', sent.value.post_data)
    assert re.search(r'name="offset"\s+12\s', sent.value.post_data)


def test_more_results_after_a_search_that_failed_are_of_the_results_shown(page):
    """Otherwise, the second page of the failed search would be appended to the results of the one before it."""
    page.goto("/search/?q=white")
    page.evaluate("delete document.querySelector('[data-imagesim-search]').dataset.page")  # a page without an address
    form = page.locator(".imagesim-search__form")
    search = "(form, words) => { form.elements.namedItem('q').value = words; form.requestSubmit(); }"
    with page.expect_response("**/search/"):
        form.evaluate(search, "white")
    button = page.get_by_role("button", name="Show more")
    button.wait_for()
    page.route("**/api/visual/search/", lambda route: route.abort())
    form.evaluate(search, "yellow shoes")
    page.get_by_text("The search is not available.").wait_for()
    page.unroute("**/api/visual/search/")
    with page.expect_request("**/search/") as sent:
        button.click()
    assert re.search(r'name="text"\s+white\s', sent.value.post_data)
    page.errors.clear()  # the request that failed


def test_further_results_that_fail_keep_the_place(page):
    """The page must not jump to the status above all results."""
    page.set_viewport_size({"width": 360, "height": 700})
    page.goto("/search/?q=white")
    more = page.get_by_role("link", name="Show more")
    more.scroll_into_view_if_needed()
    before = page.evaluate("scrollY")
    page.route("**/search/?**", lambda route: route.abort())
    more.click()
    note = page.locator("[data-imagesim-results]").get_by_text("The search is not available.")
    note.wait_for()
    assert page.evaluate("scrollY") >= before
    page.unroute("**/search/?**")
    first = len(results(page))
    more.click()
    until(page, "count => document.querySelectorAll('[data-imagesim-list] > li').length > count", first)
    assert note.count() == 0
    page.errors.clear()  # the request that failed


def test_further_pages_leave_out_what_is_shown_already(page):
    """For instance when the shop puts other products first between two pages: hits that were shown move to the next
    one."""
    page.goto("/search/?q=white")
    first = results(page)

    def moved(route):
        body = route.fetch().text()
        cells = "".join(
            page.locator("[data-imagesim-list] > li").nth(n).evaluate("one => one.outerHTML") for n in (1, 4)
        )
        start = '<ul class="imagesim-grid" role="list" data-imagesim-list>'
        assert start in body
        route.fulfill(body=body.replace(start, start + cells), content_type="text/html")

    page.route("**/search/?q=white&page=2", moved)
    page.get_by_role("link", name="Show more").click()
    page.locator("[data-imagesim-status]").get_by_text("results").wait_for()
    both = results(page)
    assert len(both) == len(set(both)) > len(first)
    told = page.locator("[data-imagesim-status]").inner_text()
    assert re.fullmatch(f"{len(both)} (of [0-9]+ )?results", told), told


def test_a_further_page_with_nothing_new_is_followed_by_the_next(page):
    page.goto("/search/?q=white")
    first = results(page)
    page.evaluate("delete document.querySelector('[data-imagesim-search]').dataset.page")  # a page without an address
    form = page.locator(".imagesim-search__form")
    search = "(form, words) => { form.elements.namedItem('q').value = words; form.requestSubmit(); }"
    with page.expect_response("**/search/") as answered:
        form.evaluate(search, "white")
    shown = answered.value.json()["results"]
    again = {"results": shown, "more": True, "next_offset": len(shown)}
    button = page.get_by_role("button", name="Show more")
    button.wait_for()
    asked = []

    def moved(route):
        asked.append(route.request)
        answer = route.fetch()
        body = answer.json()
        route.fulfill(response=answer, json=body | again if len(asked) == 1 else body)

    page.route("**/api/visual/search/", moved)
    button.click()
    until(page, "count => document.querySelectorAll('[data-imagesim-list] > li').length > count", len(shown))
    both = results(page)
    assert len(both) == len(set(both)) > len(first)
    assert len(asked) == 2


def test_more_results_by_words_without_javascript(open_page):
    page = open_page(java_script_enabled=False)
    page.goto("/search/?q=white")
    first = results(page)
    page.get_by_role("link", name="Show more").click()
    page.wait_for_url("**page=2**")
    assert not set(first) & set(results(page))


def test_suggestions_by_keyboard(page):
    page.goto("/")
    box = page.get_by_role("combobox", name="Search by words")
    assert box.get_attribute("aria-expanded") == "false"
    box.press_sequentially("orange ju")
    options = page.get_by_role("option")
    options.first.wait_for()
    assert box.get_attribute("aria-expanded") == "true"
    page.get_by_text(f"Suggestions: {options.count()}").wait_for()
    assert_accessible(page)
    box.press("ArrowDown")
    box.press("ArrowDown")
    box.press("ArrowUp")
    chosen = page.locator("[role=option][aria-selected=true]")
    assert box.get_attribute("aria-activedescendant") == chosen.get_attribute("id") == options.first.get_attribute("id")
    box.press("ArrowUp")  # back to the typed words
    assert (chosen.count(), box.get_attribute("aria-activedescendant"), box.input_value()) == (0, None, "orange ju")
    box.press("ArrowUp")  # wraps around to the last one
    assert chosen.get_attribute("id") == options.last.get_attribute("id")
    box.press("Escape")
    assert (options.count(), box.get_attribute("aria-expanded"), box.input_value()) == (0, "false", "orange ju")
    box.press("i")
    page.get_by_role("option", name="Orange Juice").wait_for()
    while "Orange Juice" not in "".join(chosen.all_inner_texts()):
        box.press("ArrowDown")
    box.press("Enter")
    page.wait_for_url("**/product/orange-juice/")
    box = page.get_by_role("combobox", name="Search by words")
    box.press_sequentially("juices")
    page.get_by_role("option", name="Juices").wait_for()
    box.press("Enter")  # no option is active: searches the typed words
    page.wait_for_url("**/search/?q=juices")


def test_the_camera_is_a_button_where_it_opens_the_files(open_page):
    """Otherwise, a screen reader would say "link", and the space bar, which presses buttons, would scroll the page."""
    page = open_page()
    page.goto("/product/orange-juice/")
    with page.expect_file_chooser():
        page.get_by_role("button", name="Search by photo").press("Space")
    page = open_page(java_script_enabled=False)
    page.goto("/product/orange-juice/")
    page.get_by_role("link", name="Search by photo").click()
    assert "/look/" in page.url


def test_words_typed_after_an_option_was_chosen_are_searched(page):
    """Enter must not take the option of the previous words before the suggestions for the new ones have come."""
    page.goto("/")
    box = page.get_by_role("combobox", name="Search by words")
    box.press_sequentially("orange ju")
    page.get_by_role("option").first.wait_for()
    page.route("**/suggest/**", lambda route: None)  # a slow server
    box.press("ArrowDown")
    box.press("i")
    assert box.get_attribute("aria-activedescendant") is None
    box.press("Enter")
    page.wait_for_url("**/search/?q=orange+jui")


def test_suggestions_of_other_words_go_when_the_server_refuses_more(page):
    page.goto("/")
    box = page.get_by_role("combobox", name="Search by words")
    box.press_sequentially("orange ju")
    page.get_by_role("option").first.wait_for()
    page.route("**/suggest/**", lambda route: route.fulfill(status=429, json={}))
    with page.expect_response("**/suggest/**"):
        box.press_sequentially("mper")
    until(page, "() => !document.querySelector('[role=option]')")
    assert box.get_attribute("aria-expanded") == "false"
    page.errors.clear()  # the browser logs the refused request


def test_suggestions_that_come_late_stay_closed(page):
    page.goto("/")
    late: list[Any] = []
    page.route("**/suggest/**", lambda route: late.append(route))
    box = page.get_by_role("combobox", name="Search by words")
    box.press_sequentially("orange")
    while not late:
        page.wait_for_timeout(50)
    box.press("Tab")
    page.wait_for_timeout(500)
    for route in late:
        route.fulfill(json={"suggestions": [{"text": "Oranges", "kind": "category", "url": "/", "image": None}]})
    page.wait_for_timeout(500)
    assert page.get_by_role("option").count() == 0


def test_find_similar_then_cheaper_or_in_another_colour(page):
    page.goto("/shop/juices/")
    page.get_by_role("link", name="Find similar: Banana Juice").click()
    page.wait_for_url("**/search/?like=banana-juice")
    assert page.locator("h1").inner_text() == "Like Banana Juice"
    assert "Orange Juice" in results(page)
    page.get_by_role("link", name="In another colour").click()
    page.wait_for_url("**components=colour**")
    assert "Banana Juice" not in results(page)
    page.get_by_role("link", name="In another colour (remove)").click()
    page.wait_for_url("**/search/?like=banana-juice")
    palette = page.get_by_role("list", name="Colour")
    palette.get_by_role("link", name="orange 2").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**colour=orange**")
    assert set(results(page)) == {"Orange Juice", "Carrot Juice"}
    assert palette.locator("[aria-current]").inner_text().split() == ["orange", "2", "×", "(remove)"]
    assert page.get_by_role("link", name="Find similar: Carrot Juice").is_visible()
    assert_accessible(page)


def test_results_sorted_by_price(page):
    page.goto("/search/?q=white")
    page.locator("summary", has_text="Order").click()
    page.get_by_role("link", name="Price, lowest first").click()
    page.wait_for_url("**sort=price**")
    prices = shown_prices(page)
    page.get_by_role("link", name="Show more").click()
    until(page, "count => document.querySelectorAll('[data-imagesim-list] > li').length > count", len(prices))
    every = shown_prices(page)
    assert every == sorted(every)
    assert every[: len(prices)] == prices
    page.get_by_label("In stock only").check()
    page.get_by_role("button", name="Apply").click()
    page.wait_for_url("**in_stock=true**")
    assert "sort=price" in page.url  # the choice is kept


def photo_results(page: Any) -> list[str]:
    """Return the results for the photo in the URL, after the running search."""
    page.wait_for_url("**/look/?photo=**")
    page.locator("[data-imagesim-chips] button").first.wait_for()
    page.locator("[data-imagesim-results]:not([aria-busy])").wait_for()
    return [text.strip() for text in page.locator("[data-imagesim-results] .card__name").all_inner_texts()]


def test_one_camera_on_every_page(page, photo):
    """The results have an address: they survive a reload and "back", and another visitor can open them."""
    page.goto("/product/banana-juice/")
    page.locator("[data-imagesim-bar-file]").set_input_files(photo)
    names = photo_results(page)
    assert names[0] == "Orange Juice"
    assert page.locator("[data-imagesim-results] .price").first.inner_text() == "€ 3.20"
    assert_accessible(page)
    page.reload()
    assert photo_results(page) == names
    page.locator("[data-imagesim-results] a").first.click()
    page.wait_for_url("**/product/orange-juice/")
    page.go_back()
    assert photo_results(page) == names
    other = page.context.new_page()
    other.goto(page.url)
    assert photo_results(other) == names
    other.close()
    page.goto("/look/?photo=7.gone")
    page.get_by_text("This photo has expired").wait_for()
    assert "photo=" not in page.url
    page.errors[:] = [error for error in page.errors if "status of 410" not in error]


def test_the_search_form_takes_a_photo_to_the_same_page(page, photo):
    page.goto("/")
    page.get_by_label("Search with a photo").set_input_files(photo)
    assert photo_results(page)[0] == "Orange Juice"


def test_a_signed_in_visitor_searches_with_a_photo_and_is_counted(page, photo):
    """Their requests need the CSRF token, in the header that the project's settings name."""
    log_in(page)
    page.goto("/look/")
    with page.expect_response("**/api/visual/look/") as answered:
        page.locator(".imagesim-search__file").set_input_files(photo)
    assert answered.value.status == 200
    with page.expect_response("**/api/visual/events/") as answered:
        page.goto("/product/orange-juice/")
        page.locator("#imagesim-similar").scroll_into_view_if_needed()
    assert answered.value.status == 200


def test_filters_apply_to_a_photo(page, photo):
    page.goto("/look/")
    page.get_by_label("A photo with something you like").set_input_files(photo)
    assert "Bean Juice" not in photo_results(page)  # sold out
    with page.expect_response("**/api/visual/look/**"):
        page.get_by_label("In stock only").uncheck()
    assert "Bean Juice" in photo_results(page)
    page.get_by_text("Narrow it down").click()
    with page.expect_response("**/api/visual/look/**"):
        page.get_by_label("Category").select_option(label="Paints")
    assert all("Paint" in name for name in photo_results(page))


def test_a_photo_can_be_dropped_and_pasted(page, photo):
    script = """([selector, kind, bytes]) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(bytes)], "photo.jpg", { type: "image/jpeg" }));
        const event = kind === "paste"
          ? new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, cancelable: true })
          : new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true });
        document.querySelector(selector).dispatchEvent(event);
    }"""
    for kind, selector, address in (
        ("drop", "[data-imagesim-drop]", "/search/"),
        ("paste", "body", "/search/"),
        ("drop", "main", "/gallery/"),
        ("drop", "main", "/search/?q=white"),
        ("paste", "body", "/product/banana-juice/"),
    ):
        page.goto(address)
        page.evaluate(script, [selector, kind, list(photo["buffer"])])
        assert photo_results(page)[0] == "Orange Juice", (kind, address)


def test_a_photo_is_searched_in_sorted_results(page, photo):
    page.goto("/search/?q=white&sort=-price")
    page.evaluate("delete document.querySelector('[data-imagesim-search]').dataset.look")
    with page.expect_response("**/api/visual/search/") as answer:
        page.locator(".imagesim-search__file").set_input_files(photo)
    assert answer.value.status == 200


PASTE = """([selector, pictures]) => {
    for (const bytes of pictures) {
      const transfer = new DataTransfer();
      transfer.items.add(new File([new Uint8Array(bytes)], "photo.jpg", { type: "image/jpeg" }));
      const event = new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, cancelable: true });
      document.querySelector(selector).dispatchEvent(event);
    }
}"""
BESIDE = """() => {
    const [first] = document.querySelectorAll("[data-imagesim-search]");
    delete first.dataset.look;
    const second = first.cloneNode(true);
    second.id = "second";
    first.after(second);
}"""
REPLACED = """async () => {
    for (const selector of ["[data-imagesim-search]", "[data-imagesim-bar]"]) {
        const request = new XMLHttpRequest();
        request.open("GET", "/search/");
        request.responseType = "document";
        await new Promise((done) => ((request.onload = done), request.send()));
        const fragment = request.responseXML.querySelector(selector);
        delete fragment.dataset.look;
        document.querySelector(selector).replaceWith(document.importNode(fragment, true));
    }
}"""


def searches_of(page: Any) -> list[str]:
    """The addresses of the searches that the page sends from now on. What visitors see is reported two seconds later,
    which on a busy machine is still within a test."""
    sent: list[str] = []

    def note(request: Any) -> None:
        if request.method == "POST" and not request.url.endswith("/api/visual/events/"):
            sent.append(request.url)

    page.on("request", note)
    return sent


@pytest.mark.long
@pytest.mark.parametrize(("target", "shown"), [("body", 0), ("#second input", 1)])
def test_of_two_forms_one_takes_a_pasted_photo(page, photo, target, shown):
    page.goto("/search/")
    page.evaluate(BESIDE)
    sent = searches_of(page)
    page.evaluate(PASTE, [target, [list(photo["buffer"])]])
    page.locator("[data-imagesim-list] > li").first.wait_for()
    page.wait_for_timeout(500)
    previews = page.locator("[data-imagesim-preview]")
    assert [previews.nth(number).is_visible() for number in (0, 1)] == [shown == 0, shown == 1]
    assert len(sent) == 1


def test_fragments_that_are_inserted_later_work(page, photo):
    """For instance by htmx and Turbo; elements that were replaced no longer take part."""
    page.goto("/search/")
    page.evaluate(REPLACED)
    sent = searches_of(page)
    page.evaluate(PASTE, ["body", [list(photo["buffer"])]])
    page.locator("[data-imagesim-list] > li").first.wait_for()
    assert page.url.endswith("/search/")
    assert len(sent) == 1
    page.get_by_role("combobox", name="Search by words").press_sequentially("orange ju")
    page.get_by_role("option").first.wait_for()


@pytest.mark.long
def test_the_photo_that_was_chosen_last_is_searched(page, photo):
    """The first photo takes longer to reduce."""
    page.goto("/search/")
    page.evaluate("""() => {
        delete document.querySelector("[data-imagesim-search]").dataset.look;
        const read = createImageBitmap;
        let wait = 1000;
        window.createImageBitmap = async (...given) => {
            const milliseconds = wait;
            wait = 0;
            await new Promise((done) => setTimeout(done, milliseconds));
            return read(...given);
        };
    }""")
    blue = BytesIO()
    Image.new("RGB", (300, 300), "blue").save(blue, "JPEG")
    sent = searches_of(page)
    page.evaluate(PASTE, ["body", [list(blue.getvalue()), list(photo["buffer"])]])
    page.locator("[data-imagesim-list] > li").first.wait_for()
    page.wait_for_timeout(1500)
    assert results(page)[0] == "Orange Juice"
    assert len(sent) == 1


@pytest.mark.parametrize(("address", "target"), [("/gallery/", "body"), ("/look/", "[data-imagesim-drop]")])
def test_a_picture_of_another_site_is_explained(page, address, target):
    page.goto(address)
    page.evaluate(
        """(target) => {
        const transfer = new DataTransfer();
        transfer.setData("text/uri-list", "https://example.com/shoe.jpg");
        const event = new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true });
        document.querySelector(target).dispatchEvent(event);
    }""",
        target,
    )
    page.get_by_text("Pictures from other sites cannot be read").wait_for()


def test_a_photo_can_be_taken(open_page):
    page = open_page(permissions=["camera"])
    page.goto("/look/")
    page.get_by_role("button", name="Take a photo").click()
    until(page, "document.querySelector('video').videoWidth > 0")
    assert_accessible(page)
    page.get_by_role("button", name="Take this picture").click()
    photo_results(page)
    assert page.evaluate("document.querySelector('video').srcObject") is None


def test_after_two_clicks_the_camera_is_off_again(open_page):
    page = open_page(permissions=["camera"])
    page.goto("/look/")
    page.evaluate("""() => {
        window.streams = [];
        const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        navigator.mediaDevices.getUserMedia = async (wanted) => {
            const stream = await ask(wanted);
            window.streams.push(stream);
            return stream;
        };
        const button = document.querySelector("[data-imagesim-camera]");
        button.click();
        button.click();
    }""")
    until(page, "document.querySelector('video').videoWidth > 0")
    page.wait_for_timeout(500)  # a second stream would be open by then
    page.get_by_role("button", name="Cancel").click()
    until(page, "document.querySelector('video').srcObject === null")  # the dialog reports its end a moment later
    states = "window.streams.flatMap((stream) => stream.getTracks()).map((track) => track.readyState)"
    assert set(page.evaluate(states)) == {"ended"}
    page.get_by_text("The camera").wait_for(state="hidden")


def test_a_file_that_is_not_a_picture_is_rejected(page):
    page.goto("/search/")
    field = page.get_by_label("Search with a photo")
    field.set_input_files({"name": "notes.txt", "mimeType": "text/plain", "buffer": b"notes"})
    page.locator("[data-imagesim-status]").get_by_text("not a picture").wait_for()
    field.set_input_files({"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": b"<html>"})
    page.wait_for_url("**/look/**")
    page.locator("[data-imagesim-status]").get_by_text(re.compile("not a picture that can be read")).wait_for()
    assert page.get_by_label("A photo with something you like").is_visible()
    # The browser logs the expected 415 of the second file.
    page.errors[:] = [error for error in page.errors if "status of 415" not in error]


@pytest.mark.parametrize("dismiss", ["Escape", "a click", "words"])
def test_what_the_search_bar_says_is_dismissed(page, dismiss):
    page.goto("/shop/drinks/")
    notes = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"notes"}
    status = page.locator("[data-imagesim-bar-status]")
    # A screen reader reads changes in a live region, and may miss a region that appears together with its text.
    assert status.is_hidden()
    assert status.evaluate("status => getComputedStyle(status).display") == "block"
    page.locator("[data-imagesim-bar-file]").set_input_files(notes)
    status.get_by_text("not a picture").wait_for()
    if dismiss == "Escape":
        page.keyboard.press("Escape")
    elif dismiss == "words":
        page.locator("[data-imagesim-bar-words]").press_sequentially("j")
    else:
        page.locator("main").click(position={"x": 5, "y": 400})
    assert status.is_hidden()


def test_an_error_is_in_view_on_a_phone(open_page):
    page = open_page(viewport={"width": 360, "height": 640})
    page.goto("/")
    notes = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"notes"}
    page.get_by_label("Search with a photo").set_input_files(notes)
    message = page.locator("[data-imagesim-status]")
    message.get_by_text("not a picture").wait_for()
    until(page, IN_VIEW)
    page.goto("/look/?photo=expired")
    message.get_by_text("has expired").wait_for()
    until(page, IN_VIEW)
    page.errors[:] = [error for error in page.errors if "status of 410" not in error]


def test_without_javascript_a_photo_is_posted_to_a_page(open_page, photo):
    page = open_page(java_script_enabled=False)
    page.goto("/search/")
    page.get_by_label("Search with a photo").set_input_files(photo)
    page.get_by_role("button", name="Search", exact=True).last.click()
    page.wait_for_load_state()
    assert results(page)[0] == "Orange Juice"
    assert page.locator("[data-imagesim-camera]").is_hidden()


def test_the_gallery_by_mouse_and_back(page):
    page.goto("/gallery/")
    page.get_by_role("link", name="Instant Camera").click()
    assert page.locator("#centre").inner_text() == "Instant Camera"
    assert page.locator(".ring__cell").count() == 12
    neighbour = page.locator(".ring__cell a").first
    name = neighbour.locator("img").get_attribute("alt")
    neighbour.click()
    until(page, "name => document.querySelector('#centre').textContent === name", name)
    assert page.get_by_role("link", name="Back to Instant Camera").is_visible()
    assert page.title().startswith(name)
    assert_accessible(page)
    page.go_back()
    until(page, "document.querySelector('#centre').textContent === 'Instant Camera'")


def test_the_gallery_by_keyboard(page):
    page.goto("/gallery/orange-juice/")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    name = page.evaluate("document.activeElement.querySelector('img').alt")
    assert name == page.locator(".ring__cell img").nth(1).get_attribute("alt")
    page.keyboard.press("Enter")
    until(page, "name => document.activeElement.textContent === name", name)
    assert name in page.locator("[data-gallery-status]").inner_text()
    page.keyboard.press("Backspace")
    until(page, "document.querySelector('#centre').textContent === 'Orange Juice'")


def test_the_gallery_by_keyboard_from_right_to_left(page):
    page.goto("/gallery/orange-juice/")
    page.evaluate("document.documentElement.dir = 'rtl'")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    name = page.evaluate("document.activeElement.querySelector('img').alt")
    assert name == page.locator(".ring__cell img").nth(1).get_attribute("alt")


def test_the_gallery_without_javascript(open_page):
    page = open_page(java_script_enabled=False)
    page.goto("/gallery/orange-juice/")
    name = page.locator(".ring__cell img").first.get_attribute("alt")
    page.locator(".ring__cell a").first.click()
    assert page.locator("#centre").inner_text() == name


def test_the_place_of_the_keyboard_in_forced_colours(open_page):
    page = open_page(forced_colors="active")
    page.goto("/")
    box = page.get_by_role("combobox", name="Search by words")
    outline = "element => getComputedStyle(element).outlineStyle"
    form = page.locator(".imagesim-bar__form")
    assert form.evaluate(outline) == "none"
    box.press_sequentially("orange ju")
    assert form.evaluate(outline) == "solid"
    page.get_by_role("option").first.wait_for()
    box.press("ArrowDown")
    assert [each.evaluate(outline) for each in page.get_by_role("option").all()[:2]] == ["solid", "none"]


def test_choices_open_in_the_direction_of_the_language(page):
    page.goto("/search/?q=white")
    for direction, side in (("ltr", "left"), ("rtl", "right")):
        page.evaluate("direction => (document.documentElement.dir = direction)", direction)
        edges = page.locator(".imagesim-refine__group").first.evaluate(
            """(group, side) => {
                group.open = true;
                return ["summary", "ul"].map((name) => group.querySelector(name).getBoundingClientRect()[side]);
            }""",
            side,
        )
        assert edges[0] == edges[1]


def test_english_is_read_from_left_to_right_on_a_page_from_right_to_left(page):
    """In a language that the app lacks, such as Arabic, it must not say "results 4", with the full stop of a sentence
    first."""
    page.goto("/search/?q=white")
    page.evaluate("document.documentElement.dir = 'rtl'")
    edges = page.locator("[data-imagesim-status]").evaluate(
        """(status) => {
            const text = status.firstChild;
            const part = document.createRange();
            const places = [0, text.length - 1].map((start) => {
                part.setStart(text, start);
                part.setEnd(text, start + 1);
                return part.getBoundingClientRect();
            });
            return [places[0].left, places[1].right, status.getBoundingClientRect().right];
        }"""
    )
    assert edges[0] < edges[1] == pytest.approx(edges[2], abs=2)  # which is where the line of the page begins


def test_names_of_one_long_word_fit(open_page):
    """Such as file names. The page of a product, suggestions and a chosen brand must not be wider than a phone."""
    page = open_page(viewport={"width": 360, "height": 780})
    name = "IMG_20240731_" + 12 * "verylongname"
    too_wide = "element => element.scrollWidth > element.clientWidth"
    page.goto("/product/orange-juice/")
    page.evaluate(
        "name => document.querySelectorAll('h1, .crumbs [aria-current]').forEach((it) => (it.textContent = name))", name
    )
    assert not page.locator("html").evaluate(too_wide)
    suggestion = {"text": name, "kind": "brand", "url": "/", "image": None}
    page.route("**/suggest/**", lambda route: route.fulfill(json={"suggestions": [suggestion]}))
    page.get_by_role("combobox", name="Search by words").press_sequentially("img")
    page.get_by_role("option").first.wait_for()
    assert not page.get_by_role("listbox").evaluate(too_wide)
    page.goto(f"/search/?q=white&brand={name[:90]}")
    assert not page.locator("html").evaluate(too_wide)


def test_arrow_keys_of_an_input_method_are_left_to_it(page):
    page.goto("/")
    box = page.get_by_role("combobox", name="Search by words")
    box.press_sequentially("orange ju")
    page.get_by_role("option").first.wait_for()
    press = """(input, more) => input.dispatchEvent(
        new KeyboardEvent("keydown", { key: "ArrowDown", cancelable: true, ...more }))"""
    assert box.evaluate(press, {"isComposing": True})  # not prevented by the page
    assert box.evaluate(press, {"keyCode": 229})  # how Safari names the key that ends composing
    assert not box.evaluate(press, {})


@pytest.mark.parametrize(("width", "height", "scheme"), LOOKS)
def test_every_page_is_accessible_and_fits(open_page, width, height, scheme):
    page = open_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    for name, address in PAGES.items():
        page.goto(address)
        page.evaluate("document.querySelectorAll('img').forEach((image) => { image.loading = 'eager' })")
        page.evaluate("Promise.all([...document.images].filter((i) => i.src).map((i) => i.decode().catch(() => 0)))")
        if SCREENSHOTS:
            page.screenshot(path=Path(SCREENSHOTS) / f"{name}-{width}-{scheme}.png", full_page=True)
        assert_accessible(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, address
    # The browser logs the two URLs that are expected to fail.
    page.errors[:] = [error for error in page.errors if not re.search(r"status of 40[04]", error)]
