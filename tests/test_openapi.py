"""The REST views against their own schema: valid requests get the described responses, and no request gets a 500."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from django.test import Client
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from schemathesis import GenerationMode, checks
from schemathesis.specs.openapi import checks as openapi_checks

from tests import shop
from tests.examples import examples
from tests.shop import encoded, picture, product

EXAMPLES = examples(7)
pytestmark = pytest.mark.django_db

HELD_TO = [
    checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_schema_conformance,
]


@pytest.fixture
def real_keys(settings: Any, media_root: Any, client: Client) -> dict[str, Any]:
    """The values that the path parameters may have: an item of the shop, and a photo that is held."""
    settings.IMAGESIM = {
        "SYNC": "manual",
        "EMBEDDER": shop.EMBEDDER,
        "EVENTS": True,
        "REST_THROTTLES": dict.fromkeys(("similar", "search", "suggest", "look", "region", "events", "refused")),
    }
    made = [product(name, picture(name), category="shoes", price=10) for name in ("red", "tomato", "blue", "navy")]
    shop.index()
    street = SimpleUploadedFile("street.jpg", encoded(picture("red"), "JPEG"))
    look = client.post("/api/visual/look/", {"image": street}).json()
    return {"model": "shop.product", "pk": str(made[0].pk), "token": look["photo"]}


@pytest.fixture
def rest_api(real_keys: dict[str, Any]) -> Iterator[Any]:
    signals = (request_started, request_finished)
    for signal in signals:  # the test's own connection, as Django's client does it
        signal.disconnect(close_old_connections)
    yield schemathesis.openapi.from_wsgi("/api/visual/schema/?format=json", get_wsgi_application())
    for signal in signals:
        signal.connect(close_old_connections)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_every_response_conforms_to_the_schema(rest_api: Any, real_keys: dict[str, Any], mode: Any) -> None:
    operations = [result.ok() for result in rest_api.get_all_operations()]
    assert len(operations) >= 6
    for operation in operations:
        _try(operation, operation.as_strategy(generation_mode=mode), real_keys)


def _try(operation: Any, cases: Any, real_keys: dict[str, Any]) -> None:
    @hypothesis_settings(
        max_examples=EXAMPLES,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def conforms_to_the_schema(case: Any) -> None:
        case.validate_response(case.call(), checks=HELD_TO)
        if case.path_parameters:
            case.path_parameters = {name: real_keys[name] for name in case.path_parameters}
            case.validate_response(case.call(), checks=HELD_TO)

    conforms_to_the_schema()


def test_every_operation_with_a_body_says_that_it_may_be_too_large(client: Client, settings: Any) -> None:
    settings.IMAGESIM = {"EVENTS": True}
    paths = client.get("/api/visual/schema/?format=json").json()["paths"]
    operations = [each for path in paths.values() for each in path.values() if "requestBody" in each]
    assert len(operations) == 5
    assert all("413" in each["responses"] for each in operations)


@pytest.mark.parametrize("name", ["look", "similar"])
def test_an_example_has_every_field_of_its_answer(client: Client, name: str) -> None:
    described = client.get("/api/visual/schema/?format=json").json()
    operations = {each["operationId"]: each for path in described["paths"].values() for each in path.values()}
    answer = operations[name]["responses"]["200"]["content"]["application/json"]
    for example in answer["examples"].values():
        assert list(lacking(example["value"], answer["schema"], described["components"]["schemas"])) == []


def lacking(value: Any, schema: Any, components: Any) -> Iterator[str]:
    """Yield the required fields that a value and the objects in it do not have."""
    if reference := (schema.get("$ref") or schema.get("allOf", [{}])[0].get("$ref")):
        schema = components[reference.rpartition("/")[2]]
    if isinstance(value, list):
        for each in value:
            yield from lacking(each, schema["items"], components)
    elif isinstance(value, dict):
        yield from (f"{name} in {sorted(value)}" for name in schema.get("required", ()) if name not in value)
        for name, inner in schema.get("properties", {}).items():
            if name in value:
                yield from lacking(value[name], inner, components)


def test_what_generated_clients_go_by(client: Client, settings: Any) -> None:
    settings.IMAGESIM = {"EVENTS": True}
    paths = client.get("/api/visual/schema/?format=json").json()["paths"]
    operations = {each["operationId"]: each for path in paths.values() for each in path.values()}
    assert all({"401", "403"} <= set(each["responses"]) for each in operations.values())
    # The clients send an array of a form as several fields; the box is one field with JSON.
    bodies = operations["look_region"]["requestBody"]["content"]
    kinds = {name: body["schema"]["properties"]["region"]["type"] for name, body in bodies.items()}
    assert kinds == {"multipart/form-data": "string", "application/json": "array"}
    assert "application/json" in operations["held_look"]["requestBody"]["content"]
    assert "application/json" not in operations["look"]["requestBody"]["content"]
    # The clients send defaults, which would outweigh the variant of an experiment.
    parameters = {each["name"]: each["schema"] for each in operations["similar"]["parameters"]}
    assert "default" not in parameters["diversity"]
    assert parameters["offset"]["default"] == 0
