"""What commands, the admin, health and checks say about an index on standby, and do with it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse

from imagesim import tasks
from imagesim.checks import deployment
from imagesim.indexes import get_index
from imagesim.indexing import jobs
from imagesim.indexing.rebuild import rebuild
from imagesim.indexing.sync import sync
from imagesim.monitoring.health import get_health
from imagesim.monitoring.status import get_status
from tests.shop import EMBEDDER, picture, product
from tests.test_standby import OTHER

pytestmark = pytest.mark.django_db
PAGE = reverse("admin:imagesim_visualindex_changelist")


@pytest.fixture(autouse=True)
def _shop(settings: Any, media_root: Any) -> None:
    settings.IMAGESIM = {"SYNC": "manual", "EMBEDDER": EMBEDDER, "SYNC_BATCH_SIZE": 2}
    for number in range(6):
        product(f"p{number}", picture("red", mark=number))
    sync()
    settings.IMAGESIM = {**settings.IMAGESIM, "EMBEDDER": OTHER, "PREVIOUS_EMBEDDERS": [EMBEDDER]}


def test_the_command_and_the_status(capsys):
    assert [each.id for each in deployment.check_index()] == ["imagesim.W012"]
    call_command("imagesim_rebuild", "--hold")
    job = jobs.standby()
    assert f"Rebuilt {job.target}: 6 items" in (said := capsys.readouterr().out)
    assert "on standby: --swap makes it" in said
    call_command("imagesim_status")
    said = capsys.readouterr().out
    assert f"standby    {job.target}: 6 entries, model test-grey-32, 32 dimensions" in said
    assert "run `manage.py imagesim_rebuild --swap` to change to it" in said
    assert get_status().standby.backing_index == job.target
    assert {check.state for check in get_health()} == {"ok"}
    assert deployment.check_index() == []
    call_command("imagesim_jobs", "--format", "json")
    assert json.loads(capsys.readouterr().out)["jobs"][0]["status"] == "standby"
    with pytest.raises(CommandError, match="--discard"):
        call_command("imagesim_jobs", "cancel", "rebuild")
    call_command("imagesim_rebuild", "--swap", "--format", "json")
    assert json.loads(capsys.readouterr().out)["status"] == "done"
    assert get_status().standby is None


def test_the_health_says_that_its_model_is_not_named(settings):
    rebuild(hold=True)
    settings.IMAGESIM = {**settings.IMAGESIM, "EMBEDDER": EMBEDDER, "PREVIOUS_EMBEDDERS": []}
    [found] = [check for check in get_health() if check.name == "index"]
    assert found.state == "degraded"
    assert "test-grey-32" in found.detail


@pytest.mark.slow
def test_the_admin_asks_and_holds_swaps_and_discards(admin_client, monkeypatch):
    sent: list[Any] = []
    monkeypatch.setattr("imagesim.indexing.dispatch.start", lambda name, **given: sent.append((name, given)) or True)
    start = reverse("admin:imagesim_visualindex_start", args=["rebuild"])
    question = admin_client.post(start).content.decode()
    assert 'type="checkbox" name="option"' in question
    assert 'data-shown="standby" hidden' in admin_client.get(PAGE).content.decode()
    admin_client.post(start, {"confirmed": "yes", "option": "yes"})
    admin_client.post(start, {"confirmed": "yes"})
    assert sent == [("rebuild", {"hold": True}), ("rebuild", {})]
    tasks.rebuild(**sent[0][1])
    sent.clear()
    job = jobs.standby()
    page = admin_client.get(PAGE)
    assert page.context["snapshot"]["fields"]["standby_entries"] == "6"
    assert 'data-shown="standby">' in page.content.decode()
    refused = admin_client.post(start, {"confirmed": "yes"}, follow=True)
    assert [str(each) for each in refused.context["messages"]] == [
        "An index is on standby: switch to it or discard it."
    ]
    links = {name: reverse("admin:imagesim_job_control", args=["rebuild", name]) for name in ("swap", "discard")}
    listed = admin_client.get(reverse("admin:imagesim_job_changelist")).content.decode()
    assert all(link in page.content.decode() and link in listed for link in links.values())
    other = reverse("admin:imagesim_job_control", args=["reconcile", "swap"])
    assert admin_client.get(other).status_code == 404
    assert "the former one is deleted" in admin_client.get(links["swap"]).content.decode()
    admin_client.post(links["swap"], {"job": job.pk})
    assert sent == [("rebuild", {"job": job.pk})]
    status = admin_client.get(reverse("admin:imagesim_visualindex_status")).json()
    assert status["fields"]["job_left"] == "becomes the active index"
    tasks.rebuild(**sent[0][1])
    assert get_index().active() == job.target
    rebuild(hold=True)
    admin_client.post(links["discard"], {"job": jobs.standby().pk})
    assert get_index().backing_indexes() == [job.target]
