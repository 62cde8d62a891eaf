"""Celery delivers a message again when its worker died or took too long: this must not start anything again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from imagesim import tasks
from imagesim.indexing import jobs
from imagesim.indexing.sync import sync
from imagesim.models import Job
from tests.shop import EMBEDDER, picture, product
from tests.test_job_control import died, only

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media_root")]


@pytest.fixture
def shop(settings: Any) -> None:
    settings.IMAGESIM = {"SYNC": "manual", "EMBEDDER": EMBEDDER, "SYNC_BATCH_SIZE": 2}
    for number in range(8):
        product(f"p{number}", picture("red", mark=number))
    sync()


def deliver(monkeypatch: Any, message: str) -> None:
    monkeypatch.setattr(tasks, "current_task", SimpleNamespace(request=SimpleNamespace(id=message)))


def test_the_first_message_of_a_cancelled_job_starts_no_other(shop, monkeypatch):
    deliver(monkeypatch, "message-1")
    monkeypatch.setattr(tasks, "SLICE_SECONDS", 1e-9)
    tasks.rebuild()
    job = only("rebuild")
    assert jobs.cancel(job)
    tasks.rebuild()
    assert list(Job.objects.filter(kind="rebuild", message="message-1")) == [job]
    assert jobs.unfinished("rebuild") is None
    tasks.reconcile()
    tasks.reconcile()
    assert Job.objects.filter(kind="reconcile").count() == 1
    deliver(monkeypatch, "message-2")
    tasks.rebuild()
    assert only("rebuild") != job


def test_the_first_message_of_a_killed_job_continues_it(shop, monkeypatch):
    deliver(monkeypatch, "message-1")
    monkeypatch.setattr(tasks, "SLICE_SECONDS", 1e-9)
    tasks.rebuild()
    job = only("rebuild")
    died()
    monkeypatch.undo()
    deliver(monkeypatch, "message-1")
    tasks.rebuild()
    assert Job.objects.get(message="message-1") == job
    assert Job.objects.get(pk=job.pk).status == "done"


def test_syncs_between_two_slices_of_a_rebuild_make_no_further_slices(shop, monkeypatch):
    """One worker: each sync finds the rebuild unfinished and sends a message. If each of these did a slice and sent
    another message, the changes of the shop would wait for all of them, and for more in every round."""
    queue: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(tasks, "start", lambda task, **arguments: queue.append((task, arguments)) or True)
    monkeypatch.setattr(tasks, "SLICE_SECONDS", 1e-9)
    tasks.rebuild()
    for _ in range(3):
        tasks.sync()
    sent, done = queue.copy(), only("rebuild").done
    assert [task for task, _ in sent] == ["rebuild"] * 4
    for task, arguments in sent:
        getattr(tasks, task)(**arguments)
    assert only("rebuild").done == done + 2  # one page
    assert len(queue) == len(sent) + 1
