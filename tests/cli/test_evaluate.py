"""``faircut evaluate``: any two clips, a table or JSON, and mistakes named."""

from __future__ import annotations

import json

import pytest

from faircut import read_video, write_video

from .conftest import SOURCE, TARGET
from .test_errors import refused  # noqa: F401


@pytest.fixture
def darker(clip, tmp_path_factory):
    video = read_video(clip)
    return write_video(video.with_frames(video.frames * 0.5 - 0.5), tmp_path_factory.mktemp("edit") / "darker.mp4")


@pytest.fixture
def given(clip, darker):
    return ("evaluate", darker, "--source", clip, "-s", SOURCE, "-p", TARGET)


def test_the_table_says_what_is_better_and_which_clip_measured(cli, given, tmp_path):
    result = cli(*given, "--json", "out/found.json", "-o", "out/page.html")
    assert result.code == 0, result.err
    lines = {line.split("  ")[0]: line for line in result.out.splitlines()}
    assert "lower" in lines["Warp-Err"]
    assert "higher" in lines["CLIP-T"]
    assert max(map(len, result.out.split("CLIP pocket")[0].splitlines())) <= 80
    assert "only the drawn world" in result.out
    data = json.loads((tmp_path / "out" / "found.json").read_text())
    assert data["measures"]["psnr"]["value"] == pytest.approx(data["measures"]["psnr"]["series"][0], abs=1)
    assert "<table>" in (tmp_path / "out" / "page.html").read_text()


def test_json_to_stdout_is_nothing_but_json(cli, given, clip):
    result = cli(*given, "--json", "-", "--frames", 2)
    assert result.code == 0, result.err
    assert result.report["edited"]["frames"] == result.report["source"]["frames"] == 2
    assert result.report["source"]["path"] == str(clip)
    assert not result.err


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--start", "1"], "select the source's edited frames with"),
        (["--frames", "9"], "has 3 frames"),
        (["--clip", "./none"], "cannot load './none' as a CLIP"),
        (["--mask", "none.png"], "no such file or folder"),
        (["--device", "gpu"], "cpu"),
        (["--frames", "many"], "--frames"),
        (["--sorce", "a.mp4"], "--source"),
    ],
)
def test_mistakes(refused, given, flags, expected):  # noqa: F811
    assert expected in refused(*given, *flags)


def test_the_source_is_needed(refused, clip):  # noqa: F811
    assert "--source" in refused("evaluate", clip, "-s", SOURCE, "-p", TARGET)


def test_a_place_that_cannot_be_written_to(refused, given, clip):  # noqa: F811
    assert "cannot write" in refused(*given, "--json", clip / "found.json")
