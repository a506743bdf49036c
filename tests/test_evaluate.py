"""Evaluating any pair of clips: figures whose answers are known, and clips that do not fit."""

import json
import math

import pytest
import torch

from faircut.errors import ModelError, VideoError
from faircut.evaluate import EvaluationSettings, measure_edit, metrics_of, run_evaluation, save_evaluation
from faircut.evaluate.html import write_html
from faircut.model.checkpoints import pocket_folder
from faircut.model.scorer import load_clip_scorer
from faircut.video import Video, write_video

PROMPTS = "a dog in a park", "a cat in a park"


class Scorer:
    """A CLIP of two directions: how red a picture is, and how blue; texts of dogs are red, of cats blue."""

    name = "colours"

    def images(self, frames):
        return torch.nn.functional.normalize(frames[:, [0, 2]].mean((2, 3)), dim=-1)

    def texts(self, texts):
        return torch.tensor([[0.0, 1.0] if "cat" in text else [1.0, 0.0] for text in texts])


def clip_of(*colours, size=(24, 32)):
    """Frames of plain colours with a texture that stands still, (frame, 3, height, width) in [0, 1]."""
    torch.manual_seed(0)
    texture = 0.1 * torch.rand(1, *size)
    return torch.stack([torch.tensor(colour).view(3, 1, 1) * 0.9 + texture for colour in colours])


RED, BLUE = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)


def test_an_edit_that_works_beside_its_source():
    source, edited = clip_of(RED, RED, RED), clip_of(BLUE, BLUE, RED)
    found = measure_edit(edited, source, PROMPTS, Scorer())
    assert list(found) == [name for name in metrics_of("evaluate") if name != "background_psnr"]
    assert (found["frame_acc"].value, found["frame_acc"].source) == (pytest.approx(2 / 3), 0.0)
    assert found["frame_acc"].series == (1.0, 1.0, 0.0)
    assert found["clip_t"].value > 0.6 > 0.1 > found["clip_t"].source
    assert found["tem_con"].series[0] == pytest.approx(1.0)
    assert found["tem_con"].series[1] < 0.2
    assert found["tem_con"].source == pytest.approx(1.0)
    # Blue to red changes two of three channels by 0.9.
    assert found["warp_error"].series == pytest.approx((0.0, 2 / 3 * 0.81), abs=1e-4)
    assert found["warp_error"].value == pytest.approx(0.27, abs=1e-4)
    assert found["warp_error"].source == pytest.approx(0.0, abs=1e-8)
    assert found["q_edit"].value == pytest.approx(found["clip_t"].value * 100 / 270, rel=1e-3)
    assert (found["q_edit"].of, found["q_edit"].series) == ("clip", ())
    assert found["psnr"].series[2] == 100.0
    assert found["psnr"].value == pytest.approx(-10 * math.log10(2 / 3 * 2 / 3 * 0.81), abs=1e-3)
    assert found["psnr"].source is found["psnr"].higher_is_better is None
    assert found["warp_error"].higher_is_better is False


def test_the_background_is_what_the_mask_leaves():
    source = clip_of(RED, RED)
    edited = source.clone()
    edited[:, :, :12] = 0.0
    region = torch.zeros(2, 24, 32, dtype=torch.bool)
    region[:, :12] = True
    found = measure_edit(edited, source, PROMPTS, Scorer(), region)
    assert found["background_psnr"].value == 100.0
    assert found["background_psnr"].series == (100.0, 100.0)
    assert measure_edit(edited, source, PROMPTS, Scorer(), ~region)["background_psnr"].value < 20


def test_clips_that_do_not_fit():
    with pytest.raises(VideoError, match="the same number of frames"):
        measure_edit(clip_of(RED), clip_of(RED, RED), PROMPTS, Scorer())
    with pytest.raises(VideoError, match="at least 12x12"):
        measure_edit(clip_of(RED, size=(11, 30)), clip_of(RED, size=(11, 30)), PROMPTS, Scorer())


