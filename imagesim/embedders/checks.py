"""System checks of an embedder's options that need no model to be loaded."""

from __future__ import annotations

import difflib
import importlib.util
from pathlib import Path

from django.core.checks import CheckMessage, Error

from imagesim.embedders import towers
from imagesim.embedders.model_spec import CONFIG, ModelName, built_in_configs
from imagesim.exceptions import EmbedderError, format_choices


def check_setup(name: ModelName) -> list[CheckMessage]:
    """The first error of this model's installation or name, if any. Imports neither torch nor open_clip."""
    extra = "lite" if name.kind == "lite" else "clip"
    for module in ("torch", "open_clip", "transformers"):
        if importlib.util.find_spec(module) is None:
            return [
                Error(
                    f"{name} needs the package {module!r}, which is not installed.",
                    hint=f"Run pip install 'imagesim[{extra}]'.",
                    id="imagesim.E201",
                )
            ]
    if name.kind == "lite":
        return _check_towers()
    if name.kind == "local-dir":
        return _check_folder(name)
    return _check_built_in(name) if name.kind == "built-in" else []


def _check_towers() -> list[CheckMessage]:
    for find in (towers.trunk_path, towers.text_path):
        try:
            find()
        except EmbedderError as error:
            return [Error(str(error), id="imagesim.E201")]
    return []


def _check_folder(name: ModelName) -> list[CheckMessage]:
    folder = Path(name.value)
    if not (folder / CONFIG).is_file():
        what = f"has no {CONFIG!r}" if folder.is_dir() else "does not exist"
        return [
            Error(
                f"{name} cannot be loaded: the folder {what}.",
                hint="Give 'local-dir:' the folder of a model saved for open_clip, with its configuration and weights.",
                id="imagesim.E202",
            )
        ]
    return []


def _check_built_in(name: ModelName) -> list[CheckMessage]:
    known = built_in_configs()
    if name.value.replace("/", "-") not in known:
        near = difflib.get_close_matches(name.value, known, n=3, cutoff=0.5)
        hint = f"Did you mean {format_choices(near)}?" if near else "open_clip.list_models() lists the names."
        return [Error(f"{name} is unknown to open_clip.", hint=hint, id="imagesim.E202")]
    if not name.pretrained:
        return [
            Error(
                f"{name} has no weights: 'pretrained' is not set.",
                hint="Name the weights, such as 'pretrained': 'laion2b_s34b_b79k' for ViT-B-32.",
                id="imagesim.E203",
            )
        ]
    if "siglip" in name.value.lower() and Path(name.pretrained).suffix:
        # open_clip would silently preprocess with another model's mean and deviation:
        # https://github.com/mlfoundations/open_clip/issues/1068
        return [
            Error(
                f"{name} cannot be loaded from a bare file of weights, which does not say how its images are prepared.",
                hint="Put the file into a folder with its open_clip_config.json and name it with 'local-dir:'.",
                id="imagesim.E204",
            )
        ]
    return []
