"""``faircut tune``, end to end with a tiny random checkpoint."""

from __future__ import annotations

import json

import pytest

from faircut import VideoEditor, read_video
from faircut.model.temporal import has_temporal

from .conftest import SOURCE, TARGET


@pytest.fixture
def tune(cli, clip, tiny_folder):
    def run(*arguments: object, prompt: str = SOURCE):
        return cli("tune", clip, "-p", prompt, "--model", tiny_folder, "-o", "tuned", *arguments)

    return run


def test_tune_makes_a_model_that_edits(tune, cli, clip, tmp_path):
    validation = ("--validate", TARGET, "--validation-steps", 1)
    result = tune("--steps", 2, "--lr", 1e-2, "--json", *validation)
    assert result.code == 0, result.err
    assert result.report["step"] == 2
    assert result.report["validations"] == ["tuned/validation/step-2.mp4"]
    assert read_video(tmp_path / "tuned/validation/step-2.mp4").size[1] == 2 * read_video(clip).size[1]
    assert has_temporal(VideoEditor.from_pretrained(tmp_path / "tuned").unet)
    edit = cli("edit", clip, "-s", SOURCE, "-p", TARGET, "--model", "tuned", "--steps", 2, "-o", "edit.mp4", "--json")
    assert edit.code == 0, edit.err
    assert edit.report["settings"]["temporal"]["frames"] == ["first", -1]
    plain = cli("edit", "--config", "edit.run.yaml", "--model", "pocket", "-o", "plain.mp4", "--json")
    assert plain.report["settings"]["temporal"]["frames"] == ["middle"], "what nobody chose is not kept"

    again = tune("--steps", 2, "--lr", 1e-2)
    assert again.out.splitlines()[0] == "tuned"
    assert "nothing was left to do" in again.out
    longer = tune("--steps", 3, "--lr", 1e-2)
    assert longer.out.splitlines()[:2] == ["Tuning 100.0 %: loss " + f"{_last_loss(tmp_path):.6g}", "tuned"]


def _last_loss(folder):
    return json.loads((folder / "tuned" / "log.jsonl").read_text().splitlines()[-1])["loss"]


def test_tunings_are_not_mixed_unless_begun_again(tune):
    assert tune("--steps", 1).code == 0
    for result, message in (
        (tune("--steps", 1, prompt=TARGET), "tuned contains a tuning with another prompt"),
        (tune("--steps", 1, "--frames", 2), "tuned contains a tuning with another clip"),
        (tune("--steps", 1, "--lr", 1e-3), "tuned contains a tuning with another learning_rate"),
    ):
        assert result.code == 2
        assert message in result.err
        assert len(result.err.strip().splitlines()) == 1
    assert tune("--steps", 1, "--fresh", prompt=TARGET).code == 0


def test_a_stop_says_how_to_go_on(tune, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("faircut.tune.train._Run._step", interrupt)
    result = tune()
    assert result.code == 130
    assert result.err.strip().endswith("stopped; the same command goes on from the last checkpoint")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("clip.mp4",), "--prompt"),
        (("clip.mp4", "-p", "a jeep", "--steps", 0), "steps is 0"),
        (("clip.mp4", "-p", "a jeep"), "clip.mp4"),
        (("convert", "nowhere", "-o", "model"), "nowhere does not exist"),
        (("convert", ".", "-o", "model"), "no model_index.json"),
    ],
)
def test_bad_input_is_one_line(cli, arguments, message):
    result = cli("tune", *arguments)
    assert result.code == 2
    assert message in result.err
    assert len(result.err.strip().splitlines()) == 1


def test_a_plain_model_needs_no_converting(cli, tiny_folder):
    result = cli("tune", "convert", tiny_folder, "-o", "model")
    assert result.code == 2
    assert "load it without conversion" in result.err
