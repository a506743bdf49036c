"""``faircut atlas``, from a clip to an edit."""

from __future__ import annotations

import json

import pytest
import torch

from faircut.video import Video, read_video, write_video

from .conftest import SOURCE, TARGET


def test_a_clip_becomes_an_atlas_and_the_atlas_an_edit(cli, clip, tiny_folder, tmp_path):
    masks = torch.full((3, 3, 32, 48), -1.0)
    masks[:, :, 8:20, 10:25] = 1.0
    write_video(Video.from_frames(masks, 8), tmp_path / "masks.mp4")
    fitted = cli("atlas", "fit", clip, "--mask", "masks.mp4", "--steps", 3, "-o", "jeep.atlas", "--json")
    assert fitted.code == 0, fitted.err
    assert fitted.report["frames"] == 3
    assert 0.05 < fitted.report["foreground"] < 0.3
    edited = cli(
        "atlas", "edit", "jeep.atlas", "-s", SOURCE, "-p", TARGET, "--model", tiny_folder, "--steps", 2,
        "--layer", "background", "-o", "car.mp4", "--json",
    )  # fmt: skip
    assert edited.code == 0, edited.err
    assert read_video(tmp_path / "car.mp4").frames.shape == (3, 3, 32, 48)
    assert edited.report["layer"] == "background"
    assert json.loads((tmp_path / "car.report.json").read_text()) == edited.report
    assert all((tmp_path / path).is_file() for path in edited.report["outputs"].values())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("fit", "CLIP", "--words", "jeep"), "give -s/--source-prompt"),
        (("fit", "CLIP", "--words", "jeep", "--mask", "m.mp4"), "give one of them"),
        (("fit", "CLIP", "--steps", 0), "steps is 0"),
        (("fit", "CLIP", "-o", "."), "is the current folder"),
        (("edit", "nowhere.atlas", "-s", SOURCE, "-p", TARGET), "a readable atlas"),
        (("edit", "nowhere.atlas", "-s", SOURCE), "-p/--prompt missing"),
    ],
)
def test_what_cannot_be_used_is_one_line(cli, clip, arguments, said):
    run = cli("atlas", *(clip if a == "CLIP" else a for a in arguments))
    assert run.code == 2
    assert said in run.err
    assert run.err.count("\n") == 1
