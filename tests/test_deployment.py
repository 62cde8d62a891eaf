"""docker-compose.yml is valid by its published schema, and its commands work as plain processes.

This does not need Docker: the commands, the environment, the certificates and the health checks are taken
from the file itself; only addresses and folders are replaced. Elasticsearch is the one of the other tests (8.12),
with security on.
"""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit, urlunsplit

import psycopg
import pytest
import yaml
from django.core.exceptions import ImproperlyConfigured
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart
from django.urls import resolve
from PIL import Image, ImageDraw

from demo_shop import environment
from tests.processes import running, wait_until
from tools import servers
from tools.system import free_port

ROOT = Path(__file__).resolve().parent.parent
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
VARIABLE = re.compile(r"\$\{(\w+)(?::[-?]([^}]*))?\}")


def test_the_file_follows_the_published_schema() -> None:
    command = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.compose-spec",
        "docker-compose.yml",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_referenced_files_exist() -> None:
    for name, service in SERVICES.items():
        assert set(service.get("depends_on", {})) <= set(SERVICES), name
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            assert (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"], mount
        for dependency, wish in service.get("depends_on", {}).items():
            if wish["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[dependency], f"{dependency} says nothing of its health"
    for source in re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE):
        assert all((ROOT / path).exists() for path in source.split()), source


def test_every_variable_is_in_the_example_file() -> None:
    used = {name for name, _ in VARIABLE.findall((ROOT / "docker-compose.yml").read_text())}
    example = re.findall(r"^(\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert used == set(example)


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert "mem_limit" in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    if name == "certs":  # gives its files to the group of the server's account; it has no network
        assert service["network_mode"] == "none"
        return
    assert service["cap_drop"] == ["ALL"]
    # Elasticsearch writes its keystore into its own folder.
    assert name == "elasticsearch" or service["read_only"]
    assert name == "proxy" or "ports" not in service


def test_the_shop_does_not_know_the_superuser() -> None:
    knowing = {name for name, service in SERVICES.items() if "ELASTIC_PASSWORD" in service.get("environment", {})}
    assert knowing == {"elasticsearch", "access"}


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({}, "SECRET_KEY"),
        ({"SECRET_KEY": "demo-only-not-secret", "ALLOWED_HOSTS": "shop.example"}, "SECRET_KEY"),
        ({"SECRET_KEY": "s" * 50}, "ALLOWED_HOSTS"),
        ({"SECRET_KEY": "s" * 50, "ALLOWED_HOSTS": "shop.example,*"}, "ALLOWED_HOSTS"),
        ({"SECRET_KEY": "s" * 50, "ALLOWED_HOSTS": "shop.example", "DEBUG": "1"}, "DEBUG"),
    ],
)
def test_production_rejects_the_defaults_of_the_demo(given: dict[str, str], missing: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=missing):
        environment.security({"PRODUCTION": "1", **given})
    assert COMPOSE["x-shop"]["environment"]["PRODUCTION"] == "1"


def test_production_accepts_a_key_and_hosts() -> None:
    given = {"PRODUCTION": "1", "SECRET_KEY": "s" * 50, "ALLOWED_HOSTS": "shop.example"}
    expected = {"SECRET_KEY": "s" * 50, "DEBUG": False, "ALLOWED_HOSTS": ["shop.example"]}
    assert environment.security(given) == expected


def test_only_the_proxy_determines_the_visitors_address() -> None:
    text = (ROOT / "tools" / "nginx.conf").read_text()
    assert "proxy_set_header X-Forwarded-For $remote_addr;" in text
    assert "$proxy_add_x_forwarded_for" not in text
    assert COMPOSE["x-shop"]["environment"]["NUM_PROXIES"] == "1"
    assert environment.number_of_proxies({"NUM_PROXIES": "1"}) == 1
    with pytest.raises(ImproperlyConfigured, match="'-1'"):
        environment.number_of_proxies({"NUM_PROXIES": "-1"})


