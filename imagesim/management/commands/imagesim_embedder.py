"""Serve the configured embedder over HTTP, so that web processes need not hold the model."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from imagesim.embedders import get_embedder
from imagesim.embedders.server import make_server
from imagesim.exceptions import ImagesimError


class Command(BaseCommand):
    help = (
        "Serve the embedder at POST /v1/embeddings (OpenAI's API) for HttpEmbedder. "
        "Set IMAGESIM_EMBEDDER_API_KEY to ask for a key."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8100)

    def handle(self, *args: Any, **options: Any) -> None:
        host, port = options["host"], options["port"]
        try:
            embedder = get_embedder()
            embedder.warm_up()
            server = make_server(embedder, host, port, api_key=os.environ.get("IMAGESIM_EMBEDDER_API_KEY", ""))
        except (ImagesimError, OSError) as error:
            raise CommandError(f"The embedder cannot be served on {host}:{port}: {error}") from error
        with server:
            self.stdout.write(f"embedder ready: http://{host}:{server.server_port}/v1 ({embedder.fingerprint})")
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                self.stdout.write("stopped")
