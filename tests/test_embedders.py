"""The embedders that run a model: the contract with real weights, and errors of their configuration."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image, ImageDraw

from imagesim.conf import Backend
from imagesim.embedders import BaseEmbedder, get_embedder, lite, loading, model_files, openclip
from imagesim.embedders.model_spec import built_in_weights
from imagesim.embedders.openclip import OpenClipEmbedder
from imagesim.embedders.precision import choose_device, lower_precisions
from imagesim.embedders.process import import_torchvision
from imagesim.exceptions import ConfigurationError, EmbedderError
from imagesim.testing.embedder_contract import EmbedderContract, pictures


@pytest.fixture(scope="session")
def lite_embedder(model_cache: Path) -> OpenClipEmbedder:
    return OpenClipEmbedder(cache_dir=model_cache, runtime="torch")


class TestPinnedOnTheHub(EmbedderContract):
    """A commit that is in the hub's cache is loaded from there, without a request to the hub."""

    COMMIT = "0123456789abcdef0123456789abcdef01234567"

    @pytest.fixture
    def embedder(self, local_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BaseEmbedder:
        snapshot = tmp_path / "models--acme--clip" / "snapshots" / self.COMMIT
        shutil.copytree(local_clip, snapshot)
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
        return OpenClipEmbedder(model=f"hf-hub:acme/clip@{self.COMMIT}", cache_dir=tmp_path)

    def test_the_commit_is_part_of_the_fingerprint(self, embedder: BaseEmbedder) -> None:
        assert embedder.fingerprint != OpenClipEmbedder(model="hf-hub:acme/clip").fingerprint
        assert embedder.fingerprint != OpenClipEmbedder(model=f"hf-hub:acme/clip@{'f' * 40}").fingerprint
        assert "acme-clip-01234567" in embedder.fingerprint

    @pytest.mark.parametrize("revision", ["main", "v1", "0123456", "", "x" * 40])
    def test_a_branch_or_tag_is_rejected_as_a_pin(self, revision: str) -> None:
        with pytest.raises(ConfigurationError, match="a commit of 40 hexadecimal digits"):
            OpenClipEmbedder(model=f"hf-hub:acme/clip@{revision}")


class TestLite(EmbedderContract):
    @pytest.fixture
    def embedder(self, lite_embedder: OpenClipEmbedder) -> BaseEmbedder:
        return lite_embedder


class TestLocalFolder(EmbedderContract):
    @pytest.fixture
    def embedder(self, local_clip: Path) -> BaseEmbedder:
        return OpenClipEmbedder(model=f"local-dir:{local_clip}")


# The vectors of the built-in model.


def shirt(colour: str, ground: str = "white") -> Image.Image:
    """The outline of a T-shirt."""
    image = Image.new("RGB", (400, 400), ground)
    outline = [(150, 60), (180, 75), (220, 75), (250, 60), (340, 120), (310, 190), (270, 165), (270, 350),
               (130, 350), (130, 165), (90, 190), (60, 120)]  # fmt: skip
    ImageDraw.Draw(image).polygon(outline, fill=colour)
    return image


def trousers(colour: str, ground: str = "white") -> Image.Image:
    """The outline of a pair of trousers."""
    image = Image.new("RGB", (400, 400), ground)
    outline = [(140, 30), (260, 30), (285, 370), (220, 370), (200, 140), (180, 370), (115, 370)]
    ImageDraw.Draw(image).polygon(outline, fill=colour)
    return image


COLOURS = {"red": "#c8102e", "blue": "#1f4fb5", "green": "#2e8b3d", "yellow": "#f2d024", "black": "#161616"}


@pytest.mark.parametrize("make", [shirt, trousers])
def test_a_colour_word_finds_the_colour(lite_embedder: OpenClipEmbedder, make: object) -> None:
    vectors = lite_embedder.embed_images([make(value) for value in COLOURS.values()])  # type: ignore[operator]
    noun = make.__name__  # type: ignore[attr-defined]
    found = (lite_embedder.embed_texts([f"{name} {noun}" for name in COLOURS]) @ vectors.T).argmax(1)
    assert [list(COLOURS)[i] for i in found] == list(COLOURS)


def test_a_picture_finds_similar_ones(lite_embedder: OpenClipEmbedder) -> None:
    query = lite_embedder.embed_images([shirt("#c01530", "#f4f4f4").rotate(5, fillcolor="#f4f4f4")])
    things = [trousers("#c8102e"), shirt("#1f4fb5"), shirt("#c8102e"), trousers("#1f4fb5")]
    scores = (query @ lite_embedder.embed_images(things).T)[0]
    assert scores.argmax() == 2
    assert scores.argmin() == 3


def test_the_same_shape_in_another_colour(lite_embedder: OpenClipEmbedder) -> None:
    query = lite_embedder.embed_images([shirt("#c8102e")])
    things = lite_embedder.embed_images([shirt("#c8102e"), shirt("#1f4fb5")])
    assert (query @ things.T)[0].argmax() == 0
    other = lite_embedder.reweight(query, {"colour": -1.0, "words": 0.0})
    assert (other @ things.T)[0].argmax() == 1


def test_weights_of_the_shop(model_cache: Path) -> None:
    plain, weighed = OpenClipEmbedder(cache_dir=model_cache), OpenClipEmbedder(weights={"colour": 0.0})
    assert weighed.fingerprint == plain.fingerprint
    vector = np.ones(plain.dims, np.float32) / plain.dims**0.5
    assert (weighed.reweight(vector)[plain.components["colour"]] == 0).all()
    assert (weighed.reweight(vector, {"colour": 1.0})[plain.components["colour"]] > 0).all()
    assert plain.reweight(vector) is vector


def test_a_text_fills_the_colour_component_only_if_it_names_a_colour(lite_embedder: OpenClipEmbedder) -> None:
    shape, colour, words = (lite_embedder.components[name] for name in ("shape", "colour", "words"))
    plain, coloured = lite_embedder.embed_texts(["lamp", "red lamp"])
    assert np.linalg.norm(plain[words]) == pytest.approx(1, abs=1e-3)
    assert not coloured[shape].any()
    assert 0.1 < np.linalg.norm(coloured[colour]) < 0.5
    for vector in (plain, coloured):
        np.testing.assert_allclose(lite_embedder.reweight(vector, {"words": 0, "colour": 0}), vector)


def test_pictures_unlike_all_that_was_trained_on_have_the_plain_part(lite_embedder: OpenClipEmbedder) -> None:
    import torch

    heads = lite_embedder.model.visual.trunk.heads
    like, unlike = heads.likeness.axes[:1] * 5, torch.randn(1, 1280, generator=torch.Generator().manual_seed(0))
    _, plain, _ = heads.trust(torch.cat([like, unlike]) + heads.mean[:1280])
    assert plain[:, 0].tolist() == pytest.approx([0, heads.plain_share.item()], abs=0.01)
    words = lite_embedder.embed_texts(["sofa", "red dress"])[:, lite_embedder.components["words"]]
    parts = np.stack(
        [np.linalg.norm(words[:, : -heads.plain], axis=1), np.linalg.norm(words[:, -heads.plain :], axis=1)]
    )
    np.testing.assert_allclose(
        parts / np.linalg.norm(parts, axis=0), heads.text_shares.sqrt()[:, None].repeat(1, 2), atol=1e-3
    )


def test_tall_pictures_are_not_cropped(lite_embedder: OpenClipEmbedder) -> None:
    """A tall photo is fitted as a whole: what is at its ends counts."""
    plain = Image.new("RGB", (100, 400), "white")
    ended = plain.copy()
    ended.paste("red", (0, 0, 100, 60))
    a, b = lite_embedder.embed_images([plain, ended])
    assert a @ b < 0.98


def test_precisions_agree(model_cache: Path) -> None:
    import torch

    images, texts = pictures(), ["red dress", "black running shoes"]
    full = OpenClipEmbedder(cache_dir=model_cache, precision="fp32")
    half = OpenClipEmbedder(cache_dir=model_cache, precision="bf16")
    assert full.fingerprint == half.fingerprint
    assert (full.embed_images(images) * half.embed_images(images)).sum(1).min() > 0.995
    assert (full.embed_texts(texts) * half.embed_texts(texts)).sum(1).min() > 0.995
    assert lower_precisions(torch.device("cpu")) in ((), ("bf16",))


def test_the_models_size_in_memory(lite_embedder: OpenClipEmbedder) -> None:
    assert 512 <= lite_embedder.dims <= 1024
    assert lite.weights_path().stat().st_size <= 12_000_000


# Loading: late, once, in each process.


def _run(code: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    setup = "from django.conf import settings; settings.configure()\n"
    return subprocess.run(
        [sys.executable, "-c", setup + code],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        env=environment or dict(os.environ),
        cwd=Path(__file__).parent.parent,
    )


def test_dims_and_fingerprint_need_no_torch() -> None:
    done = _run(
        "import sys\n"
        "from imagesim.embedders import get_embedder\n"
        "e = get_embedder(); e.dims, e.fingerprint, e.check(), e.input_side, e.components\n"
        "import numpy; e.reweight(numpy.ones((1, e.dims), 'float32'), {'colour': 0.5})\n"
        "print([m for m in ('torch', 'open_clip', 'transformers', 'timm', 'torchvision') if m in sys.modules])\n"
    )
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.long
def test_a_process_is_unchanged_until_a_model_is_loaded_and_its_child_loads_its_own(
    model_cache: Path, local_clip: Path, lite_embedder: OpenClipEmbedder
) -> None:
    lite_embedder.warm_up()  # so that the model is assembled
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    done = _run(
        "import os, sys, numpy\n"
        "from PIL import Image\n"
        "before, platform = dict(os.environ), sys.modules.get('openvino_telemetry', 0)\n"
        "from imagesim.embedders import get_embedder\n"
        "from imagesim.embedders.openclip import OpenClipEmbedder\n"
        f"lite = OpenClipEmbedder(cache_dir={str(model_cache)!r}, precision='fp32')\n"
        f"e = OpenClipEmbedder(model='local-dir:{local_clip}', runtime='torch')\n"
        "for each in (lite, e): each.check(), each.dims, each.fingerprint, each.precision_report()\n"
        "assert dict(os.environ) == before and sys.modules.get('openvino_telemetry', 0) == platform\n"
        "images = [Image.new('RGB', (224, 224), (i * 9, 40, 90)) for i in range(16)]\n"
        "same = e.embed_images(images); loaded = e.model\n"
        "print(os.environ['OMP_WAIT_POLICY'], flush=True)\n"
        "from imagesim.embedders.precision import choose_device\n"
        "import torch\n"
        "torch.set_num_threads(2); choose_device('cpu')\n"
        "assert torch.get_num_threads() == 2\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    assert numpy.allclose(e.embed_images(images), same, atol=5e-3) and e.model is not loaded\n"
        "    assert torch.get_num_threads() == 1\n"
        "    os._exit(0)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n",
        environment=environment,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "PASSIVE"), done.stderr


def test_one_instance_per_process(settings: object) -> None:
    settings.IMAGESIM = {}  # type: ignore[attr-defined]
    embedder = get_embedder()
    assert isinstance(embedder, OpenClipEmbedder)
    assert embedder.name.kind == "lite"
    assert get_embedder() is embedder


# The built-in model is assembled in the user's cache folder.


def test_it_is_assembled_once_and_repaired(tmp_path: Path) -> None:
    folder = lite.folder(tmp_path)
    assert lite.intact(folder)
    stamp = (folder / model_files.CONFIG).stat().st_mtime_ns
    assert lite.folder(tmp_path) == folder
    assert (folder / model_files.CONFIG).stat().st_mtime_ns == stamp
    (folder / "vocab.txt").write_text("damaged")
    assert not lite.intact(folder)
    assert lite.folder(tmp_path) == folder
    assert lite.intact(folder)
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_what_a_killed_process_has_left_is_removed(tmp_path: Path) -> None:
    """A container with little memory is started and killed repeatedly, and its cache folder may be kept."""
    script = (
        "import os, sys; from pathlib import Path; from imagesim.embedders import lite\n"
        "build = lambda scratch: ((scratch / 'weights').write_bytes(b'0'), os.kill(os.getpid(), 9))\n"
        "lite.build_once(Path(sys.argv[1]) / 'model', build)"
    )
    for _ in range(2):
        subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    first, second = tmp_path.iterdir()
    hours_ago = time.time() - 2 * lite.ABANDONED_SECONDS
    os.utime(first, (hours_ago, hours_ago))
    lite.build_once(tmp_path / "model", lambda scratch: scratch.joinpath("weights").touch())
    assert set(tmp_path.iterdir()) == {second, tmp_path / "model"}  # the second can still be in use


@pytest.mark.long
def test_several_processes_can_assemble_it(tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        folders = set(pool.map(lambda _: lite.folder(tmp_path), range(3)))
    assert len(folders) == 1
    assert lite.intact(folders.pop())
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(EmbedderError, match="cache_dir"):
        OpenClipEmbedder(cache_dir=blocked).embed_texts(["shirt"])


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of a process")
def test_a_disk_that_is_full_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limits[1]))
    try:
        with pytest.raises(EmbedderError, match=re.escape(str(tmp_path)) + ".*enough space.*cache_dir"):
            lite.folder(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_unexpected_tower_files_are_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other.pth"
    other.write_bytes(b"other weights")
    monkeypatch.setattr(lite, "trunk_path", lambda size: other)
    with pytest.raises(EmbedderError, match="reinstall"):
        lite.folder(tmp_path / "cache")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "vocab.txt"])
