"""Load the models and the local index before a visitor waits for them: otherwise the first search takes seconds.

``gunicorn shop.wsgi --config python:imagesim.warm_up`` does so in each worker as it starts. Elsewhere call
:func:`warm_up`, or set ``IMAGESIM["WARM_UP"]``: the first request of a process then starts it in a thread.
"""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context
from typing import Any

# No Django imports here: gunicorn reads this module before gevent replaces threads, and the threads would then share
# database connections.

logger = logging.getLogger("imagesim")

DISPATCH_UID = "imagesim.warm_up"
STOP_SECONDS = 10.0
"""How long a process that exits waits for the models that it is loading."""


def warm_up() -> None:
    """Load the configured embedder, region finder, index and dictionaries into this process; errors are logged.

    Call it in the processes that answer requests: one that is forked later has to load them again. The database
    connections that it opens are closed, so that no process inherits one that others use.
    """
    from imagesim.database import lacks_tables
    from imagesim.embedders import get_embedder
    from imagesim.exceptions import ImagesimError
    from imagesim.indexes import get_index
    from imagesim.items.registry import registry
    from imagesim.language import dictionaries
    from imagesim.language.analysis import base_language
    from imagesim.regions import get_region_finder

    with _closing_new_connections():
        for name, get in (("embedder", get_embedder), ("region finder", get_region_finder), ("index", get_index)):
            if name == "index" and lacks_tables():
                continue  # each tenant has its own
            try:
                get().warm_up()
            except (ImagesimError, ImportError) as error:
                logger.warning("The %s could not be loaded: %s", name, error)
    for language in {base_language(spec.language) for items in registry for spec in items.text_specs.values()}:
        dictionaries.load(language)


@contextmanager
def _closing_new_connections() -> Iterator[None]:
    """Close the connections of this thread that are opened in the block."""
    from django.db import connections

    before = {each.alias for each in connections.all(initialized_only=True) if each.connection is not None}
    try:
        yield
    finally:
        for each in connections.all(initialized_only=True):
            if each.alias not in before:
                each.close()


def connect() -> None:
    """Warm up with the first request, if the setting ``WARM_UP`` is on."""
    from django.core.signals import request_started

    request_started.connect(_first_request, dispatch_uid=DISPATCH_UID)


def _first_request(sender: Any, **kwargs: Any) -> None:
    from django.core.signals import request_started

    from imagesim.conf import get_settings

    request_started.disconnect(dispatch_uid=DISPATCH_UID)
    if get_settings().WARM_UP:
        _in_thread()


def _in_thread() -> None:
    thread = threading.Thread(target=_load_apart, name="imagesim-warm-up", daemon=True)
    try:
        Context().run(thread.start)  # for tracers, it is no part of the request that starts it
    except RuntimeError as error:  # no more threads can be started
        logger.warning("The models are only loaded by the first search: %s", error)
        return
    # If the interpreter ends the thread inside a model's code, the process aborts: wait for it, as in a script or test
    # run that finishes first.
    atexit.register(thread.join, STOP_SECONDS)


def _load_apart() -> None:
    from django.db import connections

    try:
        warm_up()
    finally:
        connections.close_all()  # this thread's own


def post_worker_init(worker: Any) -> None:
    """Load the models in a thread while the worker handles requests; the gunicorn hook of this name."""
    _in_thread()
