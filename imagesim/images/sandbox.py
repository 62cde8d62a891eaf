"""Decode visitors' images in separate processes with little memory and time, without secrets and network.

A decoder that is made to run wild harms its own process alone: that is killed and replaced, and the picture is refused.
``python -m imagesim.images.sandbox`` is such a process. It reads (:data:`REQUEST`, file) and writes (:data:`REPLY`,
pixels) until its input ends, after a first byte that says it has started.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from threading import Lock
from typing import IO, TYPE_CHECKING, Any

from django.utils.translation import gettext as _

from imagesim import images
from imagesim.circuit_breaker import log_repeated
from imagesim.conf import get_settings
from imagesim.exceptions import BadImage, Busy, ImageTooLarge, busy
from imagesim.images.formats import accepted_formats, damaged
from imagesim.runtime import called_after, interpreter, runtime, threads

if TYPE_CHECKING:
    from PIL.Image import Image

logger = logging.getLogger(__name__)

REQUEST = struct.Struct("<II")
"""The minimum pixels of the short side, and the length of the file."""
REPLY = struct.Struct("<BII")
"""A status, and the width and height of the RGB pixels, which follow if it is ``DECODED``."""
DECODED, DAMAGED, TOO_LARGE = range(3)

PIPE_BYTES = 1024**2
SECONDS = 10
"""Wall-clock and processor time for one picture."""
START_SECONDS = 30
"""Wall-clock time for the start of a process: it imports the decoders, which takes long on a busy machine."""
STARTED = b"\n"

BASE_BYTES = 1024**3
BYTES_PER_PIXEL = 16
"""Address space of a process: ``BASE_BYTES`` for itself, and this for each pixel of ``MAX_IMAGE_PIXELS``."""

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_PR_SET_NO_NEW_PRIVS = 38


def decode(data: bytes, *, min_decode_side: int = images.MIN_DECODE_SIDE) -> Image:
    """Call :func:`imagesim.images.decode` in another process, if ``SANDBOX`` is set and the platform has limits.

    :raises BadImage: as :func:`imagesim.images.decode`, and if the picture took too long or crashed its decoder.
    :raises Busy: if no process can be started, or not soon enough.
    """
    if not get_settings().SANDBOX or find_spec("resource") is None:
        return images.decode(data, min_decode_side=min_decode_side)
    pool: Pool = runtime.get("sandbox", Pool)
    with pool.worker() as worker:
        return worker.decode(data, min_decode_side)


class Pool:
    """Idle workers, at most one per processor; another one is started if none is idle."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._idle: list[Worker] = []

    @contextlib.contextmanager
    def worker(self) -> Iterator[Worker]:
        """Provide a worker for one picture. One that fails in any way is not used again."""
        limits = _limits()
        with self._lock:
            worker = self._idle.pop() if self._idle else None
        if worker is not None and (worker.limits != limits or not worker.is_running):
            worker.close()
            worker = None
        worker = worker or Worker(limits)
        try:
            yield worker
        except BadImage:  # its answer was read to the end, or it has ended
            self._keep(worker)
            raise
        except BaseException:  # a task's time limit, in the middle of an answer that the next picture would be given
            worker.close()
            raise
        self._keep(worker)

    def _keep(self, worker: Worker) -> None:
        with self._lock:
            keep = worker.is_running and len(self._idle) < threads()
            if keep:
                self._idle.append(worker)
        if not keep:
            worker.close()

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.close()


