"""The machine: its programs and packages, an account for services, a cache folder, free ports."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path


class Failure(Exception):
    """Something that this machine lacks, or a service that did not start, in one sentence for the user."""


def say(text: str) -> None:
    """Print progress to stderr: scripts read stdout."""
    print(text, file=sys.stderr, flush=True)


_GIGABYTE = 1 << 30


def find_program(name: str, *, package: str, folders: str = "") -> Path:
    """Find the program ``name`` on PATH or in the ``folders`` (a glob, last match first). If it is missing, root
    installs the Debian package.

    :raises Failure: if it is missing and cannot be installed.
    """
    with locked(cache_folder() / "installing.lock"):  # apt-get runs once at a time
        program = _look_for(name, folders)
        if program is None and os.geteuid() == 0 and shutil.which("apt-get"):
            _apt_install(package)
            program = _look_for(name, folders)
    if program is None:
        raise Failure(
            f"{name!r} is not on this machine: install it (on Debian: `apt-get install {package}`) and try again."
        )
    return program


def _look_for(name: str, folders: str) -> Path | None:
    if found := shutil.which(name):
        return Path(found)
    matches = sorted(Path("/").glob(f"{folders.lstrip('/')}/{name}")) if folders else []
    return matches[-1] if matches else None


def _apt_install(package: str) -> None:
    say(f"installing Debian's {package} …")
    # Runlevel 1: the package's own service is not started, only its programs are needed.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for command in (["apt-get", "update"], ["apt-get", "install", "--yes", "--no-install-recommends", package]):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise Failure(f"`{' '.join(command)}` failed: {(done.stderr or done.stdout).strip()[-500:]}")


def service_account() -> pwd.struct_passwd | None:
    """Return the account for Elasticsearch and PostgreSQL, which refuse to run as root: ``nobody`` for root, else
    None."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def cache_folder() -> Path:
    """Return the folder for downloads: outside the clone, and readable by the account of the services."""
    given = os.environ.get("XDG_CACHE_HOME")
    folder = Path(given) if given else Path.home() / ".cache"
    if service_account() and not _anyone_may_enter(folder):
        folder = Path("/var/cache")
    folder = folder / "imagesim"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


_SHARED_MEMORY = Path("/dev/shm")


def scratch_folders() -> list[Path]:
    """Return the folders that may hold the data of services for a run, the best first.

    Memory is the best if it has room: servers sync their files to the disk for every index or table that a test
    creates.
    """
    folders = [Path(tempfile.gettempdir())]
    with contextlib.suppress(OSError):
        memory = os.statvfs(_SHARED_MEMORY)
        available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        has_room = memory.f_bavail * memory.f_frsize >= 4 * _GIGABYTE and available >= 15 * _GIGABYTE
        if has_room and not memory.f_flag & os.ST_NOEXEC:  # Elasticsearch unpacks libraries there
            folders.insert(0, _SHARED_MEMORY)
    return folders


def _anyone_may_enter(folder: Path) -> bool:
    return all(not part.exists() or part.stat().st_mode & 0o001 for part in (folder, *folder.parents))


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file: one process at a time has it, and the others wait."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_libc = ctypes.CDLL(None)  # loaded here, because between fork and exec it would be too late


def die_with_parent() -> None:
    """Make this process receive a stop signal when its parent dies. Call it in a child before exec."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def adopt_orphans() -> None:
    """Make this process the parent of orphaned descendants, so that ``end_children`` finds them."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        _libc.prctl(option, value, 0, 0, 0)


def end_children(patience: float = 10) -> None:
    """Signal every child of this process to stop, orphans included, and kill those that do not."""
    deadline = time.monotonic() + patience
    asked: set[int] = set()
    while children := _children():
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        for child in children:
            number = signal.SIGKILL if time.monotonic() > deadline else signal.SIGTERM
            if number == signal.SIGKILL or child not in asked:
                asked.add(child)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, number)
        time.sleep(0.05)


def _children() -> list[int]:
    pids: list[int] = []
    for listing in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            pids += [int(pid) for pid in listing.read_text().split()]
    return pids