def test_the_documented_pod_can_be_started_and_probed() -> None:
    section = (ROOT / "docs" / "operations.md").read_text().partition("## Containers and Kubernetes")[2]
    pod = yaml.safe_load(section.partition("```yaml")[2].partition("```")[0])["spec"]
    [web] = pod["containers"]
    shop = ["demo_shop.wsgi" if part == "project.wsgi" else part for part in web["command"]]
    done = subprocess.run([sys.executable, "-m", *shop, "--check-config"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for probe in (web["livenessProbe"], web["readinessProbe"]):
        given = probe["httpGet"]
        assert resolve(given["path"].removeprefix("/visual"), "imagesim.urls").url_name == "live"
        assert f":{given['port']}" in " ".join(shop)
        assert {"name": "Host", "value": "shop.example"} in given["httpHeaders"]  # else that of the pod, not allowed
    assert set(pod["volumes"][0]) == {"name", "emptyDir"}
    assert web["securityContext"]["runAsNonRoot"]
    assert re.search(r"^USER \d+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)  # a user name cannot be verified
    [cache] = web["env"]
    assert f"ENV {cache['name']}={cache['value']}\n" in (ROOT / "Dockerfile").read_text()


def test_no_server_writes_to_a_home() -> None:
    for command in (SERVICES["web"]["command"], (ROOT / "Dockerfile").read_text()):
        assert "--no-control-socket" in command


@dataclass
class Deployment:
    """The running services and their addresses."""

    url: str
    logs: Path
    environment: dict[str, str]
    places: dict[str, str]

    def translate(self, text: str) -> str:
        """Return a command of the compose file, with this machine's addresses and folders."""
        for there, here in self.places.items():
            text = text.replace(there, here)
        return text

    def command(self, service: str) -> list[str]:
        return shlex.split(self.translate(SERVICES[service]["command"]))

    def check_health(self, service: str) -> bool:
        test = self.translate(SERVICES[service]["healthcheck"]["test"].replace("$$", "$"))
        environment = {**os.environ, **self.environment, "HOSTNAME": socket.gethostname()}
        return subprocess.run(["sh", "-c", test], cwd=ROOT, env=environment, capture_output=True).returncode == 0


@dataclass
class Browser:
    """A visitor's browser with separate cookies."""

    url: str
    cookies: CookieJar = field(default_factory=CookieJar)

    def request(self, path: str, data: dict[str, Any] | None = None) -> tuple[int, str]:
        """GET, or POST with multipart data, as a page's form sends it."""
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))
        body = None if data is None else encode_multipart(BOUNDARY, data)
        headers = {"Referer": self.url + path}
        if body is not None:
            headers["Content-Type"] = MULTIPART_CONTENT
        try:
            with opener.open(urllib.request.Request(self.url + path, body, headers), timeout=60) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def submit(self, path: str, data: dict[str, Any]) -> str:
        """Fill in the form of an admin page and send it, with everything that a browser would send along."""
        status, page = self.request(path)
        assert status == 200, page
        form = Form()
        form.feed(page)
        status, page = self.request(path, {**form.values, **data})
        assert status == 200, page
        assert "errornote" not in page, page
        return page


class Form(HTMLParser):
    """The initial values of the inputs and selections of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, str] = {}
        self._select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        name = given.get("name") or ""
        if tag == "select":
            self._select = name
        elif tag == "option" and "selected" in given:
            self.values[self._select] = given.get("value") or ""
        elif tag == "input" and given.get("type") not in ("submit", "file", "checkbox") and name:
            self.values[name] = given.get("value") or ""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the account of the server can enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="imagesim-deployment-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def deployment(folder: Path, postgres: str) -> Iterator[Deployment]:
    """The services of the compose file, each started by its own command."""
    logs = folder / "logs"
    logs.mkdir()
    ports = {name: free_port() for name in ("web", "elasticsearch", "redis", "cache")}
    secrets = {"POSTGRES_PASSWORD": "p", "SECRET_KEY": "s" * 50}
    secrets |= {"ELASTIC_PASSWORD": "for-tests-only", "ELASTICSEARCH_PASSWORD": "of-the-shop"}
    places = {
        "https://elasticsearch:9200": f"https://127.0.0.1:{ports['elasticsearch']}",
        "redis:6379": f"127.0.0.1:{ports['redis']}",
        "cache:6379": f"127.0.0.1:{ports['cache']}",
        "0.0.0.0:8000": f"127.0.0.1:{ports['web']}",
        "127.0.0.1:8000": f"127.0.0.1:{ports['web']}",
        "/certs/": f"{folder}/certs/",
        "/media": f"{folder}/media",
        "/tmp/beat": f"{folder}/beat",
    }
    here = Deployment(f"http://127.0.0.1:{ports['web']}", logs, {}, places)
    for name, value in COMPOSE["x-shop"]["environment"].items():
        here.environment[name] = here.translate(fill(value, secrets))
    here.environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    here.environment["DJANGO_SETTINGS_MODULE"] = "demo_shop.settings"

    with ExitStack() as stack:
        here.environment["DATABASE_URL"] = stack.enter_context(separate_database(postgres))
        url = start_elasticsearch(stack, folder, ports["elasticsearch"], secrets["ELASTIC_PASSWORD"])
        for name in ("redis", "cache"):
            data = folder / name
            data.mkdir()
            redis = [*here.command(name), "--port", str(ports[name]), "--dir", str(data)]
            stack.enter_context(running(redis, log=logs / name, cwd=folder))
        make_access = ["bash", str(ROOT / "tools" / "make-access"), url]
        manage(here, make_access, {**secrets, "CA": f"{folder}/certs/ca.crt"})
        manage(here, here.command("setup"))
        superuser = {"DJANGO_SUPERUSER_USERNAME": "boss", "DJANGO_SUPERUSER_PASSWORD": "pw"}
        manage(here, ["python", "manage.py", "createsuperuser", "--noinput", "--email", "boss@shop.example"], superuser)
        for service in ("worker", "beat", "web"):
            stack.enter_context(
                running(here.command(service), log=logs / service, cwd=ROOT, environment=here.environment)
            )
        yield here


def fill(text: str, values: dict[str, str]) -> str:
    """Substitute variables as Compose does: ``${NAME:?message}`` and ``${NAME:-default}``."""
    return VARIABLE.sub(lambda match: values.get(match[1], match[2] or ""), text)


def manage(here: Deployment, command: list[str], environment: dict[str, str] | None = None) -> None:
    surroundings = {**os.environ, **here.environment, **(environment or {})}
    done = subprocess.run(command, cwd=ROOT, env=surroundings, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


class separate_database:
    """A separate database on the server of the tests."""

    def __init__(self, url: str) -> None:
        self.name = f"deployment_{os.getpid()}"
        self.server = url
        self.url = urlunsplit(urlsplit(url)._replace(path=f"/{self.name}"))

    def __enter__(self) -> str:
        self._do(f'CREATE DATABASE "{self.name}"')
        return self.url

    def __exit__(self, *error: object) -> None:
        self._do(f'DROP DATABASE "{self.name}" WITH (FORCE)')

    def _do(self, statement: str) -> None:
        with psycopg.connect(self.server, autocommit=True) as connection:
            connection.execute(statement)


def start_elasticsearch(stack: ExitStack, folder: Path, port: int, password: str) -> str:
    """Start it with the settings of the compose file; return its address."""
    given = SERVICES["elasticsearch"]["environment"]
    settings = {name: value for name, value in given.items() if "." in name}
    server, url, _ = servers.secure_elasticsearch(folder, password, port=port, changes=settings, short_lived=True)
    stack.callback(server.kill)
    server.start().wait_until_it_answers()
    return url


def photo(colour: str) -> bytes:
    image, file = Image.new("RGB", (400, 400), "white"), io.BytesIO()
    draw = ImageDraw.Draw(image)
    for step in range(0, 400, 40):
        draw.line((0, step, 400, 400 - step), fill=colour, width=9)
    image.save(file, "PNG")
    return file.getvalue()


@pytest.mark.long
@pytest.mark.timeout(400)
def test_a_product_saved_in_the_admin_is_found_by_the_api(deployment: Deployment) -> None:
    here = deployment
    for service in ("web", "worker", "beat"):
        wait_until(lambda: here.check_health(service), seconds=90, what=f"{service} is healthy", logs=here.logs)  # noqa: B023

    admin, visitor = Browser(here.url), Browser(here.url)
    admin.submit("/admin/login/?next=/admin/", {"username": "boss", "password": "pw"})
    status, page = admin.request("/admin/shop/product/add/")
    (category,) = re.findall(r'<option value="(\d+)"', page)[:1]
    admin.submit(
        "/admin/shop/product/add/",
        {
            "name": "Magenta star",
            "slug": "magenta-star",
            "category": category,
            "price": "12.50",
            "stock": "3",
            "active": "on",
            "photos-0-file": SimpleUploadedFile("star.png", photo("magenta"), "image/png"),
            "photos-0-position": "0",
        },
    )

    def search() -> dict[str, str]:
        """Return the names of the products that look like the photo, best first, and their keys."""
        query = {"image": SimpleUploadedFile("query.png", photo("magenta"), "image/png"), "limit": 3}
        status, body = visitor.request("/api/visual/search/", query)
        assert status == 200, body
        answer = json.loads(body)
        if answer["degraded"]:  # a busy machine: the answer says nothing about the product, so ask again
            raise ConnectionError(body)
        return {hit["item"]["name"]: hit["item"]["pk"] for hit in answer["results"]}

    # Slowly: a visitor may search thirty times a minute.
    found: dict[str, str] = {}

    def is_first() -> bool:
        found.clear()
        found.update(search())
        return next(iter(found), "") == "Magenta star"

    wait_until(is_first, seconds=120, every=4, what="it is found", logs=here.logs)

    status, body = visitor.request("/api/visual/search/?" + urlencode({"q": "shoes"}))
    assert status == 200, body

    # A product that is deleted in the admin is gone.
    admin.submit(f"/admin/shop/product/{found['Magenta star']}/delete/", {"post": "yes"})
    wait_until(lambda: "Magenta star" not in search(), seconds=60, every=4, what="it is gone", logs=here.logs)
