"""Counts the corpus: ``make hard`` ends with "N of N"."""

from __future__ import annotations

import pytest


def pytest_terminal_summary(terminalreporter, exitstatus, config) -> None:
    ran = [report for kind in ("passed", "failed", "error") for report in terminalreporter.getreports(kind)]
    names = {report.nodeid for report in ran if "tests/hard/" in report.nodeid}
    bad = {r.nodeid for kind in ("failed", "error") for r in terminalreporter.getreports(kind)}
    if names:
        terminalreporter.write_line(f"{len(names - bad)} of {len(names)}")


@pytest.fixture(autouse=True)
def _signals():
    """The command line takes SIGTERM; put back what pytest had."""
    import signal

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    """No case may ask the hub for a name that it made up."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
