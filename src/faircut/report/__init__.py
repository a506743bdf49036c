"""Reports of runs: a typed report, its JSON, and pictures."""

from faircut.report.environment import Environment, PeakMemory, describe_clip, hash_clip
from faircut.report.run import RunReport, Stopwatch, save_report

__all__ = ["Environment", "PeakMemory", "RunReport", "Stopwatch", "describe_clip", "hash_clip", "save_report"]
