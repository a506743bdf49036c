"""The evaluation of the pocket model: its fixed list of edits, its table and its file."""

import math

import pytest
import torch

from faircut.benchmark.pocket.edits import judge_edit
from faircut.benchmark.pocket.figures import TARGETS, nested, verdicts
from faircut.benchmark.pocket.model import Figure, held_out_stills
from faircut.pocket.edit_cases import KINDS, LOCAL, edit_cases, method_for
from faircut.pocket.scenes import held_out
from faircut.pocket.vocabulary import LABELS
from faircut.pocket.world import labels


class TestEditCases:
    def test_at_least_sixty_always_the_same_and_held_out(self):
        cases = edit_cases()
        assert len(cases) == sum(KINDS.values()) >= 60
        assert cases == edit_cases()
        assert all(held_out(c.source.seed) for c in cases)

    def test_each_changes_its_attribute_and_nothing_else(self):
        for case in edit_cases():
            before, after = labels(case.source), labels(case.target)
            changed = {h for h in before if before[h] != after[h] and after[h] >= 0}
            assert changed == {case.kind}, case.prompt
            assert case.source_prompt != case.prompt

    def test_prompts_hold_the_blend_words_and_the_method_is_sound(self):
        for case in edit_cases():
            if case.kind in LOCAL:
                assert case.blend_words[0] in case.source_prompt
                assert case.blend_words[1] in case.prompt
            assert method_for(case).name == "fatezero"


class _Says:
    """A judge that says what it is told, frame by frame."""

    def __init__(self, **frames):
        self.frames = frames

    def read(self, images, boxes=None):
        return self.frames


class TestJudgeEdit:
    def case(self):
        return next(c for c in edit_cases() if c.kind == "colour")

    def says(self, case, **changes):
        truth = {h: [LABELS[h][max(0, i)]] * 4 for h, i in labels(case.target).items()}
        return _Says(**{**truth, **changes})

    def test_the_majority_counts(self):
        case = self.case()
        wanted, other = LABELS["colour"][labels(case.target)["colour"]], "unclear"
        frames = torch.zeros(4, 3, 8, 8)
        assert judge_edit(self.says(case, colour=[wanted] * 3 + [other]), frames, case) == (True, True)
        assert judge_edit(self.says(case, colour=[wanted] * 2 + [other] * 2), frames, case) == (False, True)

    def test_what_was_not_asked_for_must_stay(self):
        case = self.case()
        assert judge_edit(self.says(case, background=["unclear"] * 4), torch.zeros(4, 3, 8, 8), case) == (True, False)


def test_figures_nest_by_their_dots_and_are_compared_with_their_targets():
    figures = {"vae_psnr": Figure(27.5, 8), "bias.mae": Figure(0.1, 9), "judge.gender": Figure(0.9, 7)}
    assert nested(figures)["judge"]["gender"] == {"value": 0.9, "n": 7}
    assert [(name, reached) for name, _, _, reached in verdicts(figures)] == [
        ("vae_psnr", False),
        ("bias.mae", True),
        ("judge.gender", False),
    ]
    assert all(math.isfinite(t) for t in TARGETS.values())


def test_held_out_stills_are_what_was_asked_for():
    x, scenes = held_out_stills(3, 0, kind="vehicle", background="park")
    assert x.shape == (3, 3, 128, 128)
    assert x.min() >= 0
    assert x.max() <= 1
    assert {s.background for s in scenes} == {"park"}
    assert all(held_out(s.seed) for s in scenes)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_edit_can_be_judged(kind):
    case = next(c for c in edit_cases() if c.kind == kind)
    assert labels(case.target)[kind] >= 0
