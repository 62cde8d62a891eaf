"""Models in ONNX Runtime: equal vectors without torch, from files that are exported once and verified."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imagesim.conf import Backend
from imagesim.embedders import BaseEmbedder, lite, onnx, precision
from imagesim.embedders.openclip import OpenClipEmbedder
from imagesim.embedders.precision import synthetic_pictures
from imagesim.embedders.process import import_torchvision
from imagesim.exceptions import ConfigurationError, EmbedderError
from imagesim.regions import get_region_fingerprint
from imagesim.regions import onnx as regions_onnx
from imagesim.regions.lite import LiteRegionFinder
from imagesim.testing.embedder_contract import EmbedderContract, pictures
from tests.test_regions import figure, noise, product
from tools.system import locked

# Not imported here: only the app's own import keeps ONNX Runtime's telemetry off.
if not (find_spec("onnxruntime") and find_spec("onnx")):
    pytest.skip("ONNX Runtime is not installed: pip install -c constraints.txt '.[onnx]'", allow_module_level=True)

# The first to use a model exports it: up to half a minute of processor time.
pytestmark = pytest.mark.timeout(400)
ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "torchvision", "open_clip", "transformers", "timm", "safetensors", "onnx")


@pytest.fixture(scope="session")
def clip_cache(local_clip: Path) -> Path:
    """A cache folder with the exported model of ``local_clip``, shared by all processes of a run."""
    cache = Path(os.environ["IMAGESIM_TEST_SCRATCH"], "onnx")
    cache.mkdir(exist_ok=True)
    OpenClipEmbedder(model=f"local-dir:{local_clip}", runtime="onnx", cache_dir=cache).warm_up()
    return cache


@pytest.fixture(scope="session")
def lite_onnx(model_cache: Path) -> OpenClipEmbedder:
    embedder = OpenClipEmbedder(runtime="onnx", cache_dir=model_cache)
    with exported_here(embedder._exported()) as missing:
        if missing:
            from imagesim.embedders import onnx_export

            onnx_export.export(embedder.name, model_cache, embedder._exported())
    return embedder


@contextmanager
def exported_here(kept: Path) -> Iterator[bool]:
    """Whether the block has to export a network to the folder: in this process, which has imported torch, large ones
    take half the time. That of ``clip_cache`` is exported by a separate process, as in a shop."""
    import torch

    fast = torch.backends.mha.get_fastpath_enabled()
    with locked(kept.parent.parent / "export.lock"), warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")  # of the tracer, which that process does not show either
        patch.setattr(precision, "SYNTHETIC_PICTURES", 12)
        yield not lite.intact(kept)
    torch.backends.mha.set_fastpath_enabled(fast)


@pytest.fixture
def clip(local_clip: Path, clip_cache: Path) -> OpenClipEmbedder:
    return OpenClipEmbedder(model=f"local-dir:{local_clip}", runtime="onnx", cache_dir=clip_cache)


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in a separate process."""
    setup = "from django.conf import settings; settings.configure()\n"
    return subprocess.run(
        [sys.executable, "-c", setup + code],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        env={**os.environ, **environment},
        cwd=ROOT,
    )


def serving(model: Path, cache: Path) -> str:
    """Return code that makes the embedder ``e`` of the model ``local_clip``."""
    return (
        "import os, sys, numpy\n"
        "from PIL import Image\n"
        "from imagesim.embedders.openclip import OpenClipEmbedder\n"
        f"e = OpenClipEmbedder(model='local-dir:{model}', runtime='onnx', cache_dir={str(cache)!r})\n"
    )


class TestLite(EmbedderContract):
    @pytest.fixture
    def embedder(self, lite_onnx: OpenClipEmbedder) -> BaseEmbedder:
        return lite_onnx


class TestLocalFolder(EmbedderContract):
    @pytest.fixture
    def embedder(self, clip: OpenClipEmbedder) -> BaseEmbedder:
        return clip


