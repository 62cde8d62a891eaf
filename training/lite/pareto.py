"""Plot the cost and quality of each size of the built-in model, compared with its plain trunk.

``python -m training.lite.pareto --figures OUT/sizes.json --times lite=A.json base=B.json --to PICTURE``

The picture is ``docs/images/model-sizes.svg``. ``A.json`` and ``B.json`` are written by
``python -m benchmarks.model_memory --model NAME --json FILE``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot as plt

RUNTIME, STEP = "ONNX Runtime", "ms per picture, batch 16"
PANELS = {
    "similar pictures, P@10 of the type": "{}: similar, type",
    "words → pictures, P@10 of the type": "{}: words, type",
}
LEAST_GAP = 0.06
TRADES = {"clothes": "tab:blue", "street": "tab:green", "groceries": "tab:orange"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.lite.pareto", description=__doc__)
    parser.add_argument("--figures", type=Path, required=True)
    parser.add_argument("--times", nargs="+", required=True, help="SIZE=FILE for each size")
    parser.add_argument("--to", type=Path, required=True)
    arguments = parser.parse_args()
    figures = json.loads(arguments.figures.read_text())
    files = dict(each.split("=", 1) for each in arguments.times)
    times = {size: json.loads(Path(file).read_text())[RUNTIME]["times"][STEP] for size, file in files.items()}
    plt.rcParams["svg.fonttype"] = "none"
    plt.rcParams["svg.hashsalt"] = "imagesim"
    drawing, panels = plt.subplots(1, 2, figsize=(8.4, 3.6), layout="constrained")
    for panel, (title, figure) in zip(panels, PANELS.items(), strict=True):
        for trade, colour in TRADES.items():
            name = figure.format(trade)
            for column, style in (("{}", "o-"), ("trunk of {}", "o:")):
                values = [figures[column.format(size)][name] for size in times]
                filled = colour if style == "o-" else "white"
                panel.plot(list(times.values()), values, style, color=colour, markerfacecolor=filled)
        ends = {trade: figures[list(times)[-1]][figure.format(trade)] for trade in TRADES}
        height = 0.0
        for trade in sorted(ends, key=ends.__getitem__):
            height = max(ends[trade], height + LEAST_GAP)  # labels do not overlap
            place = (max(times.values()), height)
            panel.annotate(trade, place, (6, 0), textcoords="offset points", color=TRADES[trade], va="center")
        panel.set_title(title, fontsize=10)
        panel.set_xlabel(f"ms per picture ({RUNTIME})")
        panel.set_xlim(0, max(times.values()) * 1.35)
        panel.set_ylim(0, 1)
        for size, time in times.items():
            panel.annotate(size, (time, 0), (0, 4), textcoords="offset points", ha="center", color="0.4")
            panel.axvline(time, color="0.9", zorder=0)
    drawing.legend(
        handles=[
            plt.Line2D([], [], color="0.3", marker="o", label="model"),
            plt.Line2D([], [], color="0.3", marker="o", linestyle=":", markerfacecolor="white", label="plain trunk"),
        ],
        loc="outside lower center",
        ncols=2,
        frameon=False,
    )
    arguments.to.parent.mkdir(parents=True, exist_ok=True)
    drawing.savefig(arguments.to, metadata={"Date": None})


if __name__ == "__main__":
    main()
