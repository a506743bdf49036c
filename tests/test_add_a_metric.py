"""The table of metrics; and the guide for a new metric, followed to the letter in a process of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from faircut.metrics import Figure, Inputs, Metric, MetricError, registry
from faircut.video import Video, write_video

GUIDE = Path(__file__).parents[1] / "docs" / "guide" / "add-a-metric.md"

# Where the guide's metric must be seen: the table of `faircut evaluate`, its JSON file, and a leaderboard.
SCRIPT = """
import json, sys
from pathlib import Path
{first}
from faircut.cli import main
try:
    main(["evaluate", "edit.mp4", "--source", "source.mp4", "-s", "a jeep", "-p", "a car", "--json", "found.json"])
except SystemExit as leaving:
    assert not leaving.code, leaving.code
from faircut.benchmark.edits.jobs import BenchRecord
from faircut.benchmark.edits.leaderboard import BenchResult, markdown, summarise
record = BenchRecord(
    key="k", instruments="i", method="fatezero", figures={{"sharpness": 0.25}}, seconds=1.0, item="a", kind="b",
    curves={{}},
)
print(markdown(BenchResult(**summarise([record]), provenance={{}})))
"""


def test_a_metric_that_follows_the_guide_is_in_every_table(tmp_path):
    code, test = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.S)
    (entry,) = re.findall(r'^(sharpness = ".*")$', GUIDE.read_text(encoding="utf-8"), re.M)
    package, folder = tmp_path / "package", tmp_path / "folder"
    for place in (package, folder):
        place.mkdir()
        (place / "sharpness.py").write_text(code)
    (package / "test_sharpness.py").write_text(test)
    installed = package / "sharpness-1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: sharpness\nVersion: 1\n")
    (installed / "entry_points.txt").write_text(f"[faircut.metrics]\n{entry.replace(chr(34), '')}\n")
    stripes = torch.tensor([-1.0, 1.0]).repeat(16).expand(3, 3, 32, 32)
    write_video(Video.from_frames(stripes), tmp_path / "source.mp4")
    write_video(Video.from_frames(torch.zeros(3, 3, 32, 32)), tmp_path / "edit.mp4")
    environment = {**os.environ, "COLUMNS": "100", "FAIRCUT_CACHE": str(tmp_path / "cache")}

    def ran(first: str, *path: Path) -> str:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT.format(first=first)], cwd=tmp_path, capture_output=True, text=True,
            env={**environment, "PYTHONPATH": os.pathsep.join([*map(str, path), os.environ.get("PYTHONPATH", "")])},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    for out in (
        ran("", package),
        ran(f"import faircut.metrics; faircut.metrics.__path__.append({str(folder)!r})"),
    ):
        (line,) = (line for line in out.splitlines() if line.startswith("Sharpness"))
        assert "higher" in line
        assert "how much neighbouring pixels differ" in line
        measured = json.loads((tmp_path / "found.json").read_text())["measures"]["sharpness"]
        assert (measured["value"], len(measured["series"])) == (pytest.approx(0.0, abs=0.01), 3)
        assert measured["source"] == pytest.approx(1.0, abs=0.1)
        assert "Sharpness ↑" in out
        assert "0.25 (0.25 to 0.25)" in out
    sys.path.insert(0, str(package))
    try:
        namespace: dict = {}
        exec((package / "test_sharpness.py").read_text(), namespace)  # It registers the metric here as well ...
        namespace["test_stripes_are_as_sharp_as_can_be_and_a_plain_picture_is_not"]()
    finally:
        sys.path.remove(str(package))
        registry._metrics.pop("sharpness", None)  # ... which other tests must not see.
        sys.modules.pop("sharpness", None)


def metric(name="example", needs=(), function=lambda *inputs: sum(inputs), **more):
    return Metric(name, name, "", better="higher", aspect="cost", needs=needs, function=function, **more)


@pytest.fixture
def table(monkeypatch):
    """The table of metrics, as it was again afterwards."""
    registry.load()
    monkeypatch.setattr(registry, "_metrics", dict(registry._metrics))
    return registry


def test_inputs_are_made_once_and_only_if_they_are_needed(table):
    made = []
    inputs = Inputs(edit_seconds=lambda: made.append("edit") or 2.0, flow=lambda: made.append("flow"))
    metrics = [metric("a", ("edit_seconds",)), metric("b", ("edit_seconds", "edit_seconds"))]
    assert table.measure(metrics, inputs) == {"a": Figure(2.0), "b": Figure(4.0)}
    assert made == ["edit"]


def test_a_metric_is_given_the_figures_of_others_and_left_out_where_an_input_is_missing(table):
    table.register(metric("double", ("edit_seconds", "edit_seconds")))
    four = metric("four", ("double", "double"))
    assert table.measure([four], {"edit_seconds": 1.5}) == {"four": Figure(6.0)}
    assert table.measure([four], {}) == {}
    itself = table.register(metric("itself", ("itself",)))
    assert table.measure([itself], {}) == {}


def test_a_metric_that_cannot_be_used_is_refused(table):
    with pytest.raises(MetricError, match="two metrics have the name 'clip_t'"):
        table.register(metric("clip_t"))
    with pytest.raises(MetricError, match="has the table 'bnch'; possible: evaluate, bench, audit"):
        metric(tables=("bnch",))
    with pytest.raises(MetricError, match="give a curve and per='frame'"):
        metric(per="frame")
    table.register(metric("wrong", ("framse",)))
    with pytest.raises(MetricError, match="metric 'wrong' needs 'framse'"):
        table.load()


def test_a_package_whose_metric_is_broken_is_named(table, monkeypatch):
    class Entry:
        name, value = "sharpness", "nowhere:SHARPNESS"

        def load(self):
            raise ModuleNotFoundError("No module named 'nowhere'")

    from faircut.errors import ConfigError
    from faircut.evaluate import metrics_of

    monkeypatch.setattr(table, "entry_points", lambda group: [Entry()])
    table._load_all.cache_clear()
    try:
        with pytest.raises(ConfigError, match="cannot load the metric 'sharpness' from nowhere:SHARPNESS: No module"):
            metrics_of("evaluate")
    finally:
        table._load_all.cache_clear()


def test_tables_are_in_the_order_of_aspects():
    aspects = [registry.ASPECTS.index(metric.aspect) for metric in registry.load().values()]
    assert aspects == sorted(aspects)
    assert list(registry.load("evaluate"))[:3] == ["clip_t", "frame_acc", "tem_con"]
    assert all(name in registry.load() for table in registry.TABLES for name in registry.load(table))
