"""A shopper in Firefox and in WebKit, the engine of Safari. Skipped where they are not installed; on Debian:
``apt-get install firefox-esr webkit2gtk-driver xvfb``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.browser.engines import Engine, firefox, webkit

pytestmark = pytest.mark.timeout(600)

CHIP, BUSY = "[data-imagesim-chips] button", "[data-imagesim-results][aria-busy]"
ANSWERED = f"document.querySelector('{CHIP}') && !document.querySelector('{BUSY}')"
OPTION = "document.querySelector('[role=option]')"
LEFT = "parseFloat(document.querySelector('[data-imagesim-box]').style.left)"
PAGES = ("/", "/shop/drinks/", "/product/box-logo-hoodie/", "/search/", "/look/", "/gallery/", "/gallery/orange-juice/")


@pytest.fixture(params=[firefox, webkit])
def engine(request: Any, tmp_path: Path) -> Iterator[Engine]:
    launch: Callable[[Path], AbstractContextManager[Engine]] = request.param
    with launch(tmp_path) as browser:
        yield browser


@pytest.fixture
def photo(tmp_path: Path, demo_folder: Path, demo: str) -> Path:
    """Like a photo from a phone: large, and rotated by its EXIF data."""
    path = tmp_path / "photo.jpg"
    with Image.open(demo_folder / "media/samples/clothing.jpg") as sample:
        exif = Image.Exif()
        exif[0x0112] = 6
        size = (sample.width * 3, sample.height * 3)
        sample.convert("RGB").resize(size).rotate(90, expand=True).save(path, exif=exif)
    return path


def test_a_shopper(engine: Engine, demo: str, photo: Path) -> None:
    for page in PAGES:
        engine.go(f"{demo}{page}")
        engine.until("document.querySelector('[data-imagesim-bar-words][role=combobox]')")  # the scripts have run
        engine.until("document.querySelectorAll('[data-imagesim-script][hidden]').length === 0")
        assert engine.run("document.documentElement.scrollWidth <= innerWidth"), page
    engine.go(demo)
    engine.type("[data-imagesim-bar-words]", "shoe")
    engine.until(OPTION)
    engine.type("[data-imagesim-bar-words]", "\ue015\ue007")  # arrow down, Enter
    engine.until("location.pathname === '/search/' && document.querySelector('[data-imagesim-list] > li')")
    engine.go(demo)
    engine.type("[data-imagesim-search] [name=image]", str(photo))
    engine.until(f"location.pathname === '/look/' && {ANSWERED}")
    picture = "document.querySelector('[data-imagesim-photo]')"
    assert engine.run(f"{picture}.naturalWidth > {picture}.naturalHeight")  # upright
    found = engine.run(LEFT)
    engine.type("[data-imagesim-box]", "\ue014\ue014\ue007")  # arrow right, twice, Enter
    engine.until(f"{ANSWERED} && Math.abs({LEFT} - {found + 4}) < 0.1")
    address = engine.run("location.href")
    restored = f"location.href === {address!r} && {ANSWERED} && Math.abs({LEFT} - {found + 4}) < 0.1"
    engine.click("[data-imagesim-list] a")
    engine.until("location.pathname.startsWith('/product/')")
    engine.back()
    engine.until(restored)
    engine.go(demo)
    engine.go(address)  # as in a separate window
    engine.until(restored)
