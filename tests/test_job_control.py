"""Rebuilds and reconciles are paused, resumed and cancelled from another process."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any
from unittest.mock import Mock

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.urls import reverse
from django.utils import timezone

from demo_shop.shop.models import Product
from imagesim import tasks
from imagesim.exceptions import AccessRefused, AlreadyRunning, IndexUnavailable
from imagesim.indexes import get_index
from imagesim.indexes.local import LocalIndex
from imagesim.indexing import differences, dispatch, jobs
from imagesim.indexing import rebuild as rebuilding
from imagesim.indexing import reconcile as reconciling
from imagesim.indexing.differences import DIFFERENCES
from imagesim.indexing.outbox import touch
from imagesim.indexing.rebuild import rebuild
from imagesim.indexing.reconcile import reconcile
from imagesim.indexing.sync import sync
from imagesim.models import ItemState, Job
from tests.shop import EMBEDDER, INDEXES, drop_index, index_for, picture, product, synced_products

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media_root")]
PAGE = reverse("admin:imagesim_visualindex_changelist")
JOBS = reverse("admin:imagesim_job_changelist")


@pytest.fixture(autouse=True)
def _small_pages(settings: Any, monkeypatch: Any) -> None:
    settings.IMAGESIM = {"SYNC": "manual", "EMBEDDER": EMBEDDER, "SYNC_BATCH_SIZE": 2}
    monkeypatch.setattr(differences, "CHUNK", 2)
    monkeypatch.setattr(reconciling, "HEARTBEAT_SECONDS", -1.0)


@pytest.fixture
def shop() -> list[Product]:
    return synced_products(6)


def control(kind: str, action: str) -> str:
    return reverse("admin:imagesim_job_control", args=[kind, action])


def only(kind: str) -> Job:
    job = jobs.unfinished(kind)
    assert job is not None
    return job


def during(monkeypatch: Any, page: int, act: Any) -> None:
    """Act in the middle of a page of the next rebuild, as another process would."""
    original, pages = rebuilding._fill_page, []

    def fill(*args: Any) -> int:
        pages.append(args)
        if len(pages) == page:
            act()
        return original(*args)

    monkeypatch.setattr(rebuilding, "_fill_page", fill)


def paused(monkeypatch: Any, page: int = 2) -> Job:
    during(monkeypatch, page, lambda: jobs.pause(only("rebuild")))
    job = rebuild()
    monkeypatch.undo()
    return job


def died() -> None:
    Job.objects.update(owner="elsewhere/1/1", heartbeat_at=timezone.now() - timedelta(hours=1))


def assert_equal() -> None:
    report = reconcile(dry_run=True).report
    assert {name: report[name] for name in DIFFERENCES} == dict.fromkeys(DIFFERENCES, 0)


class TestRebuild:
    @pytest.mark.parametrize("kind", INDEXES)
    def test_a_cancelled_one_leaves_the_active_index_and_nothing_else(self, request, settings, monkeypatch, kind):
        settings.IMAGESIM = {**settings.IMAGESIM, "INDEX": index_for(request, kind)}
        request.addfinalizer(drop_index)
        for number in range(6):
            product(f"p{number}", picture("red", mark=number))
        sync()
        get_index().refresh()
        before, entries = get_index().active(), dict(get_index().scan())
        during(monkeypatch, 2, lambda: jobs.cancel(only("rebuild")))

        job = rebuild()

        assert (job.status, job.done, job.slot) == ("cancelled", 4, None)
        assert job.finished_at
        assert get_index().backing_indexes() == [before] == [get_index().active()]
        assert dict(get_index().scan()) == entries
        monkeypatch.undo()
        assert rebuild().status == "done"
        get_index().refresh()
        assert_equal()

    def test_a_paused_one_waits_and_goes_on_where_it_was(self, shop, monkeypatch):
        before = get_index().active()
        job = paused(monkeypatch)

        assert (job.status, job.done, get_index().active()) == ("paused", 4, before)
        assert len(get_index().backing_indexes()) == 2
        with pytest.raises(AlreadyRunning, match="imagesim_jobs resume rebuild"):
            rebuild()
        Job.objects.update(heartbeat_at=timezone.now() - timedelta(days=3))
        assert jobs.unfinished_rebuild() is None  # no process has to take it up
        shop[0].delete()
        shop[5].price = 77
        shop[5].save()
        sync()  # to both indexes
        assert jobs.resume(job)
        assert jobs.unfinished_rebuild() == job
        done = rebuild()
        assert (done.pk, done.target, done.status) == (job.pk, job.target, "done")
        assert get_index().backing_indexes() == [job.target]
        assert len(dict(get_index().scan())) == 5
        assert_equal()

    def test_a_paused_one_is_cancelled_without_a_process(self, shop, monkeypatch):
        before = get_index().active()
        job = paused(monkeypatch)
        assert jobs.cancel(job)
        assert job.status == "cancelled"
        assert get_index().backing_indexes() == [before]

    def test_a_cancelled_one_whose_index_cannot_be_dropped_yet_is_left_to_the_next_process(self, shop, monkeypatch):
        before = get_index().active()
        job = paused(monkeypatch)
        with monkeypatch.context() as patch:
            patch.setattr(type(get_index()), "drop", Mock(side_effect=IndexUnavailable("no answer")))
            assert jobs.cancel(job)
            assert (job.slot, job.requested, job.error) == ("rebuild", "cancel", "no answer")
            assert jobs.actions(job) == ["cancel"]
            assert jobs.cancel(job)
            assert rebuild(unfinished=job.pk).slot == "rebuild"
        assert jobs.unfinished_rebuild() == job  # workers look for it
        ended = rebuild()
        assert (ended, ended.status, get_index().backing_indexes()) == (job, "cancelled", [before])

    def test_a_cancelled_one_whose_index_may_not_be_dropped_ends(self, shop, monkeypatch):
        job = paused(monkeypatch)
        monkeypatch.setattr(type(get_index()), "drop", Mock(side_effect=AccessRefused("not allowed")))
        assert jobs.cancel(job)
        assert job.status == "cancelled"

    @pytest.mark.parametrize(("act", "status"), [("pause", "paused"), ("cancel", "cancelled")])
    def test_one_whose_process_died(self, shop, act, status):
        before = get_index().active()
        rebuild(seconds=1e-9)
        died()
        job = only("rebuild")
        assert getattr(jobs, act)(job)
        assert job.status == status
        assert (get_index().backing_indexes() == [before]) is (act == "cancel")

    def test_a_process_that_dies_before_it_notices(self, shop):
        """The next process does what was requested, and does not continue the job."""
        rebuild(seconds=1e-9)
        died()
        Job.objects.update(requested="cancel")
        assert rebuild().status == "cancelled"
        assert len(get_index().backing_indexes()) == 1

    def test_after_the_swap_it_is_too_late(self, shop, monkeypatch):
        former = rebuilding._drop_others

        def late(job: Job) -> None:
            jobs.cancel(only("rebuild"))
            former(job)

        monkeypatch.setattr(rebuilding, "_drop_others", late)
        job = rebuild()
        assert (job.status, job.requested, get_index().active()) == ("done", "", job.target)
        assert get_index().backing_indexes() == [job.target]

    def test_it_is_noticed_while_waiting_for_the_index(self, shop, monkeypatch):
        slept: list[float] = []

        def wait(seconds: float) -> None:
            slept.append(seconds)
            if len(slept) == 3:
                Job.objects.update(requested="cancel")

        def down(*_: Any, **__: Any) -> Any:
            raise IndexUnavailable("gone")

        during(monkeypatch, 1, lambda: monkeypatch.setattr(LocalIndex, "write", down))
        monkeypatch.setattr(rebuilding.time, "sleep", wait)
        monkeypatch.setattr(rebuilding.leases, "delay", lambda attempts: 15.0)
        assert rebuild().status == "cancelled"
        assert slept == [2.0] * 3

    @pytest.mark.parametrize("back", [True, False])
    def test_it_says_what_it_waits_for(self, shop, admin_client, monkeypatch, capsys, back):
        original, shown = LocalIndex.write, []

        def down(self: LocalIndex, *args: Any, **options: Any) -> Any:
            raise IndexUnavailable("no answer of http://shop:secret@es1:9200")

        def wait(seconds: float) -> None:
            call_command("imagesim_jobs")
            shown.append(capsys.readouterr().out)
            status = admin_client.get(reverse("admin:imagesim_visualindex_status")).json()
            assert status["fields"]["job_left"] == f"waiting: {reason}"
            assert reason in admin_client.get(JOBS).content.decode()
            if back:
                monkeypatch.setattr(LocalIndex, "write", original)

        reason = "no answer of http://***@es1:9200"
        during(monkeypatch, 2, lambda: monkeypatch.setattr(LocalIndex, "write", down))
        monkeypatch.setattr(rebuilding.time, "sleep", wait)
        monkeypatch.setattr(rebuilding.leases, "delay", lambda attempts: 0.5)
        monkeypatch.setattr(rebuilding, "OUTAGE_SECONDS", 600.0 if back else 1e-9)
        if back:
            job = rebuild()
            assert (job.status, job.error, shown) == ("done", "", [f"rebuild: running, 2 of 6: {reason}\n"])
            return
        with pytest.raises(IndexUnavailable):
            rebuild()
        assert only("rebuild").error == reason
        monkeypatch.undo()
        job = rebuild()
        assert (job.status, job.error) == ("done", "")

    def test_it_is_noticed_while_waiting_changes_are_synced(self, shop, monkeypatch):
        def changes() -> None:
            touch(shop)
            job = only("rebuild")
            monkeypatch.setattr(rebuilding, "sync", lambda **given: (jobs.cancel(job), sync(**given)))

        during(monkeypatch, 3, changes)
        assert rebuild().status == "cancelled"
        assert len(get_index().backing_indexes()) == 1
        assert ItemState.objects.filter(pending=True).count() == 4  # of 6, in batches of 2

    def test_resumed_before_it_was_noticed(self, shop, monkeypatch):
        during(monkeypatch, 1, lambda: (jobs.pause(only("rebuild")), jobs.resume(only("rebuild"))))
        assert rebuild().status == "done"

    def test_a_task_that_was_to_continue_it_starts_no_other(self, shop, monkeypatch):
        rebuild(seconds=1e-9)
        job = only("rebuild")
        assert jobs.cancel(job)
        tasks.rebuild(job=job.pk)  # its message was still on the way
        assert list(Job.objects.filter(kind="rebuild", status="cancelled")) == [job]
        assert not jobs.unfinished("rebuild")

    def test_the_first_index_says_why_there_is_none(self):
        product("p", picture("red"))
        Job.objects.create(kind="rebuild", slot="rebuild", status="paused")
        assert "imagesim_jobs resume rebuild" in sync().interrupted


class TestReconcile:
    def act_during(self, monkeypatch: Any, act: Any) -> None:
        original = reconciling._queue

        def queue(found: Any) -> None:
            original(found)
            if only("reconcile").requested == "":
                act(only("reconcile"))

        monkeypatch.setattr(reconciling, "_queue", queue)

    def test_a_paused_one_compares_the_rest_when_resumed(self, shop, monkeypatch):
        Product.objects.update(price=99)
        self.act_during(monkeypatch, jobs.pause)
        job = reconcile(repair_now=False)
        monkeypatch.undo()
        monkeypatch.setattr(differences, "CHUNK", 2)
        assert (job.status, only("reconcile").report["stale"], only("reconcile").done) == ("paused", 2, 2)
        assert ItemState.objects.filter(pending=True).count() == 2
        with pytest.raises(AlreadyRunning, match="paused"):
            reconcile()
        assert jobs.resume(job)
        looked: list[str] = []
        compare = differences._compare_item
        monkeypatch.setattr(
            differences,
            "_compare_item",
            lambda items, item, *rest: looked.append(item.name) or compare(items, item, *rest),
        )
        done = reconcile()
        assert (done.pk, done.status, done.done) == (job.pk, "done", 6)
        assert looked == ["p2", "p3", "p4", "p5"]
        assert (done.report["checked"], done.report["stale"]) == (6, 6)
        assert_equal()

    def test_a_cancelled_one_keeps_what_it_queued(self, shop, monkeypatch):
        Product.objects.update(price=99)
        self.act_during(monkeypatch, jobs.cancel)
        job = reconcile()
        assert (job.status, job.slot, job.report["stale"]) == ("cancelled", None, 2)
        assert ItemState.objects.filter(pending=True).count() == 2

    def test_one_that_died_begins_anew(self, shop, monkeypatch):
        def die(*_: Any) -> None:
            raise SystemExit

        with monkeypatch.context() as patched:
            patched.setattr(reconciling, "_queue", die)
            patched.setattr(jobs, "finish", lambda *_, **__: None)
            with pytest.raises(SystemExit):
                reconcile()
        died()
        assert reconcile().report["checked"] == 6


class TestCommand:
    def test_it_shows_and_changes_jobs(self, shop, monkeypatch, capsys):
        call_command("imagesim_jobs")
        assert capsys.readouterr().out == "No job is running or paused.\n"
        during(monkeypatch, 2, lambda: call_command("imagesim_jobs", "pause", "rebuild"))
        with pytest.raises(CommandError, match=r"paused after 4 of 6 items; .* resume rebuild"):
            call_command("imagesim_rebuild")
        assert capsys.readouterr().out == "rebuild: running, pause requested, 2 of 6\n"
        monkeypatch.undo()
        call_command("imagesim_jobs", format="json")
        assert json.loads(capsys.readouterr().out)["jobs"][0]["status"] == "paused"
        call_command("imagesim_jobs", "resume", "rebuild")
        assert "run `manage.py imagesim_rebuild`" in capsys.readouterr().out
        call_command("imagesim_jobs", "cancel", "rebuild")
        assert capsys.readouterr().out.startswith("rebuild: cancelled")
        with pytest.raises(CommandError, match="There is no rebuild to cancel"):
            call_command("imagesim_jobs", "cancel", "rebuild")
        with pytest.raises(CommandError, match="Name the kind"):
            call_command("imagesim_jobs", "pause")

    def test_a_cancelled_rebuild_fails_its_command(self, shop, monkeypatch):
        during(monkeypatch, 1, lambda: jobs.cancel(only("rebuild")))
        with pytest.raises(CommandError, match="cancelled after 2 of 6"):
            call_command("imagesim_rebuild")


class TestAdmin:
    def test_it_asks_first_and_then_does_it(self, shop, admin_client, monkeypatch):
        rebuild(seconds=1e-9)
        job = only("rebuild")
        page = admin_client.get(PAGE).content.decode()
        for action, hidden in [("pause", ""), ("resume", " hidden"), ("cancel", "")]:
            link = rf'href="{control("rebuild", action)}" data-shown="{action}_rebuild"{hidden}>'
            assert re.search(link, page), action
        question = admin_client.get(control("rebuild", "cancel"))
        assert "The unfinished index is deleted" in question.content.decode()
        assert only("rebuild").requested == ""
        answer = admin_client.post(control("rebuild", "cancel"), {"job": job.pk}, follow=True)
        assert [str(each) for each in answer.context["messages"]] == ["It was cancelled."]
        assert Job.objects.get(pk=job.pk).status == "cancelled"
        assert "hidden" in re.findall(r'data-shown="cancel_rebuild"[^>]*', answer.content.decode())[0]

    def test_pausing_and_resuming(self, shop, admin_client, settings, monkeypatch):
        job = jobs.start(Job.Kind.REBUILD)
        assert job is not None

        def said(action: str) -> str:
            answer = admin_client.post(control("rebuild", action), {"job": job.pk}, follow=True)
            return " ".join(map(str, answer.context["messages"]))

        assert said("pause") == "It stops after its current batch."
        status = admin_client.get(reverse("admin:imagesim_visualindex_status")).json()
        assert status["fields"]["job_left"] == "stops after its current batch"
        assert status["shown"]["resume_rebuild"] is True
        jobs.leave_paused(job)
        status = admin_client.get(reverse("admin:imagesim_visualindex_status")).json()
        assert (status["fields"]["job_left"], status["running"]) == ("paused", True)
        started = admin_client.post(
            reverse("admin:imagesim_visualindex_start", args=["rebuild"]), {"confirmed": "yes"}, follow=True
        )
        assert "A job of this kind is paused: resume or cancel it." in started.content.decode()
        assert said("resume") == "It continues as soon as manage.py imagesim_rebuild is run."
        Job.objects.update(status="paused")
        names: list[Any] = []
        monkeypatch.setattr(dispatch, "start", lambda name, **given: names.append((name, given)) or True)
        assert said("resume") == "It continues."
        assert names == [("rebuild", {"job": job.pk})]

    def test_a_confirmation_names_a_job_of_a_large_number(self, admin_client, settings):
        settings.USE_THOUSAND_SEPARATOR = True
        assert jobs.start(Job.Kind.REBUILD)
        Job.objects.update(id=1234, total=5000, done=2500)
        question = admin_client.get(control("rebuild", "cancel")).content.decode()
        assert '<input type="hidden" name="job" value="1234">' in question
        bar = re.findall(r'data-bar="job" value="(.*)"\s+max="(.*)" ', admin_client.get(PAGE).content.decode())
        assert bar == [("2500", "5000")]

    def test_a_confirmation_does_not_reach_another_job(self, shop, admin_client):
        assert jobs.start(Job.Kind.REBUILD)
        answer = admin_client.post(control("rebuild", "cancel"), {"job": 999}, follow=True)
        assert "There is no such job any more" in answer.content.decode()
        assert only("rebuild").requested == ""

    def test_what_does_not_apply(self, admin_client):
        answer = admin_client.get(control("rebuild", "resume"), follow=True)
        assert "There is no such job any more" in answer.content.decode()
        assert admin_client.get(control("rebuild", "explode")).status_code == 404
        assert admin_client.get(control("sync", "cancel")).status_code == 404

    def test_permissions(self, client):
        assert jobs.start(Job.Kind.RECONCILE)
        user = get_user_model().objects.create_user("staff", is_staff=True)
        client.force_login(user)
        for name in ("view_job", "view_visualindex"):
            user.user_permissions.add(Permission.objects.get(codename=name))
        for page in (PAGE, JOBS):
            assert "control/reconcile" not in client.get(page).content.decode()
        assert client.get(control("reconcile", "cancel")).status_code == 403
        assert client.post(control("reconcile", "cancel")).status_code == 403
        user.user_permissions.add(Permission.objects.get(codename="rebuild_visualindex"))
        assert control("reconcile", "cancel") in client.get(JOBS).content.decode()
        assert client.get(control("reconcile", "cancel")).status_code == 200

    def test_the_list_leads_to_what_failed(self, admin_client):
        job = Job.objects.create(kind="rebuild", status="done", failed=3)
        link = f'<a href="{reverse("admin:imagesim_itemstate_changelist")}?outcome__exact=failed">3</a>'
        assert link in admin_client.get(JOBS).content.decode()
        assert link in admin_client.get(reverse("admin:imagesim_job_change", args=[job.pk])).content.decode()
