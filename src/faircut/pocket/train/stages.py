"""The whole training as one function: its stages, their order and their time limits."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from faircut.errors import ConfigError, choices
from faircut.files.cache import private_folder
from faircut.pocket.train.config import TrainConfig, default_output

__all__ = ["SHARES", "STAGES", "train"]

STAGES = ("draw", "tokenizer", "vae", "decoder", "latents", "denoiser", "painted", "judge", "clip", "export")
SHARES: dict[str, float] = {"vae": 0.08, "decoder": 0.02, "judge": 0.06, "clip": 0.16, "denoiser": 0.68}
"""Shares of the minutes of a whole training, for the stages with a training loop."""
Log = Callable[[str, dict[str, Any]], None]
"""Called with the name of a stage and figures; "done" is the completed share of the stage, if known."""


def train(
    config: TrainConfig,
    stages: Sequence[str] = ("all",),
    *,
    output: str | Path | None = None,
    minutes: float | None = None,
    init_from: str | Path | None = None,
    weights: str | Path | None = None,
    log: Log = lambda stage, line: None,
) -> Path:
    """Train the pocket model, or resume its training.

    Every stage resumes from its last checkpoint in ``output``, so repeating a stopped call continues it.

    Args:
        config: Settings of the training.
        stages: Names of `STAGES`, or "all".
        output: Folder of data, checkpoints and results. None for `default_output`.
        minutes: Time limit of each given stage or, for "all", of the whole training, distributed by `SHARES`. Counted
            over all runs of a stage in this folder. None uses the limits of the configuration.
        init_from: Model folder to start from, instead of random weights.
        weights: Folder for the finished model. None for ``output/weights``.
        log: Called with the progress of each stage; see `Log`.

    Returns:
        Folder of the finished model, even if this call does not reach the export.

    Raises:
        ConfigError: If a stage is unknown.
    """
    names = list(STAGES) if "all" in stages else list(stages)
    for name in names:
        if name not in STAGES:
            raise ConfigError(f"unknown stage {name!r}: {choices(name, ('all', *STAGES))}")
    root = Path(output) if output is not None else default_output()
    folder = Path(weights) if weights is not None else root / "weights"
    root.mkdir(parents=True, exist_ok=True) if output is not None else private_folder(root)
    init = Path(init_from) if init_from is not None else None
    for name in [s for s in STAGES if s in names]:
        limit = minutes
        if minutes is not None and "all" in stages:
            limit = minutes * SHARES.get(name, 0.0)
        elif minutes is None and name in SHARES:
            block = config.vae.decoder if name == "decoder" else getattr(config, name).optim
            limit = block.minutes or None
        start = time.monotonic()
        log(name, {"done": 0.0})
        _RUN[name](config, root, limit, init, folder, partial(log, name))
        log(name, {"done": 1.0, "took": round(time.monotonic() - start)})
    return folder


_StageLog = Callable[[dict[str, Any]], None]


def _draw(config: TrainConfig, root: Path, minutes: Any, init: Any, folder: Path, log: _StageLog) -> None:
    from faircut.pocket.train.data import draw_stills

    for split in ("held_out", "train"):

        def drawn(done: int, count: int, split: str = split) -> None:
            log({"done": done / count, split: done})

        draw_stills(root / "data", split, config.data, drawn)


def _tokenizer(config: TrainConfig, root: Path, minutes: Any, init: Any, folder: Path, log: _StageLog) -> None:
    from faircut.pocket.captions import words
    from faircut.pocket.train.tokenizer import build_tokenizer

    if not (root / "tokenizer" / "tokenizer_config.json").exists():
        tokenizer = build_tokenizer(words(), root / "tokenizer", config.denoiser.max_length)
        log({"tokens": len(tokenizer)})


def _fit(name: str, make: Any, config: TrainConfig, root: Path, minutes: float | None, log: _StageLog) -> Any:
    from faircut.pocket.train.loop import fit
    from faircut.pocket.train.report import write_report

    stage = fit(make, config.run, root / "checkpoints" / name, minutes=minutes, log=log)
    write_report(root)
    return stage


def _vae(
    config: TrainConfig, root: Path, minutes: float | None, init: Path | None, folder: Path, log: _StageLog
) -> None:
    from faircut.pocket.pictures import to_tensor
    from faircut.pocket.train.export import round_half
    from faircut.pocket.train.vae import VaeStage, bake_scale

    stage = _fit("vae", partial(VaeStage, config, root / "data", init), config, root, minutes, log)
    held_out = to_tensor(stage.stills.images(range(min(512, len(stage.stills)))), stage.device)
    bake_scale(stage.model, held_out)
    vae: Any = round_half(stage.model)
    vae.save_pretrained(root / "vae")


def _decoder(
    config: TrainConfig, root: Path, minutes: float | None, init: Path | None, folder: Path, log: _StageLog
) -> None:
    from faircut.pocket.train.export import round_half
    from faircut.pocket.train.vae import VaeStage

    # The encoder is fixed, so that existing latents stay valid.
    make = partial(VaeStage, config, root / "data", root, decoder_only=True)
    vae: Any = round_half(_fit("decoder", make, config, root, minutes, log).model)
    vae.save_pretrained(root / "vae")


def _latents(config: TrainConfig, root: Path, minutes: Any, init: Any, folder: Path, log: _StageLog) -> None:
    from diffusers import AutoencoderKL

    from faircut.pocket.train.data import Stills
    from faircut.pocket.train.loop import pick_device
    from faircut.pocket.train.vae import encode_stills

    device = pick_device(config.run)
    vae = AutoencoderKL.from_pretrained(root / "vae").to(device).eval()
    stills = Stills(root / "data", "train", config.data)
    encode_stills(vae, stills, device, config.denoiser.downscale, lambda done, count: log({"done": done / count}))


def _painted(config: TrainConfig, root: Path, minutes: Any, init: Any, folder: Path, log: _StageLog) -> None:
    from faircut.pocket.train.painted import paint_stills

    log({"pictures": len(paint_stills(config, root).rows)})


def _judge(
    config: TrainConfig, root: Path, minutes: float | None, init: Path | None, folder: Path, log: _StageLog
) -> None:
    from faircut.pocket.train.judge import JudgeStage

    _fit("judge", partial(JudgeStage, config, root / "data", init), config, root, minutes, log)


def _clip(
    config: TrainConfig, root: Path, minutes: float | None, init: Path | None, folder: Path, log: _StageLog
) -> None:
    from faircut.pocket.train.clip import ClipStage

    _fit("clip", partial(ClipStage, config, root, init), config, root, minutes, log)


def _denoiser(
    config: TrainConfig, root: Path, minutes: float | None, init: Path | None, folder: Path, log: _StageLog
) -> None:
    from faircut.pocket.train.denoiser import DenoiserStage

    _fit("denoiser", partial(DenoiserStage, config, root, init), config, root, minutes, log)


def _export(config: TrainConfig, root: Path, minutes: Any, init: Any, folder: Path, log: _StageLog) -> None:
    from faircut.pocket.train.export import export_model

    with torch.no_grad():
        export_model(config, root, folder)
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    log({"megabytes": round(size / 1e6, 1)})


_RUN: dict[str, Callable[..., None]] = {
    "draw": _draw,
    "tokenizer": _tokenizer,
    "vae": _vae,
    "decoder": _decoder,
    "latents": _latents,
    "denoiser": _denoiser,
    "painted": _painted,
    "judge": _judge,
    "clip": _clip,
    "export": _export,
}
