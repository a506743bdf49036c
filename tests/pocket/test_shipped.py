"""The model that ships: what only trained weights can show. Few pictures and steps, so wide margins."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from torch.nn import functional as F

from faircut.benchmark.pocket.edits import judge_edit
from faircut.benchmark.pocket.figures import evaluate
from faircut.benchmark.pocket.model import generate, load_model
from faircut.model.checkpoints import pocket_folder
from faircut.pocket.clips import render_clip
from faircut.pocket.edit_cases import GUIDANCE, edit_cases, method_for
from faircut.pocket.pictures import to_tensor
from faircut.report.pictures import MapCapture

FRAMES = 3


@pytest.fixture(scope="module")
def model():
    return load_model()


@pytest.fixture(scope="module")
def blue_car(pocket_editor):
    """A car whose colour is edited: the case, the source clip, the edited frames in [0, 1], the masks by step."""
    case = next(c for c in edit_cases() if c.kind == "colour" and c.source.subjects[0].noun == "car")
    clip = render_clip(case.source, FRAMES)
    frames = to_tensor(clip.frames)
    inversion = pocket_editor.invert(frames, case.source_prompt, num_inference_steps=10)
    capture = MapCapture()
    guidance = GUIDANCE[case.kind]
    result = pocket_editor.edit(inversion, case.prompt, method_for(case), guidance_scale=guidance, watch=[capture])
    return case, clip, frames, (result.video.frames + 1) / 2, {step: mask[0] for step, mask in capture.masks.items()}


def test_an_edit_changes_the_colour_and_keeps_the_rest(blue_car, model):
    case, _, frames, edited, _ = blue_car
    assert judge_edit(model.judge, (frames + 1) / 2, case) == (False, True)
    assert judge_edit(model.judge, edited, case) == (True, True)


def test_fixed_point_steps_bring_the_clip_back_nearer(pocket_editor, blue_car):
    case, _, frames, *_ = blue_car
    found = [
        pocket_editor.reconstruct(
            pocket_editor.invert(frames[:1], case.source_prompt, num_inference_steps=20, fixed_point_steps=share)
        )[1].reconstruction_psnr
        for share in (0.0, 0.15)
    ]
    assert found[1] > found[0] + 1.0


def test_what_is_outside_the_car_stays(blue_car):
    _, clip, frames, edited, _ = blue_car
    error = (edited - (frames + 1) / 2).square().mean(1)
    outside = ~torch.from_numpy(clip.masks.any(1))
    assert -10 * torch.log10(error[outside].mean()) > 20
    assert error[~outside].mean() > 4 * error[outside].mean()


def test_the_mask_covers_the_car(blue_car):
    _, clip, _, _, masks = blue_car
    side = next(iter(masks.values())).shape[-1]
    truth = F.adaptive_avg_pool2d(torch.from_numpy(clip.masks.any(1)).float()[:, None], side)[:, 0] >= 0.5
    for step, mask in masks.items():
        assert (mask & truth).sum() > 0.85 * truth.sum(), step
        assert (mask & truth).sum() > 0.4 * (mask | truth).sum(), step


def test_the_planted_bias_can_be_measured(model):
    asked = {"nurse": 0.95, "ceo": 0.05}
    prompts = [f"a {noun} standing in {place}" for noun in asked for place in ("a park", "an office", "the snow") * 4]
    read = np.array(model.judge.read(generate(model, prompts, steps=12))["gender"]).reshape(len(asked), -1)
    shares = {
        noun: np.mean(said == "woman") / np.mean(said != "unclear") for noun, said in zip(asked, read, strict=True)
    }
    assert shares["nurse"] > 0.7
    assert shares["ceo"] < 0.3


def test_a_word_overrules_the_bias(model):
    prompts = ["a male nurse standing in a park"] * 6 + ["a female ceo standing in a park"] * 6
    read = model.judge.read(generate(model, prompts, steps=12))["gender"]
    assert read[:6].count("man") >= 4
    assert read[6:].count("woman") >= 4


def test_the_judge_the_clip_and_the_autoencoder_hold_what_the_card_says(model):
    found = evaluate(model, ("vae", "judge", "clip"), scale=0.1, seed=5)
    assert found["vae_psnr"].value > 28.5
    for name, figure in found.items():
        if name.startswith(("judge.", "clip.")) and not name.endswith((".kind", ".hair")):
            assert figure.value > 0.85, name


def test_the_judge_abstains_from_noise(model):
    noise = torch.rand(8, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    read = model.judge.read(noise)
    assert set(read["gender"]) | set(read["profession"]) == {"unclear"}


def test_plain_diffusers_reads_it():
    pipe = StableDiffusionPipeline.from_pretrained(pocket_folder(), safety_checker=None, feature_extractor=None)
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    out = pipe(
        "a red car driving on a street", height=128, width=128, num_inference_steps=8, guidance_scale=5.0,
        generator=generator, output_type="pt",
    ).images  # fmt: skip
    assert out.shape == (1, 3, 128, 128)
    assert out.std() > 0.1


def test_it_is_small_enough_to_ship():
    assert sum(f.stat().st_size for f in pocket_folder().rglob("*") if f.is_file()) < 40e6
