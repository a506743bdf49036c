"""How near a clip is to another one, pixel by pixel."""

from __future__ import annotations

import torch
from torch import Tensor

from faircut.metrics.registry import Metric, register

__all__ = [
    "background_psnr",
    "background_psnr_series",
    "psnr",
    "psnr_series",
    "region_psnr",
    "ssim",
    "ssim_map",
    "ssim_series",
]

_MOST = 100.0  # dB: what stands for "equal", so that means stay finite


def _decibels(error: Tensor) -> Tensor:
    return (-10 * torch.log10(error.clamp_min(1e-12))).clamp(max=_MOST)


def psnr_series(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio frame by frame.

    Args:
        a: (frame, 3, height, width), RGB in [0, 1].
        b: the same shape.

    Returns:
        (frame,), dB, at most 100.
    """
    return _decibels((a - b).square().mean((1, 2, 3)))


def psnr(a: Tensor, b: Tensor) -> float:
    """Peak signal-to-noise ratio of whole clips, such as a reconstruction and its source.

    Args:
        a: (frame, 3, height, width), RGB in [0, 1].
        b: the same shape.

    Returns:
        dB of the squared error over all pixels, at most 100: not the mean of `psnr_series`, which a few equal frames
        would lift. Higher is better.
    """
    return float(_decibels((a - b).square().mean()))


def region_psnr(edited: Tensor, source: Tensor, region: Tensor) -> float:
    """Peak signal-to-noise ratio within a region, such as outside the edited subject (background PSNR).

    Args:
        edited: (frame, 3, height, width), RGB in [0, 1].
        source: the same shape.
        region: (frame, height, width), bool.

    Returns:
        dB over all of the region's pixels, at most 100; NaN for an empty region. Higher is better.
    """
    if not bool(region.any()):
        return float("nan")
    return float(_decibels((edited - source).square().mean(1)[region].mean()))


def background_psnr(edited: Tensor, source: Tensor, region: Tensor) -> float:
    """Peak signal-to-noise ratio outside the region that was to be edited.

    Args:
        edited: (frame, 3, height, width), RGB in [0, 1].
        source: the same shape.
        region: (frame, height, width), bool: what was to be edited.

    Returns:
        dB over all pixels outside of it, at most 100; NaN where it is the whole clip. Higher is better.
    """
    return region_psnr(edited, source, ~region)


def background_psnr_series(edited: Tensor, source: Tensor, region: Tensor) -> Tensor:
    """Peak signal-to-noise ratio outside the region that was to be edited, frame by frame.

    Args:
        edited: (frame, 3, height, width), RGB in [0, 1].
        source: the same shape.
        region: (frame, height, width), bool: what was to be edited.

    Returns:
        (frame,), dB, at most 100; NaN where the region is the whole frame.
    """
    frames = zip(*(x.split(1) for x in (edited, source, region)), strict=True)
    return torch.tensor([background_psnr(*frame) for frame in frames])


def ssim_map(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity around every pixel: Gaussian windows of 11 x 11, sigma 1.5 (Wang et al., 2004).

    Args:
        a: (frame, 3, height, width), RGB in [0, 1], at least 6 pixels high and wide.
        b: the same shape.

    Returns:
        (frame, height, width), the mean of the three channels, -1 to 1; pictures are mirrored beyond their edges.
    """
    # Here and not above: importing torchmetrics takes a second that most of what measures does not need.
    from torchmetrics.functional.image import structural_similarity_index_measure

    # One frame at a time: its moments take five times the memory of what it is given.
    maps = [
        structural_similarity_index_measure(x[None], y[None], data_range=1.0, return_full_image=True)[1].mean(1)
        for x, y in zip(a, b, strict=True)
    ]
    return torch.cat(maps) if maps else a.new_zeros(0, *a.shape[-2:])


def ssim_series(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity frame by frame.

    Args:
        a: (frame, 3, height, width), RGB in [0, 1], at least 6 pixels high and wide.
        b: the same shape.

    Returns:
        (frame,), -1 to 1.
    """
    return ssim_map(a, b).mean((1, 2))


def ssim(a: Tensor, b: Tensor) -> float:
    """Structural similarity of whole clips (SSIM), such as a reconstruction and its source (Wang et al., 2004).

    Args:
        a: (frame, 3, height, width), RGB in [0, 1], at least 6 pixels high and wide.
        b: the same shape.

    Returns:
        Mean over frames, -1 to 1. Higher is better.
    """
    return float(ssim_series(a, b).mean())


register(
    Metric(
        "background_psnr", "Background PSNR", "dB, what stayed outside the mask", better="higher",
        aspect="preservation",
        needs=("frames", "source_frames", "region"), function=background_psnr, curve=background_psnr_series,
        per="frame",
    )
)  # fmt: skip
# No better side: an edit that changes nothing is nearest to its source.
register(
    Metric(
        "psnr", "PSNR", "dB, how little changed at all", better="none", aspect="preservation",
        needs=("frames", "source_frames"), function=psnr, curve=psnr_series, per="frame", tables=("evaluate", "bench"),
        headline=False,
    )
)  # fmt: skip
register(
    Metric(
        "ssim", "SSIM", "how little changed at all", better="none", aspect="preservation",
        needs=("frames", "source_frames"), function=ssim, curve=ssim_series, per="frame", tables=("evaluate", "bench"),
        headline=False,
    )
)  # fmt: skip
