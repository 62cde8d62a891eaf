"""Tiny models of each family that open_clip loads: genuine architectures and configurations, random weights.

Each comes from open_clip's own configuration of a published model, with a width of 32 to 48 and one layer; the input
size, the preprocessing, the tokenizer and the length of texts are those of the published model.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from imagesim.embedders import model_files, model_spec
from imagesim.embedders.process import import_torchvision

CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
NONE = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@dataclass(frozen=True)
class Family:
    """A published model, and what is known about it."""

    model: str
    tag: str
    side: int
    normalisation: tuple[tuple[float, ...], tuple[float, ...]]
    interpolation: str
    resize_mode: str
    context: int
    trunk: dict[str, Any] | None = None
    """The small sizes of timm's trunk; None if open_clip builds the tower itself."""
    configuration: str = ""
    """The name of open_clip's configuration if it is another."""

    @property
    def preprocess(self) -> dict[str, Any]:
        mean, std = self.normalisation
        return {"mean": mean, "std": std, "interpolation": self.interpolation, "resize_mode": self.resize_mode}


_VIT = {"embed_dim": 32, "depth": 1, "num_heads": 2}
_EVA = {"embed_dim": 48, "depth": 1, "num_heads": 2}
_CONVNEXT = {"depths": (1, 1, 1, 1), "dims": (8, 8, 16, 16)}
_FASTVIT = {"layers": (1, 1, 1, 1), "embed_dims": (8, 16, 16, 32)}

FAMILIES = {
    "OpenAI": Family("ViT-B-32", "openai", 224, CLIP, "bicubic", "shortest", 77, configuration="ViT-B-32-quickgelu"),
    "LAION": Family("ViT-B-32", "laion2b_s34b_b79k", 224, CLIP, "bicubic", "shortest", 77),
    "SigLIP": Family("ViT-B-16-SigLIP", "webli", 224, HALF, "bicubic", "squash", 64, _VIT),
    "SigLIP 2": Family("ViT-B-32-SigLIP2-256", "webli", 256, HALF, "bicubic", "squash", 64, _VIT),
    "MobileCLIP": Family("MobileCLIP-S1", "datacompdr", 256, NONE, "bilinear", "shortest", 77, _FASTVIT),
    "Perception Encoder": Family("PE-Core-T-16-384", "meta", 384, HALF, "bilinear", "squash", 32, _EVA),
    "ConvNeXt": Family("convnext_base_w", "laion2b_s13b_b82k", 256, CLIP, "bicubic", "shortest", 77, _CONVNEXT),
    "XLM-RoBERTa": Family("xlm-roberta-base-ViT-B-32", "laion5b_s13b_b90k", 224, CLIP, "bicubic", "shortest", 77),
    "EVA": Family("EVA02-B-16", "merged2b_s8b_b131k", 224, CLIP, "bicubic", "shortest", 77, _EVA),
}


def configuration(family: Family) -> dict[str, Any]:
    """Return open_clip's configuration of the model, made small."""
    name = family.configuration or family.model
    config: dict[str, Any] = json.loads(model_spec.built_in_configs()[name].read_text())
    config["text_cfg"] |= {"width": 32, "heads": 2, "layers": 1}
    if "hf_tokenizer_name" in config["text_cfg"]:
        config["text_cfg"]["vocab_size"] = 400
    vision = config["vision_cfg"]
    if family.trunk is None:
        vision |= {"width": 32, "layers": 1, "head_width": 16}
    else:
        vision["timm_model_name"] = _small_trunk(vision["timm_model_name"], json.dumps(family.trunk))
    config["embed_dim"] = 32
    return config


@cache
def _small_trunk(name: str, sizes: str) -> str:
    """Register timm's trunk ``name`` in a small size; return the name of the small one."""
    import_torchvision()
    import timm

    def small(pretrained: bool = False, **options: Any) -> Any:
        return timm.create_model(name, pretrained=False, **{**json.loads(sizes), **options})

    small.__name__ = f"small_{name}"
    timm.models.register_model(small)
    return small.__name__


def write(folder: Path, family: Family) -> Path:
    """Write a repository of a small model with random weights and statistics; return ``folder``."""
    import_torchvision()
    import torch
    from open_clip.model import CLIP, CustomTextCLIP
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    config = configuration(family)
    torch.manual_seed(7)
    kind = CustomTextCLIP if config.get("custom_text") else CLIP
    sizes = {name: value for name, value in config.items() if name != "custom_text"}
    if "hf_model_name" in config["text_cfg"]:
        kind = CustomTextCLIP
        sizes["text_cfg"] = {
            **config["text_cfg"],
            "hf_model_name": str(write_text_tower(folder)),
            "hf_model_pretrained": False,
        }
    model = kind(**sizes)
    for part in model.modules():
        if isinstance(part, torch.nn.modules.batchnorm._BatchNorm):
            part.running_mean.uniform_(-0.2, 0.2)
            part.running_var.uniform_(0.5, 2)
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, folder / model_files.WEIGHTS[0])
    written = {"model_cfg": config, "preprocess_cfg": family.preprocess}
    (folder / model_files.CONFIG).write_text(json.dumps(written))
    return folder


def write_text_tower(folder: Path) -> Path:
    """Write the configuration of a small text tower from transformers; return ``folder``."""
    from transformers import XLMRobertaConfig

    XLMRobertaConfig(
        vocab_size=400, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64
    ).save_pretrained(folder)
    return folder


def write_tokenizer(folder: Path, kind: str) -> None:
    """Write the files of a tokenizer in the form of SigLIP's (T5's pieces), SigLIP 2's (Gemma's bytes) or XLM-RoBERTa's
    (which do not name their class)."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    folder.mkdir(parents=True, exist_ok=True)
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    settings: dict[str, Any] = {"model_max_length": 64}
    if kind != "SigLIP 2":
        known = ["<pad>", "</s>", "<unk>"]
        pieces = ["▁", "▁red", "▁dress", *letters]
        scored = [(piece, 0.0) for piece in known] + [(piece, -2 - n / 100) for n, piece in enumerate(pieces)]
        tokenizer = Tokenizer(models.Unigram(scored, unk_id=2))
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        end = "</s>"
        settings |= {"tokenizer_class": "T5Tokenizer", "pad_token": end, "eos_token": end, "unk_token": "<unk>"}
        settings |= {"extra_ids": 0, "additional_special_tokens": []}
        if kind != "SigLIP":
            settings = {"model_max_length": 64}
    else:
        known = ["<pad>", "<eos>", "<bos>", "<unk>"]
        every = [*known, *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *letters, "re", "red"]
        vocabulary = {piece: number for number, piece in enumerate(every)}
        merges = [("r", "e"), ("re", "d")]
        tokenizer = Tokenizer(
            models.BPE(vocab=vocabulary, merges=merges, fuse_unk=True, unk_token="<unk>", byte_fallback=True)
        )
        tokenizer.normalizer = normalizers.Replace(" ", "▁")
        tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
        end = "<eos>"
        settings |= {"tokenizer_class": "GemmaTokenizer", "add_bos_token": False, "add_eos_token": True}
        settings |= {"padding_side": "right", "bos_token": "<bos>", "eos_token": end}
        settings |= {"pad_token": "<pad>", "unk_token": "<unk>"}
    tokenizer.add_special_tokens(known)
    tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {end}", special_tokens=[(end, 1)])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
