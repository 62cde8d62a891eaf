"""Celery delivers a message again when its worker died or took too long: this must not start anything again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from imagesim import tasks
from imagesim.indexing import jobs
from imagesim.indexing.dispatch import SENT_AT
from imagesim.indexing.sync import SyncReport, sync
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


def test_a_backlog_of_messages_does_not_hold_up_other_tasks(shop, monkeypatch):
    """A stream of saves sends several messages a second. If each of them did a slice and sent another, other tasks in
    the queue would wait until all changes are synced."""
    now, more, began, sent = [1000.0], [True], [], []

    def work(**options: Any) -> SyncReport:
        began.append(now[0])
        now[0] += tasks.SLICE_SECONDS
        return SyncReport(more=more[0])

    def handle(sent_at: float) -> int:
        now[0] += 1
        message = SimpleNamespace(**{SENT_AT: sent_at})
        monkeypatch.setattr(tasks, "current_task", SimpleNamespace(request=message))
        before = len(began)
        tasks.sync()
        return len(began) - before

    monkeypatch.setattr("imagesim.indexing.sync.sync", work)
    monkeypatch.setattr(tasks, "time", SimpleNamespace(time=lambda: now[0]))
    monkeypatch.setattr(tasks, "start", lambda task: sent.append(now[0]) or True)
    assert [handle(980.0 + second) for second in range(20)] == [1, *[0] * 19]
    with monkeypatch.context() as patch:
        patch.setattr(tasks, "current_schema", lambda using: "another tenant")
        assert handle(980.0)
    assert handle(sent[0])  # the sync goes on
    assert len(sent) == len(began) == 3
    more[0] = False
    assert handle(sent[-1])
    assert handle(980.0)  # nothing is left: this may be a new change, by a machine whose clock is behind
    more[0] = True
    monkeypatch.setattr(tasks, "start", lambda task: False)  # the broker is down
    assert handle(now[0])
    assert handle(now[0] - 1)
    now[0] = 500.0  # the clock was wrong
    assert handle(now[0])
