"""Metrics of the pixel-wise similarity of two clips."""

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

_MAX_PSNR = 100.0  # dB; the value for equal clips, so that means stay finite


def _decibels(error: Tensor) -> Tensor:
    return (-10 * torch.log10(error.clamp_min(1e-12))).clamp(max=_MAX_PSNR)


def psnr_series(a: Tensor, b: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio of every frame.

    Args:
        a: (frame, 3, height, width), RGB in [0, 1].
        b: Clip with the shape and range of `a`.

    Returns:
        (frame,), dB, at most 100.
    """
    return _decibels((a - b).square().mean((1, 2, 3)))


def psnr(a: Tensor, b: Tensor) -> float:
    """Return the peak signal-to-noise ratio of two clips, such as a reconstruction and its source.

    Args:
        a: (frame, 3, height, width), RGB in [0, 1].
        b: Clip with the shape and range of `a`.

    Returns:
        DB of the squared error over all pixels, at most 100. This is not the mean of `psnr_series`, which a few equal
        frames would raise. Higher is better.
    """
    return float(_decibels((a - b).square().mean()))


def region_psnr(edited: Tensor, source: Tensor, region: Tensor) -> float:
    """Return the peak signal-to-noise ratio within a region, such as outside the edited subject (background PSNR).

    Args:
        edited: (frame, 3, height, width), RGB in [0, 1].
        source: (frame, 3, height, width), RGB in [0, 1].
        region: (frame, height, width), bool.

    Returns:
        DB over all of the region's pixels, at most 100; NaN for an empty region. Higher is better.
    """
    if not bool(region.any()):
        return float("nan")
    return float(_decibels((edited - source).square().mean(1)[region].mean()))


def background_psnr(edited: Tensor, source: Tensor, region: Tensor) -> float:
    """Return the peak signal-to-noise ratio outside the region of the edit.

    Args:
        edited: (frame, 3, height, width), RGB in [0, 1].
        source: (frame, 3, height, width), RGB in [0, 1].
        region: (frame, height, width), bool: where the edit belongs.

    Returns:
        DB over all pixels outside the region, at most 100; NaN if the region is the whole clip. Higher is better.
    """
    return region_psnr(edited, source, ~region)


def background_psnr_series(edited: Tensor, source: Tensor, region: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio outside the region of the edit for every frame.

    Args:
        edited: (frame, 3, height, width), RGB in [0, 1].
        source: (frame, 3, height, width), RGB in [0, 1].
        region: (frame, height, width), bool: where the edit belongs.

    Returns:
        (frame,), dB, at most 100; NaN where the region is the whole frame.
    """
    frames = zip(*(x.split(1) for x in (edited, source, region)), strict=True)
    return torch.tensor([background_psnr(*frame) for frame in frames])


def ssim_map(a: Tensor, b: Tensor) -> Tensor:
    """Return the structural similarity around every pixel: Gaussian windows of 11 x 11, sigma 1.5 (Wang et al., 2004).

    Args:
        a: (frame, 3, height, width), RGB in [0, 1], at least 6 pixels high and wide.
        b: Clip with the shape and range of `a`.

    Returns:
        (frame, height, width), mean of the three channels, -1 to 1. Pictures are mirrored beyond their edges.
    """
    # Imported here, because importing torchmetrics takes a second that most metrics do not need.
    from torchmetrics.functional.image import structural_similarity_index_measure

    # One frame at a time, because the moments take five times the memory of the input.
    maps = [
        structural_similarity_index_measure(x[None], y[None], data_range=1.0, return_full_image=True)[1].mean(1)
        for x, y in zip(a, b, strict=True)
    ]
    return torch.cat(maps) if maps else a.new_zeros(0, *a.shape[-2:])


def ssim_series(a: Tensor, b: Tensor) -> Tensor:
    """Return the structural similarity of every frame.

    Args:
        a: (frame, 3, height, width), RGB in [0, 1], at least 6 pixels high and wide.
        b: Clip with the shape and range of `a`.

    Returns:
        (frame,), -1 to 1.
    """
    return ssim_map(a, b).mean((1, 2))


def ssim(a: Tensor, b: Tensor) -> float:
    """Return the structural similarity (SSIM) of two clips, such as a reconstruction and its source (Wang et al.,
    2004).

    Args:
        a: (frame, 3, height, width), RGB in [0, 1], at least 6 pixels high and wide.
        b: Clip with the shape and range of `a`.

    Returns:
        Mean over frames, -1 to 1. Higher is better.
    """
    return float(ssim_series(a, b).mean())


register(
    Metric(
        "background_psnr", "Background PSNR", "similarity to the source outside the mask, in dB", better="higher",
        aspect="preservation",
        needs=("frames", "source_frames", "region"), function=background_psnr, curve=background_psnr_series,
        per="frame",
    )
)  # fmt: skip
# Neither direction is better, because an edit that changes nothing is most similar to its source.
register(
    Metric(
        "psnr", "PSNR", "similarity to the source, in dB", better="none", aspect="preservation",
        needs=("frames", "source_frames"), function=psnr, curve=psnr_series, per="frame", tables=("evaluate", "bench"),
        headline=False,
    )
)  # fmt: skip
register(
    Metric(
        "ssim", "SSIM", "similarity to the source", better="none", aspect="preservation",
        needs=("frames", "source_frames"), function=ssim, curve=ssim_series, per="frame", tables=("evaluate", "bench"),
        headline=False,
    )
)  # fmt: skip
