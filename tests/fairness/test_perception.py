"""Majorities, margins, abstention."""

import pytest
import torch

from faircut.fairness.perception import boxes_of, majority, perceive


@pytest.mark.parametrize(
    ("readings", "value", "stability"),
    [
        (["female"] * 8, "female", 1.0),
        (["female"] * 5 + ["male"] * 3, "female", 5 / 8),
        (["female"] * 4 + ["male"] * 4, None, 0.5),
        (["female"] * 4 + [None] * 4, None, 0.5),
        (["female"] * 5 + [None] * 3, "female", 5 / 8),
        ([None] * 8, None, 0.0),
        (["black", "black", "red", "grey"], None, 0.5),
    ],
)
def test_the_majority_of_all_frames_decides(readings, value, stability):
    found = perceive(readings)
    assert (found.value, found.stability) == (value, stability)
    assert found.frames == tuple(readings)


def test_a_narrow_lead_abstains():
    assert perceive(["female"] * 11 + ["male"] * 10).value is None
    assert perceive(["female"] * 12 + ["male"] * 9).value == "female"


def test_more_than_half_is_a_majority_and_nothing_can_be_one():
    assert majority(["doctor", "doctor", "nurse"]) == "doctor"
    assert majority(["doctor", "nurse"]) is None
    assert majority([None, None, "nurse"]) is None


def test_boxes_go_around_masks():
    masks = torch.zeros(2, 6, 9, dtype=torch.bool)
    masks[0, 2:4, 3:7] = True
    assert boxes_of(masks).tolist() == [[3, 2, 7, 4], [0, 0, 9, 6]]
