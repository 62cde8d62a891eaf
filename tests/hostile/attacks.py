"""The attacks, each with the allowed statuses and the budget of processor time."""

from __future__ import annotations

import base64
import json
import random
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from urllib.parse import quote, urlencode

from tests.hostile import files
from tests.hostile.server import Request

API = "/api/visual"
PICTURE_ADDRESSES = ("/search/", f"{API}/search/", "/look/")
BOUNDARY = "hostile-boundary"
SMALL = 10_000
"""Bytes of a request up to which the budget of processor time is :data:`SMALL_BUDGET`."""
SMALL_BUDGET = 1.5
LARGE_BUDGET = 6.0
"""Seconds of processor time for larger requests, of the largest picture that is accepted (see docs/security.md)."""
REFUSED = (400, 413, 415)
BUSY = 503
SECRET = "a" * 32  # a visitor chooses the CSRF secret of their own browser


@dataclass(frozen=True)
class Attack:
    """Requests that are sent one after the other to measure their cost, then many at the same time if ``storm``."""

    name: str
    requests: tuple[Request, ...]
    statuses: tuple[int, ...] = REFUSED
    seconds: float | None = None
    """Processor time that one request may take; None for the budget of its size."""
    storm: bool = False

    def budget(self, request: Request) -> float:
        if self.seconds is not None:
            return self.seconds
        return SMALL_BUDGET if request.size <= SMALL else LARGE_BUDGET


def get(path: str, query: Mapping[str, object] | None = None, headers: dict[str, str] | None = None) -> Request:
    return Request("GET", path + ("?" + urlencode(query, doseq=True) if query else ""), headers=headers or {})


def post_json(path: str, content: object) -> Request:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Request("POST", path, body, {"Content-Type": "application/json"})


