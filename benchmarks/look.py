"""Measure the look endpoint, alone and under load: ``python -m benchmarks.look --photo FILE --json FILE``.

Starts the demo shop with its own server, enlarges the photo to 12 megapixels with camera noise, and posts it to
``look/``. Reports the median milliseconds of an answer, those of embedding the same regions in this process
(alternating, so that a busy machine slows both), and those of the other parts. Then it posts fifty photos at the same
time and reports the answers, the increase of the server's memory, and the response time of a page of the shop in the
meantime. Linux only.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
from PIL import Image

from tests.processes import running, wait_until

SIZE = (3000, 4000)
PORT = 8987
BOUNDARY = "a-part-of-the-form"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photo", type=Path, required=True, help="an upright photo of a person")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--at-once", type=int, default=50, help="photos posted at the same time; 0 skips this part")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    camera, drawn = taken(options.photo)
    with served() as (post, page, memory):
        report = answer(post, camera, options.rounds)
        for name, photo in (("JPEG", camera), ("PNG", drawn)) if options.at_once else ():
            report[f"{options.at_once} at once, {name}"] = flood(post, page, memory, [photo] * options.at_once)
    print(json.dumps(report, indent=1))
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))


def taken(path: Path) -> tuple[bytes, bytes]:
    """Return 12 megapixels as a camera stores them (a JPEG) and as a program does (a PNG)."""
    with Image.open(path) as image:
        large = image.convert("RGB").resize(SIZE, Image.Resampling.BICUBIC)
    noise = np.random.default_rng(1).normal(0, 4, (SIZE[1], SIZE[0], 1))
    noisy = Image.fromarray(np.clip(np.asarray(large) + noise, 0, 255).astype(np.uint8))
    camera, drawn = BytesIO(), BytesIO()
    noisy.save(camera, "JPEG", quality=88)
    large.quantize(64).convert("RGB").save(drawn, "PNG", compress_level=1)
    return camera.getvalue(), drawn.getvalue()


@contextmanager
def served() -> Iterator[tuple[Callable[[bytes], tuple[int, dict[str, Any]]], Callable[[], None], Callable[[], int]]]:
    """Yield functions that post a photo, request a page, and return the server's resident memory in MB."""
    root = Path(__file__).resolve().parent.parent
    with tempfile.TemporaryDirectory() as scratch:
        environment = {"DJANGO_SETTINGS_MODULE": "tests.browser.settings", "DEMO_FOLDER": scratch}
        log = Path(scratch, "logs", "demo")
        log.parent.mkdir()
        command = [sys.executable, "-u", "manage.py", "demo", "--port", str(PORT)]
        with running(command, log=log, cwd=root, environment=environment) as server:
            wait_until(lambda: "demo ready" in log.read_text(), seconds=300, what="the demo", logs=log.parent)

            def ask(method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
                while True:
                    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=300)
                    try:
                        connection.request(method, path, body, headers)
                        response = connection.getresponse()
                        return response.status, response.read()
                    except ConnectionError:  # Django's development server queues ten connections; a visitor retries
                        time.sleep(0.1)
                    finally:
                        connection.close()

            def post(photo: bytes) -> tuple[int, dict[str, Any]]:
                form = (
                    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'.encode()
                    + photo
                    + f"\r\n--{BOUNDARY}--\r\n".encode()
                )
                kind = f"multipart/form-data; boundary={BOUNDARY}"
                status, body = ask("POST", "/api/visual/look/", form, **{"Content-Type": kind})
                return status, json.loads(body) if status == 200 else {}

            def memory() -> int:
                status = Path(f"/proc/{server.pid}/status").read_text()
                return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) // 1024

            yield post, lambda: ask("GET", "/") and None, memory


def answer(post: Callable[[bytes], Any], photo: bytes, rounds: int) -> dict[str, Any]:
    """Return the milliseconds of the parts, each the median of ``rounds``."""
    import os

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo_shop.settings")
    import django

    django.setup()
    from imagesim import images
    from imagesim.embedders import get_embedder
    from imagesim.regions import get_region_finder
    from imagesim.types import Region

    times: dict[str, list[float]] = {}

    def timed(name: str, part: Callable[[Any], Any], given: Any) -> Any:
        began = time.perf_counter()
        result = part(given)
        times.setdefault(name, []).append(1000 * (time.perf_counter() - began))
        return result

    embedder, finder = get_embedder(), get_region_finder()
    found: list[Region] = []
    for number in range(rounds + 2):
        if number == 2:  # by now, models are loaded and memory is allocated
            times.clear()
        status, said = timed("from upload to JSON", post, photo)
        if status != 200:
            raise SystemExit(f"{status}: {said}")
        decoded = timed("decode", images.decode, photo)
        found = timed("find the regions", finder.find, decoded)
        crops = [decoded, *(decoded.crop(region.pixels(decoded.size)) for region in found)]
        timed("embed them and the whole", embedder.embed_images, crops)
        timed("embed them", embedder.embed_images, crops[1:])
    medians = {name: round(statistics.median(values), 1) for name, values in times.items()}
    return {
        "regions": len(found),
        "megabytes": round(len(photo) / 1e6, 1),
        "milliseconds": medians,
        "ratio": round(medians["from upload to JSON"] / medians["embed them"], 2),
    }


def flood(
    post: Callable[[bytes], Any], page: Callable[[], None], memory: Callable[[], int], photos: list[bytes]
) -> dict[str, Any]:
    """Post all at the same time, five times: steady growth from one time to the next would be a leak."""
    rest, peaks, answers, pages = memory(), [], Counter[int](), []
    for _ in range(5):
        over, peak = Event(), [0]

        def watch(over: Event = over, peak: list[int] = peak) -> None:
            while not over.wait(0.01):
                peak[0] = max(peak[0], memory())

        def browse(over: Event = over) -> None:
            while not over.wait(0.2):
                began = time.perf_counter()
                page()
                pages.append(1000 * (time.perf_counter() - began))

        watchers = [Thread(target=watch), Thread(target=browse)]
        for watcher in watchers:
            watcher.start()
        with ThreadPoolExecutor(len(photos)) as visitors:
            answers.update(status for status, _ in visitors.map(post, photos))
        over.set()
        for watcher in watchers:
            watcher.join()
        peaks.append(peak[0] - rest)
    return {
        "answers": dict(answers),
        "at_rest_mb": rest,
        "above_rest_mb": peaks,
        "page_ms": round(statistics.median(pages)) if pages else None,
        "slowest_page_ms": round(max(pages)) if pages else None,
    }


if __name__ == "__main__":
    main()
