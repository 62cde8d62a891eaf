"""Firefox and WebKit as distributions package them, driven by their own protocols: Playwright needs its own builds."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tools.system import free_port

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""The key of an element in WebDriver."""
MINI_BROWSER = sorted(Path("/usr/lib").glob("*/webkit2gtk-4.*/MiniBrowser"))
START_SECONDS = 60
WAIT_SECONDS = 60
PREFERENCES = """
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("app.normandy.enabled", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("marionette.port", 0);
"""
SOFTWARE = {"LIBGL_ALWAYS_SOFTWARE": "1", "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1"}
"""Containers have no GPU, and do not allow the sandbox of WebKit."""


class Engine:
    """A browser; ``send`` takes the name of a command as Marionette has it, and its parameters."""

    def __init__(self, send: Callable[[str, dict[str, Any]], Any]) -> None:
        self.send = send

    def go(self, url: str) -> None:
        self.send("Navigate", {"url": url})

    def back(self) -> None:
        self.send("Back", {})

    def run(self, expression: str) -> Any:
        return self.send("ExecuteScript", {"script": f"return {expression}", "args": []})

    def until(self, expression: str) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not self.run(expression):
            assert time.monotonic() < deadline, f"not within a minute: {expression}"
            time.sleep(0.05)

    def find(self, selector: str) -> str:
        found = self.send("FindElement", {"using": "css selector", "value": selector})
        element: str = found[ELEMENT]
        return element

    def type(self, selector: str, text: str) -> None:
        self.send("ElementSendKeys", {"id": self.find(selector), "text": text})

    def click(self, selector: str) -> None:
        self.send("ElementClick", {"id": self.find(selector)})


@contextmanager
def started(command: list[str], **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env={**os.environ, **environment}, **quiet) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.terminate()


def patiently(act: Callable[[], Any]) -> Any:
    """Retry until a program has started."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return act()
        except (OSError, ValueError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@contextmanager
def firefox(folder: Path) -> Iterator[Engine]:
    program = shutil.which("firefox-esr") or shutil.which("firefox")
    if not program:
        pytest.skip("Firefox is not installed")
    (folder / "user.js").write_text(PREFERENCES)
    command = [program, "--marionette", "--headless", "--no-remote", "--profile", str(folder)]
    with ExitStack() as stack:
        stack.enter_context(started(command, HOME=str(folder)))
        port = patiently(lambda: int((folder / "MarionetteActivePort").read_text()))
        stream = stack.enter_context(socket.create_connection(("127.0.0.1", port), WAIT_SECONDS)).makefile("rwb")

        def receive() -> Any:
            length = b"".join(iter(lambda: stream.read(1), b":"))
            return json.loads(stream.read(int(length)))

        def send(name: str, parameters: dict[str, Any]) -> Any:
            message = json.dumps([0, 1, f"WebDriver:{name}", parameters]).encode()
            stream.write(b"%d:%s" % (len(message), message))
            stream.flush()
            _type, _number, error, value = receive()
            assert error is None, (name, error)
            return value["value"] if isinstance(value, dict) and "value" in value else value

        receive()  # its greeting
        send("NewSession", {})
        yield Engine(send)
        send("DeleteSession", {})


@contextmanager
def webkit(_folder: Path) -> Iterator[Engine]:
    driver, display = shutil.which("WebKitWebDriver"), shutil.which("Xvfb")
    if not driver or not display or not MINI_BROWSER:
        pytest.skip("WebKitGTK with its driver, or Xvfb, is not installed")
    port, screen = free_port(), f":{90 + os.getpid() % 900}"
    with ExitStack() as stack:
        stack.enter_context(started([display, screen, "-screen", "0", "1400x1000x24"]))
        patiently(lambda: Path(f"/tmp/.X11-unix/X{screen[1:]}").stat())
        stack.enter_context(started([driver, f"--port={port}"], DISPLAY=screen, **SOFTWARE))

        def ask(method: str, path: str, parameters: dict[str, Any] | None = None) -> Any:
            body = None if parameters is None else json.dumps(parameters).encode()
            request = Request(f"http://127.0.0.1:{port}{path}", body, method=method)
            with urlopen(request, timeout=WAIT_SECONDS) as answer:
                return json.loads(answer.read())["value"]

        options = {"binary": str(MINI_BROWSER[-1]), "args": ["--automation"]}
        wanted = {"capabilities": {"alwaysMatch": {"webkitgtk:browserOptions": options}}}
        session = f"/session/{patiently(lambda: ask('POST', '/session', wanted))['sessionId']}"
        paths = {"Navigate": "/url", "Back": "/back", "ExecuteScript": "/execute/sync", "FindElement": "/element"}

        def send(name: str, parameters: dict[str, Any]) -> Any:
            element = parameters.get("id")
            path = paths.get(name) or f"/element/{element}/{'value' if name == 'ElementSendKeys' else 'click'}"
            return ask("POST", session + path, parameters)

        yield Engine(send)
        ask("DELETE", session)
