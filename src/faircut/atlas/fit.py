"""Fitting an atlas to a clip, by gradient descent on whole frames."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from faircut.atlas.atlas import LAYERS, Atlas, Layer
from faircut.atlas.layers import Canvas, canvas_of, control_points, look_up, over, push_pull, splat, spread
from faircut.atlas.losses import (
    alpha_flow_loss,
    bootstrap_loss,
    colour_loss,
    flow_loss,
    gradient_loss,
    rigidity_loss,
    sparsity_loss,
)
from faircut.atlas.motion import agreeing, moving_mask, to_reference
from faircut.atlas.settings import AtlasSettings
from faircut.errors import NumericalError, VideoError
from faircut.metrics import optical_flow, region_psnr
from faircut.video import Video

__all__ = ["fit_atlas"]

# Beyond the masks, grown by this share of the longer side, nothing is foreground: elsewhere an opacity could explain
# a background's edges by whatever colour the foreground's border happens to have.
_REACH = 0.04
_SURE = 4.0
_LEAST_PULL = 0.1
_WARM_UP, _LEAST_RATE = 10, 0.02
_LESS_ALPHA, _LESS_POINTS = 5.0, 2.0


@dataclass
class _Trained:
    """What descent moves, of one layer."""

    pyramid: list[Tensor]
    points: Tensor
    canvas: Canvas
    unknown: Tensor
    begun: Tensor


@dataclass(frozen=True)
class _Evidence:
    """What is known of a clip before its atlas."""

    frames: Tensor
    masks: Tensor
    support: Tensor
    flow: Tensor
    trusted: Tensor


def fit_atlas(
    video: Video | Tensor,
    masks: Tensor | None = None,
    settings: AtlasSettings | None = None,
    progress: Callable[[], None] | None = None,
) -> Atlas:
    """Take a clip apart into a foreground and a background (Kasten et al., 2021, arXiv 2109.11418).

    Args:
        video: a clip; or its frames, (frame, 3, height, width), RGB in [-1, 1].
        masks: (frame, height, width), bool or in [0, 1]: about where the foreground is, such as `VideoEditor.locate`
            finds it. None takes what does not move as most of the picture does.
        settings: of the fit.
        progress: called after each step.

    Returns:
        The atlas. The same seed gives the same one on the same CPU with as many threads.

    Raises:
        VideoError: the masks do not fit the clip.
        NumericalError: the fit did not stay finite.
    """
    started = time.perf_counter()
    settings = settings or AtlasSettings()
    clip = video if isinstance(video, Video) else Video.from_frames(video)
    known = _gather(clip.frames, masks)
    reference = len(clip) // 2
    layers = {name: _begin(name, known, reference, settings) for name in LAYERS}
    logits = ((known.masks * 2 - 1) * _SURE).requires_grad_()
    losses = _descend(layers, logits, known, settings, progress)
    with torch.no_grad():
        atlas = Atlas(
            video=clip,
            layers={n: Layer(over(a.pyramid).clamp(-1, 1), a.points.detach(), a.canvas) for n, a in layers.items()},
            alpha=logits.sigmoid() * known.support,
            reference=reference,
            settings=settings,
        )
        everywhere = torch.ones(len(clip), *clip.size, dtype=torch.bool)
        psnr = region_psnr((atlas.render() + 1) / 2, (clip.frames + 1) / 2, everywhere)
    report = {"psnr": psnr, "seconds": time.perf_counter() - started, "losses": losses}
    return Atlas(atlas.video, atlas.layers, atlas.alpha, reference, settings, report)


def _gather(frames: Tensor, masks: Tensor | None) -> _Evidence:
    """Look at a clip: its flow, where that can be trusted, and where the foreground is.

    Raises:
        VideoError: the masks do not fit the clip.
    """
    count, _, height, width = frames.shape
    seen = (frames + 1) / 2
    flow, backward = optical_flow(seen), optical_flow(seen.flip(0)).flip(0)
    if masks is None:
        masks = moving_mask(frames, flow)
    if tuple(masks.shape) != (count, height, width):
        raise VideoError(
            f"masks of shape {tuple(masks.shape)} for a clip of shape {tuple(frames.shape)}; give one for each frame, "
            f"(frame, height, width): {(count, height, width)}"
        )
    masks = masks.detach().to("cpu", torch.float32)
    if not bool(((masks >= 0) & (masks <= 1)).all()):
        raise VideoError("masks hold values outside 0 to 1; give booleans, or shares of the foreground in [0, 1]")
    reach = max(1, math.ceil(_REACH * max(height, width)))
    support = F.max_pool2d((masks[:, None] > 0.5).float(), 2 * reach + 1, stride=1, padding=reach)[:, 0]
    return _Evidence(frames, masks, support, flow, agreeing(flow, backward))


def _begin(name: str, known: _Evidence, reference: int, settings: AtlasSettings) -> _Trained:
    """Lay a layer out as its flow says, and fill its picture with what the frames show there."""
    size = (known.frames.shape[-2], known.frames.shape[-1])
    share = known.masks if name == "foreground" else 1 - known.masks
    moves = to_reference(known.frames, known.flow, share > 0.5, reference)
    points = control_points(moves, size, settings.spacing)
    places = spread(points, size)
    canvas = canvas_of(places, known.support > 0 if name == "foreground" else torch.ones_like(share, dtype=torch.bool))
    pixels = canvas.pixels(settings.resolution)
    weight = splat(share[:, None], places, canvas, pixels)
    pyramid = [
        part.contiguous() for part in push_pull(splat(known.frames * share[:, None], places, canvas, pixels), weight)
    ]
    return _Trained(
        pyramid=[part.requires_grad_() for part in pyramid],
        points=points.requires_grad_(),
        canvas=canvas,
        unknown=(1 - weight).clamp_min(0),
        begun=over(pyramid).detach(),
    )


def _descend(
    layers: dict[str, _Trained],
    logits: Tensor,
    known: _Evidence,
    settings: AtlasSettings,
    progress: Callable[[], None] | None,
) -> dict[str, float]:
    """Move the layers and the opacities to where the losses are least; returns the last losses by name."""
    rate = settings.learning_rate
    groups = [
        {"params": [part for layer in layers.values() for part in layer.pyramid], "lr": rate},
        {"params": [logits], "lr": _LESS_ALPHA * rate},
        {"params": [layer.points for layer in layers.values()], "lr": _LESS_POINTS * rate},
    ]
    optimiser = torch.optim.Adam(groups, betas=(0.9, 0.99))

    def pace(step: int) -> float:
        falling = (1 + math.cos(math.pi * step / settings.steps)) / 2
        return min(1.0, (step + 1) / _WARM_UP) * (_LEAST_RATE + (1 - _LEAST_RATE) * falling)

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, pace)
    generator = torch.Generator().manual_seed(settings.seed)
    count = min(settings.frames_per_step, len(known.frames))
    parts: dict[str, Tensor] = {}
    for step in range(settings.steps):
        first = int(torch.randint(len(known.frames) - count + 1, (), generator=generator))
        fade = max(_LEAST_PULL, 1 - 2 * step / settings.steps)
        parts = _losses(layers, logits, known, settings, slice(first, first + count), fade)
        loss = torch.stack(list(parts.values())).sum()
        if not bool(torch.isfinite(loss)):
            raise NumericalError(
                f"the atlas was lost at step {step} (its loss is {loss:g}); give a smaller learning_rate than {rate:g}"
            )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if progress is not None:
            progress()
    return {name: float(value.detach()) for name, value in parts.items()}


def _losses(
    layers: dict[str, _Trained],
    logits: Tensor,
    known: _Evidence,
    settings: AtlasSettings,
    window: slice,
    fade: float,
) -> dict[str, Tensor]:
    """Evaluate all losses, weighted, on a run of frames."""
    size = (known.frames.shape[-2], known.frames.shape[-1])
    frames, links = known.frames[window], slice(window.start, window.stop - 1)
    flow, trusted = known.flow[links], known.trusted[links]
    pictures = {name: _within(over(layer.pyramid)) for name, layer in layers.items()}
    places = {name: spread(layer.points[window], size) for name, layer in layers.items()}
    seen = {name: look_up(pictures[name], places[name], layer.canvas) for name, layer in layers.items()}
    alpha = logits[window].sigmoid() * known.support[window]
    made = alpha[:, None] * seen["foreground"] + (1 - alpha[:, None]) * seen["background"]
    shares = {"foreground": alpha, "background": 1 - alpha}
    apart = [flow_loss(places[name], shares[name], flow, trusted) for name in layers]
    strayed = [(layer.unknown * (pictures[name] - layer.begun).square()).mean() for name, layer in layers.items()]
    stretched = [rigidity_loss(layer.points[window], size) for layer in layers.values()]
    return {
        "colour": colour_loss(made, frames),
        "gradient": settings.gradient * gradient_loss(made, frames),
        "rigidity": settings.rigidity * torch.stack(stretched).sum(),
        "flow": settings.flow * torch.stack(apart).sum(),
        "alpha_flow": settings.alpha_flow * alpha_flow_loss(alpha, flow, trusted),
        "sparsity": settings.sparsity * sparsity_loss(seen["foreground"], alpha),
        "decided": settings.decided * (alpha * (1 - alpha)).mean(),
        "anchor": settings.anchor * torch.stack(strayed).sum(),
        "bootstrap": settings.bootstrap * fade * bootstrap_loss(logits[window], known.masks[window]),
    }


def _within(picture: Tensor) -> Tensor:
    """Cut colours off at [-1, 1], with the gradient of those that are not, so that they find back."""
    return picture + (picture.clamp(-1, 1) - picture).detach()
