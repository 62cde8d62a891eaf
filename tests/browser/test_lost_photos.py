"""Photos that a browser cannot pass on or keep: the page asks for them again."""

from __future__ import annotations

import json
import re
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytestmark = [pytest.mark.timeout(600), pytest.mark.long]

ASKED = "Please choose your photo again: the browser could not keep it."
WITHOUT_STORAGE = "Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); }"
DROP = """([selector, bytes]) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([new Uint8Array(bytes)], "photo.jpg", { type: "image/jpeg" }));
    const event = new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true });
    document.querySelector(selector).dispatchEvent(event);
}"""


@pytest.fixture(scope="module")
def photo() -> bytes:
    data = BytesIO()
    Image.effect_noise((300, 300), 40).convert("RGB").save(data, "JPEG")
    return data.getvalue()


def without_token(route: Any) -> None:
    """Like an answer from a server that holds no photos."""
    answer = route.fetch()
    body = answer.json() | {"photo": None}
    route.fulfill(response=answer, body=json.dumps(body))


@pytest.mark.parametrize("address", ["/shop/drinks/", "/look/"])
def test_a_photo_that_cannot_be_handed_over_is_asked_for_again(page: Any, photo: bytes, address: str) -> None:
    """The page must not silently open without the photo; if it is already open, it must not look at the photo for
    ever."""
    page.add_init_script(WITHOUT_STORAGE)
    page.goto(address)
    page.locator("[data-imagesim-bar-file]").set_input_files(
        {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": photo}
    )
    page.wait_for_url("**/look/")
    page.locator("[data-imagesim-status]").get_by_text(ASKED).wait_for()
    page.reload()
    assert page.locator("[data-imagesim-status]").inner_text() == ""


@pytest.mark.parametrize(
    ("address", "leave"),
    [
        ("/look/", "reload"),
        ("/search/", "product and back"),
        pytest.param("/look/", "product and back", marks=pytest.mark.long),
        pytest.param("/search/", "reload", marks=pytest.mark.long),
    ],
)
def test_a_photo_that_the_server_does_not_hold_is_asked_for_again(
    page: Any, photo: bytes, address: str, leave: str
) -> None:
    """The results must not disappear silently."""
    page.route("**/api/visual/look/", without_token)
    page.goto(address)
    page.evaluate("delete document.querySelector('.imagesim-search, .imagesim-look').dataset.look")
    with page.expect_response("**/api/visual/*/"):
        page.evaluate(DROP, ["[data-imagesim-drop]", list(photo)])
    page.locator("[data-imagesim-results]:not([aria-busy])").wait_for(state="attached")
    if leave == "reload":
        page.reload()
    else:
        page.goto("/product/orange-juice/")
        page.go_back()
    page.locator("[data-imagesim-status]").get_by_text(ASKED).wait_for()
    page.reload()
    assert page.locator("[data-imagesim-status]").inner_text() == ""


@pytest.mark.parametrize("address", ["/look/", "/search/"])
def test_a_photo_that_the_browser_keeps_is_searched_again(
    page: Any, photo: bytes, address: str, tmp_path: Path
) -> None:
    """It must not be asked for although the field has it: choosing it again would do nothing, as the field would not
    change."""
    (tmp_path / "photo.jpg").write_bytes(photo)
    page.goto(address)
    page.evaluate("delete document.querySelector('.imagesim-search, .imagesim-look').dataset.look")
    field = page.locator("[data-imagesim-search], [data-imagesim-look]").locator("input[name=image]")
    with page.expect_response("**/api/visual/*/"):
        field.set_input_files(tmp_path / "photo.jpg")
    page.locator("[data-imagesim-results]:not([aria-busy])").wait_for(state="attached")
    page.evaluate("address => history.replaceState(history.state, '', address)", address)  # without the photo's token
    page.goto("/product/orange-juice/")
    page.add_init_script(
        "addEventListener('DOMContentLoaded', () => "
        "delete document.querySelector('.imagesim-search, .imagesim-look')?.dataset.look)"
    )
    with page.expect_response("**/api/visual/*/"):
        page.go_back()
    assert page.locator("[data-imagesim-status]").get_by_text(ASKED).count() == 0


def test_a_photo_that_was_put_away_is_not_asked_for(page: Any, photo: bytes) -> None:
    page.route("**/api/visual/look/", without_token)
    page.goto("/look/")
    page.evaluate(DROP, ["[data-imagesim-drop]", list(photo)])
    page.locator("[data-imagesim-results]:not([aria-busy])").wait_for()
    page.get_by_role("button", name="Another photo").click()
    page.reload()
    assert page.locator("[data-imagesim-status]").inner_text() == ""


def test_a_photo_that_only_the_server_could_read_and_that_expired_is_asked_for_again(page: Any) -> None:
    """The search must not be "not available", with a retry that cannot change that."""
    page.add_init_script("window.createImageBitmap = () => Promise.reject(new Error('unknown format'))")
    page.route("**/photo/", lambda route: route.abort())  # its JPEG cannot be fetched either
    page.route("**/region/", lambda route: route.fulfill(status=410, json={"detail": "expired"}))
    page.goto("/look/")
    page.get_by_role("link", name=re.compile("white T-shirt")).click()
    page.wait_for_url("**/look/?photo=*")
    page.locator("[data-imagesim-results]:not([aria-busy])").wait_for()
    page.get_by_role("button", name="Draw a box").click()
    page.locator("[data-imagesim-message]").get_by_text("This photo has expired").wait_for()
    assert page.get_by_role("button", name="Try again").is_hidden()
    assert page.get_by_role("button", name="Another photo").is_visible()
    page.errors.clear()  # the requests that were refused
