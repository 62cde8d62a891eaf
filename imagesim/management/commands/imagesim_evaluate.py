"""``manage.py imagesim_evaluate``: evaluate the answers on this catalogue, and compare similarities, dimensions and
quantisations."""

from __future__ import annotations

from argparse import ArgumentParser
from itertools import product
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from imagesim.evaluation.catalogue import SOURCES
from imagesim.evaluation.report import as_table, evaluate
from imagesim.evaluation.study import QUANTISATIONS, SIMILARITIES, Variant
from imagesim.exceptions import format_choices
from imagesim.items.registry import get_items
from imagesim.management import ImagesimCommand, at_least


class Command(ImagesimCommand):
    help = "Evaluate similarity search on this shop's own catalogue."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--model", help="the registered model, app.model (needed if there are several)")
        parser.add_argument(
            "--source", action="append", choices=SOURCES, help="where relevance comes from (default: all)"
        )
        parser.add_argument("--judged", type=Path, metavar="CSV", help="judged pairs: columns query, item, grade")
        parser.add_argument("--fingerprint", action="append", help="an embedding model (default: all with embeddings)")
        parser.add_argument(
            "--similarity", action="append", choices=sorted(SIMILARITIES), help="how vectors are compared"
        )
        parser.add_argument("--dims", action="append", type=int, help="dimensions to keep by PCA")
        parser.add_argument(
            "--quantisation", action="append", choices=sorted(QUANTISATIONS), help="how vectors are shortened"
        )
        parser.add_argument("-k", type=at_least(1), default=10, help="number of answers that count (default 10)")
        parser.add_argument(
            "--queries", type=at_least(1), default=1000, help="maximum number of queries (default 1000)"
        )
        parser.add_argument(
            "--sample", type=at_least(2), default=20_000, help="maximum number of items (default 20000)"
        )
        parser.add_argument("--seed", type=at_least(0), default=0, help="what the samples are drawn with (default 0)")
        parser.add_argument("--plot", type=Path, metavar="DIR", help="write charts and contact sheets there")

    def handle(self, *args: Any, **options: Any) -> None:
        sources = tuple(options["source"] or SOURCES)
        if "judged" in (options["source"] or ()) and options["judged"] is None:
            raise CommandError("--source judged needs --judged CSV.")
        if options["judged"] and "judged" not in sources:
            raise CommandError("--judged needs --source judged, or no --source.")
        variants = []
        if options["similarity"] or options["dims"] or options["quantisation"]:
            grid = product(
                options["similarity"] or ["cosine"], options["dims"] or [None], options["quantisation"] or ["none"]
            )
            variants = [Variant(), *[v for v in (Variant(*axes) for axes in grid) if v != Variant()]]
        reports = evaluate(
            get_items(options["model"]),
            sources=sources,
            judged=options["judged"],
            fingerprints=options["fingerprint"] or (),
            variants=variants,
            k=options["k"],
            queries=options["queries"],
            sample=options["sample"],
            seed=options["seed"],
            plot=options["plot"],
            tell=lambda message: self.stderr.write(message) if options["verbosity"] else None,
        )
        text = "\n\n".join(map(as_table, reports))
        none = f"There are no queries for an evaluation by {format_choices(sources)}."
        self.emit({"reports": reports}, options["format"], text or none)