def post_form(
    path: str,
    fields: Mapping[str, object] | None = None,
    pictures: Sequence[tuple[str, bytes]] = (),
    *,
    csrf: bool = True,
) -> Request:
    """Return a form in multipart/form-data with ``pictures`` as (name of the field, bytes)."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in (fields or {}).items()
    ]
    for name, data in pictures:
        head = f'Content-Disposition: form-data; name="{name}"; filename="a.png"\r\nContent-Type: image/png'
        parts.append(f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + data + b"\r\n")
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    if csrf:
        headers |= {"Cookie": f"csrftoken={SECRET}", "X-CSRFToken": SECRET}
    return Request("POST", path, b"".join(parts) + f"--{BOUNDARY}--\r\n".encode(), headers)


def with_picture(data: bytes) -> tuple[Request, ...]:
    """Return requests with the same picture to every public address that accepts one."""
    return tuple(post_form(path, {}, [("image", data)]) for path in (f"{API}/look/", *PICTURE_ADDRESSES))


def with_large_picture(data: bytes) -> tuple[Request, ...]:
    """One address that searches and one that also finds regions: the others do the same work."""
    return with_picture(data)[:2]


@cache
def attacks() -> list[Attack]:
    """Return every attack whose cost is measured."""
    whole = json.dumps([[0, 0, 1, 1]] * 12)
    six = json.dumps([[0, 0, 1, 1]] * 6)
    large = 7000
    answered = (200, *REFUSED)
    webp = files.flat("WEBP", 4700, 4700)
    similar = f"{API}/items/shop.product/1/similar/"
    guess = base64.b64encode(b"admin:guess").decode()
    halves = json.dumps([[0, 0, 0.5, 1], [0.5, 0, 0.5, 1]] * 6)
    values = [f"value {n}" for n in range(900)]
    dice = random.Random(3)
    texts = ["".join(chr(dice.randrange(0x4E00, 0x9FA0)) for _ in range(480)) for _ in range(10)]
    return [
        Attack("comments before an SVG", with_picture(files.nested_comments()), seconds=0.3, storm=True),
        Attack(
            "twelve boxes of a whole large photo",
            (post_form(f"{API}/look/", {"regions": whole}, [("image", webp)]),),
            seconds=SMALL_BUDGET,
        ),
        Attack(
            "six boxes of a whole large photo",
            (post_form(f"{API}/look/", {"regions": six}, [("image", webp)]),),
            answered,
            storm=True,
        ),
        Attack("a large photo in few bytes", with_large_picture(webp), answered, storm=True),
        Attack("a WebP of fifty megapixels", with_large_picture(files.flat("WEBP", 7071, 7071))),
        Attack(
            "a PNG of one bit", with_large_picture(files.png(large, large, depth=1, colour=0)), answered, storm=True
        ),
        Attack(
            "the main thing of a large photo",
            (post_form(f"{API}/search/", {"region": "auto"}, [("image", webp)]),),
            answered,
        ),
        Attack("a PNG with a palette", with_large_picture(files.png(large, large, depth=1, colour=3)), answered),
        Attack(
            "a PNG with a transparent colour",
            with_large_picture(files.png(large, large, colour=2, extra=files.chunk(b"tRNS", bytes(6)))),
            answered,
        ),
        Attack("a PNG of 16 bits", with_large_picture(files.png(large, large, depth=16, colour=6)), answered),
        Attack("a PNG of 16 bits of grey", with_large_picture(files.png(large, large, depth=16, colour=0)), answered),
        Attack("a PNG with compressed text", with_picture(files.compressed_text()), answered),
        Attack("a JPEG of many scans", with_large_picture(files.many_scans()), answered),
        Attack(
            "a progressive JPEG of four channels in a long file",
            (*with_large_picture(files.scans_of_cmyk(7071)), *with_large_picture(files.scans_of_cmyk(6320))),
            answered,
        ),
        Attack("a large AVIF with transparency in a long file", with_large_picture(files.long_avif(5770)), answered),
        Attack(
            "an interlaced PNG of 16 bits",
            with_large_picture(files.png(large, large, depth=16, interlaced=True)),
            answered,
        ),
        Attack("a large AVIF", with_large_picture(files.flat("AVIF", 5000, 5000)), answered),
        Attack("an AVIF of many items", with_picture(files.many_items()), seconds=0.5, storm=True),
        Attack("an AVIF that names a small size", with_picture(files.smaller_in_its_header()), seconds=0.5, storm=True),
        Attack(
            "a hundred pictures that are like it",
            (post_form(f"{API}/search/", {}, [("like", files.png(large, 200, depth=16))] * 100),),
            seconds=SMALL_BUDGET,
        ),
        Attack(
            "guessed passwords",
            (get(similar, headers={"Authorization": f"Basic {guess}"}),) * 4,
            (200, 401, 403),
            seconds=0.1,  # hashing one password takes longer
            storm=True,
        ),
        Attack("half a surrogate", (post_json(f"{API}/search/", b'{"\\ud800": 1, "text": "\\ud800"}'),)),
        Attack("half a surrogate as a value", (post_json(f"{API}/search/", b'{"text": "red \\ud800"}'),)),
        Attack(
            "a huge integer in a box",
            (post_form(f"{API}/look/", {"regions": f"[[0, 0, 1, 1{'0' * 400}]]"}, [("image", files.photo())]),),
        ),
        Attack(
            "a number of too many digits",
            (post_form(f"{API}/look/", {"regions": "[[0, 0, 1, " + "1" * 5000 + "]]"}, [("image", files.photo())]),),
        ),
        Attack("a long category", (get(f"{API}/search/", {"q": "red", "category": "c" * 33_000}),), (400, 404, 414)),
        Attack(
            "a long category in a body",
            (post_json(f"{API}/search/", {"text": "a", "category": "c" * 33_000}),),
            answered,
        ),
        Attack("deep JSON", (post_json(f"{API}/search/", b"[" * 50_000),)),
        Attack("no price", (post_json(f"{API}/search/", {"text": "red", "price__lte": None}),), (200, 400)),
        Attack("regions that are a number", (post_form(f"{API}/look/", {"regions": "7"}, [("image", b"x")]),)),
        Attack("exact search", (get(f"{API}/search/", {"q": "red", "exact": "true"}),), (200, 400, 403), storm=True),
        Attack("deep pages", (get(similar, {"offset": 10**9}), get(similar, {"offset": 1000})), (200, 400)),
        Attack(
            "regions of an item, and a region that it has not",
            (
                get(f"{API}/items/shop.product/1/regions/"),
                get(f"{API}/items/shop.product/{'9' * 4000}/regions/"),
                get(similar, {"region_id": "9" * 4000}),
            ),
            (200, 400, 404),
        ),
        Attack("a long text", (get(f"{API}/search/", {"q": "red " * 1000}),)),
        Attack("a page that is a number too large", (get("/search/", {"q": "red", "page": "9" * 4000}),), (200,)),
        Attack(
            "unknown photo",
            (post_json(f"{API}/look/{'9' * 300}.x/region/", {"region": [0, 0, 1, 1]}),),
            (400, 404, 410),
        ),
        Attack(
            "a body without a token",
            (post_form("/search/", {}, [("image", b"\0" * 3_000_000)], csrf=False),),
            (403, *REFUSED),
            seconds=1.0,
        ),
        Attack("events of no token", (post_json(f"{API}/events/", {"events": [_event("x", "shop.product:1")] * 100}),)),
        Attack("the schema", (get(f"{API}/schema/"),), (200,)),
        Attack(
            "an elongated photo with overlapping boxes",
            (post_form(f"{API}/look/", {"regions": halves}, [("image", files.png(49_500, 990, depth=1, colour=0))]),),
            answered,
        ),
        Attack("a JPEG of as many scans as are accepted", with_large_picture(files.many_scans(1_450, 1000)), answered),
        Attack(
            "ten texts that no cache knows",
            (post_json(f"{API}/search/", {"text": texts[0], "like": texts[1:]}),),
            (200, 400),
        ),
        Attack(
            "every field counted, every comparison",
            (
                post_json(
                    f"{API}/search/",
                    {
                        "text": "product",
                        "limit": 100,
                        "facets": True,
                        "diversity": 1,
                        "fallback": True,
                        "brand__in": values,
                        "colour__in": values,
                        "category": values,
                        "price__gte": 0,
                    },
                ),
                get(similar, {"facets": "true", "limit": 100, "diversity": 1, "fallback": "true"}),
            ),
            (200, 400),
        ),
        Attack(
            "prices of many digits",
            tuple(get(similar, {"price__lte": price}) for price in ("1e999999999", "1e-999999999", "9" * 3000)),
            (200, 400),
        ),
        Attack(
            "words without end, suggested and searched",
            (
                get(f"{API}/suggest/", {"q": f"product shelf {'㌖' * 420}-"}),
                get(f"{API}/search/", {"q": f"product shelf {'㌖' * 420}-"}),
                post_json(f"{API}/search/", {"text": f"product {'㌖' * 490}-"}),
                get(f"{API}/suggest/", {"q": " ".join(f"produkt{n}" for n in range(45))}),
                get(f"{API}/search/", {"q": " ".join(f"produkt{n}" for n in range(45))}),
            ),
            (200, 400, 404),
            storm=True,
        ),
        Attack("a letter that is being typed", (get(f"{API}/suggest/", {"q": "p"}),), (200,)),
        Attack(
            "a part of spaces to be decoded",
            (_base64_part(b" " * 20_000_000), _base64_part(b"QUJD\r\n" * 3_000_000)),
            (400, 413, 415),
            seconds=LARGE_BUDGET,
        ),
        Attack("many fields", (post_form(f"{API}/search/", dict.fromkeys(map(str, range(990)), "x")),)),
        Attack("a sample of the page", (get("/look/", {"sample": "apparel"}),), (200,), storm=True),
    ]


def held_attacks(photo: str, thumbnail: str) -> list[Attack]:
    """Return attacks with parts of an answer: the token of a held photo, the address of a thumbnail without its
    width."""
    held = f"{API}/look/{photo}"
    labels = ", ".join(f"l{n}" for n in range(25))[:100]
    return [
        Attack("a held photo", (get(f"{held}/photo/"),), (200,)),
        Attack("a held look", (post_form(f"{held}/"),), (200,)),
        Attack("a region of a held photo", (post_json(f"{held}/region/", {"region": [0, 0, 1, 1]}),), (200,)),
        Attack(
            "a label of many words",
            (post_json(f"{held}/region/", {"region": [0, 0, 1, 1], "label": labels, "limit": 100}),),
            (200,),
        ),
        Attack("a thumbnail", (get(thumbnail, {"width": 320}),), (200,)),
        Attack("a thumbnail of another size", (get(thumbnail, {"width": 99_999}),), (404,)),
        Attack("a forged thumbnail", (get(f"{thumbnail[:-5]}AAAA/", {"width": 320}),), (404,)),
    ]


def _base64_part(data: bytes) -> Request:
    """Return a picture in base64, which the parser of the form decodes piece by piece."""
    request = post_form(f"{API}/search/", {}, [("image", data)])
    body = request.body.replace(b"image/png\r\n", b"image/png\r\nContent-Transfer-Encoding: base64\r\n", 1)
    return Request(request.method, request.path, body, request.headers)


def picture_inputs(count: int = 64, side: int = 2000) -> bytes:
    """Return the body of a request to the embedder service: as many pictures as it accepts, large ones in few bytes."""
    picture = base64.b64encode(files.flat("WEBP", side, side)).decode()
    return json.dumps({"modality": "image", "input": [f"data:image/webp;base64,{picture}"] * count}).encode()


def _event(token: str, item: str, position: int = 0) -> dict[str, object]:
    return {"token": token, "kind": "view", "item": item, "position": position}


def invented_events(token: str, shown: Sequence[str]) -> Iterator[Request]:
    """With one token: what was ``shown``, repeatedly; then items that were not shown, or do not exist."""
    path, kinds = f"{API}/events/", ("view", "click", "cart")
    for position in range(20):
        for number, item in enumerate(shown):
            for at in {number, position}:
                yield post_json(path, {"events": [{**_event(token, item, at), "kind": kind} for kind in kinds]})
    for number in range(60):
        events = [{**_event(token, f"shop.product:{number}", number % 7), "kind": kind} for kind in kinds]
        yield post_json(path, {"events": events})


def odd_requests(seed: int) -> Iterator[Request]:
    """Parameters of every kind with values of every kind, without end."""
    dice = random.Random(seed)
    names = (
        *("q", "text", "limit", "offset", "category", "in_stock", "min_score", "collapse", "exact", "like", "unlike"),
        *("components", "diversity", "fallback", "facets", "model", "price__lte", "price__gte", "price", "brand"),
        *("brand__in", "colour", "same_category", "format", "page", "image", "region", "regions", "point", "nothing"),
    )
    addresses = (f"{API}/search/", f"{API}/items/shop.product/1/similar/", f"{API}/look/", "/search/", "/look/", "/")
    while True:
        given = {dice.choice(names): _odd_value(dice) for _ in range(dice.randrange(1, 5))}
        choice = dice.randrange(4)
        if choice == 0:
            yield post_json(dice.choice(addresses[:1] + addresses[2:3] + (f"{API}/events/",)), given)
        elif choice == 1:
            yield post_form(dice.choice(addresses[:1] + addresses[2:5]), given)
        elif choice == 2:
            odd = quote(str(_odd_value(dice))[:200], safe="")
            yield get(dice.choice((f"{API}/items/{odd}/1/similar/", f"{API}/items/shop.product/{odd}/similar/")))
        else:
            yield get(dice.choice(addresses), given)


def _odd_value(dice: random.Random) -> object:
    return dice.choice(
        (
            *("", "a", "red shoes", "-1", "0", "1e400", "NaN", "Infinity", "9" * 40, "true", "null", "[]", "{}"),
            *("\0", "\u202e", "ä" * 600, "%", "' OR 1=1", "../../etc/passwd", "shop.product:1", "shop.product:x"),
            *(None, True, -1, 2**70, 1.5, [], {}, [1, [2]], {"a": {"b": None}}, ["x"] * 40),
            "".join(dice.choice(string.printable) for _ in range(dice.randrange(1, 30))),
        )
    )
