"""Sandboxed decoding: the same pixels, the same errors; a process that hangs or dies is replaced."""

from __future__ import annotations

import os
import signal
import struct
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from threading import Timer
from typing import IO

import pytest
from PIL import Image

from imagesim import images
from imagesim.exceptions import BadImage, Busy, ImageTooLarge
from imagesim.images import sandbox
from tests.hostile.files import chunk, png

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of processes as Linux has them")
LIMITS = {"MAX_IMAGE_BYTES": 20_000_000, "MAX_IMAGE_PIXELS": 50_000_000, "IMAGE_FORMATS": ["JPEG", "PNG", "WEBP"]}


def encoded(kind: str = "PNG", size: tuple[int, int] = (60, 40)) -> bytes:
    buffer = BytesIO()
    Image.radial_gradient("L").resize(size).convert("RGB").save(buffer, kind)
    return buffer.getvalue()


def claiming(width: int, height: int) -> bytes:
    """A PNG that has the pixels of one row and claims to be of this size: the memory is allocated first."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return png(width, 1, colour=2)[:8] + header + png(width, 1, colour=2)[33:]


@pytest.fixture
def worker() -> Iterator[sandbox.Worker]:
    worker = sandbox.Worker(LIMITS)
    yield worker
    worker.close()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_the_pixels_equal_those_of_local_decoding(worker: sandbox.Worker, kind: str) -> None:
    data = encoded(kind, (900, 700))
    for side in (images.MIN_DECODE_SIDE, 100):
        assert worker.decode(data, side).tobytes() == images.decode(data, min_decode_side=side).tobytes()


def test_a_server_that_embeds_python_starts_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/usr/local/bin/uwsgi")  # what uWSGI sets
    worker = sandbox.Worker(LIMITS)
    try:
        assert worker.decode(encoded(), 1024).size == (60, 40)
    finally:
        worker.close()


def test_a_damaged_picture_is_rejected_and_the_worker_continues(worker: sandbox.Worker) -> None:
    with pytest.raises(BadImage, match="damaged or truncated"):
        worker.decode(encoded()[:-30], 1024)
    assert worker.decode(encoded(), 1024).size == (60, 40)


@pytest.mark.slow
def test_a_picture_that_needs_more_memory_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGESIM_UNUSED", "secret")
    # Its settings accept more pixels than its address space holds.
    worker = sandbox.Worker({**LIMITS, "MAX_IMAGE_PIXELS": 200_000_000})
    try:
        assert b"secret" not in Path(f"/proc/{worker._process.pid}/environ").read_bytes()
        worker.decode(encoded(), 1024)
        os.system(f"prlimit --pid {worker._process.pid} --as={400 * 1024**2}")
        with pytest.raises(ImageTooLarge, match="more memory"):
            worker.decode(claiming(12_000, 12_000), 1024)
    finally:
        worker.close()


@pytest.mark.slow
def test_a_worker_that_hangs_is_killed_and_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = sandbox.Pool()
    try:
        with pool.worker() as first:
            assert first.decode(encoded(), 1024).size == (60, 40)
            monkeypatch.setattr(sandbox, "SECONDS", 1)  # after the start, which takes longer on a busy machine
            os.kill(first._process.pid, signal.SIGSTOP)
            with pytest.raises(BadImage, match="too much time or memory"):
                first.decode(encoded(), 1024)
        monkeypatch.setattr(sandbox, "SECONDS", 30)
        with pool.worker() as second:
            assert second is not first
            assert second.decode(encoded(), 1024).size == (60, 40)
        with pool.worker() as third:
            assert third is second
    finally:
        pool.close()


def test_a_worker_that_was_interrupted_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task's time limit is an exception from a signal, at any point; the rest of the answer stays in the pipe."""
    pool = sandbox.Pool()
    read = sandbox._read

    def interrupted(stream: IO[bytes], size: int) -> bytearray:
        if size > sandbox.REPLY.size:
            raise InterruptedTask
        return read(stream, size)

    try:
        monkeypatch.setattr(sandbox, "_read", interrupted)
        with pytest.raises(InterruptedTask), pool.worker() as first:
            first.decode(encoded(), 1024)
        monkeypatch.setattr(sandbox, "_read", read)
        with pool.worker() as second:
            other = encoded(size=(30, 20))
            assert second.decode(other, 1024).tobytes() == images.decode(other).tobytes()
        assert not first.is_running
    finally:
        pool.close()


class InterruptedTask(Exception):
    pass


def test_a_process_that_does_not_start_is_no_fault_of_the_picture(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pool = sandbox.Pool()
    for program in ("/bin/false", "/there/is/none"):
        monkeypatch.setattr(sandbox, "interpreter", lambda program=program: program)
        with pytest.raises(Busy, match="try again"), pool.worker():
            pass
    monkeypatch.undo()
    monkeypatch.setattr(sandbox, "START_SECONDS", 0.01)  # Python itself takes longer
    with pytest.raises(Busy, match="try again"), pool.worker():
        pass
    assert "No process for decoding pictures could be started" in caplog.text


def test_an_answer_larger_than_any_picture_is_not_read(worker: sandbox.Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    read, sizes = sandbox._read, []

    def recorded(stream: IO[bytes], size: int) -> bytearray:
        sizes.append(size)
        if size != sandbox.REPLY.size:
            raise EOFError
        read(stream, size)
        return bytearray(sandbox.REPLY.pack(sandbox.DECODED, 100_000, 100_000))

    monkeypatch.setattr(sandbox, "_read", recorded)
    with pytest.raises(BadImage, match="too much time or memory"):
        worker.decode(encoded(), 1024)
    assert sizes == [sandbox.REPLY.size]
    assert not worker.is_running


def test_a_worker_that_dies_is_reported_as_a_bad_picture(worker: sandbox.Worker) -> None:
    worker.decode(encoded(), 1024)
    Timer(0.1, worker._process.kill).start()
    os.kill(worker._process.pid, signal.SIGSTOP)
    with pytest.raises(BadImage, match="too much time or memory"):
        worker.decode(encoded(), 1024)
    assert not worker.is_running


def test_a_worker_cannot_write_files_and_has_limited_memory(worker: sandbox.Worker) -> None:
    worker.decode(encoded(), 1024)
    limits = Path(f"/proc/{worker._process.pid}/limits").read_text()
    bounds = {line[:26].strip(): line[26:47].strip() for line in limits.splitlines()}
    assert bounds["Max file size"] == "0"
    assert int(bounds["Max address space"]) == sandbox.BASE_BYTES + 16 * LIMITS["MAX_IMAGE_PIXELS"]
    assert int(bounds["Max cpu time"]) <= 3 * sandbox.SECONDS


def test_the_setting(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    used = []
    decode = sandbox.Worker.decode
    monkeypatch.setattr(sandbox.Worker, "decode", lambda self, *given: used.append(1) or decode(self, *given))
    assert sandbox.decode(encoded()).size == (60, 40)
    assert not used
    settings.IMAGESIM = {"SANDBOX": True}
    assert sandbox.decode(encoded()).size == (60, 40)
    assert used
