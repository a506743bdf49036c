"""Fitting an atlas to a clip by gradient descent on whole frames."""

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

# Nothing is foreground outside the masks, grown by this share of the longer side. Otherwise opacities could fit edges
# of the background with whatever colour the foreground's border happens to have.
_REACH = 0.04
_SURE = 4.0
_MIN_PULL = 0.1
_WARM_UP, _MIN_RATE = 10, 0.02
_ALPHA_RATE, _POINTS_RATE = 5.0, 2.0


@dataclass
class _Trained:
    """The trained tensors of one layer."""

    pyramid: list[Tensor]
    points: Tensor
    canvas: Canvas
    unknown: Tensor
    begun: Tensor


@dataclass(frozen=True)
class _Evidence:
    """The inputs of a fit: frames, masks and optical flow."""

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
    """Decompose a clip into a foreground and a background (Kasten et al., 2021, arXiv 2109.11418).

    Args:
        video: A clip, or frames, (frame, 3, height, width), RGB in [-1, 1].
        masks: (frame, height, width), bool or in [0, 1], approximate foreground, such as `VideoEditor.locate` returns.
            None uses the pixels that do not move as most of the frame does.
        settings: Settings of the fit. None uses the defaults.
        progress: Function called after each step.

    Returns:
        The atlas. The same seed gives the same atlas on the same CPU with the same number of threads.

    Raises:
        VideoError: If the masks do not fit the clip.
        NumericalError: If the loss is no longer finite.
    """
    started = time.perf_counter()
    settings = settings or AtlasSettings()
    clip = video if isinstance(video, Video) else Video.from_frames(video)
    evidence = _gather(clip.frames, masks)
    reference = len(clip) // 2
    layers = {name: _begin(name, evidence, reference, settings) for name in LAYERS}
    logits = ((evidence.masks * 2 - 1) * _SURE).requires_grad_()
    losses = _descend(layers, logits, evidence, settings, progress)
    with torch.no_grad():
        atlas = Atlas(
            video=clip,
            layers={n: Layer(over(a.pyramid).clamp(-1, 1), a.points.detach(), a.canvas) for n, a in layers.items()},
            alpha=logits.sigmoid() * evidence.support,
            reference=reference,
            settings=settings,
        )
        everywhere = torch.ones(len(clip), *clip.size, dtype=torch.bool)
        psnr = region_psnr((atlas.render() + 1) / 2, (clip.frames + 1) / 2, everywhere)
    report = {"psnr": psnr, "seconds": time.perf_counter() - started, "losses": losses}
    return Atlas(atlas.video, atlas.layers, atlas.alpha, reference, settings, report)


def _gather(frames: Tensor, masks: Tensor | None) -> _Evidence:
    """Return a clip's optical flow, where the flow can be trusted, and where the foreground is.

    Raises:
        VideoError: If the masks do not fit the clip.
    """
    count, _, height, width = frames.shape
    colours = (frames + 1) / 2
    flow, backward = optical_flow(colours), optical_flow(colours.flip(0)).flip(0)
    if masks is None:
        masks = moving_mask(frames, flow)
    if tuple(masks.shape) != (count, height, width):
        raise VideoError(
            f"masks of shape {tuple(masks.shape)} for a clip of shape {tuple(frames.shape)}; give one for each frame, "
            f"(frame, height, width): {(count, height, width)}"
        )
    masks = masks.detach().to("cpu", torch.float32)
    if not bool(((masks >= 0) & (masks <= 1)).all()):
        raise VideoError("masks have values outside 0 to 1; give booleans, or shares of the foreground in [0, 1]")
    reach = max(1, math.ceil(_REACH * max(height, width)))
    support = F.max_pool2d((masks[:, None] > 0.5).float(), 2 * reach + 1, stride=1, padding=reach)[:, 0]
    return _Evidence(frames, masks, support, flow, agreeing(flow, backward))