@pytest.mark.parametrize("lite_model", [True, False])
def test_the_vectors_equal_those_of_torch(
    lite_model: bool, model_cache: Path, lite_onnx: OpenClipEmbedder, local_clip: Path, clip: OpenClipEmbedder
) -> None:
    exported = lite_onnx if lite_model else clip
    options = {"cache_dir": model_cache} if lite_model else {"model": f"local-dir:{local_clip}"}
    whole = OpenClipEmbedder(**options, precision="fp32")  # type: ignore[arg-type]
    assert exported.fingerprint == whole.fingerprint
    assert exported.dims == whole.dims
    images = [*pictures(), *synthetic_pictures(20)[10:]]
    assert (exported.embed_images(images) * whole.embed_images(images)).sum(1).min() >= 0.9999
    texts = [
        "",
        "Größe &amp; “JEANS”",
        "green   dress_with flowers",
        "😀 " * 100,
        "<end_of_text> x",
        "日本の着物",
    ]
    assert (exported.embed_texts(texts) * whole.embed_texts(texts)).sum(1).min() >= 0.9999
    assert "compared with torch" in exported.precision_report()


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [(32, 32), (48, 32)])
def test_pictures_are_prepared_as_in_open_clip(mode: str, interpolation: str, size: tuple[int, int]) -> None:
    onnx_facts = {"size": list(size), "resize_mode": mode, "interpolation": interpolation, "fill_color": 200}
    import_torchvision()
    from open_clip.transform import PreprocessCfg, image_transform_v2

    transform = image_transform_v2(PreprocessCfg(**{**onnx_facts, "size": size}), is_train=False)
    noise = Image.effect_noise((90, 90), 80).convert("RGB")
    for shape in ((90, 90), (33, 61), (61, 33), (20, 45), (8, 8), (131, 47), (32, 32), (48, 32), (35, 300)):
        image = noise.resize(shape)
        for step in transform.transforms[:-2]:  # up to the pixels
            image = step(image)
        assert np.array_equal(onnx.resize_and_crop(noise.resize(shape), onnx_facts), image), shape


def test_an_answering_process_does_not_import_torch(local_clip: Path, clip_cache: Path, clip: OpenClipEmbedder) -> None:
    done = run(
        serving(local_clip, clip_cache)
        + "e.check(), e.warm_up(), e.precision_report(), e.best_batch(), e.dims\n"
        + f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_sizes_are_known_without_open_clip(clip: OpenClipEmbedder, tmp_path: Path) -> None:
    """The package has those of a model that open_clip knows by name; a process without open_clip has the exported
    model."""
    known = json.loads((clip._exported() / onnx.FACTS).read_text())
    assert (known["dims"], min(known["preprocess"]["size"])) == (clip.dims, clip.input_side) == (24, 32)
    options = {"model": "ViT-L-16-SigLIP-384", "pretrained": "webli", "runtime": "onnx", "cache_dir": str(tmp_path)}
    kept = OpenClipEmbedder(**options)._exported()  # type: ignore[arg-type]
    described = json.dumps({"dims": 1024, "preprocess": {"size": [384, 384]}})
    code = (
        "import sys, time\n"
        "sys.modules.update(dict.fromkeys(['open_clip', 'torch', 'transformers']))\n"
        "from imagesim.embedders.openclip import OpenClipEmbedder\n"
        f"e = OpenClipEmbedder(**{options!r})\n"
        "try: print(e.min_decode_side, e.dims, e._state.loaded)\n"
        "except Exception as error: print(repr(error))\n"
    )
    offline = {"HF_ENDPOINT": "http://127.0.0.1:9"}
    # A name of open_clip is not a name on the hub: nothing is requested there.
    assert (
        "EmbedderError(\"The model 'ViT-L-16-SigLIP-384' (webli) needs the package 'torch'"
        in run(code, **offline).stdout
    )
    lite.build_once(kept, lambda scratch: (scratch / onnx.FACTS).write_text(described))
    assert run(code, **offline).stdout.strip() == "768 1024 None"


def test_the_number_of_threads_is_limited(local_clip: Path, clip_cache: Path) -> None:
    code = serving(local_clip, clip_cache) + "e.warm_up()\nprint(len(os.listdir('/proc/self/task')))\n"
    if not Path("/proc/self/task").exists():
        pytest.skip("no /proc on this platform")
    one, three = (int(run(code, OMP_NUM_THREADS=n, OPENBLAS_NUM_THREADS="1").stdout) for n in ("1", "3"))
    assert three - one == 2 * 2  # two towers, each in addition to the thread that asks


@pytest.mark.long
def test_no_usage_reports_are_sent(local_clip: Path, clip_cache: Path, tmp_path: Path) -> None:
    """The code that sends them would open a database in the user's cache folder, or in the home folder, at its
    start."""
    code = serving(local_clip, clip_cache) + "e.warm_up()\nprint(os.environ['ORT_DISABLE_TELEMETRY'])\n"
    done = run(code, HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path))
    assert done.stdout.strip() == "1", done.stderr
    assert not [path for path in tmp_path.rglob("*") if "onnxruntime" in path.name]


