"""The drawn world: deterministic, truthful, biased by as much as its table says, and large enough to be read."""

import dataclasses
import hashlib
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from faircut.errors import ConfigError
from faircut.pocket import draw_pen
from faircut.pocket.draw_outfits import PAINT
from faircut.pocket.world import (
    ANIMALS,
    BACKGROUNDS,
    COLOURS,
    GENDERS,
    HAIR,
    IMAGE_SIZE,
    LABELS,
    PROFESSIONS,
    STEREOTYPE,
    STYLES,
    VEHICLES,
    draw,
    held_out,
    labels,
    render,
    sample_scene,
)

_DIGEST = """
import hashlib, numpy as np
from faircut.pocket.world import render, sample_scene
from faircut.pocket.captions import caption
rng = np.random.default_rng(11)
digest = hashlib.sha256()
for _ in range(12):
    scene = sample_scene(rng)
    frame = render(scene)
    digest.update(frame.image.tobytes() + frame.masks.tobytes() + caption(scene, rng).text.encode())
print(digest.hexdigest())
"""


def _scenes(n, seed=0, **forced):
    rng = np.random.default_rng(seed)
    return [sample_scene(rng, **forced) for _ in range(n)]


def test_a_world_unit_is_a_pixel_at_the_default_size():
    assert draw_pen.WORLD == IMAGE_SIZE == 128


def test_the_same_seed_draws_the_same_world_in_another_process():
    digests = {
        subprocess.run([sys.executable, "-c", _DIGEST], capture_output=True, text=True, check=True).stdout.strip()
        for _ in range(2)
    }
    assert len(digests) == 1
    assert len(next(iter(digests))) == hashlib.sha256().digest_size * 2


def test_a_scene_follows_from_its_seed_alone():
    scene = _scenes(1)[0]
    assert np.array_equal(render(scene).image, render(scene).image)
    other = render(dataclasses.replace(scene, seed=scene.seed + 1)).image
    assert not np.array_equal(render(scene).image, other)


@pytest.mark.parametrize("size", [64, 128, 256])
def test_a_frame_has_the_asked_size_and_a_mask_per_subject(size):
    frame = render(_scenes(1, people=2)[0], size=size)
    assert frame.image.shape == (size, size, 3)
    assert frame.image.dtype == np.uint8
    assert frame.masks.shape == (2, size, size)
    assert frame.masks.dtype == bool


def test_masks_do_not_depend_on_the_size_of_the_picture():
    scene = _scenes(1, noun="horse")[0]
    small = render(scene, size=64).masks[0]
    big = cv2.resize(render(scene, size=256).masks[0].astype(np.float32), (64, 64), interpolation=cv2.INTER_AREA) > 0.5
    assert (small & big).sum() / (small | big).sum() > 0.9


def test_two_people_stand_side_by_side_from_left_to_right():
    for scene in _scenes(40, people=2):
        left, right = render(scene).masks
        assert not (left & right).any()
        assert np.nonzero(left)[1].mean() + 30 < np.nonzero(right)[1].mean()


def test_people_are_drawn_large_and_inside_the_picture():
    for scene in _scenes(60, people=1):
        rows, columns = np.nonzero(render(scene).masks[0])
        assert rows.max() - rows.min() >= 88
        assert rows.min() >= 1
        assert 14 < columns.mean() < 114


def test_things_are_drawn_large():
    for scene in _scenes(40, kind="vehicle") + _scenes(40, kind="animal"):
        columns = np.nonzero(render(scene).masks[0])[1]
        assert columns.max() - columns.min() >= 48, scene.subjects[0].noun


def test_a_thing_shows_its_colour_inside_its_mask_and_not_outside():
    for noun in (*VEHICLES, *ANIMALS):
        for colour in COLOURS:
            scene = _scenes(1, noun=noun, colour=colour, style=None, background="park")[0]
            frame = render(scene)
            near = np.abs(frame.image.astype(int) - PAINT[colour]).max(axis=2) < 40
            assert near[frame.masks[0]].mean() > 0.12, (noun, colour)
            assert near[frame.masks[0]].mean() > near[~frame.masks[0]].mean() or colour == "white", (noun, colour)


