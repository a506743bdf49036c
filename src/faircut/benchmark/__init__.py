"""Benchmarks in two wings, ``audit`` and ``edits``, and sweeps: one store, one runner, one table of metrics."""