def test_other_files_of_the_tokenizer_are_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Words would have different vectors from those of the same model in the index."""
    text = shutil.copytree(lite.text_path(), tmp_path / "text", ignore=shutil.ignore_patterns("model.safetensors"))
    (text / "model.safetensors").symlink_to(lite.text_path() / "model.safetensors")
    with (text / name).open("a") as file:
        file.write("\n")
    monkeypatch.setattr(lite, "text_path", lambda size: text)
    with pytest.raises(EmbedderError, match=f"'{name}' is not the file"):
        lite.folder(tmp_path / "cache")


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lite, "TEXT_FOLDER", ("no_such_package", "model"))
    embedder = OpenClipEmbedder(runtime="torch")
    assert [message.id for message in embedder.check()] == ["imagesim.W201"]
    with pytest.raises(EmbedderError, match=r"django-imagesim\[lite\]"):
        embedder.embed_texts(["shirt"])


def test_without_open_clip_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open_clip", None)
    (message,) = OpenClipEmbedder(model="ViT-B-32", pretrained="openai").check()
    assert "open_clip" in message.msg
    assert "django-imagesim[clip]" in str(message.hint)


@pytest.mark.parametrize(
    ("variable", "platform", "expected"),
    [("XDG_CACHE_HOME", "linux", "{}/imagesim"), ("LOCALAPPDATA", "win32", "{}/imagesim")],
)
def test_the_cache_folder_is_the_users(
    variable: str, platform: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv(variable, str(tmp_path))
    assert lite.cache_folder() == Path(expected.format(tmp_path))


@pytest.mark.parametrize("given", ["", "cache"])
def test_a_cache_folder_that_is_not_absolute_is_ignored(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    """As required by https://specifications.freedesktop.org/basedir-spec; otherwise, it would be relative to the
    working folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", given)
    assert lite.cache_folder().is_absolute()


