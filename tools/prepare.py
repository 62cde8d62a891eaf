"""``python -m tools.prepare``: download and install what the services need, in the background.

Nothing depends on it: starting a service installs whatever is still missing, or reports why it cannot.
"""

from __future__ import annotations

import contextlib

from tools import elastic
from tools.demo import HEADLESS
from tools.system import Failure, die_with_parent, find_program


def main() -> None:
    die_with_parent()
    for get in (
        elastic.home,
        lambda: find_program("redis-server", package="redis-server"),
        lambda: find_program("initdb", package="postgresql", folders="/usr/lib/postgresql/*/bin"),
        lambda: find_program("pgbouncer", package="pgbouncer", folders="/usr/sbin"),
        lambda: find_program("mariadbd", package="mariadb-server", folders="/usr/sbin"),
        lambda: find_program("chromium", package="chromium"),
        lambda: find_program(HEADLESS, package=HEADLESS),
        lambda: find_program("xgettext", package="gettext"),
    ):
        with contextlib.suppress(Failure):
            get()


if __name__ == "__main__":
    main()
