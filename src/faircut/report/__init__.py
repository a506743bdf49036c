"""What a run tells about itself: a typed report, its JSON, and pictures."""

from faircut.report.environment import Environment, PeakMemory, hash_clip
from faircut.report.run import RunReport, Stopwatch, save_report

__all__ = ["Environment", "PeakMemory", "RunReport", "Stopwatch", "hash_clip", "save_report"]
