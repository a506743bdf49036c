"""Measurements as pure functions: of frames, of embeddings, of what was perceived; and intervals for their means.

Where a curve makes sense, ``name_series`` gives the figure of every frame, or of every pair of neighbours, and ``name`` the
whole clip's.
"""

from faircut.metrics.bootstrap import Estimate, estimate
from faircut.metrics.fairness import disparity, macro_average
from faircut.metrics.fidelity import psnr, psnr_series, region_psnr, ssim, ssim_series
from faircut.metrics.flow import (
    motion,
    optical_flow,
    visible_pixels,
    warp,
    warp_error,
    warp_error_series,
    warp_ssim,
    warp_ssim_series,
)
from faircut.metrics.frames import (
    clip_t,
    clip_t_series,
    frame_acc,
    frame_acc_series,
    q_edit,
    tem_con,
    tem_con_series,
)
from faircut.metrics.pareto import pareto_front

__all__ = [
    "Estimate",
    "clip_t",
    "clip_t_series",
    "disparity",
    "estimate",
    "frame_acc",
    "frame_acc_series",
    "macro_average",
    "motion",
    "optical_flow",
    "pareto_front",
    "psnr",
    "psnr_series",
    "q_edit",
    "region_psnr",
    "ssim",
    "ssim_series",
    "tem_con",
    "tem_con_series",
    "visible_pixels",
    "warp",
    "warp_error",
    "warp_error_series",
    "warp_ssim",
    "warp_ssim_series",
]
