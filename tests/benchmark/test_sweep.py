"""Sweeps: combinations, the front, and one run on the command line."""

from __future__ import annotations

import json

import pytest

from faircut import VideoEditor
from faircut.benchmark.sweep import combinations, with_options
from faircut.errors import ConfigError
from faircut.metrics import pareto_front
from tests.cli.conftest import SOURCE, TARGET, cli, clip, tiny_folder  # noqa: F401


def test_nothing_beats_the_front():
    nan = float("nan")
    points = [(1.0, 3.0), (2.0, 2.0), (2.0, 1.0), (3.0, 1.0), (2.0, 2.0), (nan, 9.0)]
    assert pareto_front(points) == [True, True, False, True, True, False]
    assert pareto_front([]) == []


def test_every_combination_once():
    assert combinations({"a": [1, 2], "b.c": [3]}) == [{"a": 1, "b.c": 3}, {"a": 2, "b.c": 3}]
    with pytest.raises(ConfigError, match="needs options"):
        combinations({})
    with pytest.raises(ConfigError, match="300 edits"):
        combinations({"a": range(20), "b": range(15)})


def test_an_entry_of_an_option_keeps_the_others():
    method = {"reweight": {"red": 2.0}, "blend_threshold": 0.3}
    assert with_options(method, {"reweight.car": 4, "blend_threshold": 0.5}) == {
        "reweight": {"red": 2.0, "car": 4}, "blend_threshold": 0.5
    }  # fmt: skip
    assert method["reweight"] == {"red": 2.0}


def test_a_sweep_from_the_command_line(cli, clip, tiny_folder, tmp_path, monkeypatch):  # noqa: F811
    command = (
        "sweep", clip, "-s", SOURCE, "-p", TARGET, "--model", tiny_folder, "--steps", 2, "--blend", "jeep:car",
        "--over", "cross_replace_steps=0.5,1.0", "--over", "reweight.car=1,3", "-o", "out",
    )  # fmt: skip
    result = cli(*command, "--json", "figures.json")
    assert result.code == 0, result.err
    found = json.loads((tmp_path / "figures.json").read_text())
    assert found == json.loads((tmp_path / "out" / "sweep.json").read_text())
    options = [(p["options"]["cross_replace_steps"], p["options"]["reweight.car"]) for p in found["points"]]
    assert sorted(options) == [(0.5, 1), (0.5, 3), (1.0, 1), (1.0, 3)]
    figures = [(p["figures"]["clip_t"], p["figures"]["tem_con"]) for p in found["points"]]
    assert len(set(figures)) == 4
    assert [p["front"] for p in found["points"]] == pareto_front(figures)
    assert found["source"]["psnr"] == 100
    front = sum(p["front"] for p in found["points"])
    assert len(list((tmp_path / "out").glob("front-*.mp4"))) == front >= 1
    page = (tmp_path / "out" / "sweep.html").read_text()
    assert page.count("data:image/webp") == 4

    edits, edit = [], VideoEditor.edit
    monkeypatch.setattr(VideoEditor, "edit", lambda *a, **k: edits.append(1) or edit(*a, **k))
    assert cli(*command).code == 0
    assert len(edits) == front


@pytest.mark.parametrize(
    ("method", "flags", "over"),
    [
        ("null-text", (), "cross_replace_steps=0.4,0.8"),
        ("fame", ("--blend", "jeep:car", "--alpha", "1"), "fresh_noise=0.2,0.8"),
    ],
)
def test_methods_that_prepare_more_than_an_inversion_are_swept(cli, clip, tiny_folder, tmp_path, method, flags, over):  # noqa: F811
    result = cli(
        "sweep", clip, "-s", SOURCE, "-p", TARGET, "--model", tiny_folder, "--steps", 2, "--method", method, *flags,
        *(("--target", "female") if method == "fame" else ()), "--over", over, "-o", "out", "--json", "figures.json",
    )  # fmt: skip
    assert result.code == 0, result.err
    points = json.loads((tmp_path / "figures.json").read_text())["points"]
    assert len(points) == 2
    assert points[0]["figures"] != points[1]["figures"]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], "needs options"),
        (["--over", "blend_threshold"], "OPTION=VALUE"),
        (["--over", "blend_treshold=0.1,0.2"], "did you mean 'blend_threshold'"),
        (["--over", "cross_replace_steps=0.1,much"], "cross_replace_steps"),
        (["--over", "blend_threshold=0.1", "--agreement", "warp_error"], "no metric 'warp_error'"),
        (["--over", "blend_threshold=0.1", "--blend", "bus:car"], "'bus' is not in the prompt"),
    ],
)
def test_mistakes_are_one_line(cli, clip, tiny_folder, flags, expected):  # noqa: F811
    result = cli("sweep", clip, "-s", SOURCE, "-p", TARGET, "--model", tiny_folder, "--steps", 2, *flags)
    assert result.code == 2
    assert expected in result.err
    assert len(result.err.strip().splitlines()) == 1, result.err
