"""Export checkpoints to a model folder: diffusers parts in half precision, the CLIP, the judge, the training record."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import torch

from faircut.files import atomic_path, list_files, write_json
from faircut.pocket.judge import save_judge
from faircut.pocket.train.clip import build_clip
from faircut.pocket.train.config import TrainConfig
from faircut.pocket.train.denoiser import build_scheduler, build_text_encoder, build_unet
from faircut.pocket.train.report import read_log
from faircut.pocket.train.state import load_weights
from faircut.pocket.train.tokenizer import load_tokenizer
from faircut.pocket.vocabulary import LABELS

__all__ = ["export_clip", "export_denoiser", "export_judge", "export_model", "round_half"]


@dataclasses.dataclass
class _Shell:
    """A model to load a checkpoint into, without the data that its stage needs."""

    name: str
    model: torch.nn.Module


def round_half(model: torch.nn.Module) -> torch.nn.Module:
    """Round every weight to half precision, and keep the dtype float32.

    Args:
        model: Model to change in place.

    Returns:
        The given model.
    """
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.half().float())
    return model


def export_judge(config: TrainConfig, output: Path, folder: Path) -> dict[str, Any]:
    """Write the judge of a training.

    Args:
        config: Settings of the training.
        output: Folder of the training.
        folder: Folder to write to.

    Returns:
        The checkpoint's counters.
    """
    from faircut.pocket.judge import Judge

    judge = Judge(LABELS, config.judge.channels)
    about = load_weights(_Shell("judge", judge), output / "checkpoints" / "judge")
    save_judge(judge, folder)
    return about


def export_clip(config: TrainConfig, output: Path, folder: Path) -> dict[str, Any]:
    """Write the CLIP of a training, with its tokenizer and image processor.

    Args:
        config: Settings of the training.
        output: Folder of the training.
        folder: Folder to write to.

    Returns:
        The checkpoint's counters.
    """
    tokenizer = load_tokenizer(output / "tokenizer")
    clip = build_clip(config.clip, tokenizer)
    about = load_weights(_Shell("clip", clip), output / "checkpoints" / "clip")
    clip.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    size = config.clip.image_size
    processor = {
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": size},
        "resample": 2,
        "do_center_crop": True,
        "crop_size": {"height": size, "width": size},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "do_convert_rgb": True,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=2) + "\n", encoding="utf-8")
    return about


def export_denoiser(config: TrainConfig, output: Path, folder: Path) -> dict[str, Any]:
    """Write a Stable Diffusion folder from the denoiser's checkpoint and the finished autoencoder.

    Args:
        config: Settings of the training.
        output: Folder of the training.
        folder: Folder to write to.

    Returns:
        The checkpoint's counters.
    """
    from diffusers import AutoencoderKL, StableDiffusionPipeline

    tokenizer = load_tokenizer(output / "tokenizer")
    text = build_text_encoder(config.denoiser, tokenizer)
    unet = build_unet(config.denoiser, config.vae.latent_channels)
    model = torch.nn.ModuleDict({"text": text, "unet": unet})
    about = load_weights(_Shell("denoiser", model), output / "checkpoints" / "denoiser")
    pipe: Any = StableDiffusionPipeline(
        vae=AutoencoderKL.from_pretrained(output / "vae").half(),
        text_encoder=text.half(),
        tokenizer=tokenizer,
        unet=unet.half(),
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.save_pretrained(folder, safe_serialization=True)
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(output / "tokenizer" / name, folder / "tokenizer" / name)
    return about


def export_model(config: TrainConfig, output: Path, folder: Path) -> dict[str, Any]:
    """Write the model folder with all trained parts, and the record of the training.

    Args:
        config: Settings of the training.
        output: Folder of the training.
        folder: Folder to write. An existing folder is replaced if it contains only files of an earlier export.

    Returns:
        The content of training.json.
    """
    with atomic_path(folder) as temporary:
        return _write_model(config, output, temporary)


def _write_model(config: TrainConfig, output: Path, folder: Path) -> dict[str, Any]:
    """Write a model to a new folder, and return its record."""
    stages: dict[str, Any] = {"denoiser": export_denoiser(config, output, folder)}
    for name, write in (("judge", export_judge), ("clip", export_clip)):
        if (output / "checkpoints" / name / "checkpoint.safetensors").exists():
            stages[name] = write(config, output, folder / name)
    for name in ("vae", "decoder", *stages):
        log = output / "checkpoints" / name / "log.jsonl"
        if log.exists():
            last: dict[str, Any] = {}
            for line in read_log(log):
                last |= line
            stages[name] = {**last, **stages.get(name, {})}
    record = {"config": dataclasses.asdict(config), "stages": stages}
    for path in folder.rglob("config.json"):
        config_file = json.loads(path.read_text(encoding="utf-8"))
        config_file.pop("_name_or_path", None)
        if "dtype" in config_file:
            # The weights are stored in half precision for size, and run in single precision by default, as in
            # diffusers.
            config_file["dtype"] = "float32"
        if path.parent.name != "judge":
            path.write_text(json.dumps(config_file, indent=2) + "\n", encoding="utf-8")
    # The machine of the training does not matter for the model.
    for key in ("device", "processes"):
        record["config"]["run"].pop(key)
    write_json(folder / "training.json", {**record, "files": [*list_files(folder), "training.json"]})
    return record
