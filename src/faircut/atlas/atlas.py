"""An atlas as a value: two pictures, where every pixel of a clip looks in them, and which of the two it shows."""

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
        points: (frame, 2, rows, columns), where the control points of each frame look, in pixels of the reference
            frame.
        canvas: what part of the layer's plane the picture covers.
    """

    picture: Tensor
    points: Tensor
    canvas: Canvas


@dataclass(frozen=True, eq=False)
class Atlas:
    """A clip taken apart into a foreground and a background (Kasten et al., 2021, arXiv 2109.11418).

    Both layers' planes have the reference frame's pixels as their unit and origin, so that in their own places the two
    pictures, one over the other, look like that frame, continued beyond its borders as far as other frames show.

    Attributes:
        video: the clip.
        layers: by name, ``"foreground"`` and ``"background"``.
        alpha: (frame, height, width), in [0, 1]: how much of the foreground is seen.
        reference: index of the reference frame.
        settings: of the fit.
        report: ``psnr`` of the reconstruction in dB, ``seconds`` that the fit took, and the last ``losses``.
    """

    video: Video
    layers: Mapping[str, Layer]
    alpha: Tensor
    reference: int
    settings: AtlasSettings
    report: Mapping[str, Any] = field(default_factory=dict)

    def layer(self, name: str) -> Layer:
        """Return a layer.

        Raises:
            ConfigError: there is none of that name.
        """
        if name not in self.layers:
            raise ConfigError(f"an atlas has no layer {name!r}: {choices(name, self.layers)}")
        return self.layers[name]

    def places(self, name: str) -> Tensor:
        """Return where every pixel of the clip looks in a layer's picture.

        Args:
            name: of the layer.

        Returns:
            (frame, height, width, 2), (x, y), of which -1 and 1 are the picture's edges.

        Raises:
            ConfigError: there is no such layer.
        """
        layer = self.layer(name)
        return layer.canvas.normalise(spread(layer.points, self.video.size))

    def render(self) -> Tensor:
        """Put the clip together again from its layers: (frame, 3, height, width), RGB in [-1, 1]."""
        return self.compose({})

    def compose(self, pictures: Mapping[str, Tensor]) -> Tensor:
        """Put a clip together from other pictures, ``alpha foreground + (1 - alpha) background``.

        Args:
            pictures: by layer, (3, any height, any width), RGB in [-1, 1]; each covers what the layer's own covers, and
                a layer without one keeps its own.

        Returns:
            (frame, 3, height, width), RGB in [-1, 1].

        Raises:
            ConfigError: there is no such layer.
            VideoError: something is no picture.
        """
        for name, picture in pictures.items():
            self.layer(name)
            if picture.ndim != 3 or picture.shape[0] != 3 or not picture.is_floating_point():
                raise VideoError(
                    f"a picture of shape {tuple(picture.shape)} and {picture.dtype} was given for the {name}; give "
                    "(3, height, width), floating, RGB in [-1, 1], such as Atlas.pictures() returns"
                )
        seen = {}
        for name, layer in self.layers.items():
            places = spread(layer.points, self.video.size)
            seen[name] = look_up(pictures.get(name, layer.picture).float(), places, layer.canvas)
        alpha = self.alpha[:, None]
        return (alpha * seen["foreground"] + (1 - alpha) * seen["background"]).clamp(-1, 1)

    def pictures(self, size: tuple[int, int] | None = None) -> dict[str, Tensor]:
        """Return the layers' pictures.

        Args:
            size: (height, width) in pixels; None for their own sizes.

        Returns:
            By layer, (3, height, width), RGB in [-1, 1].
        """
        if size is None:
            return {name: layer.picture.clone() for name, layer in self.layers.items()}
        return {
            name: F.interpolate(layer.picture[None], size, mode="bilinear", antialias=True)[0]
            for name, layer in self.layers.items()
        }

    def coverage(self, name: str) -> Tensor:
        """Return how opaque a layer's picture is where frames show it.

        Args:
            name: of the layer.

        Returns:
            (height', width'), in [0, 1]: the opacity of the pixels that look there, the most opaque counting most; 0
            where none looks.

        Raises:
            ConfigError: there is no such layer.
        """
        layer = self.layer(name)
        opacity = (self.alpha if name == "foreground" else 1 - self.alpha)[:, None]
        places, size = spread(layer.points, self.video.size), layer.canvas.pixels(1.0)
        total = splat(torch.cat([opacity.square(), opacity], dim=1), places, layer.canvas, size)
        share = total[:1] / total[1:].clamp_min(1e-3) * (total[1:] / 0.25).clamp(max=1)
        return F.interpolate(share[None], layer.picture.shape[1:], mode="bilinear")[0, 0].clamp(0, 1)

    def save(self, folder: str | Path) -> Path:
        """Write the atlas to a folder (safetensors and JSON), whole or not at all.

        Args:
            folder: where; an existing atlas there is replaced.

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
            ConfigError: there is no atlas in the folder, or it is damaged.
        """
        folder = Path(folder)
        try:
            data = read_json(folder / "atlas.json", "the atlas")
            found = data.get("format") if isinstance(data, dict) else None
            if found != _FORMAT:
                raise ConfigError(f"it holds format {short_repr(found)}, this version reads {_FORMAT}: fit it again")
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
            # Errors of ours are among them.
            raise ConfigError(
                f"{folder} holds no readable atlas ({error}); write one with faircut atlas fit or Atlas.save"
            ) from None


@dataclass(frozen=True)
class _Facts:
    """What ``atlas.json`` holds.

    Attributes:
        format: version of this layout.
        canvases: by layer.
        reference: index of the reference frame.
        settings: of the fit.
        report: of the fit.
        times: when each frame is shown, in seconds.
        duration: of the clip, in seconds.
        source: what is known of the clip's file.
        files: that were written with it.
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
    """Check that pictures, points and opacity belong to the clip.

    Raises:
        ValueError: they do not.
    """
    count, *size = len(tensors["frames"]), *tensors["frames"].shape[-2:]
    wanted: dict[str, tuple[int | None, ...]] = {"frames": (count, 3, *size), "alpha": (count, *size)}
    for name in LAYERS:
        wanted |= {f"{name}.picture": (3, None, None), f"{name}.points": (count, 2, None, None)}
        canvas = facts.canvases[name]
        if not (canvas.width > 0 and canvas.height > 0):
            raise ValueError(f"the canvas of the {name} is empty")
    for name, shape in wanted.items():
        found = tensors[name]
        fits = len(found.shape) == len(shape) and all(b in (None, a) for a, b in zip(found.shape, shape, strict=True))
        if not fits or not found.numel():
            raise ValueError(f"{name} is of shape {tuple(found.shape)}")
        if found.dtype != (torch.uint8 if name == "frames" else torch.float32) or not found.isfinite().all():
            raise ValueError(f"{name} is of {found.dtype}, or not finite")
    if not 0 <= facts.reference < count:
        raise ValueError(f"the reference is frame {facts.reference} of {count}")
