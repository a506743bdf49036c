"""The two benchmarks, ``audit`` and ``edits``, and sweeps. All share one store, one runner and one table of metrics."""
