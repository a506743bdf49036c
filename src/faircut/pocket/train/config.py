"""All settings of the pocket model's training, as frozen dataclasses that a YAML or JSON file can set."""

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
    """The settings of one stage's optimiser.

    Attributes:
        batch: Samples per step, over all processes together.
        lr: Learning rate between warm-up and decay.
        warmup: Number of steps of linear warm-up.
        steps: Maximum number of steps. A time limit usually ends a stage earlier.
        minutes: Time limit over all runs of the stage; 0 for none. A limit given to the command replaces this value.
        decay: Share of the stage (of its time, or of ``steps``) at its end over which the rate falls to a twentieth.
        ema: Decay of the exponential moving average of the weights; 0 for no average.
        clip: Maximum norm of the gradient.
        weight_decay: Weight decay of AdamW.
        beta2: Second moment decay of AdamW. Short trainings need a value below .999.
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
    """The settings of the drawn stills, on which all stages are trained.

    Attributes:
        stills: Number of training stills. The number can be increased later; existing stills are kept.
        held_out: Number of stills of the held-out split.
        shard: Number of stills in one file, the unit of drawing and resuming.
        workers: Number of processes that draw.
        seed: Seed of the world.
    """

    stills: int = 49_152
    held_out: int = 2_048
    shard: int = 2_048
    workers: int = 2
    seed: int = 0


@dataclass(frozen=True)
class VaeConfig:
    """The settings of the autoencoder: pictures (3, 128, 128) to latents (latent_channels, 32, 32) and back.

    Attributes:
        channels: block_out_channels of AutoencoderKL.
        layers: layers_per_block of AutoencoderKL.
        latent_channels: Channels of a latent.
        crop: Side of the training crops in pixels.
        kl: Weight of the Kullback-Leibler term.
        scale: Standard deviation of the latents that the UNet sees (the autoencoder's scaling_factor). Below 1, the
            noise schedule hides more of the latent. At 1, a subject's colour is still visible in the noise of the last
            step, so that the words for colours would carry no information.
        optim: Optimiser of the autoencoder.
        decoder: Optimiser of the stage that trains only the decoder.
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
    """The settings of the small CLIP that the CLIP metrics use.

    Attributes:
        image_size: Side of the input pictures in pixels.
        patch: Side of a patch in pixels.
        width: Width of both towers.
        layers: Number of layers of the image tower.
        text_layers: Number of layers of the text tower.
        heads: Number of attention heads of both towers.
        embed: Size of the common embedding.
        prompts: Weight of the loss on single-attribute prompts.
        optim: Optimiser of the CLIP.
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
    """The settings of the judge, the classifier that reads the attributes of a picture.

    Attributes:
        channels: Channels of the stages, each at half the resolution of the previous one.
        smoothing: Label smoothing.
        broken: Share of the training pictures that are damaged on purpose.
        painted: Number of stills that the denoiser paints unreadably, and of stills that it redraws; four times as many
            are painted readably.
        hand: Share of the training pictures that the denoiser has painted.
        optim: Optimiser of the judge.
    """

    channels: tuple[int, ...] = (24, 48, 96, 160, 224)
    smoothing: float = 0.05
    broken: float = 0.2
    painted: int = 1024
    hand: float = 0.3
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(batch=64, lr=2e-3, warmup=100, ema=0.998))


@dataclass(frozen=True)
class DenoiserConfig:
    """The settings of the text encoder and the UNet, which are trained together.

    Attributes:
        channels: block_out_channels of UNet2DConditionModel.
        attention: Which of the levels have cross-attention to the text.
        layers: layers_per_block of UNet2DConditionModel.
        heads: Number of attention heads (called attention_head_dim in Stable Diffusion 1.x).
        text_width: Width of the text encoder and of the cross-attention.
        text_layers: Number of layers of the text encoder.
        text_heads: Number of attention heads of the text encoder.
        text_rate: Learning rate of the text encoder, as a share of the UNet's. At the full rate, the noise of the
            gradients destroys its random weights in some hundred steps, and all words get the same embedding.
        max_length: Number of tokens of a prompt, padding included.
        drop: Share of captions that are replaced by the empty one, for guidance.
        snr_gamma: Maximum of the signal-to-noise weights (min-SNR).
        localise: Weight of the loss that keeps the attention to a subject's word inside the subject's mask.
        rare: How much more often stills of animals, and stills in a style, are drawn than others, as a share.
        downscale: 1 trains at full size, 2 at half size, which processes four times as many pictures in the same time.
        optim: Optimiser of both networks.
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
    """The settings of the device, precision and logging of a training.

    Attributes:
        seed: Seed of all random numbers, together with the stage and the step.
        device: "auto", "cpu" or "cuda".
        precision: "bf16" (autocast) or "fp32".
        processes: Number of data-parallel processes on a CPU; 0 for one per core. Always one on CUDA.
        checkpoint_seconds: Seconds between checkpoints.
        log_every: Number of steps between lines of the log.
        preview_seconds: Seconds between sample pictures.
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
    """The settings of the whole training."""

    run: RunConfig = field(default_factory=RunConfig)
    data: DataConfig = field(default_factory=DataConfig)
    vae: VaeConfig = field(default_factory=VaeConfig)
    clip: ClipConfig = field(default_factory=ClipConfig)
    judge: JudgeConfig = field(default_factory=JudgeConfig)
    denoiser: DenoiserConfig = field(default_factory=DenoiserConfig)


def config_from_dict(values: dict[str, Any]) -> TrainConfig:
    """Build a configuration from nested dictionaries.

    Args:
        values: Settings by name. Missing settings keep their defaults.

    Returns:
        The configuration.

    Raises:
        ConfigError: If a name is unknown, or a value has the wrong type.
    """
    return _merge(TrainConfig(), values, "")


def _merge(default: Any, values: Any, where: str) -> Any:
    """Return a copy of the dataclass ``default``, updated recursively with ``values``."""
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
        path: Path of the file, or None for the defaults.

    Returns:
        The configuration.

    Raises:
        ConfigError: If the file cannot be read or has an unknown setting.
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
    """Return the default folder of checkpoints and data.

    Raises:
        ConfigError: If there is no home folder.
    """
    try:
        return Path.home() / ".cache" / "faircut" / "pocket-train"
    except RuntimeError:
        raise ConfigError("there is no home folder to train in; give a folder with --output") from None
