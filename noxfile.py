"""The tests on each version of Python and Django that is installed here: ``nox``, or one: ``nox -l`` lists them.

On SQLite and without services; ``make test`` runs everything on one version.
"""

import nox

nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = False

DJANGO = {
    "5.2": ["3.10", "3.11", "3.12", "3.13", "3.14"],
    "6.0": ["3.12", "3.13", "3.14"],
    "6.1": ["3.12", "3.13", "3.14"],
}


@nox.session
@nox.parametrize("python,django", [(python, django) for django, versions in DJANGO.items() for python in versions])
def tests(session: nox.Session, django: str) -> None:
    session.install(f"Django~={django}.0", "-e", ".[demo,plot,http,metrics]")
    session.install(*nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), "dev"))
    session.run(
        *("python", "-m", "pytest", "-n", "auto", "--no-services", "-q", *session.posargs),
        env={"IMAGESIM_TEST_DATABASE_URL": "sqlite://"},
    )
