"""The name of a model, and what is known of the model without loading it."""

from __future__ import annotations

import importlib.util
import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from imagesim.embedders import lite
from imagesim.embedders.towers import file_digest
from imagesim.exceptions import ConfigurationError, EmbedderError

Kind = Literal["lite", "local-dir", "hf-hub", "built-in"]

CONFIG = "open_clip_config.json"

_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class ModelName:
    """A parsed name: where the model comes from (``kind``), which it is (``value``), the tag of its weights, and the
    commit of a repository on the hub."""

    kind: Kind
    value: str
    pretrained: str | None = None
    revision: str | None = None

    def __str__(self) -> str:
        full = self.value if self.kind in ("lite", "built-in") else f"{self.kind}:{self.value}"
        full += f"@{self.revision}" if self.revision else ""
        return f"The model {full!r}" + (f" ({self.pretrained})" if self.pretrained else "")

    @property
    def slug(self) -> str:
        """A short readable name of letters, digits, dots and dashes."""
        name = Path(self.value).name if self.kind == "local-dir" else self.value
        parts = [name, self.pretrained, self.revision and self.revision[:8]]
        return re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(filter(None, parts))).strip("-")

    def identity(self) -> dict[str, Any]:
        """What determines the vectors: for files their digests, for a name on the hub the name.

        :raises EmbedderError: if a folder or file cannot be read.
        """
        if self.kind == "lite":
            return {"model": lite.NAME, "digest": lite.digest()}
        if self.kind == "local-dir":
            return {"files": _folder_digests(Path(self.value))}
        if self.pretrained and Path(self.pretrained).is_file():
            return {"model": self.value, "weights": file_digest(Path(self.pretrained))}
        identity = {"kind": self.kind, "model": self.value, "pretrained": self.pretrained}
        return identity | ({"revision": self.revision} if self.revision else {})

    def config(self, cache_dir: Path | None = None) -> dict[str, Any] | None:
        """open_clip's configuration of the model; None if it is not on this machine.

        :raises EmbedderError: if a local folder has none.
        """
        if self.kind == "built-in":
            path = built_in_configs().get(self.value.replace("/", "-"))
        elif self.kind == "local-dir":
            path = Path(self.value) / CONFIG
        elif self.kind == "hf-hub":
            path = _cached_on_hub(self.value, cache_dir, self.revision)
        else:
            return None
        if path is None:
            return None
        try:
            config: dict[str, Any] = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise EmbedderError(f"{self} cannot be read: {error}.") from error
        model: dict[str, Any] = config.get("model_cfg", config)
        return model


def parse_name(model: str, pretrained: str | None = None) -> ModelName:
    """Parse a name.

    :raises ConfigurationError: if it is empty, or ``pretrained`` is given for a model with weights of its own.
    """
    if not isinstance(model, str) or not model.strip():
        raise ConfigurationError(f"The model must be a name such as 'ViT-B-32' or {lite.NAME!r}, not {model!r}.")
    kind: Kind
    revision = None
    if model == lite.NAME:
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
        raise ConfigurationError(
            f"The model {model!r} brings its own weights: leave out 'pretrained' ({pretrained!r})."
        )
    return ModelName(kind, value, pretrained or None, revision)


@cache
def built_in_configs() -> dict[str, Path]:
    """The configuration files of open_clip's built-in models, by name; empty if it is not installed."""
    spec = importlib.util.find_spec("open_clip")
    if spec is None or spec.origin is None:
        return {}
    return {path.stem: path for path in sorted((Path(spec.origin).parent / "model_configs").glob("*.json"))}


def _folder_digests(folder: Path) -> dict[str, str]:
    if not (folder / CONFIG).is_file():
        raise EmbedderError(f"The folder {str(folder)!r} holds no {CONFIG!r}, so it is not an open_clip model.")
    try:
        return {
            str(path.relative_to(folder)): file_digest(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file() and not path.name.startswith(".") and path.suffix not in (".md", ".txt.lock")
        }
    except OSError as error:
        raise EmbedderError(f"The model in {str(folder)!r} cannot be read: {error}.") from error


def pinned_folder(name: ModelName, cache_dir: Path | None) -> Path:
    """The files of the commit that a name on the hub pins, from the cache if they are complete there.

    A commit cannot change, so that the hub is not asked for what is on this machine.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name.value, revision=name.revision, cache_dir=cache_dir, local_files_only=True))
        if (folder / CONFIG).is_file() and any(folder.glob("open_clip_*.[bs]*")):
            return folder
    except LocalEntryNotFoundError:
        pass
    return Path(snapshot_download(name.value, revision=name.revision, cache_dir=cache_dir))


def _cached_on_hub(name: str, cache_dir: Path | None, revision: str | None) -> Path | None:
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    found = try_to_load_from_cache(name, CONFIG, cache_dir=cache_dir, revision=revision)
    return Path(found) if isinstance(found, str) else None
