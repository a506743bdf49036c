"""The atlas of a clip: two pictures, the position in them of every pixel of the clip, and which of the two it shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.nn import functional as F

from faircut.atlas.layers import Canvas, look_up, splat, spread
from faircut.atlas.settings import AtlasSettings
from faircut.config.reading import read_json, short_repr
from faircut.config.values import from_dict, to_dict
from faircut.errors import ConfigError, VideoError, choices
from faircut.files import atomic_path, list_files, write_json
from faircut.files.tensors import save_tensors
from faircut.video import SourceInfo, Video

__all__ = ["LAYERS", "Atlas", "Layer"]

LAYERS = ("foreground", "background")
_FORMAT = 1


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer of an atlas.

    Attributes:
        picture: (3, height', width'), RGB in [-1, 1].
        points: (frame, 2, rows, columns), positions (x, y) of each frame's control points, in pixels of the reference
            frame.
        canvas: Part of the layer's plane that the picture covers.
    """

    picture: Tensor
    points: Tensor
    canvas: Canvas


@dataclass(frozen=True, eq=False)
class Atlas:
    """A clip decomposed into a foreground and a background (Kasten et al., 2021, arXiv 2109.11418).

    The planes of both layers use the reference frame's pixels as unit and origin. So the foreground picture over the
    background picture looks like the reference frame, extended beyond its borders as far as other frames show.

    Attributes:
        video: The clip.
        layers: Layers by name, ``"foreground"`` and ``"background"``.
        alpha: (frame, height, width), in [0, 1], opacity of the foreground.
        reference: Index of the reference frame.
        settings: Settings of the fit.
        report: ``psnr`` of the reconstruction in dB, ``seconds`` that the fit took, and the last ``losses``.
    """

    video: Video
    layers: Mapping[str, Layer]
    alpha: Tensor
    reference: int
    settings: AtlasSettings
    report: Mapping[str, Any] = field(default_factory=dict)

    def layer(self, name: str) -> Layer:
        """Return a layer by name.

        Raises:
            ConfigError: If the atlas has no layer of that name.
        """
        if name not in self.layers:
            raise ConfigError(f"an atlas has no layer {name!r}: {choices(name, self.layers)}")
        return self.layers[name]

    def places(self, name: str) -> Tensor:
        """Return the position of every pixel of the clip in a layer's picture.

        Args:
            name: Name of the layer.

        Returns:
            (frame, height, width, 2), (x, y), where -1 and 1 are the picture's edges.

        Raises:
            ConfigError: If the atlas has no layer of that name.
        """
        layer = self.layer(name)
        return layer.canvas.normalise(spread(layer.points, self.video.size))

    def render(self) -> Tensor:
        """Return the clip as composed from its layers, (frame, 3, height, width), RGB in [-1, 1]."""
        return self.compose({})

    def compose(self, pictures: Mapping[str, Tensor]) -> Tensor:
        """Return a clip composed from other pictures, ``alpha foreground + (1 - alpha) background``.

        Args:
            pictures: (3, any height, any width) by layer, RGB in [-1, 1]. Each covers the canvas of its layer. Layers
                without an entry use their own picture.

        Returns:
            (frame, 3, height, width), RGB in [-1, 1].

        Raises:
            ConfigError: If the atlas has no layer of a given name.
            VideoError: If a value is not a picture.
        """
        for name, picture in pictures.items():
            self.layer(name)
            if picture.ndim != 3 or picture.shape[0] != 3 or not picture.is_floating_point():
                raise VideoError(
                    f"the picture of the {name} has the shape {tuple(picture.shape)} and {picture.dtype}; give "
                    "(3, height, width), floating, RGB in [-1, 1], such as Atlas.pictures() returns"
                )
        rendered = {}
        for name, layer in self.layers.items():
            places = spread(layer.points, self.video.size)
            rendered[name] = look_up(pictures.get(name, layer.picture).float(), places, layer.canvas)
        alpha = self.alpha[:, None]  # (frame, 1, height, width), for all colours alike.
        return (alpha * rendered["foreground"] + (1 - alpha) * rendered["background"]).clamp(-1, 1)

    def pictures(self, size: tuple[int, int] | None = None) -> dict[str, Tensor]:
        """Return the pictures of all layers.

        Args:
            size: (height, width) in pixels. None keeps each picture's size.

        Returns:
            (3, height, width) by layer, RGB in [-1, 1].
        """
        if size is None:
            return {name: layer.picture.clone() for name, layer in self.layers.items()}
        return {
            name: F.interpolate(layer.picture[None], size, mode="bilinear", antialias=True)[0]
            for name, layer in self.layers.items()
        }

    def coverage(self, name: str) -> Tensor:
        """Return the opacity of a layer's picture where frames show it.

        Args:
            name: Name of the layer.

        Returns:
            (height', width'), in [0, 1], opacity of the pixels of the clip at that position, weighted by itself. 0
            where no pixel of the clip is.

        Raises:
            ConfigError: If the atlas has no layer of that name.
        """
        layer = self.layer(name)
        opacity = (self.alpha if name == "foreground" else 1 - self.alpha)[:, None]  # (frame, 1, height, width)
        places, size = spread(layer.points, self.video.size), layer.canvas.pixels(1.0)
        # (2, height, width): the sums of squared opacities and of opacities; their ratio is the opacity weighted by
        # itself.
        total = splat(torch.cat([opacity.square(), opacity], dim=1), places, layer.canvas, size)
        share = total[:1] / total[1:].clamp_min(1e-3) * (total[1:] / 0.25).clamp(max=1)
        return F.interpolate(share[None], layer.picture.shape[1:], mode="bilinear")[0, 0].clamp(0, 1)

    def save(self, folder: str | Path) -> Path:
        """Write the atlas atomically to a folder (safetensors and JSON).

        Args:
            folder: Folder for the atlas. An existing atlas in it is replaced.

        Returns:
            The folder.
        """
        tensors = {
            "frames": ((self.video.frames + 1) * 127.5).round().clamp(0, 255).to(torch.uint8),
            "alpha": self.alpha,
        }
        for name, layer in self.layers.items():
            tensors |= {f"{name}.picture": layer.picture, f"{name}.points": layer.points}
        facts = {
            "format": _FORMAT,
            "canvases": {name: asdict(layer.canvas) for name, layer in self.layers.items()},
            "reference": self.reference,
            "settings": to_dict(self.settings),
            "report": to_dict(self.report),
            "times": to_dict(self.video.times),
            "duration": to_dict(self.video.duration),
            "source": to_dict(self.video.source),
        }
        with atomic_path(folder) as path:
            path.mkdir()
            save_tensors(tensors, path / "atlas.safetensors")
            write_json(path / "atlas.json", {**facts, "files": [*list_files(path), "atlas.json"]})
        return Path(folder)

    @classmethod
    def load(cls, folder: str | Path) -> Atlas:
        """Read an atlas from a folder.

        Raises:
            ConfigError: If the folder does not contain an atlas, or it is damaged.
        """
        folder = Path(folder)
        try:
            data = read_json(folder / "atlas.json", "the atlas")
            version = data.get("format") if isinstance(data, dict) else None
            if version != _FORMAT:
                raise ConfigError(
                    f"it has format {short_repr(version)}, but this version reads {_FORMAT}: fit it again"
                )
            facts = from_dict(_Facts, data, "atlas.json")
            with safe_open(folder / "atlas.safetensors", framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            _check_tensors(tensors, facts)
            return cls(
                video=Video(tensors["frames"].float() / 127.5 - 1, facts.times, facts.duration, facts.source),
                layers={
                    name: Layer(tensors[f"{name}.picture"], tensors[f"{name}.points"], facts.canvases[name])
                    for name in LAYERS
                },
                alpha=tensors["alpha"],
                reference=facts.reference,
                settings=facts.settings,
                report=facts.report,
            )
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            # ConfigError is a ValueError, so errors of from_dict are included.
            raise ConfigError(
                f"{folder} does not contain a readable atlas ({error}); write one with faircut atlas fit or Atlas.save"
            ) from None


@dataclass(frozen=True)
class _Facts:
    """The content of ``atlas.json``.

    Attributes:
        format: Version of the file's layout.
        canvases: Canvases by layer.
        reference: Index of the reference frame.
        settings: Settings of the fit.
        report: Report of the fit.
        times: Presentation time of each frame, in seconds.
        duration: Duration of the clip, in seconds.
        source: Properties of the clip's file.
        files: Names of the files that were written together.
    """

    format: int
    canvases: Mapping[str, Canvas]
    reference: int
    settings: AtlasSettings
    report: Mapping[str, Any]
    times: tuple[Fraction, ...]
    duration: Fraction
    source: SourceInfo | None
    files: tuple[str, ...] = ()


def _check_tensors(tensors: Mapping[str, Tensor], facts: _Facts) -> None:
    """Check that pictures, points and opacity fit the clip.

    Raises:
        ValueError: If a tensor does not fit, or a canvas is empty.
    """
    count, *size = len(tensors["frames"]), *tensors["frames"].shape[-2:]
    expected: dict[str, tuple[int | None, ...]] = {"frames": (count, 3, *size), "alpha": (count, *size)}
    for name in LAYERS:
        expected |= {f"{name}.picture": (3, None, None), f"{name}.points": (count, 2, None, None)}
        canvas = facts.canvases[name]
        if not (canvas.width > 0 and canvas.height > 0):
            raise ValueError(f"the canvas of the {name} is empty")
    for name, shape in expected.items():
        tensor = tensors[name]
        fits = len(tensor.shape) == len(shape) and all(b in (None, a) for a, b in zip(tensor.shape, shape, strict=True))
        if not fits or not tensor.numel():
            raise ValueError(f"{name} has the shape {tuple(tensor.shape)}")
        if tensor.dtype != (torch.uint8 if name == "frames" else torch.float32) or not tensor.isfinite().all():
            raise ValueError(f"{name} has the type {tensor.dtype}, or is not finite")
    if not 0 <= facts.reference < count:
        raise ValueError(f"the reference frame is {facts.reference}, but there are {count} frames")
