"""Fetch the files of a model, and say how open_clip has to be called to load them without asking the hub again."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imagesim.embedders import lite, model_files
from imagesim.embedders.model_spec import ModelName, naflex_problem
from imagesim.exceptions import EmbedderError


@dataclass(frozen=True)
class ModelSource:
    """The arguments for open_clip: the name of a model, and further keyword arguments.

    ``tokenizer``: the folder of a tokenizer from transformers, None if open_clip finds the tokenizer by the name of the
    model. ``text``: the configuration of the text tower, which says how that tokenizer is used.
    """

    model: str
    arguments: dict[str, Any]
    tokenizer: Path | None = None
    text: dict[str, Any] = field(default_factory=dict)

    def create_tokenizer(self) -> Any:
        """Return open_clip's tokenizer of the model, as ``open_clip.get_tokenizer`` would create it."""
        import open_clip
        from open_clip.tokenizer import DEFAULT_CONTEXT_LENGTH, HFTokenizer

        if self.tokenizer is None:
            return open_clip.get_tokenizer(self.model)
        return HFTokenizer(
            str(self.tokenizer),
            context_length=self.text.get("context_length", DEFAULT_CONTEXT_LENGTH),
            tokenizer_mode=self.text.get("tokenizer_mode"),
            **self.text.get("tokenizer_kwargs", {}),
        )


def model_source(name: ModelName, cache_dir: Path | None) -> ModelSource:
    """Return the arguments for open_clip, after every file of the model has been fetched and verified.

    :raises EmbedderError: if a file cannot be fetched, or the model cannot be used.
    """
    if name.kind == "hf-hub":
        return _from_hub(name, cache_dir)
    if name.kind == "built-in":
        return _from_tag(name, cache_dir)
    if name.kind == "lite":
        from imagesim.embedders import lite_model  # noqa: F401  # registers the trunk with timm
    folder = lite.folder(cache_dir, name.size) if name.kind == "lite" else Path(name.value)
    return ModelSource(f"local-dir:{folder}", _local_tower(folder))


def _from_hub(name: ModelName, cache_dir: Path | None) -> ModelSource:
    """Return the arguments for a model on the hub, read from the folder of one commit.

    The tokenizer and the configuration of the text tower can be in other repositories. If the commit is pinned, the
    files of the same commit are preferred, which cannot change.
    """
    folder = model_files.fetch(name.value, (model_files.CONFIG,), name.revision, cache_dir).parent
    config = name.fetched_config(cache_dir)
    problem = naflex_problem(name, config)
    if problem:
        raise EmbedderError(problem)
    model_files.fetch(name.value, model_files.WEIGHTS, folder.name, cache_dir)
    text = config.get("text_cfg", {})
    tokenizer, tower = None, {}
    if "hf_tokenizer_name" in text and (name.revision or text["hf_tokenizer_name"] == name.value):
        tokenizer = model_files.fetch_tokenizer(name.value, folder.name, cache_dir)
    if "hf_model_name" in text and name.revision:
        model_files.fetch_all(name.value, [model_files.TEXT_CONFIG], folder.name, cache_dir)
        tower = _tower_in(folder, text)
    return ModelSource(
        f"local-dir:{folder}",
        tower or _named_tower(text, cache_dir),
        tokenizer or _named_tokenizer(text, cache_dir),
        text,
    )


def _from_tag(name: ModelName, cache_dir: Path | None) -> ModelSource:
    """Return the arguments for a tag: the weights, preprocessing and activation that open_clip knows for it.

    open_clip itself keeps the activation of the architecture, and only warns if the weights have another, as those of
    OpenAI for ``ViT-B-32`` do: https://github.com/mlfoundations/open_clip#pretrained-model-interface
    """
    from open_clip.pretrained import get_pretrained_cfg

    text = (name.config() or {}).get("text_cfg", {})
    tokenizer, tower = _named_tokenizer(text, cache_dir), _named_tower(text, cache_dir)
    tag = get_pretrained_cfg(name.value.replace("/", "-"), name.pretrained or "")
    repository, _, file = tag.get("hf_hub", "").rpartition("/")
    if not repository:  # a file of weights, or an unknown tag, which open_clip reports itself
        return ModelSource(name.value, {"pretrained": name.pretrained, **tower}, tokenizer, text)
    files = (f"{Path(file).stem}.safetensors", file) if file else model_files.WEIGHTS
    arguments = {f"image_{key}": tag[key] for key in ("mean", "std", "interpolation", "resize_mode")}
    arguments["pretrained"] = str(model_files.fetch(repository, files, None, cache_dir))
    arguments["force_quick_gelu"] = tag.get("quick_gelu", False)
    return ModelSource(name.value, {**arguments, **tower}, tokenizer, text)


def _named_tokenizer(text: dict[str, Any], cache_dir: Path | None) -> Path | None:
    """Return the folder of the tokenizer that a configuration names; None if it names none.

    :raises EmbedderError: if the repository has none.
    """
    name = text.get("hf_tokenizer_name")
    if not name or Path(name).is_dir():
        return Path(name) if name else None
    folder = model_files.fetch_tokenizer(name, None, cache_dir)
    if folder is None:
        raise EmbedderError(f"The repository {name!r} has no tokenizer.")
    return folder


def _named_tower(text: dict[str, Any], cache_dir: Path | None) -> dict[str, Any]:
    """Return arguments that point a text tower from transformers at the files that a configuration names."""
    name = text.get("hf_model_name")
    if not name or Path(name).is_dir():
        return {}
    return _tower_in(model_files.fetch(name, (model_files.TEXT_CONFIG,), None, cache_dir).parent, text)


def _local_tower(folder: Path) -> dict[str, Any]:
    """Return arguments that point a text tower from transformers at the folder of its model, if its configuration is
    there."""
    try:
        text = dict(json.loads((folder / model_files.CONFIG).read_text("utf-8"))["model_cfg"]["text_cfg"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # open_clip reports it
    return _tower_in(folder, text)


def _tower_in(folder: Path, text: dict[str, Any]) -> dict[str, Any]:
    if "hf_model_name" not in text or not (folder / model_files.TEXT_CONFIG).is_file():
        return {}
    return {"text_cfg": {**text, "hf_model_name": str(folder), "hf_model_pretrained": False}}
