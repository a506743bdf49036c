"""Every choice of the pocket model's training, as frozen dataclasses that a YAML or JSON file can set."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faircut.config.reading import read_json, read_yaml, short_repr
from faircut.config.values import convert
from faircut.errors import ConfigError, choices

__all__ = [
    "ClipConfig",
    "DataConfig",
    "DenoiserConfig",
    "JudgeConfig",
    "OptimConfig",
    "RunConfig",
    "TrainConfig",
    "VaeConfig",
    "config_from_dict",
    "default_output",
    "load_config",
]


@dataclass(frozen=True)
class OptimConfig:
    """How one stage is optimised.

    Args:
        batch: samples a step, over all processes together.
        lr: learning rate between warm-up and decay.
        warmup: steps of linear warm-up.
        steps: steps at most; a time limit usually ends a stage earlier.
        minutes: time limit over all runs of the stage, 0 for none; a limit given to the command takes its place.
        decay: share of the stage (of its time, or of ``steps``) at its end over which the rate falls to a twentieth.
        ema: decay of the exponential moving average of the weights; 0 keeps none.
        clip: largest norm of the gradient.
        weight_decay: AdamW's.
        beta2: AdamW's second moment decay; short trainings want it below .999.
    """

    batch: int = 32
    lr: float = 1e-3
    warmup: int = 100
    steps: int = 1_000_000
    minutes: float = 0.0
    decay: float = 0.25
    ema: float = 0.999
    clip: float = 1.0
    weight_decay: float = 0.0
    beta2: float = 0.99


@dataclass(frozen=True)
class DataConfig:
    """The drawn stills that everything learns from.

    Args:
        stills: number of training stills; more can be asked for later, the first ones stay as they are.
        held_out: number of stills of the held-out split.
        shard: stills in one file, the unit of drawing and of resuming.
        workers: processes that draw.
        seed: of the world.
    """

    stills: int = 49_152
    held_out: int = 2_048
    shard: int = 2_048
    workers: int = 2
    seed: int = 0


@dataclass(frozen=True)
class VaeConfig:
    """The autoencoder: pictures (3, 128, 128) to latents (latent_channels, 32, 32) and back.

    Args:
        channels: block_out_channels of AutoencoderKL.
        layers: layers_per_block.
        latent_channels: channels of a latent.
        crop: side of the training crops in pixels.
        kl: weight of the Kullback-Leibler term.
        scale: standard deviation of the latents that the UNet sees (the autoencoder's scaling_factor). Below 1 the same
            noise schedule hides more: at 1, a subject's colour still shows through the noise of the last step, so that
            the words for it would have nothing to tell.
        optim: see OptimConfig.
        decoder: the same for the stage that trains the decoder alone.
    """

    channels: tuple[int, ...] = (16, 32, 64)
    layers: int = 1
    latent_channels: int = 8
    crop: int = 64
    kl: float = 1e-3
    scale: float = 0.5
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(batch=16, lr=2e-3, warmup=50, ema=0.998))
    decoder: OptimConfig = field(
        default_factory=lambda: OptimConfig(batch=16, lr=1e-3, warmup=20, ema=0.998, decay=0.6)
    )


@dataclass(frozen=True)
class ClipConfig:
    """The small CLIP behind the CLIP metrics.

    Args:
        image_size: side of the pictures it sees, in pixels.
        patch: side of a patch, in pixels.
        width: width of both towers.
        layers: layers of the image tower.
        text_layers: layers of the text tower.
        heads: attention heads of both towers.
        embed: size of the common embedding.
        prompts: weight of the loss on single-attribute prompts.
        optim: see OptimConfig.
    """

    image_size: int = 64
    patch: int = 8
    width: int = 128
    layers: int = 4
    text_layers: int = 3
    heads: int = 4
    embed: int = 128
    prompts: float = 1.0
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(batch=128, lr=1e-3, warmup=200, ema=0.998))


@dataclass(frozen=True)
class JudgeConfig:
    """The classifier that reads the attributes of a picture.

    Args:
        channels: channels of its stages, each at half the resolution of the one before.
        smoothing: label smoothing.
        broken: share of the training pictures that are damaged on purpose.
        painted: number of stills that the denoiser paints beyond reading, and draws anew, and a quarter of those that
            it paints readable.
        hand: share of the training pictures that the denoiser has painted.
        optim: see OptimConfig.
    """

    channels: tuple[int, ...] = (24, 48, 96, 160, 224)
    smoothing: float = 0.05
    broken: float = 0.2
    painted: int = 1024
    hand: float = 0.3
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(batch=64, lr=2e-3, warmup=100, ema=0.998))


@dataclass(frozen=True)
class DenoiserConfig:
    """The text encoder and the UNet, trained together.

    Args:
        channels: block_out_channels of UNet2DConditionModel.
        attention: which of those levels attend to the text.
        layers: layers_per_block.
        heads: attention heads (what Stable Diffusion 1.x calls attention_head_dim).
        text_width: width of the text encoder, which is the cross-attention's too.
        text_layers: layers of the text encoder.
        text_heads: attention heads of the text encoder.
        text_rate: learning rate of the text encoder, as a share of the UNet's. At the full rate the noise of the
            gradients washes its random weights out in some hundred steps, and all words become one.
        max_length: tokens of a prompt, padding included.
        drop: share of captions replaced by the empty one, for guidance.
        snr_gamma: cap of the signal-to-noise weights (min-SNR).
        localise: weight of the loss that keeps a subject's word inside the subject's mask.
        rare: how much more often than the others stills of animals, and stills in a style, are picked, as a share.
        downscale: 1 trains at full size, 2 at half of it: four times as many pictures in the same time, as a start.
        optim: see OptimConfig.
    """

    channels: tuple[int, ...] = (32, 64, 128, 256)
    attention: tuple[bool, ...] = (False, True, True, False)
    layers: int = 1
    heads: int = 4
    text_width: int = 128
    text_layers: int = 3
    text_heads: int = 4
    text_rate: float = 0.1
    max_length: int = 77
    drop: float = 0.1
    snr_gamma: float = 5.0
    localise: float = 0.1
    rare: float = 0.6
    downscale: int = 1
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(batch=32, lr=1e-3, warmup=200, ema=0.999))


@dataclass(frozen=True)
class RunConfig:
    """Where and how the training runs.

    Args:
        seed: every random number of every stage follows from it and the step.
        device: "auto", "cpu" or "cuda".
        precision: "bf16" (autocast) or "fp32".
        processes: data-parallel processes on a CPU; 0 means one per core. Always one on CUDA.
        checkpoint_seconds: time between checkpoints.
        log_every: steps between lines of the log.
        preview_seconds: time between sample pictures.
    """

    seed: int = 0
    device: str = "auto"
    precision: str = "bf16"
    processes: int = 0
    checkpoint_seconds: float = 120.0
    log_every: int = 20
    preview_seconds: float = 600.0


@dataclass(frozen=True)
class TrainConfig:
    """The whole training: one object feeds Python, the command line and the report."""

    run: RunConfig = field(default_factory=RunConfig)
    data: DataConfig = field(default_factory=DataConfig)
    vae: VaeConfig = field(default_factory=VaeConfig)
    clip: ClipConfig = field(default_factory=ClipConfig)
    judge: JudgeConfig = field(default_factory=JudgeConfig)
    denoiser: DenoiserConfig = field(default_factory=DenoiserConfig)


def config_from_dict(values: dict[str, Any]) -> TrainConfig:
    """Build a configuration from nested dictionaries.

    Args:
        values: settings by name; what is not named keeps its default.

    Returns:
        The configuration.

    Raises:
        ConfigError: a name that does not exist, or a value of the wrong kind.
    """
    return _merge(TrainConfig(), values, "")


def _merge(default: Any, values: Any, where: str) -> Any:
    """A copy of the dataclass ``default`` with ``values`` in place, block by block."""
    if not isinstance(values, dict):
        raise ConfigError(f"{where.rstrip('.') or 'the configuration'} must be a mapping, not {short_repr(values)}")
    fields = [f.name for f in dataclasses.fields(default)]
    hints = typing.get_type_hints(type(default))
    out: dict[str, Any] = {}
    for name, value in values.items():
        if name not in fields:
            raise ConfigError(f"unknown setting {short_repr(where + str(name))}: {choices(str(name), fields)}")
        old = getattr(default, name)
        if dataclasses.is_dataclass(old):
            out[name] = _merge(old, value, f"{where}{name}.")
        else:
            try:
                out[name] = convert(hints[name], value, where + name)
            except ConfigError:
                raise ConfigError(
                    f"{where + name} must be of type {type(old).__name__}, not {short_repr(value)}"
                ) from None
    return dataclasses.replace(default, **out)


def load_config(path: str | Path | None) -> TrainConfig:
    """Read a configuration from a YAML or JSON file.

    Args:
        path: the file, or None for the defaults.

    Returns:
        The configuration.

    Raises:
        ConfigError: the file cannot be read or holds an unknown setting.
    """
    if path is None:
        return TrainConfig()
    read = read_json if str(path).endswith(".json") else read_yaml
    values = read(path, "the training configuration")
    try:
        return config_from_dict({} if values is None else values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def default_output() -> Path:
    """The folder of checkpoints and data when none is given."""
    try:
        return Path.home() / ".cache" / "faircut" / "pocket-train"
    except RuntimeError:
        raise ConfigError("there is no home folder to train in; name a folder with --output") from None
