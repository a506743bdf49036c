"""Clocks and counters for the benchmarks."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psutil
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


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


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of tensors alive that were made inside the block, and their peak.

    It sees every storage that an operator returns, so parameters and inputs made before do not count, and neither does
    scratch memory inside an operator. Unlike the memory of the process it does not depend on the allocator.
    """

    def __init__(self) -> None:
        super().__init__()
        self.current = self.peak = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        # An operator may hand back what it was given; that was counted when it was made, or is not ours.
        given = {x.untyped_storage()._cdata for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)}
        for x in tree_leaves(result):
            if isinstance(x, torch.Tensor):
                storage = x.untyped_storage()
                key = storage._cdata
                if key not in self._seen and key not in given:
                    self._seen.add(key)
                    self.current += storage.nbytes()
                    weakref.finalize(storage, self._forget, key, storage.nbytes())
        self.peak = max(self.peak, self.current)
        return result

    def _forget(self, key: int, nbytes: int) -> None:
        self._seen.discard(key)
        self.current -= nbytes


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
