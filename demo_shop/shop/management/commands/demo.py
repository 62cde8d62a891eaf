from __future__ import annotations

import logging
import os
import socket
import sys
from threading import Thread
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import CommandError, CommandParser
from django.core.servers.basehttp import get_internal_wsgi_application, run
from django.db import connection
from PIL import Image

import imagesim
from demo_shop.shop import own_catalogue
from demo_shop.shop.progress import ProgressBar
from demo_shop.shop.seeding import seed
from imagesim.embedders import get_embedder
from imagesim.exceptions import ImagesimError
from imagesim.indexing import dispatch
from imagesim.indexing.rebuild import rebuild
from imagesim.indexing.sync import sync
from imagesim.management import InterruptibleCommand
from imagesim.merchandising.models import Rule
from imagesim.monitoring.status import get_status

logger = logging.getLogger(__name__)

ADMIN = "admin"
FIRST_SECONDS = 20.0
"""How long a catalogue of your own is indexed before the shop opens."""


class Command(InterruptibleCommand):
    help = "Set up and run the demo shop: database, catalogue, index, server."
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=8000, help="port on 127.0.0.1 (default: 8000)")

    def handle(self, *args: Any, **options: Any) -> None:
        port: int = options["port"]
        self._check_port(port)
        call_command("migrate", interactive=False, verbosity=0)
        self._load()
        self._index()
        self._create_admin()
        if not getattr(settings, "CELERY_BROKER_URL", ""):
            self.stdout.write("No broker is configured: changes are synced in a background thread of this server.")
        self._serve(port)

    def _load(self) -> None:
        with ProgressBar("Loading the catalogue", sys.stderr) as progress:
            if settings.CATALOGUE:
                try:
                    own_catalogue.load(settings.CATALOGUE, progress)
                except own_catalogue.NoCatalogue as error:
                    raise CommandError(str(error)) from error
                return
            report = seed(progress)
        for message in report.messages:
            self.stderr.write(self.style.WARNING(message))
        if not report.products:
            raise CommandError("The shop is empty: neither package with its pictures is available.")

    def _check_port(self, port: int) -> None:
        if not 0 < port < 65536:
            raise CommandError(f"{port} is not a port; use one from 1 to 65535.")
        with socket.socket() as probe:
            if os.name == "posix":  # on Windows, it would allow a port that another server uses
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise CommandError(
                    f"Port {port} of 127.0.0.1 cannot be used ({error.strerror}); "
                    f"choose another, such as make demo PORT={port + 1} or manage.py demo --port {port + 1}."
                ) from None

    def _index(self) -> None:
        try:
            index = get_status().index
            if index.outdated or index.model not in ("", get_embedder().fingerprint):
                self.stdout.write("The model, the filters or the texts changed: the index is rebuilt.")
                with ProgressBar("Rebuilding the index", sys.stderr) as progress:
                    rebuild(progress=progress)
            with ProgressBar("Indexing the pictures", sys.stderr) as progress:
                report = sync(progress=progress, seconds=FIRST_SECONDS if settings.CATALOGUE else None)
        except ImagesimError as error:
            raise CommandError(f"The catalogue could not be indexed: {error}") from error
        if report.interrupted:
            raise CommandError(f"The catalogue could not be indexed: {report.interrupted}")
        if report.more:
            self.stdout.write("The shop opens now; the remaining pictures are indexed in the background.")
            dispatch.wake()

    def _create_admin(self) -> None:
        users = get_user_model()._default_manager
        if not users.filter(username=ADMIN).exists():
            users.create_superuser(ADMIN, "", ADMIN)  # type: ignore[attr-defined]
            Rule.objects.create(
                name="Example: sold-out products come last",
                enabled=False,
                action=Rule.Action.BURY,
                filters="in_stock = no",
                factor=10,
            )
        self.stdout.write(f"Shop admin: /admin/, user {ADMIN}, password {ADMIN}. For this demo only.")

    def _serve(self, port: int) -> None:
        def ready(bound: int) -> None:
            self.stdout.write(self.style.SUCCESS(f"imagesim demo ready: http://127.0.0.1:{bound}/"))
            self.stdout.flush()
            dispatch.start_thread()  # for items that are not indexed yet
            Thread(target=warm_up, daemon=True).start()

        try:
            run("127.0.0.1", port, get_internal_wsgi_application(), threading=True, on_bind=ready)
        except KeyboardInterrupt:
            self.stdout.write("")


def warm_up() -> None:
    """Load the model, which takes a few seconds, before the first search."""
    try:
        imagesim.search(text="warm up", limit=1)
        imagesim.shop_the_look(Image.new("RGB", (256, 256)), limit=1)
    except ImagesimError:
        logger.exception("The model could not be loaded ahead of the first search.")
    finally:
        connection.close()