def test_a_user_without_a_home_is_told_to_name_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a container with any user id; Docker gives such a user the root folder as its home."""

    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", home)
    embedder = OpenClipEmbedder()
    assert embedder.check() == []
    assert embedder.precision_report()
    monkeypatch.setattr(Path, "mkdir", Mock(side_effect=PermissionError("denied")))
    with pytest.raises(EmbedderError, match="cache_dir"):
        lite.folder()


def test_without_a_folder_for_temporary_files_the_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """For instance with a read-only root and nothing mounted on /tmp: torch would be left half imported."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "missing")])
    embedder = OpenClipEmbedder(model="imagesim-lite", cache_dir=str(tmp_path), runtime="torch")
    with pytest.raises(EmbedderError, match="set TMPDIR"):
        embedder.embed_texts(["shoe"])


def test_requests_that_wait_for_a_model_that_cannot_be_loaded_fail_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not each after its own attempt: where the hub does not answer, each attempt takes the full timeout."""
    embedder, loads, asked = OpenClipEmbedder(), [], []

    def load() -> None:
        while len(asked) < 8:
            time.sleep(0.01)
        loads.append(time.sleep(0.3))
        raise EmbedderError("the hub cannot be reached")

    def embed() -> str:
        asked.append(True)
        with pytest.raises(EmbedderError) as raised:
            embedder.embed_texts(["red"])
        return str(raised.value)

    monkeypatch.setattr(embedder, "_load", load)
    with ThreadPoolExecutor(8) as pool:
        assert {each.result() for each in [pool.submit(embed) for _ in range(8)]} == {"the hub cannot be reached"}
    assert len(loads) == 1
    embed()
    assert len(loads) == 2  # a later request tries again


def test_threads_of_a_child_process_load_the_model_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class SlowState(openclip._State):
        def __init__(self) -> None:
            time.sleep(0.1)
            super().__init__()

    loads: list[object] = []
    embedder = OpenClipEmbedder()
    monkeypatch.setattr(openclip, "_State", SlowState)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    monkeypatch.setattr(embedder, "_load", lambda: loads.append(1) or Mock(batch_size=1))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _number: embedder._loaded(), range(4)))
    assert (len(loads), len(set(map(id, found)))) == (1, 1)


# Names, and errors in them.


def test_the_fingerprint_depends_on_the_files(local_clip: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(local_clip, copy)
    original, same = OpenClipEmbedder(model=f"local-dir:{local_clip}"), OpenClipEmbedder(model=f"local-dir:{copy}")
    assert original.fingerprint[-16:] == same.fingerprint[-16:]
    config = json.loads((copy / model_files.CONFIG).read_text())
    config["preprocess_cfg"]["mean"] = [0.4, 0.4, 0.4]
    (copy / model_files.CONFIG).write_text(json.dumps(config))
    assert OpenClipEmbedder(model=f"local-dir:{copy}").fingerprint[-16:] != original.fingerprint[-16:]


def test_the_fingerprint_does_not_depend_on_the_machine(local_clip: Path) -> None:
    name = f"local-dir:{local_clip}"
    plain = OpenClipEmbedder(model=name)
    other = OpenClipEmbedder(model=name, device="cpu", precision="bf16", batch_size=3)
    assert plain.fingerprint == other.fingerprint


def test_the_fingerprint_depends_on_the_names_of_weights() -> None:
    a = OpenClipEmbedder(model="ViT-B-32", pretrained="openai")
    b = OpenClipEmbedder(model="ViT-B-32", pretrained="laion2b_s34b_b79k")
    c = OpenClipEmbedder(model="hf-hub:Marqo/marqo-fashionSigLIP")
    assert len({a.fingerprint, b.fingerprint, c.fingerprint}) == 3
    assert a.fingerprint.startswith("ViT-B-32-openai-")
    assert a.dims == 512
    assert a.input_side == 224
    assert a.components == {}


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"model": ""}, "must be a name"),
        ({"model": 7}, "must be a name"),
        ({"model": "local-dir:"}, "nothing after the colon"),
        ({"model": "hf-hub:a/b", "pretrained": "openai"}, "has its own weights"),
        ({"precision": "int3"}, "'int3'"),
        ({"batch_size": 0}, "batch size"),
        ({"weights": {"smell": 1}}, "'smell'"),
        ({"model": "ViT-B-32", "weights": {"colour": 1}}, "no component 'colour' to weight; it has nothing"),
    ],
)
def test_wrong_options_are_rejected_at_once(options: dict[str, object], error: str) -> None:
    with pytest.raises(ConfigurationError, match=error):
        OpenClipEmbedder(**options)  # type: ignore[arg-type]


def test_an_unknown_option_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="modle"):
        get_embedder(Backend("imagesim.embedders.openclip.OpenClipEmbedder", {"modle": "ViT-B-32"}))


@pytest.mark.parametrize(
    ("options", "id", "said"),
    [
        ({"model": "ViT-B32", "pretrained": "openai"}, "imagesim.E202", "ViT-B-32"),
        ({"model": "qqqq", "pretrained": "openai"}, "imagesim.E202", "list_models"),
        ({"model": "local-dir:/no/such/folder"}, "imagesim.E202", "does not exist"),
        ({"model": "ViT-B-32"}, "imagesim.E203", "pretrained"),
        ({"model": "ViT-B-32", "pretrained": "laion2b_s43b_b79k"}, "imagesim.W203", "'laion2b_s34b_b79k'"),
        ({"model": "ViT-B-32", "pretrained": "qqqq"}, "imagesim.W203", "list_pretrained"),
        ({"model": "ViT-B-16-SigLIP", "pretrained": "weights.bin"}, "imagesim.E204", "local-dir:"),
    ],
)
def test_checks_find_invalid_options(options: dict[str, str], id: str, said: str) -> None:
    embedder = OpenClipEmbedder(**options)  # type: ignore[arg-type]
    (message,) = embedder.check()
    assert message.id == id
    assert said in f"{message.msg} {message.hint}"
    with pytest.raises(EmbedderError):
        embedder.embed_images(pictures()[:1])


def test_the_names_of_all_weights_are_known() -> None:
    """They are read from the source of open_clip, so that a check does not have to import it."""
    import_torchvision()
    from open_clip import list_pretrained

    assert built_in_weights() == {tag for _model, tag in list_pretrained()}


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    embedder = OpenClipEmbedder(model=f"local-dir:{tmp_path}")
    for ask in (lambda: embedder.dims, lambda: embedder.fingerprint, lambda: embedder.embed_texts(["x"])):
        with pytest.raises(EmbedderError, match="open_clip_config"):
            ask()


def test_a_folder_without_weights_is_rejected(local_clip: Path, tmp_path: Path) -> None:
    shutil.copy(local_clip / model_files.CONFIG, tmp_path)
    with pytest.raises(EmbedderError, match="cannot be loaded"):
        OpenClipEmbedder(model=f"local-dir:{tmp_path}").embed_images(pictures())


def test_an_unknown_tag_is_rejected() -> None:
    with pytest.raises(EmbedderError, match="laion9b"):
        OpenClipEmbedder(model="ViT-B-32", pretrained="laion9b").embed_images(pictures())


def test_an_unreachable_hub_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for options in (
        {"model": "hf-hub:Marqo/marqo-fashionSigLIP"},
        {"model": "ViT-B-32", "pretrained": "datacomp_xl_s13b_b90k"},
    ):
        with pytest.raises(EmbedderError, match="cannot be reached") as raised:
            OpenClipEmbedder(**options, cache_dir=tmp_path).embed_texts(["shirt"])  # type: ignore[arg-type]
        assert "local-dir:" in str(raised.value)
        assert "imagesim-lite" in str(raised.value)


def test_devices() -> None:
    assert choose_device("cpu").type == "cpu"
    assert choose_device(None).type in ("cpu", "cuda", "mps")
    with pytest.raises(EmbedderError, match="quantum"):
        choose_device("quantum")
    with pytest.raises(EmbedderError, match="meta"):
        choose_device("meta")


def test_vectors_that_are_not_finite_are_rejected(local_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading.Loaded, "texts", lambda self, texts: np.full((len(texts), 24), np.nan, np.float32))
    with pytest.raises(EmbedderError, match="not finite"):
        OpenClipEmbedder(model=f"local-dir:{local_clip}").embed_texts(["shirt"])


def test_a_failing_model_is_an_embedder_error(local_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: object, texts: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(loading.Loaded, "texts", fail)
    with pytest.raises(EmbedderError, match="out of memory"):
        OpenClipEmbedder(model=f"local-dir:{local_clip}").embed_texts(["shirt"])


# The trunk, for those who build on it.


def test_the_trunk_classifies_imagenet() -> None:
    import torch

    trunk = lite.load_trunk()
    assert not trunk.training
    assert not any(parameter.requires_grad for parameter in trunk.parameters())
    image = Image.new("RGB", (224, 224), "white")
    draw = ImageDraw.Draw(image)
    draw.ellipse((32, 32, 192, 192), fill="#f39a12")
    pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    assert 722 in trunk(pixels)[0].topk(5).indices  # ping-pong ball
