"""The numbers of the reference implementation, in both supplier modes."""

from __future__ import annotations

from pathlib import Path

import pytest
from golden import TOLERANCE, compare, method_of

from faircut.errors import ConfigError

CASES = sorted((Path(__file__).parent / "golden").glob("*.safetensors"))


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_golden(case):
    differences = compare(case, ("recorded", "live"))
    assert set(differences) == {
        "text_source", "text_target", "text_uncond", "inversion", "edit (recorded)", "edit (live)",
    }  # fmt: skip
    # Far within the tolerance: what is left is the order of summation.
    assert all(difference < TOLERANCE / 10 for difference in differences.values()), differences


def test_there_are_cases():
    assert len(CASES) == 2


def test_a_field_that_is_not_understood_is_refused():
    with pytest.raises(ConfigError, match="field 'cross_replace'"):
        method_of({"cross_replace": 1})
