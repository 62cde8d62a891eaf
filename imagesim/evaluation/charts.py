"""Charts and contact sheets of a study, as PNG files; charts need the extra ``django-imagesim[plot]``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from imagesim import images
from imagesim.calibration.fit import Reliability
from imagesim.evaluation.catalogue import Case, Catalogue
from imagesim.evaluation.study import Outcome
from imagesim.exceptions import BadImage, BadQuery, ConfigurationError
from imagesim.items import Items

ROWS = 8
"""Of the best queries on a contact sheet, and of the worst."""
ANSWERS = 6
"""Of each of them."""
TILE = 160
EDGE = 6
RELEVANT = (30, 130, 60)
IRRELEVANT = (190, 60, 50)
NEUTRAL = (90, 90, 90)


def check(folder: Path) -> None:
    """Make the folder that charts are written to.

    :raises BadQuery: if it cannot be made.
    :raises ConfigurationError: if matplotlib is not installed.
    """
    _pyplot()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadQuery(f"No charts can be written to {folder}: {error}.") from error


def bars(outcomes: Sequence[Outcome], metric: str, title: str, path: Path) -> None:
    """Draw one bar per variant with its confidence interval."""
    pyplot = _pyplot()
    estimates = [outcome.estimates[metric] for outcome in outcomes]
    figure, axes = pyplot.subplots(figsize=(9, 1.2 + 0.35 * len(outcomes)), layout="constrained")
    means = [value.mean for value in estimates]
    spread = [[v.mean - v.low for v in estimates], [v.high - v.mean for v in estimates]]
    axes.barh([outcome.name for outcome in outcomes], means, xerr=spread, color="#3b6ea5", ecolor="#222222", capsize=3)
    axes.invert_yaxis()
    axes.set_xlim(max(0.0, min(v.low for v in estimates) - 0.05), min(1.0, max(v.high for v in estimates) + 0.02))
    axes.set_xlabel(f"{metric} (95 % interval)")
    axes.set_title(title, loc="left")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def reliability_curve(found: Sequence[Reliability], title: str, path: Path) -> None:
    """Draw the share of relevant hits by their predicted relevance: the diagonal, if calibrated. Areas are numbers of
    hits."""
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


def contact_sheet(
    catalogue: Catalogue, items: Items[Any], queries: Sequence[Case], outcome: Outcome, path: Path
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