def _as_gender(scene, gender):
    person = dataclasses.replace(scene.subjects[0], gender=gender)
    return render(dataclasses.replace(scene, subjects=(person,))).masks[0]


@pytest.mark.parametrize("noun", [*PROFESSIONS, "person"])
def test_gender_changes_the_silhouette_even_at_32_pixels(noun):
    """Long hair and a skirt are wide where a man is narrow, so the cue survives a coarse latent."""
    for scene in _scenes(3, noun=noun, people=1, walking=False):
        woman, man = (
            cv2.resize(_as_gender(scene, g).astype(np.float32), (32, 32), interpolation=cv2.INTER_AREA) > 0.5
            for g in GENDERS
        )
        assert (woman ^ man).sum() > 0.1 * (woman | man).sum()


@pytest.mark.parametrize("noun", [*PROFESSIONS, "person"])
def test_a_womans_hair_falls_past_the_shoulders_and_a_mans_does_not(noun):
    for gender, past in zip(GENDERS, (True, False), strict=True):
        scene = _scenes(1, noun=noun, people=1, gender=gender, hair="blonde", style=None, walking=False)[0]
        person = scene.subjects[0]
        black = dataclasses.replace(scene, subjects=(dataclasses.replace(person, hair="black"),))
        changed = np.abs(render(scene).image.astype(int) - render(black).image).max(axis=2) > 80
        # The shoulders are 58 units above the feet.
        assert changed[round(person.y - 54 * person.scale) :].any() == past


@pytest.mark.parametrize("noun", PROFESSIONS)
def test_no_hat_hides_the_hair(noun):
    """A change of hair colour is seen on every head, woman or man, whatever the hat."""
    for gender in GENDERS:
        scene = _scenes(1, noun=noun, people=1, gender=gender, hair="blonde", style=None)[0]
        black = dataclasses.replace(scene.subjects[0], hair="black")
        changed = render(scene).image.astype(int) - render(dataclasses.replace(scene, subjects=(black,))).image
        assert (np.abs(changed).max(axis=2) > 80).sum() > (250 if gender == "woman" else 120)


def test_professions_look_different_from_each_other():
    rng = np.random.default_rng(0)
    scene = sample_scene(rng, noun="doctor", people=1, style=None, gender="man")
    pictures = {}
    for noun in PROFESSIONS:
        person = dataclasses.replace(scene.subjects[0], noun=noun)
        pictures[noun] = render(dataclasses.replace(scene, subjects=(person,)), size=32).image.astype(float)
    for first in PROFESSIONS:
        for second in PROFESSIONS:
            if first < second:
                assert np.abs(pictures[first] - pictures[second]).mean() > 2.5, (first, second)


def test_every_style_changes_the_picture_far_and_each_in_its_own_way():
    for scene in _scenes(4, style=None):
        pictures = [render(scene).image.astype(float)]
        pictures += [render(dataclasses.replace(scene, style=style)).image.astype(float) for style in STYLES]
        for i, first in enumerate(pictures):
            for second in pictures[i + 1 :]:
                assert np.abs(first - second).mean() > 9


def test_a_style_leaves_the_masks_alone():
    scene = _scenes(1, style=None)[0]
    plain = render(scene).masks
    for style in STYLES:
        assert np.array_equal(plain, render(dataclasses.replace(scene, style=style)).masks)


def test_unmentioned_gender_follows_the_table_and_mentioned_gender_is_even():
    silent = {noun: [] for noun in STEREOTYPE}
    told = []
    for scene in _scenes(12000, kind="person"):
        for s in scene.subjects:
            (told if "gender" in s.mentions else silent[s.noun]).append(s.gender == "woman")
    assert abs(np.mean(told) - 0.5) < 0.03
    assert abs(len(told) / (len(told) + sum(map(len, silent.values()))) - 1 / 3) < 0.03
    for noun, share in STEREOTYPE.items():
        # Four standard errors of a share.
        assert abs(np.mean(silent[noun]) - share) < 4 * np.sqrt(share * (1 - share) / len(silent[noun])), noun


def test_hair_and_skin_do_not_depend_on_gender():
    people = [s for scene in _scenes(8000, kind="person") for s in scene.subjects]
    for hair in HAIR:
        shares = [np.mean([s.hair == hair for s in people if s.gender == g]) for g in GENDERS]
        assert abs(shares[0] - shares[1]) < 0.04


