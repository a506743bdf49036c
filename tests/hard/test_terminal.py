"""Signals, pipes and terminals, with processes of their own."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .corpus import SOURCE, TARGET

pytestmark = pytest.mark.slow

_PIPELINE = [sys.executable, "-m", "faircut"]


@pytest.fixture
def start(world):
    """Start faircut in the world; a shell that runs tests in the background would let it ignore Ctrl-C."""

    def run(*arguments: object, **more) -> subprocess.Popen:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **more.pop("environment", {})}
        wanted = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, **more}
        return subprocess.Popen(
            [*_PIPELINE, *map(str, arguments)],
            cwd=world.folder,
            env=environment,
            preexec_fn=lambda: [
                signal.signal(n, signal.SIG_DFL) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
            ],
            **wanted,
        )

    return run


def _edit(world, *more: object) -> tuple:
    return ("edit", "jeep.mp4", "-s", SOURCE, "-p", TARGET, "--model", world.model, "-o", "out.mp4", *more)


def _partial(*folders: Path) -> list[Path]:
    return [path for folder in folders if folder.is_dir() for path in folder.rglob("*.partial*")]


def _begun(process: subprocess.Popen) -> None:
    """Wait until Python itself has started and signals are ours: nothing can be said before."""
    status = Path(f"/proc/{process.pid}/status")
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        caught = next((line for line in status.read_text().splitlines() if line.startswith("SigCgt")), "0")
        if int(caught.split()[-1], 16) >> (signal.SIGHUP - 1) & 1:
            return
        time.sleep(0.002)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="waits with /proc")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_at_any_moment_is_one_line(name, start, world):
    number = getattr(signal, name)
    said = {"SIGINT": "interrupted", "SIGTERM": "terminated", "SIGHUP": "the terminal was closed"}[name]
    before = sorted(world.folder.rglob("*"))
    chance = random.Random(name)
    for moment in sorted(chance.uniform(0, 7) for _ in range(10)):
        process = start(*_edit(world, "--steps", 900, "--supplier", "disk"))
        _begun(process)
        time.sleep(moment)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 128 + number, (moment, err)
        assert err.decode() == f"faircut: {said}; nothing half-written was left behind\n", moment
        assert not out
        assert sorted(world.folder.rglob("*")) == before
        assert not _partial(world.cache, world.folder)
        assert not list((world.folder.parent / "tmp").iterdir())


def test_a_second_signal_does_not_break_off_the_clearing_up(start, world):
    process = start(*_edit(world, "--steps", 900, "--supplier", "disk"))
    while process.poll() is None and not list((world.folder.parent / "tmp").rglob("step_*")):
        time.sleep(0.02)
    for _ in range(5):
        process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.decode() == "faircut: interrupted; nothing half-written was left behind\n"
    assert not list((world.folder.parent / "tmp").iterdir())


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_stopped_tuning_keeps_its_steps(name, start, world):
    number = getattr(signal, name)
    process = start("tune", "jeep.mp4", "-p", SOURCE, "--model", world.model, "--steps", 100_000, "-o", "tuned")
    while process.poll() is None and not (world.folder / "tuned" / "log.jsonl").is_file():
        time.sleep(0.05)
    time.sleep(1)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert err.decode() == "faircut: stopped; the same command goes on from the last checkpoint\n"


@pytest.mark.parametrize("command", [["--help"], ["edit", "--help"], ["--version"], ["align", "--json"]], ids=" ".join)
def test_whoever_reads_may_leave(command, start, world):
    more = ["-s", SOURCE, "-p", TARGET, "--model", world.model] if command[0] == "align" else []
    reading, writing = os.pipe()
    os.close(reading)
    process = start(*command, *more, stdout=writing)
    os.close(writing)
    _, err = process.communicate(timeout=60)
    assert not err
    assert process.returncode == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    "command", [["--help"], ["edit", "--help"], ["--version"], ["align"], ["align", "--json"]], ids=" ".join
)
def test_an_output_that_takes_nothing_is_one_line(command, start, world):
    more = ["-s", SOURCE, "-p", TARGET, "--model", world.model] if command[0] == "align" else []
    with open("/dev/full", "wb") as full:
        process = start(*command, *more, stdout=full)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert err.decode().count("\n") == 1
    assert "No space left on device" in err.decode()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_nowhere_to_complain_is_no_fault(start):
    with open("/dev/full", "wb") as full:
        process = start("edti", stderr=full)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert not out


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(closed, world):
    words = ["align", "-s", SOURCE, "-p", TARGET, "--model", world.model]
    command = " ".join(f"'{word}'" for word in [*_PIPELINE, *words])
    done = subprocess.run(
        f"{command} {closed}", shell=True, cwd=world.folder, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0
    assert not done.stderr


@pytest.mark.parametrize(
    "environment",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "ascii:strict"},
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "cp037"},
    ],
    ids=str,
)
def test_any_encoding(environment, start, world):
    words = ("align", "-s", "a caf\u00e9 \U0001f600", "-p", "a \u8eca", "--model", world.model)
    for more in ((), ("--json",)):
        process = start(*words, *more, environment=environment)
        _, err = process.communicate(timeout=60)
        # Where arguments are not read as UTF-8 they are no text, and that is said.
        assert process.returncode == 0 or b"valid text" in err
        assert b"Traceback" not in err
    process = start("edit", "\U0001f600.mp4", *words[1:], environment=environment)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert b"Traceback" not in err


def test_a_run_that_is_to_outlive_its_terminal_does(world):
    command = [*_PIPELINE, *map(str, _edit(world, "--steps", 30))]
    process = subprocess.Popen(
        command, cwd=world.folder, stderr=subprocess.PIPE, stdout=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )  # fmt: skip
    for _ in range(20):
        time.sleep(0.1)
        if process.poll() is None:
            process.send_signal(signal.SIGHUP)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert (world.folder / "out.mp4").is_file()
