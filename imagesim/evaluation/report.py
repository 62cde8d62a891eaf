"""Run a whole study of the default variants and the index's own approximate search, with the result as data, a table
and charts.

Charts need the extra ``django-imagesim[plot]``.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from imagesim import images
from imagesim.calibration.fit import Reliability, Sample, reliability
from imagesim.evaluation import catalogue, study
from imagesim.evaluation.catalogue import SOURCES, Case, Catalogue, Source
from imagesim.evaluation.study import METRICS, Estimate, Outcome, Variant, check_variant, estimate, paired_difference
from imagesim.exceptions import BadImage, BadQuery, ConfigurationError, ImagesimError, ModelMismatch
from imagesim.indexes import get_index
from imagesim.indexes.projections import get_projection, project
from imagesim.indexes.tables import FittedProjection
from imagesim.indexing.calibrate import departments_of
from imagesim.items import Items
from imagesim.items.declarations import category_parents
from imagesim.types import Filters, Query

Report = dict[str, Any]
BATCH = 50

ROWS = 8
"""The number of the best queries on a contact sheet, and of the worst."""
ANSWERS = 6
"""The number of answers to each of them."""
TILE = 160
EDGE = 6
RELEVANT = (30, 130, 60)
IRRELEVANT = (190, 60, 50)
NEUTRAL = (90, 90, 90)


def default_variants(dims: int) -> list[Variant]:
    """Return variants that differ from the plain one in one respect: similarity function, dimensions or
    quantisation."""
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
    """Evaluate each model with each source of relevance that has queries; one report each.

    :raises BadQuery: for an unknown variant or source, an invalid file of judged pairs, or a folder of charts that
        cannot be made.
    :raises NotIndexed: if nothing has been embedded yet.
    """
    if plot is not None:
        _check_folder(plot)  # before minutes of work
    reports = []
    firsts: dict[Source, tuple[str, list[tuple[str, str]], Outcome]] = {}
    for fingerprint in fingerprints or catalogue.fingerprints(items) or [""]:
        loaded = catalogue.load(items, fingerprint, sample=sample, seed=seed)
        chosen = list(variants) or default_variants(loaded.dims)
        for variant in chosen:
            check_variant(variant, loaded.dims)
        projections = FittedProjection.objects.filter(fingerprint=fingerprint)
        compared: list[Variant | FittedProjection] = [*chosen, *projections]
        for source in sources:
            if source == "judged" and judged is None:
                continue
            cases = catalogue.cases(loaded, source, judged=judged, queries=queries, seed=seed)
            if not cases:
                tell(f"{source}: skipped, it has no queries")
                continue
            outcomes = []
            for each in compared:
                tell(f"{source}: {each}")
                outcomes.append(_outcome(loaded, cases, each, k))
            report = _as_report(fingerprint, source, len(loaded), len(cases), k, outcomes)
            asked = [(loaded.pks[loaded.owner[case.row]], loaded.names[case.row]) for case in cases]
            former, asked_of_former, first = firsts.setdefault(source, (fingerprint, asked, outcomes[0]))
            if former != fingerprint and asked == asked_of_former:
                change = paired_difference(outcomes[0].values["ndcg"], first.values["ndcg"])
                report["model_change"] = {"from": former, "ndcg_difference": change.interval}
            if source == "judged" and judged is not None:
                missing, pairs = catalogue.left_out(loaded, judged)
                report["judged"] = {"pairs": pairs, "left_out": len(missing), "first": missing[:1]}
            try:
                report |= compare_approximate(loaded, items.label, fingerprint, cases[:200], k=k)
            except ImagesimError as error:
                tell(f"approximate search not compared: {error}")
            promised = reliability(_sample(loaded, items), seed=seed) if source == "category" else []
            if promised:
                report["reliability"] = [each._asdict() for each in promised]
            if plot is not None:
                stem = plot / f"{items.label}-{source}-{fingerprint.replace('/', '-')}"
                _bars(outcomes, f"{items.label}: {source}, {len(cases)} queries", f"{stem}-ndcg.png")
                _contact_sheet(loaded, items, cases, outcomes[0], f"{stem}-queries.png")
                if promised:
                    _reliability_curve(promised, items.label, f"{stem}-reliability.png")
            reports.append(report)
    return reports


def _outcome(loaded: Catalogue, cases: Sequence[Case], compared: Variant | FittedProjection, k: int) -> Outcome:
    if isinstance(compared, Variant):
        return study.run(loaded, cases, compared, k=k)
    projection = get_projection(compared.pk)
    assert projection is not None
    return study.run(loaded, cases, Variant(), k=k, matrix=projection.matrix, name=f"projection {compared}")


def _sample(loaded: Catalogue, items: Items[Any]) -> Sample:
    vectors, departments = loaded.vectors[loaded.first_images()], departments_of(category_parents(items))
    return Sample(vectors, loaded.categories, loaded.groups, departments)


def compare_approximate(
    catalogue: Catalogue, label: str, fingerprint: str, queries: Sequence[Case], *, k: int
) -> Report:
    """Run every query against the index in both ways; return the recall of approximate search at k, and the engine's
    median time of each in milliseconds. Empty if the index only searches exactly.

    :raises ModelMismatch: if the index holds the vectors of a model other than ``fingerprint``.
    """
    index = get_index()
    if not index.supports_approximate:
        return {}
    meta = index.meta()
    if meta.fingerprint != fingerprint:
        raise ModelMismatch(f"The active index was made by {meta.fingerprint!r}, not by {fingerprint!r}.")
    vectors = project(catalogue.vectors, meta.projection)
    shared: list[float] = []
    times: dict[bool, list[float]] = {True: [], False: []}
    for first in range(0, len(queries), BATCH):
        queries_of_batch = [
            Query(vectors[case.row], Filters(models=(label,)), limit=k, collapse=False, exact=True)
            for case in queries[first : first + BATCH]
        ]
        exact = index.search(queries_of_batch)
        approximate = index.search([replace(query, exact=False) for query in queries_of_batch])
        for one, other in zip(exact, approximate, strict=True):
            wanted = {match.key for match in one.candidates}
            shared.append(len(wanted & {match.key for match in other.candidates}) / max(1, len(wanted)))
            times[True].append(one.took_ms)
            times[False].append(other.took_ms)
    recall = estimate(np.array(shared))
    found = {
        "recall": recall.mean,
        "interval": [recall.low, recall.high],
        "exact_ms": statistics.median(times[True]),
        "approximate_ms": statistics.median(times[False]),
        "queries": len(shared),
    }
    return {"approximate": found}


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
                **{metric: asdict(value) for metric, value in outcome.estimates.items()},
                "overlap": float(study.overlap(outcome.rankings, plain.rankings, k).mean()),
                "ndcg_difference": paired_difference(outcome.values["ndcg"], plain.values["ndcg"]).interval,
            }
            for outcome in outcomes
        ],
    }


def as_table(report: Report) -> str:
    """Format the report as text: one line per variant, metrics with their 95 % intervals. The change is from the same
    queries under the first variant."""
    k = report["k"]
    width = max(len(variant["name"]) for variant in report["variants"])
    heads = {"precision": f"precision@{k}", "recall": f"recall@{k}", "ndcg": f"nDCG@{k}", "mrr": "MRR"}
    lines = [
        f"Relevance by {report['source']}: {report['queries']} queries over {report['items']} items, "
        f"model {report['fingerprint']}",
        "  ".join(
            [" " * width, *[f"{heads[metric]:<22}" for metric in METRICS], f"{'nDCG change':<24}", f"top {k} shared"]
        ),
    ]
    for number, variant in enumerate(report["variants"]):
        cells = [str(Estimate(**variant[metric])).ljust(22) for metric in METRICS]
        change = _change(variant["ndcg_difference"]) if number else ""
        lines.append("  ".join([variant["name"].ljust(width), *cells, f"{change:<24}", f"{variant['overlap']:.3f}"]))
    if "model_change" in report:
        found = report["model_change"]
        lines.append(
            f"Change of nDCG@{k} from the model {found['from']}, first rows: {_change(found['ndcg_difference'])}."
        )
    if report.get("judged", {}).get("left_out"):
        found = report["judged"]
        (query, item), *_rest = found["first"]
        lines.append(
            f"{found['left_out']} of {found['pairs']} judged pairs are left out, because an item of theirs has no "
            f"embedding or does not exist: the first is {query!r}, {item!r}."
        )
    if "approximate" in report:
        found = report["approximate"]
        lines.append(
            f"Approximate search finds {found['recall']:.3f} of what exact search finds "
            f"({found['approximate_ms']:.1f} ms against {found['exact_ms']:.1f} ms in the engine)."
        )
    if "reliability" in report:
        each = ", ".join(f"{one['relevance']:.2f}: {one['belongs']:.2f}" for one in report["reliability"])
        lines.append(f"Predicted relevance of hits, and the share of them that is relevant: {each}.")
    return "\n".join(lines)


def _change(interval: Sequence[float]) -> str:
    low, mean, high = interval
    return f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"


# Charts and contact sheets, as PNG files.


def _check_folder(folder: Path) -> None:
    """Create the folder that charts are written to.

    :raises BadQuery: if it cannot be created.
    :raises ConfigurationError: if matplotlib is not installed.
    """
    _pyplot()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadQuery(f"No charts can be written to {folder}: {error}.") from error


def _bars(outcomes: Sequence[Outcome], title: str, path: str) -> None:
    """Draw the nDCG of each variant as a bar, with its confidence interval."""
    pyplot = _pyplot()
    estimates = [outcome.estimates["ndcg"] for outcome in outcomes]
    figure, axes = pyplot.subplots(figsize=(9, 1.2 + 0.35 * len(outcomes)), layout="constrained")
    means = [value.mean for value in estimates]
    spread = [[v.mean - v.low for v in estimates], [v.high - v.mean for v in estimates]]
    axes.barh([outcome.name for outcome in outcomes], means, xerr=spread, color="#3b6ea5", ecolor="#222222", capsize=3)
    axes.invert_yaxis()
    axes.set_xlim(max(0.0, min(v.low for v in estimates) - 0.05), min(1.0, max(v.high for v in estimates) + 0.02))
    axes.set_xlabel("ndcg (95 % interval)")
    axes.set_title(title, loc="left")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _reliability_curve(found: Sequence[Reliability], title: str, path: str) -> None:
    """Draw the share of relevant hits by their predicted relevance: the diagonal, if calibrated. The areas of the
    points show the numbers of hits."""
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(figsize=(5, 5), layout="constrained")
    axes.plot([0, 1], [0, 1], color="#999999", linestyle="--")
    promised, kept = [each.relevance for each in found], [each.belongs for each in found]
    axes.plot(promised, kept, color="#3b6ea5")
    most = max(each.hits for each in found)
    axes.scatter(promised, kept, s=[20 + 180 * each.hits / most for each in found], color="#3b6ea5")
    axes.set_xlabel("relevance")
    axes.set_ylabel("share of relevant hits")
    axes.set_title(title, loc="left")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _contact_sheet(
    catalogue: Catalogue, items: Items[Any], queries: Sequence[Case], outcome: Outcome, path: str
) -> None:
    """Draw the best and the worst queries by nDCG: a row each, with its picture and its first answers, framed green or
    red."""
    order = sorted(range(len(queries)), key=lambda i: -float(outcome.values["ndcg"][i]))
    chosen = order if len(order) <= 2 * ROWS else order[:ROWS] + order[-ROWS:]
    shown = {int(catalogue.owner[queries[i].row]) for i in chosen}
    shown |= {int(item) for i in chosen for item in outcome.rankings[i][:ANSWERS]}
    pks = [catalogue.pks[item] for item in shown]
    objects = {str(item.pk): item for item in items.for_reading(items.get_queryset()).filter(pk__in=pks)}
    sheet = Image.new("RGB", ((ANSWERS + 1) * TILE, len(chosen) * TILE), "white")
    for line, i in enumerate(chosen):
        case = queries[i]
        query_item = int(catalogue.owner[case.row])
        cells = [(query_item, catalogue.names[case.row], NEUTRAL)]
        cells += [
            (int(item), "", RELEVANT if int(item) in case.grades else IRRELEVANT)
            for item in outcome.rankings[i][:ANSWERS]
        ]
        for column, (item, name, colour) in enumerate(cells):
            tile = _tile(items, objects.get(catalogue.pks[item]), name, colour)
            sheet.paste(tile, (column * TILE, line * TILE))
    sheet.save(path)


def _tile(items: Items[Any], item: Any, name: str, colour: tuple[int, int, int]) -> Image.Image:
    tile = Image.new("RGB", (TILE, TILE), colour)
    inner = TILE - 2 * EDGE
    picture = _picture(items, item, name)
    if picture is None:
        ImageDraw.Draw(tile).text((EDGE, EDGE), "no picture", fill="white")
        return tile
    picture.thumbnail((inner, inner))
    ground = Image.new("RGB", (inner, inner), "white")
    ground.paste(picture, ((inner - picture.width) // 2, (inner - picture.height) // 2))
    tile.paste(ground, (EDGE, EDGE))
    return tile


def _picture(items: Items[Any], item: Any, name: str) -> Image.Image | None:
    if item is None:
        return None
    for file in items.get_images(item):
        if name in ("", file.name):
            try:
                return images.decode(images.read(file))
            except (BadImage, OSError):
                return None
    return None


def _pyplot() -> Any:
    try:
        import matplotlib
    except ImportError:
        raise ConfigurationError("Charts need matplotlib: pip install 'django-imagesim[plot]'.") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot
