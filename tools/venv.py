"""``python -m tools.venv FOLDER``: create an environment with the project, its demo and its tests, at pinned
versions."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import venv
from pathlib import Path

from tools.system import say


def main(folder: Path) -> int:
    begun = time.monotonic()
    python = folder / "bin" / "python"
    if not python.exists():
        try:
            venv.create(folder, with_pip=True)
        except subprocess.CalledProcessError:
            say("error: this Python cannot create virtual environments: on Debian, `apt-get install python3-venv`.")
            return 1
    say("installing into .venv (the first time takes some minutes) …")
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    quiet = {**os.environ, "PYTHONWARNINGS": "ignore"}  # hides setuptools's long warning about editable installs
    # The pip of a new environment may be too old for dependency groups.
    status = subprocess.run([*install, "--upgrade", "pip>=25.1"], env=quiet).returncode
    if not status:
        # pip would compile every module, on one processor only; Python compiles the few that are imported.
        project = ["--no-compile", "--editable", ".[demo,plot]", "--group", "dev"]
        status = subprocess.run([*install, "--constraint", "constraints.txt", *project], env=quiet).returncode
    if not status:
        say(f"installed in {time.monotonic() - begun:.0f} s")
    return status


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