class Worker:
    """A process that decodes one picture at a time.

    :raises Busy: if it does not start.
    """

    def __init__(self, limits: dict[str, Any]) -> None:
        self.limits = limits
        # An empty environment: that of this process can contain passwords.
        environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "MALLOC_ARENA_MAX": "1"}
        try:
            self._process = subprocess.Popen(
                [interpreter(), "-m", "imagesim.images.sandbox", json.dumps(limits)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
            )
        except OSError as error:
            raise _not_started(error) from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._source, self._target = self._process.stdin, self._process.stdout
        try:
            _widen(self._source)
            _widen(self._target)
            with called_after(START_SECONDS, self._process.kill):
                _read(self._target, len(STARTED))
        except BaseException as error:
            self.close()
            if isinstance(error, OSError | EOFError):
                raise _not_started(error) from error
            raise

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def decode(self, data: bytes, min_decode_side: int) -> Image:
        """Decode a picture.

        :raises BadImage: as :func:`decode`; the worker has ended then, unless it rejected the picture itself.
        """
        from PIL import Image

        try:
            with called_after(SECONDS, self._process.kill):
                _write(self._source, REQUEST.pack(min_decode_side, len(data)), data)
                status, width, height = REPLY.unpack(_read(self._target, REPLY.size))
                if width * height > self.limits["MAX_IMAGE_PIXELS"]:
                    raise EOFError  # not from a decoder: it would make this process take any amount of memory
                pixels = _read(self._target, width * height * 3)
        except (OSError, EOFError) as error:
            self.close()
            raise BadImage(
                _("The picture takes too much time or memory to read; save it again with another program.")
            ) from error
        if status == DECODED:
            return Image.frombuffer("RGB", (width, height), pixels, "raw", "RGB", 0, 1)
        if status == TOO_LARGE:
            raise ImageTooLarge(_("The picture needs more memory than there is; send a smaller one."))
        raise damaged()

    def close(self) -> None:
        self._process.kill()
        for stream in (self._source, self._target):
            with contextlib.suppress(OSError):
                stream.close()
        self._process.wait()


def _not_started(error: Exception) -> Busy:
    message = "No process for decoding pictures could be started, or not within %d s: %r"
    log_repeated(logger, logging.ERROR, "sandbox", message, START_SECONDS, error)
    return busy()


def _widen(stream: IO[bytes]) -> None:
    """Increase the buffer of a pipe to the maximum: a picture takes megabytes, the default is 64 kB."""
    if sys.platform == "linux":
        import fcntl

        with contextlib.suppress(OSError):
            fcntl.fcntl(stream.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)


def _read(stream: IO[bytes], size: int) -> bytes:
    """Read ``size`` bytes of a stream; raise EOFError if it ends before that."""
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data


def _write(stream: IO[bytes], *parts: bytes) -> None:
    for part in parts:
        stream.write(part)
    stream.flush()


def _limits() -> dict[str, Any]:
    """Return the settings that :func:`imagesim.images.decode` reads."""
    return {name: getattr(get_settings(), name) for name in ("MAX_IMAGE_BYTES", "MAX_IMAGE_PIXELS", "IMAGE_FORMATS")}


# In the worker.


def main(limits: dict[str, Any]) -> None:
    from django.conf import settings

    settings.configure(IMAGESIM=limits, USE_I18N=False)
    accepted_formats()  # loads the decoders
    damaged()  # and what messages need: without privileges, no further file may be readable
    _confine(limits["MAX_IMAGE_PIXELS"])
    with open(0, "rb") as source, open(1, "wb") as target, contextlib.suppress(EOFError):
        _write(target, STARTED)
        while True:
            min_decode_side, length = REQUEST.unpack(_read(source, REQUEST.size))
            status, size, pixels = _decoded(_read(source, length), min_decode_side)
            _write(target, REPLY.pack(status, *size), pixels)


def _decoded(data: bytes, min_decode_side: int) -> tuple[int, tuple[int, int], bytes]:
    """Return (status, size, pixels) of a file, within its processor time."""
    import resource

    _soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    used = resource.getrusage(resource.RUSAGE_SELF)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + SECONDS + 1, hard))
    try:
        image = images.decode(data, min_decode_side=min_decode_side)
        return DECODED, image.size, image.tobytes()
    except (ImageTooLarge, MemoryError):
        return TOO_LARGE, (0, 0), b""
    except BadImage:
        return DAMAGED, (0, 0), b""


def _confine(pixels: int) -> None:
    """Drop privileges that decoding does not need, as far as the platform allows."""
    import resource

    bounds = {
        "RLIMIT_AS": BASE_BYTES + BYTES_PER_PIXEL * pixels,
        "RLIMIT_FSIZE": 0,  # writes no file
        "RLIMIT_CORE": 0,
    }
    for name, bound in bounds.items():
        with contextlib.suppress(AttributeError, ValueError, OSError):
            resource.setrlimit(getattr(resource, name), (bound, bound))
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)  # no network; fails if user namespaces are disabled
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
