"""``python -m tools.recipes``: run the code that docs/howto-pictures.md gives shops, with the packages that it is
about.

They are installed into a temporary folder, because some need other versions of packages than the tests do.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.system import say

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = [
    *("wagtail", "django-filer", "easy-thumbnails", "django-storages[s3,google]"),
    *("django-imagekit", "django-versatileimagefield"),
    *("moto[s3]", "gcp-storage-emulator"),
]


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="imagesim-recipes-") as name:
        folder = Path(name)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "env"], check=True)
        # After its own packages come those of this environment: the app's and pytest.
        [site] = (folder / "env").glob("lib/python*/site-packages")
        own = next(path for path in sys.path if path.endswith("site-packages"))
        say(f"installing {', '.join(PACKAGES)} …")
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(site)]
        subprocess.run([*install, "Django~=5.2.0", *PACKAGES], check=True)
        (site / "tests.pth").write_text(f"{own}\n{ROOT}\n")
        return subprocess.run(
            [folder / "env" / "bin" / "python", "-m", "pytest", "-q", "tests/recipes/check_recipes.py"],
            cwd=ROOT,
            env={**os.environ, "IMAGESIM_TEST_DATABASE_URL": "sqlite://", "PYTHONPATH": str(ROOT)},
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
