"""Clocks and counters for the benchmarks."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
import torch


@dataclass
class Seconds:
    """Time spent: by the clock on the wall, and by the processors on this process alone.

    The second is steadier where other programs use the machine too.
    """

    wall: float = 0.0
    cpu: float = 0.0

    def __add__(self, other: Seconds) -> Seconds:
        return Seconds(self.wall + other.wall, self.cpu + other.cpu)

    def __sub__(self, other: Seconds) -> Seconds:
        return Seconds(self.wall - other.wall, self.cpu - other.cpu)


def now() -> Seconds:
    """Read both clocks, after the GPU has finished what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return Seconds(time.perf_counter(), time.process_time())


@dataclass
class Peak:
    """The most memory in use during a block, above what was in use before it, in bytes."""

    ram: int = 0
    gpu: int = 0


@contextmanager
def peak_memory(interval: float = 0.02) -> Iterator[Peak]:
    """Watch the memory of this process: resident main memory by sampling, the GPU's by its allocator."""
    process, peak, stop = psutil.Process(os.getpid()), Peak(), threading.Event()
    before = process.memory_info().rss
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()

    def watch() -> None:
        while not stop.is_set():
            peak.ram = max(peak.ram, process.memory_info().rss - before)
            stop.wait(interval)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        stop.set()
        watcher.join()
        peak.ram = max(peak.ram, process.memory_info().rss - before)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
            # All of it, weights included: it is what must fit.
            peak.gpu = torch.cuda.max_memory_allocated()