def test_a_child_process_answers_and_exits(local_clip: Path, clip_cache: Path) -> None:
    done = run(
        serving(local_clip, clip_cache)
        + "images = [Image.new('RGB', (40, 40), (i * 9, 40, 90)) for i in range(5)]\n"
        + "before = e.embed_images(images)\n"
        + "pid = os.fork()\n"
        + "if pid == 0:\n"
        + "    sys.exit(0 if numpy.allclose(e.embed_images(images), before, atol=1e-5) else 3)\n"
        + "sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n",
        OMP_NUM_THREADS="2",
    )
    assert done.returncode == 0, done.stderr


# The files.


@pytest.mark.parametrize("harm", ["damaged", "missing"])
def test_without_torch_damaged_files_are_a_clear_error(
    harm: str, local_clip: Path, clip: OpenClipEmbedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = OpenClipEmbedder(model=f"local-dir:{local_clip}", runtime="onnx", cache_dir=tmp_path)
    kept = embedder._exported()
    if harm == "damaged":
        shutil.copytree(clip._exported(), kept)
        (kept / "image.onnx.data").write_bytes((kept / "image.onnx.data").read_bytes()[:-1] + b"x")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert [message.id for message in embedder.check()] == ([] if harm == "damaged" else ["imagesim.W201"])
    with pytest.raises(EmbedderError, match=r"no intact files|needs the package 'torch'") as raised:
        embedder.embed_texts(["shirt"])
    assert str(tmp_path) in str(raised.value) or harm == "missing"


@pytest.mark.parametrize("moment", ["before", "while"])
def test_files_that_were_replaced_are_not_exported_under_the_old_fingerprint(
    moment: str, local_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imagesim.embedders import onnx_export

    model = shutil.copytree(local_clip, tmp_path / "model")
    embedder = OpenClipEmbedder(model=f"local-dir:{model}", runtime="onnx", cache_dir=tmp_path / "cache")
    kept = embedder._exported()
    monkeypatch.setattr(onnx_export, "_export", lambda loaded, scratch, step: replace() or {})
    monkeypatch.setattr(onnx_export, "OnnxModel", lambda scratch: None)
    trial = onnx_export.precision.PrecisionTrial("fp32", 0.0, 1.0, 1.0)
    monkeypatch.setattr(onnx_export, "_compare", lambda loaded, exported: trial)

    def replace() -> None:
        (model / "vocab.txt").write_text("other")

    if moment == "before":
        replace()
    with pytest.raises(EmbedderError, match="were changed meanwhile"):
        onnx_export.export(embedder.name, embedder.cache_dir, kept)
    assert not kept.exists()


@pytest.mark.long
def test_several_processes_replace_damaged_files_once(local_clip: Path, clip: OpenClipEmbedder, tmp_path: Path) -> None:
    embedder = OpenClipEmbedder(model=f"local-dir:{local_clip}", runtime="onnx", cache_dir=tmp_path)
    kept = embedder._exported()
    shutil.copytree(clip._exported(), kept)
    (kept / "text.onnx").write_bytes(b"damaged")
    code = serving(local_clip, tmp_path) + "e.embed_texts(['shirt']); print(os.stat(e._exported()).st_ino)\n"
    several = [
        subprocess.Popen(
            [sys.executable, "-c", "from django.conf import settings; settings.configure()\n" + code],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for _ in range(3)
    ]
    said = {process.communicate(timeout=110)[0].strip() for process in several}
    assert said == {str(kept.stat().st_ino)}
    assert lite.intact(kept)
    assert {path.name for path in kept.parent.iterdir()} == {kept.name, f".{kept.name}.lock"}


@pytest.mark.long
def test_a_model_that_differs_is_not_stored(local_clip: Path, tmp_path: Path) -> None:
    done = run(
        serving(local_clip, tmp_path)
        + "from imagesim.embedders import onnx_export\n"
        + "onnx_export.MIN_COSINE = 1.1\n"
        + "onnx_export.export(e.name, e.cache_dir, e._exported())\n"
    )
    assert "its vectors differ from those of torch (minimum cosine" in done.stderr
    assert not list(tmp_path.rglob("*.onnx"))


@pytest.mark.long
def test_a_failed_export_is_explained(local_clip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(local_clip, folder)
    (folder / "open_clip_model.safetensors").write_bytes(b"\x02" + bytes(7) + b"{}")  # whole, but without weights
    embedder = OpenClipEmbedder(model=f"local-dir:{folder}", runtime="onnx", cache_dir=tmp_path / "cache")
    with pytest.raises(EmbedderError, match=r"cannot be exported for ONNX Runtime: .*cannot be loaded"):
        embedder.embed_texts(["shirt"])


@pytest.mark.long
def test_a_folder_that_cannot_be_written_is_named(local_clip: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(EmbedderError, match="cache_dir"):
        OpenClipEmbedder(model=f"local-dir:{local_clip}", runtime="onnx", cache_dir=blocked).embed_texts(["shirt"])


# The options.


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"runtime": "tensorrt"}, "'auto', 'onnx' or 'torch'"),
        ({"runtime": "onnx", "device": "cuda"}, "on the CPU in fp32"),
        ({"runtime": "onnx", "precision": "bf16"}, "on the CPU in fp32"),
    ],
)
def test_wrong_options_are_rejected_at_once(options: dict[str, str], error: str) -> None:
    with pytest.raises(ConfigurationError, match=error):
        OpenClipEmbedder(**options)  # type: ignore[arg-type]


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    embedder = OpenClipEmbedder(runtime="onnx")
    assert not OpenClipEmbedder()._exports
    (message,) = embedder.check()
    assert message.id == "imagesim.W201"
    assert "django-imagesim[onnx]" in str(message.hint)
    with pytest.raises(EmbedderError, match="onnxruntime"):
        embedder.embed_texts(["shirt"])


def test_there_is_no_precision_to_choose(clip: OpenClipEmbedder) -> None:
    with pytest.raises(EmbedderError, match="no precision to choose"):
        clip.choose_precision(synthetic_pictures(30))
    assert json.loads((clip._exported() / onnx.FACTS).read_text())["trial"]["precision"] == "fp32"


# Where ONNX Runtime is used without being asked for.


@pytest.fixture
def no_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx, "has_accelerator", lambda: False)


