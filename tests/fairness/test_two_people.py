"""Two people in one clip, on the model that ships: each is seen as was asked, and nobody else changes."""

from dataclasses import replace

import pytest
import torch

from faircut.benchmark.audit.cases import pocket_professions
from faircut.fairness.perception import boxes_of
from faircut.methods import Fame, Person
from faircut.methods.fame import BASE
from faircut.metrics import region_psnr
from faircut.model.checkpoints import pocket_folder
from faircut.pocket.judge import load_judge

ALONE = replace(BASE, latent_blend_steps=None)


@pytest.fixture(scope="module")
def judge():
    return load_judge(pocket_folder() / "judge")


@pytest.fixture(scope="module")
def case():
    """A man in plain clothes beside a scientist."""
    return next(c for c in pocket_professions() if c.name.startswith("nurse.male.hospital.2"))


@pytest.fixture(scope="module")
def clip(case):
    return case.load(4)


@pytest.fixture(scope="module")
def inversion(pocket_editor, case, clip):
    return pocket_editor.invert(clip.frames, case.source_prompt, num_inference_steps=10, supplier="live")


def edit(pocket_editor, inversion, prompt, people, base=BASE):
    method = Fame(people, base=base, fresh_noise=0.8)
    noise = torch.Generator().manual_seed(0)
    made = pocket_editor.edit(inversion, prompt, method, guidance_scale=4.0, generator=noise)
    return (made.video.frames + 1) / 2


def test_each_is_seen_as_was_asked(pocket_editor, inversion, case, clip, judge):
    masks = (clip.mask, clip.others[0])
    words = {"female": "woman", "male": "man"}
    for values in (("female", "male"), ("male", "female")):
        people = (
            Person("person", "nurse", values[0], masks=masks[0]),
            Person("scientist", "scientist", values[1], masks=masks[1]),
        )
        frames = edit(pocket_editor, inversion, case.prompt, people)
        seen = [judge.read(frames, boxes_of(mask))["gender"] for mask in masks]
        for value, read in zip(values, seen, strict=True):
            assert read.count(words[value]) >= 3, (values, seen)


def test_the_neighbour_stays_even_where_no_latents_are_put_back(pocket_editor, inversion, case, clip):
    people = (Person("person", "nurse", "female"),)
    source = (clip.frames + 1) / 2
    kept, redrawn = (
        region_psnr(edit(pocket_editor, inversion, case.prompt, people, base), source, clip.others[0])
        for base in (ALONE, replace(ALONE, region_guidance=False))
    )
    assert kept > redrawn + 3.0, (kept, redrawn)
