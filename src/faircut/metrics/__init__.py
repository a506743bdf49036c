"""Metrics as pure functions, the table that names them (`registry`), and intervals for their means.

For a metric that has a curve, ``name_series`` returns the figure of every frame, or of every pair of neighbouring
frames, and ``name`` returns the figure of the whole clip.
"""

from faircut.metrics.bootstrap import Estimate, estimate, macro_average
from faircut.metrics.clip_scores import (
    clip_t,
    clip_t_series,
    frame_acc,
    frame_acc_series,
    tem_con,
    tem_con_ratio,
    tem_con_series,
)
from faircut.metrics.cost import seconds, time_ratio
from faircut.metrics.fairness import disparity, flip_rate, hit_and_profession, hit_rate
from faircut.metrics.fidelity import (
    background_psnr,
    background_psnr_series,
    psnr,
    psnr_series,
    region_psnr,
    ssim,
    ssim_series,
)
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
from faircut.metrics.pareto import pareto_front
from faircut.metrics.quotients import q_edit
from faircut.metrics.registry import Figure, Inputs, Metric, MetricError, register
from faircut.metrics.success import edit_success

__all__ = [
    "Estimate",
    "Figure",
    "Inputs",
    "Metric",
    "MetricError",
    "background_psnr",
    "background_psnr_series",
    "clip_t",
    "clip_t_series",
    "disparity",
    "edit_success",
    "estimate",
    "flip_rate",
    "frame_acc",
    "frame_acc_series",
    "hit_and_profession",
    "hit_rate",
    "macro_average",
    "motion",
    "optical_flow",
    "pareto_front",
    "psnr",
    "psnr_series",
    "q_edit",
    "region_psnr",
    "register",
    "seconds",
    "ssim",
    "ssim_series",
    "tem_con",
    "tem_con_ratio",
    "tem_con_series",
    "time_ratio",
    "visible_pixels",
    "warp",
    "warp_error",
    "warp_error_series",
    "warp_ssim",
    "warp_ssim_series",
]