def _begin(name: str, evidence: _Evidence, reference: int, settings: AtlasSettings) -> _Trained:
    """Return a layer whose mapping follows the optical flow, with a picture filled from the frames."""
    size = (evidence.frames.shape[-2], evidence.frames.shape[-1])
    share = evidence.masks if name == "foreground" else 1 - evidence.masks
    moves = to_reference(evidence.frames, evidence.flow, share > 0.5, reference)
    points = control_points(moves, size, settings.spacing)
    places = spread(points, size)
    canvas = canvas_of(
        places, evidence.support > 0 if name == "foreground" else torch.ones_like(share, dtype=torch.bool)
    )
    pixels = canvas.pixels(settings.resolution)
    weight = splat(share[:, None], places, canvas, pixels)  # (1, height', width')
    pyramid = [
        part.contiguous() for part in push_pull(splat(evidence.frames * share[:, None], places, canvas, pixels), weight)
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
    evidence: _Evidence,
    settings: AtlasSettings,
    progress: Callable[[], None] | None,
) -> dict[str, float]:
    """Minimise the losses over the layers and the opacities, in place, and return the last losses by name."""
    rate = settings.learning_rate
    groups = [
        {"params": [part for layer in layers.values() for part in layer.pyramid], "lr": rate},
        {"params": [logits], "lr": _ALPHA_RATE * rate},
        {"params": [layer.points for layer in layers.values()], "lr": _POINTS_RATE * rate},
    ]
    optimiser = torch.optim.Adam(groups, betas=(0.9, 0.99))

    def pace(step: int) -> float:
        cosine = (1 + math.cos(math.pi * step / settings.steps)) / 2
        return min(1.0, (step + 1) / _WARM_UP) * (_MIN_RATE + (1 - _MIN_RATE) * cosine)

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, pace)
    generator = torch.Generator().manual_seed(settings.seed)
    count = min(settings.frames_per_step, len(evidence.frames))
    parts: dict[str, Tensor] = {}
    for step in range(settings.steps):
        first = int(torch.randint(len(evidence.frames) - count + 1, (), generator=generator))
        fade = max(_MIN_PULL, 1 - 2 * step / settings.steps)
        parts = _losses(layers, logits, evidence, settings, slice(first, first + count), fade)
        loss = torch.stack(list(parts.values())).sum()
        if not bool(torch.isfinite(loss)):
            raise NumericalError(
                f"the loss is {loss:g} at step {step}, not finite; give a smaller learning_rate than {rate:g}"
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
    evidence: _Evidence,
    settings: AtlasSettings,
    window: slice,
    fade: float,
) -> dict[str, Tensor]:
    """Return all weighted losses on consecutive frames."""
    size = (evidence.frames.shape[-2], evidence.frames.shape[-1])
    # Flow leads from each frame to the next, so a window of n frames has n - 1 flows.
    frames, links = evidence.frames[window], slice(window.start, window.stop - 1)
    flow, trusted = evidence.flow[links], evidence.trusted[links]
    pictures = {name: _within(over(layer.pyramid)) for name, layer in layers.items()}
    places = {name: spread(layer.points[window], size) for name, layer in layers.items()}
    rendered = {name: look_up(pictures[name], places[name], layer.canvas) for name, layer in layers.items()}
    alpha = logits[window].sigmoid() * evidence.support[window]  # (frame, height, width)
    # (frame, 3, height, width)
    made = alpha[:, None] * rendered["foreground"] + (1 - alpha[:, None]) * rendered["background"]
    shares = {"foreground": alpha, "background": 1 - alpha}
    distances = [flow_loss(places[name], shares[name], flow, trusted) for name in layers]
    deviations = [(layer.unknown * (pictures[name] - layer.begun).square()).mean() for name, layer in layers.items()]
    distortions = [rigidity_loss(layer.points[window], size) for layer in layers.values()]
    return {
        "colour": colour_loss(made, frames),
        "gradient": settings.gradient * gradient_loss(made, frames),
        "rigidity": settings.rigidity * torch.stack(distortions).sum(),
        "flow": settings.flow * torch.stack(distances).sum(),
        "alpha_flow": settings.alpha_flow * alpha_flow_loss(alpha, flow, trusted),
        "sparsity": settings.sparsity * sparsity_loss(rendered["foreground"], alpha),
        "decided": settings.decided * (alpha * (1 - alpha)).mean(),
        "anchor": settings.anchor * torch.stack(deviations).sum(),
        "bootstrap": settings.bootstrap * fade * bootstrap_loss(logits[window], evidence.masks[window]),
    }


def _within(picture: Tensor) -> Tensor:
    """Clamp colours to [-1, 1] but keep the gradient of unclamped ones, so that colours outside can return."""
    return picture + (picture.clamp(-1, 1) - picture).detach()