def test_the_built_in_model_uses_it_once_it_was_exported(
    model_cache: Path, lite_onnx: OpenClipEmbedder, no_accelerator: None, tmp_path: Path
) -> None:
    lite_onnx.warm_up()
    shared = OpenClipEmbedder(cache_dir=model_cache)
    assert shared.embed_texts(["shirt"]).shape == (1, shared.dims)
    assert isinstance(shared._loaded(), onnx.OnnxModel)
    assert "in ONNX Runtime" in shared.precision_report()
    for options in ({"device": "cuda"}, {"precision": "bf16"}, {"precision": "fp32"}, {"runtime": "torch"}):
        assert not OpenClipEmbedder(cache_dir=model_cache, **options)._exports  # type: ignore[arg-type]
    assert not OpenClipEmbedder(cache_dir=tmp_path)._exports
    assert not OpenClipEmbedder(cache_dir=tmp_path, model="ViT-B-32", pretrained="openai")._may_export


def test_a_graphics_card_is_left_to_torch(
    model_cache: Path, lite_onnx: OpenClipEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    lite_onnx.warm_up()
    monkeypatch.setattr(onnx, "has_accelerator", lambda: True)
    assert not OpenClipEmbedder(cache_dir=model_cache)._exports
    assert OpenClipEmbedder(cache_dir=model_cache, device="cpu")._exports


def test_warming_up_exports_the_model_and_falls_back_to_torch(
    tmp_path: Path,
    no_accelerator: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    local_clip: Path,
) -> None:
    asked: list[object] = []

    def fail(*arguments: object) -> None:
        asked.append(arguments)
        raise EmbedderError("no room.")

    monkeypatch.setattr(onnx, "prepare", fail)
    monkeypatch.setattr(OpenClipEmbedder, "_may_export", True)
    embedder = OpenClipEmbedder(model=f"local-dir:{local_clip}", cache_dir=tmp_path)
    embedder.warm_up()
    assert asked
    assert "no room. torch is used instead." in caplog.text
    assert embedder.model is not None


@pytest.mark.parametrize("runtime", ["auto", "onnx"])
def test_a_damaged_export_that_cannot_be_replaced_leaves_the_model_to_torch(
    runtime: str,
    model_cache: Path,
    lite_onnx: OpenClipEmbedder,
    finder: LiteRegionFinder,
    no_accelerator: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A container has a copy of the export, but not the package that makes one."""
    lite_onnx.warm_up()
    finder.warm_up()

    def fail(*arguments: object) -> None:
        raise EmbedderError("it is damaged.")

    for module in (onnx, regions_onnx):
        monkeypatch.setattr(module, "load", fail)
    embedder = OpenClipEmbedder(runtime=runtime, cache_dir=model_cache)
    other = LiteRegionFinder(runtime=runtime, cache_dir=model_cache)
    if runtime == "onnx":
        for ask in (lambda: embedder.embed_texts(["shirt"]), lambda: other.find(product())):
            with pytest.raises(EmbedderError, match="damaged"):
                ask()
        return
    assert embedder.embed_texts(["shirt"]).shape == (1, embedder.dims)
    assert other.find(product())
    assert caplog.text.count("it is damaged. torch is used instead.") == 2


# The region finder.


@pytest.fixture(scope="session")
def finder(model_cache: Path) -> LiteRegionFinder:
    with exported_here(regions_onnx.folder(model_cache)) as missing:
        if missing:
            regions_onnx.export(model_cache)
    return LiteRegionFinder(runtime="onnx", cache_dir=model_cache)


def test_the_same_regions_are_found(finder: LiteRegionFinder) -> None:
    whole = LiteRegionFinder(runtime="torch", precision="fp32", min_score=0)
    exported = LiteRegionFinder(runtime="onnx", cache_dir=finder.cache_dir, min_score=0)
    for image in (figure(), product(), noise(), figure().rotate(90, expand=True)):
        ours, theirs = exported.find(image), whole.find(image)
        assert [region.label for region in ours] == [region.label for region in theirs]
        for one, other in zip(ours, theirs, strict=True):
            assert [one.x, one.y, one.width, one.height, one.score] == pytest.approx(
                [other.x, other.y, other.width, other.height, other.score], abs=1e-3
            )
    backends = [
        Backend("imagesim.regions.lite.LiteRegionFinder", {"runtime": runtime, "cache_dir": str(finder.cache_dir)})
        for runtime in ("onnx", "torch")
    ]
    assert len({get_region_fingerprint(backend) for backend in backends}) == 1


def test_regions_are_found_without_torch(finder: LiteRegionFinder) -> None:
    finder.find(product())
    done = run(
        "import sys\n"
        "from PIL import Image\n"
        "from imagesim.regions.lite import LiteRegionFinder\n"
        f"finder = LiteRegionFinder(cache_dir={str(finder.cache_dir)!r})\n"
        "finder.check(), finder.find(Image.effect_noise((300, 400), 80).convert('RGB')), finder.warm_up()\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_a_finder_uses_torch_until_the_network_was_exported(tmp_path: Path) -> None:
    assert not LiteRegionFinder(cache_dir=tmp_path)._exported()
    assert LiteRegionFinder(cache_dir=tmp_path, runtime="onnx")._exported()
    with pytest.raises(ConfigurationError, match="computes in fp32"):
        LiteRegionFinder(runtime="onnx", precision="bf16")
    with pytest.raises(ConfigurationError, match="'auto', 'onnx' or 'torch'"):
        LiteRegionFinder(runtime="tensorrt")


@pytest.mark.parametrize(("given", "expected"), [("3", 3), ("2,1", 2), ("", 5), ("many", 5)])
def test_the_threads_are_those_of_openmp(monkeypatch: pytest.MonkeyPatch, given: str, expected: int) -> None:
    opened: list[int] = []

    class Session:
        def __init__(self, path: Path, options: Any, providers: list[str]) -> None:
            opened.append(options.intra_op_num_threads)

    options = SimpleNamespace(add_session_config_entry=lambda *entry: None)
    runtime = SimpleNamespace(SessionOptions=lambda: options, InferenceSession=Session)
    monkeypatch.setattr(onnx, "import_onnxruntime", lambda: runtime)
    monkeypatch.setattr(onnx, "threads", lambda: 5)
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    onnx.session(Path("network.onnx"))
    assert opened == [expected]
