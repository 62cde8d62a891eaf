"""The choice of a precision: trials, storage, and the choice with real pictures."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from PIL import Image

from imagesim import images
from imagesim.embedders import openclip, precision
from imagesim.embedders.openclip import OpenClipEmbedder
from imagesim.embedders.precision import PrecisionCache, PrecisionTrial, best, overlap
from imagesim.exceptions import EmbedderError


@pytest.mark.parametrize(
    ("tried", "chosen"),
    [
        ([PrecisionTrial("fp32", 40)], "fp32"),
        ([PrecisionTrial("fp32", 40), PrecisionTrial("bf16", 12, 0.999, 0.99)], "bf16"),
        (
            [
                PrecisionTrial("fp32", 40),
                PrecisionTrial("bf16", 12, 0.999, 0.99),
                PrecisionTrial("int8", 6, 0.996, 0.98),
            ],
            "int8",
        ),
        (
            [
                PrecisionTrial("fp32", 40),
                PrecisionTrial("bf16", 12, 0.999, 0.99),
                PrecisionTrial("int8", 6, 0.994, 0.99),
            ],
            "bf16",
        ),
        ([PrecisionTrial("fp32", 40), PrecisionTrial("bf16", 12, 0.999, 0.97)], "fp32"),
        ([PrecisionTrial("fp32", 40), PrecisionTrial("bf16", 38, 1.0, 1.0)], "fp32"),  # not worth any deviation
    ],
)
def test_the_fastest_acceptable_precision_is_chosen(tried: list[PrecisionTrial], chosen: str) -> None:
    assert best(tried) == chosen


def test_overlap_counts_shared_neighbours() -> None:
    rows = np.random.default_rng(0).normal(size=(40, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert overlap(rows, rows) == 1
    assert overlap(rows, rows[::-1].copy()) < 0.6
    assert overlap(rows[:3], rows[:3]) == 1  # fewer than ten others
    swapped = overlap(rows, rows[::-1].copy())
    assert swapped < overlap(rows, rows[::-1].copy(), tie=0.1) < overlap(rows, rows[::-1].copy(), tie=2) == 1


def test_synthetic_pictures_are_reproducible_and_distinct() -> None:
    once, again = precision.synthetic_pictures(12), precision.synthetic_pictures(12)
    assert [image.tobytes() for image in once] == [image.tobytes() for image in again]
    assert len({image.tobytes() for image in once}) == 12


class TestPrecisionCache:
    def test_a_choice_is_stored_for_this_machine(self, tmp_path: Path) -> None:
        kept, tried = (
            PrecisionCache(tmp_path, "model-1"),
            [PrecisionTrial("fp32", 40.0), PrecisionTrial("bf16", 11.0, 0.999, 0.99)],
        )
        assert kept.get("cpu") is None
        kept.put("cpu", "bf16", tried)
        kept.put("cuda:0", "fp16", [])
        assert kept.get("cpu") == ("bf16", tried)
        assert set(kept.all_here()) == {"cpu", "cuda:0"}
        assert PrecisionCache(tmp_path, "model-2").get("cpu") is None
        assert [path.name for path in (tmp_path / "precision").iterdir()] == ["model-1.json"]

    def test_a_choice_can_be_read_by_other_users(self, tmp_path: Path) -> None:
        """Such as a choice by ``imagesim_precision``, run by root, in a folder shared with the web processes."""
        former = os.umask(0o022)
        try:
            PrecisionCache(tmp_path, "model-1").put("cpu", "bf16", [])
        finally:
            os.umask(former)
        assert (tmp_path / "precision" / "model-1.json").stat().st_mode & 0o777 == 0o644

    def test_another_machine_or_torch_has_its_own_choice(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        kept = PrecisionCache(tmp_path, "model-1")
        kept.put("cpu", "bf16", [])
        monkeypatch.setattr(precision.importlib.metadata, "version", lambda name: "99.0")
        assert kept.get("cpu") is None
        kept.put("cpu", "fp32", [])
        assert len(json.loads((tmp_path / "precision" / "model-1.json").read_text())) == 2

    def test_a_process_without_openvino_does_not_replace_a_choice_of_int8(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Such as a web process, which tries the precisions when it starts, alongside a worker with OpenVINO."""
        kept = PrecisionCache(tmp_path, "model-1")
        with monkeypatch.context() as installed:
            installed.setattr(precision.importlib.util, "find_spec", lambda name: name == "openvino")
            kept.put("cpu", "int8", [])
        monkeypatch.setattr(precision.importlib.util, "find_spec", lambda name: None)
        assert kept.get("cpu") is None
        kept.put("cpu", "fp32", [])
        monkeypatch.setattr(precision.importlib.util, "find_spec", lambda name: name == "openvino")
        assert kept.get("cpu") == ("int8", [])

    def test_without_torch_there_is_no_choice(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        kept = PrecisionCache(tmp_path, "model-1")
        kept.put("cpu", "bf16", [])

        def not_installed(name: str) -> str:
            raise importlib.metadata.PackageNotFoundError(name)

        monkeypatch.setattr(precision.importlib.metadata, "version", not_installed)
        assert kept.all_here() == {}

    def test_unreadable_files_are_ignored(self, tmp_path: Path) -> None:
        (tmp_path / "precision").write_text("a file")
        kept = PrecisionCache(tmp_path, "model-1")
        kept.put("cpu", "bf16", [])
        assert kept.get("cpu") is None


class Model:
    """Stands in for a loaded model: vectors that are off by ``error``, and a given time per picture."""

    batch_size = 16
    texts = None

    def __init__(self, name: str, error: float) -> None:
        self.precision, self._error, self.model = name, error, SimpleNamespace(visual=None)

    def prepare(self, image: Image.Image) -> Any:
        return np.asarray(image.resize((8, 8)), np.float32).ravel()

    def images(self, prepared: Any) -> Any:
        rows = np.stack(prepared) / 255 - 0.5
        rows += np.random.default_rng(0).normal(scale=self._error + 1e-9, size=rows.shape)
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every load of a model, in place of the real one; bf16 is exact, int8 is not."""
    done: list[str] = []

    def load(self: OpenClipEmbedder, name: str, device: Any) -> Model:
        done.append(name)
        return Model(name, 1.0 if name == "int8" else 0.0)

    monkeypatch.setattr(OpenClipEmbedder, "_load_in", load)
    monkeypatch.setattr(openclip, "lower_precisions", lambda device: ("bf16",))
    monkeypatch.setattr(precision, "MIN_GAIN", 0.0)
    return done


def test_only_the_first_load_runs_trials(tmp_path: Path, loads: list[str]) -> None:
    embedder = OpenClipEmbedder(cache_dir=tmp_path)
    assert embedder.precision_report() == "not yet tried on this machine"
    assert embedder._loaded().precision == "bf16"
    assert loads == ["fp32", "bf16"]
    assert OpenClipEmbedder(cache_dir=tmp_path)._loaded().precision == "bf16"
    assert loads == ["fp32", "bf16", "bf16"]
    assert embedder.precision_report().startswith("bf16 on cpu; tried: fp32 ")


def test_a_configured_precision_needs_no_trial(tmp_path: Path, loads: list[str]) -> None:
    embedder = OpenClipEmbedder(cache_dir=tmp_path, precision="fp32")
    assert embedder._loaded().precision == "fp32"
    assert loads == ["fp32"]
    assert embedder.precision_report() == "fp32, as set"


class TestRealPictures:
    @pytest.fixture(autouse=True)
    def int8(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        from imagesim.embedders import reduced_precision

        made: list[int] = []
        monkeypatch.setattr(reduced_precision, "int8_is_installed", lambda: True)
        monkeypatch.setattr(reduced_precision, "quantise", lambda visual, prepared, folder: made.append(len(prepared)))
        return made

    def test_int8_that_changes_answers_is_rejected(self, tmp_path: Path, loads: list[str], int8: list[int]) -> None:
        embedder = OpenClipEmbedder(cache_dir=tmp_path)
        chosen, tried = embedder.choose_precision(precision.synthetic_pictures(60))
        assert int8 == [20]
        assert [t.precision for t in tried] == ["fp32", "bf16", "int8"]
        assert [t.holds for t in tried] == [True, True, False]
        assert chosen == "bf16"
        assert "rejected" in embedder.precision_report()

    def test_too_few_pictures_are_rejected(self, tmp_path: Path) -> None:
        with pytest.raises(EmbedderError, match="at least 30"):
            OpenClipEmbedder(cache_dir=tmp_path).choose_precision(precision.synthetic_pictures(3))

    def test_the_command_reads_pictures_of_a_folder(
        self,
        tmp_path: Path,
        loads: list[str],
        settings: Any,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        pictures = tmp_path / "pictures"
        pictures.mkdir()
        for number, image in enumerate(precision.synthetic_pictures(40)):
            image.save(pictures / f"{number}.png")
        (pictures / "broken.jpg").write_bytes(b"no picture")
        settings.IMAGESIM = {
            "EMBEDDER": {
                "BACKEND": "imagesim.embedders.openclip.OpenClipEmbedder",
                "OPTIONS": {"cache_dir": str(tmp_path / "cache")},
            }
        }
        read = images.read

        def denied(file: Any) -> bytes:
            if "denied" in str(file.name):
                raise RuntimeError("access denied")  # like the client of a storage
            return read(file)

        monkeypatch.setattr(images, "read", denied)
        (pictures / "denied.jpg").write_bytes(b"no picture")
        call_command("imagesim_precision", folder=pictures, format="json")
        output = capsys.readouterr()
        facts = json.loads(output.out)
        assert facts["chosen"] == "bf16"
        assert facts["pictures"] == 40
        assert re.search("skipped .*broken.jpg: .", output.err)
        assert re.search("skipped .*denied.jpg: .", output.err)

    def test_the_command_without_a_local_model(self, settings: Any) -> None:
        settings.IMAGESIM = {
            "EMBEDDER": {
                "BACKEND": "imagesim.embedders.http.HttpEmbedder",
                "OPTIONS": {"url": "http://127.0.0.1:9/v1", "model": "m", "dims": 4},
            }
        }
        with pytest.raises(CommandError, match="HttpEmbedder has no precision to choose"):
            call_command("imagesim_precision")


def test_a_real_int8_tower(tmp_path: Path) -> None:
    """For a small convolutional network: made, stored, loaded, and close enough to be equivalent."""
    pytest.importorskip("openvino")
    pytest.importorskip("nncf")
    import torch
    from torch import nn

    from imagesim.embedders import reduced_precision

    torch.manual_seed(0)
    visual = nn.Sequential(nn.Conv2d(3, 16, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(256, 24))
    with pytest.raises(EmbedderError, match="imagesim_precision"):
        reduced_precision.QuantisedTower(tmp_path / "int8")
    pixels = torch.randn(32, 3, 32, 32)
    reduced_precision.quantise(visual.eval().requires_grad_(False), list(pixels), tmp_path / "int8")
    made = reduced_precision.QuantisedTower(tmp_path / "int8")(pixels[:5])
    wanted = visual(pixels[:5])
    assert made.shape == wanted.shape
    assert nn.functional.cosine_similarity(made, wanted).min() > 0.98
