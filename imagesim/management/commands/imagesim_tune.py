"""``manage.py imagesim_tune``: fit a map between embedder and index to this catalogue, and keep it only if it helps."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from imagesim.evaluation import catalogue, study
from imagesim.evaluation.catalogue import SOURCES
from imagesim.evaluation.study import Variant, principal_axes
from imagesim.evaluation.tuning import K, truncation, tune
from imagesim.indexes.projections import Projection, choose
from imagesim.items.registry import get_items
from imagesim.management import ImagesimCommand, at_least

KINDS = ("tuned", "pca", "truncate", "none")


class Command(ImagesimCommand):
    help = (
        "Fit a linear map to the stored embeddings: tuned to the catalogue's similarities, or with fewer dimensions. "
        "It takes effect with the next imagesim_rebuild, which embeds nothing again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--kind", choices=KINDS, default="tuned", help="'none' returns to the plain embeddings")
        parser.add_argument("--dims", type=int, help="number of dimensions to keep (default: all)")
        parser.add_argument("--model", help="the registered model, app.model (needed if there are several)")
        parser.add_argument("--source", choices=SOURCES, default="category", help="what makes two items similar")
        parser.add_argument(
            "--judged", type=Path, metavar="CSV", help="with --source judged: columns query, item, grade"
        )
        parser.add_argument("--fingerprint", help="the embedding model (needed if there are several)")
        parser.add_argument(
            "--sample", type=at_least(2), default=20_000, help="maximum number of items (default 20000)"
        )
        parser.add_argument("--seed", type=at_least(0), default=0, help="what the sample is drawn with (default 0)")
        parser.add_argument("--dry-run", action="store_true", help="show the gain without choosing the map")

    def handle(self, *args: Any, **options: Any) -> None:
        report = self._fit(options)
        self.emit(report, options["format"], _text(report))

    def _fit(self, options: dict[str, Any]) -> dict[str, Any]:
        kind, dims = options["kind"], options["dims"]
        if kind == "none":
            if not options["dry_run"]:
                choose(None)
            return {"kind": "none", "chosen": not options["dry_run"]}
        if options["judged"] and options["source"] != "judged":
            raise CommandError("--judged needs --source judged.")
        if kind in ("pca", "truncate") and not dims:
            raise CommandError(f"--kind {kind} needs --dims: how many dimensions to keep.")
        items = get_items(options["model"])
        known = catalogue.fingerprints(items)
        fingerprint = options["fingerprint"] or (known[0] if len(known) == 1 else "")
        if not fingerprint and known:
            raise CommandError(
                f"There are embeddings of several models; name one with --fingerprint: {', '.join(known)}."
            )
        loaded = catalogue.load(items, fingerprint, sample=options["sample"], seed=options["seed"])
        if dims is not None and not 0 < dims <= loaded.dims:
            raise CommandError(f"--dims {dims} is not possible; the model has {loaded.dims}.")
        queries = catalogue.cases(
            loaded, options["source"], judged=options["judged"], queries=2000, seed=options["seed"]
        )
        if kind == "tuned":
            tuned = tune(loaded, queries, dims=dims, seed=options["seed"])
            if tuned is None:
                raise CommandError(
                    f"Too few positives by {options['source']} to learn from and to judge by; try another --source."
                )
            matrix, wins, figures = tuned.matrix, tuned.wins, tuned.report()
        else:
            matrix = principal_axes(loaded.vectors, dims) if kind == "pca" else truncation(loaded.dims, dims)
            wins, figures = True, {}
            if queries:
                before = study.run(loaded, queries, Variant(), k=K).values["ndcg"]
                after = study.run(loaded, queries, Variant(), k=K, matrix=matrix).values["ndcg"]
                figures = {
                    "ndcg_before": float(before.mean()),
                    "ndcg_after": float(after.mean()),
                    "gain": study.paired_difference(after, before).interval,
                }
        projection = Projection(fingerprint, kind, matrix, {"source": options["source"], **figures})
        if wins and not options["dry_run"]:
            projection.save()
            choose(projection.id)
        return {
            "kind": kind,
            "id": projection.id,
            "dims_in": projection.dims_in,
            "dims_out": projection.dims_out,
            "items": len(loaded),
            "wins": wins,
            "chosen": wins and not options["dry_run"],
            **projection.report,
        }


def _text(report: dict[str, Any]) -> str:
    if report["kind"] == "none":
        return f"Back to the plain embeddings. {_chosen(report)}"
    lines = [f"{report['kind']}: {report['dims_in']} to {report['dims_out']} dimensions, {report['items']} items."]
    if "gain" in report:
        low, mean, high = report["gain"]
        lines.append(
            f"nDCG@{K} {report['ndcg_before']:.3f} before, {report['ndcg_after']:.3f} after "
            f"({mean:+.3f}, 95 % interval {low:+.3f} to {high:+.3f})."
        )
    lines.append(_chosen(report) if report["wins"] else "Rejected: it does not improve the held-out queries.")
    return "\n".join(lines)


def _chosen(report: dict[str, Any]) -> str:
    if not report["chosen"]:
        return "Not chosen, because of --dry-run."
    return "Chosen. Run `manage.py imagesim_rebuild` to apply it; nothing is embedded again."