def test_the_training_distribution_is_the_documented_mixture():
    scenes = _scenes(6000)
    assert abs(np.mean([len(s.subjects) == 2 for s in scenes]) - 0.15) < 0.02
    assert abs(np.mean([s.style is not None for s in scenes]) - 0.25) < 0.03
    assert {s.background for s in scenes} == set(BACKGROUNDS)
    assert {s.style for s in scenes} == {None, *STYLES}
    assert {p.noun for s in scenes for p in s.subjects} == {*PROFESSIONS, "person", *VEHICLES, *ANIMALS}


def test_the_held_out_split_is_a_twentieth_and_never_sampled_for_training():
    assert abs(np.mean([held_out(i) for i in range(20000)]) - 0.05) < 0.01
    assert not any(held_out(s.seed) for s in _scenes(500))
    assert all(held_out(s.seed) for s in _scenes(50, split="held_out"))


def test_forced_attributes_are_kept():
    for scene in _scenes(
        30, noun="nurse", gender="man", hair="grey", skin="dark", background="farm", style="pixel art", people=2
    ):
        first = scene.subjects[0]
        assert (first.noun, first.gender, first.hair, first.skin) == ("nurse", "man", "grey", "dark")
        assert (scene.background, scene.style, len(scene.subjects)) == ("farm", "pixel art", 2)
    for scene in _scenes(30, mention_gender=True, mention_hair=True, noun="chef"):
        assert scene.subjects[0].mentions == {"gender", "hair"}
    assert all(s.subjects[0].noun == "person" for s in _scenes(30, kind="person", mention_colour=True))
    assert all(not s.subjects[0].mentions for s in _scenes(30, noun="chef", mention_gender=False, mention_hair=False))


@pytest.mark.parametrize(
    ("forced", "words"),
    [
        ({"noun": "docter"}, "doctor"),
        ({"background": "moon"}, "Possible: beach"),
        ({"style": "oil"}, "pencil sketch"),
        ({"noun": "car", "gender": "woman"}, "contradict"),
        ({"noun": "doctor", "colour": "red"}, "clothes of the profession"),
        ({"people": 3}, "1 or 2"),
        ({"split": "test"}, "held_out"),
        ({"style": "sepia photo", "mention_hair": True}, "which shows none"),
    ],
)
def test_a_wrong_attribute_is_refused_with_what_is_possible(forced, words):
    with pytest.raises(ConfigError, match=words):
        sample_scene(np.random.default_rng(0), **forced)


def test_labels_are_indices_of_what_is_to_be_seen():
    for scene in _scenes(300):
        values, first = labels(scene), scene.subjects[0]
        assert values.keys() == LABELS.keys()
        assert LABELS["kind"][values["kind"]] == first.kind
        assert LABELS["background"][values["background"]] == scene.background
        assert LABELS["style"][values["style"]] == (scene.style or "none")
        if first.kind == "person":
            assert LABELS["gender"][values["gender"]] == first.gender
            assert LABELS["profession"][values["profession"]] == first.noun
            assert values["object"] == -1
        else:
            assert LABELS["object"][values["object"]] == first.noun
            assert values["gender"] == values["profession"] == -1
        elsewhere = first.hair is None or scene.style == "sepia photo"
        assert values["hair"] == (-1 if elsewhere else LABELS["hair"].index(first.hair))
        hidden = first.colour is None or scene.style == "sepia photo"
        assert values["colour"] == (-1 if hidden else LABELS["colour"].index(first.colour))


def test_a_part_map_knows_every_part_that_is_seen():
    pen = draw(_scenes(1, noun="dog")[0])
    seen = set(np.unique(pen.part_map()))
    assert 0 in seen
    assert len(seen) >= 6
    assert max(seen) < len(pen.affines) == len(pen.owners)


def test_drawing_is_fast_enough():
    """Far below the rate of an idle core (over 300 a second), because a test may share its core."""
    scenes = _scenes(40)
    start = time.process_time()
    for scene in scenes:
        render(scene)
    assert len(scenes) / (time.process_time() - start) > 60