@pytest.fixture
def files(tmp_path):
    """A source of six frames, an edit of every second one, and a mask."""
    red, blue = (clip_of(*[colour] * 6) * 2 - 1 for colour in (RED, BLUE))
    blue[:, :, 12:] = red[:, :, 12:]
    red[1::2] = 0.0
    write_video(Video.from_frames(red), tmp_path / "source")
    write_video(Video.from_frames(blue[::2]), tmp_path / "edit")
    mask = torch.full((1, 3, 24, 32), -1.0)
    mask[:, :, :12] = 1.0
    write_video(Video.from_frames(mask), tmp_path / "mask.png")
    return tmp_path


def settings(files, **more):
    given = {"stride": 2, "mask": str(files / "mask.png"), **more}
    return EvaluationSettings(
        edited=str(files / "edit"), source=str(files / "source"), source_prompt=PROMPTS[0], prompt=PROMPTS[1], **given
    )


def test_from_files_to_a_result_with_its_provenance(files):
    found = run_evaluation(settings(files))
    assert found.measures["background_psnr"].value == 100.0
    assert found.clip["name"] == "pocket"
    assert len(found.clip["fingerprint"]) == 32
    assert set(found.environment.versions) >= {
        "faircut",
        "torch",
        "transformers",
        "opencv-python-headless",
        "torchmetrics",
    }
    assert found.source["selection"] == "3 frames from frame 0, every 2"
    hashes = {facts["hash"] for facts in (found.edited, found.source, found.mask)}
    assert len(hashes) == 3
    assert any("only the drawn world" in note for note in found.notes)
    path = save_evaluation(found, files / "found.json")
    data = json.loads(path.read_text())
    assert data["measures"]["psnr"]["of"] == "frame"
    assert len(data["measures"]["psnr"]["series"]) == 3
    assert data["settings"]["stride"] == 2


def test_the_page_holds_everything_it_shows(files):
    page = write_html(run_evaluation(settings(files)), files / "page.html").read_text()
    assert "http" not in page
    assert page.count("data:image/png;base64,") == 1
    assert all(metric.label in page for metric in metrics_of("evaluate").values())


def test_an_edit_that_changed_nothing_is_called_that(files):
    found = run_evaluation(settings(files, stride=1, mask=None, num_frames=3))
    assert not any("no better than its source" in note for note in found.notes)
    same = EvaluationSettings(str(files / "source"), str(files / "source"), *PROMPTS)
    found = run_evaluation(same)
    assert any("no better than its source" in note for note in found.notes)
    assert found.measures["ssim"].value == pytest.approx(1.0)
    assert found.mask is None


def test_frames_that_do_not_match_are_named(files):
    with pytest.raises(VideoError, match=r"edit has 3 frames and .*source 6: .* --stride"):
        run_evaluation(settings(files, stride=1))


def test_another_size_must_be_asked_for(files):
    large = torch.nn.functional.interpolate(clip_of(*[RED] * 6), (48, 64)) * 2 - 1
    write_video(Video.from_frames(large), files / "large")
    changed = {"source": str(files / "large")}
    given = settings(files).__dict__ | changed
    with pytest.raises(VideoError, match=r"edit is 32x24 and .*large 64x48; give --resize"):
        run_evaluation(EvaluationSettings(**given))
    found = run_evaluation(EvaluationSettings(**given | {"resize": True}))
    assert (found.source["height"], found.source["width"]) == (24, 32)
    assert any("large was resized: scaled from 64x48 to 32x24" in note for note in found.notes)


def test_masks_that_say_nothing(files):
    write_video(Video.from_frames(torch.ones(1, 3, 24, 32)), files / "white.png")
    with pytest.raises(VideoError, match="bright everywhere"):
        run_evaluation(settings(files, mask=str(files / "white.png")))
    with pytest.raises(VideoError, match="6 masks for 3 frames"):
        run_evaluation(settings(files, mask=str(files / "source")))


def test_a_clip_that_is_not_there(tmp_path):
    for name in (tmp_path / "none", pocket_folder() / "judge"):
        with pytest.raises(ModelError, match="as a CLIP"):
            load_clip_scorer(str(name))
    assert load_clip_scorer(str(pocket_folder() / "clip")).name.endswith("clip")
