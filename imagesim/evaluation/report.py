"""A study from beginning to end: what to compare by default, and its outcome as plain data and as a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from imagesim.evaluation import approximate, catalogue, metrics, plots, relevance, study
from imagesim.evaluation.relevance import SOURCES, Source
from imagesim.evaluation.study import METRICS, Outcome
from imagesim.evaluation.variants import Variant, check
from imagesim.exceptions import ImagesimError
from imagesim.items import Items
from imagesim.models import FittedProjection
from imagesim.projections import get_projection

Report = dict[str, Any]


def default_variants(dims: int) -> list[Variant]:
    """One axis at a time around the plain one: similarity functions, dimensions, quantisations."""
    return [
        Variant(),
        Variant(similarity="l2"),
        Variant(similarity="l1"),
        *[Variant(dims=kept) for kept in (dims // 2, dims // 4, dims // 8) if kept >= 8],
        *[Variant(quantisation=name, rescore=again) for name in ("int8", "int4", "bbq") for again in (False, True)],
    ]


def evaluate(
    items: Items[Any],
    *,
    sources: Sequence[Source] = SOURCES,
    judged: Path | None = None,
    fingerprints: Sequence[str] = (),
    variants: Sequence[Variant] = (),
    k: int = 10,
    queries: int | None = 1000,
    sample: int | None = 20_000,
    seed: int = 0,
    plot: Path | None = None,
    tell: Callable[[str], None] = lambda message: None,
) -> list[Report]:
    """One report for each model and each source of relevance that has queries.

    :raises BadQuery: for an unknown variant or source, or a bad file of judged pairs.
    :raises NotIndexed: if nothing was embedded yet.
    """
    reports = []
    for fingerprint in fingerprints or catalogue.fingerprints(items) or [""]:
        loaded = catalogue.load(items, fingerprint, sample=sample, seed=seed)
        chosen = list(variants) or default_variants(loaded.dims)
        for variant in chosen:
            check(variant, loaded.dims)
        for source in sources:
            if source == "judged" and judged is None:
                continue
            cases = relevance.cases(loaded, source, judged=judged, queries=queries, seed=seed)
            if not cases:
                tell(f"{source}: no query, left out")
                continue
            outcomes = []
            for variant in chosen:
                tell(f"{source}: {variant}")
                outcomes.append(study.run(loaded, cases, variant, k=k))
            for row in FittedProjection.objects.filter(fingerprint=fingerprint):
                projection = get_projection(row.pk)
                assert projection is not None
                tell(f"{source}: {row}")
                outcomes.append(
                    study.run(loaded, cases, Variant(), k=k, matrix=projection.matrix, name=f"projection {row}")
                )
            report = _as_report(fingerprint, source, len(loaded), len(cases), k, outcomes)
            try:
                found = approximate.compare(loaded, items.label, fingerprint, cases[:200], k=k)
            except ImagesimError as error:
                tell(f"approximate search not compared: {error}")
                found = None
            if found is not None:
                report["approximate"] = {
                    "recall": found.recall.mean,
                    "interval": [found.recall.low, found.recall.high],
                    "exact_ms": found.exact_ms,
                    "approximate_ms": found.approximate_ms,
                    "queries": found.queries,
                }
            if plot is not None:
                plot.mkdir(parents=True, exist_ok=True)
                stem = f"{items.label}-{source}-{fingerprint[:12].replace('/', '-')}"
                plots.chart(
                    outcomes, "ndcg", f"{items.label}: {source}, {len(cases)} queries", plot / f"{stem}-ndcg.png"
                )
                plots.contact_sheet(loaded, items, cases, outcomes[0], plot / f"{stem}-queries.png")
            reports.append(report)
    return reports


def _as_report(
    fingerprint: str, source: Source, items: int, queries: int, k: int, outcomes: Sequence[Outcome]
) -> Report:
    plain = outcomes[0]
    return {
        "fingerprint": fingerprint,
        "source": source,
        "items": items,
        "queries": queries,
        "k": k,
        "variants": [
            {
                "name": outcome.name,
                **{
                    metric: {"mean": value.mean, "low": value.low, "high": value.high}
                    for metric, value in outcome.estimates.items()
                },
                "overlap": float(study.overlap(outcome.rankings, plain.rankings, k).mean()),
                "ndcg_difference": _interval(metrics.paired_difference(outcome.values["ndcg"], plain.values["ndcg"])),
            }
            for outcome in outcomes
        ],
    }


def _interval(value: metrics.Estimate) -> list[float]:
    return [value.low, value.mean, value.high]


def as_table(report: Report) -> str:
    """The report for people: one line a variant, metrics with their 95 % intervals."""
    k = report["k"]
    width = max(len(variant["name"]) for variant in report["variants"])
    heads = {"precision": f"precision@{k}", "recall": f"recall@{k}", "ndcg": f"nDCG@{k}", "mrr": "MRR"}
    lines = [
        f"Relevance by {report['source']}: {report['queries']} queries over {report['items']} items, "
        f"model {report['fingerprint']}",
        "  ".join([" " * width, *[f"{heads[metric]:<22}" for metric in METRICS], f"top {k} shared"]),
    ]
    for variant in report["variants"]:
        cells = [
            f"{variant[m]['mean']:.3f} [{variant[m]['low']:.3f}, {variant[m]['high']:.3f}]".ljust(22) for m in METRICS
        ]
        lines.append("  ".join([variant["name"].ljust(width), *cells, f"{variant['overlap']:.3f}"]))
    if "approximate" in report:
        found = report["approximate"]
        lines.append(
            f"Approximate search finds {found['recall']:.3f} of what exact search finds "
            f"({found['approximate_ms']:.1f} ms against {found['exact_ms']:.1f} ms in the engine)."
        )
    return "\n".join(lines)
