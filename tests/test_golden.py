"""The numbers of the reference implementation, in both supplier modes."""

from __future__ import annotations

from pathlib import Path

import pytest

from faircut.errors import ConfigError
from golden import TOLERANCE, compare, method_of

GOLDEN = Path(__file__).parent / "golden"


# `python benchmarks/golden.py` runs both modes on both; here each case takes one, for they take a minute each.
@pytest.mark.parametrize(("case", "supplier"), [("refine_insert_word", "recorded"), ("style_refine_reweight", "live")])
def test_golden(case, supplier):
    differences = compare(GOLDEN / f"{case}.safetensors", (supplier,))
    assert set(differences) == {"text_source", "text_target", "text_uncond", "inversion", f"edit ({supplier})"}
    # Far within the tolerance: what is left is the order of summation.
    assert all(difference < TOLERANCE / 10 for difference in differences.values()), differences


def test_a_field_that_is_not_understood_is_refused():
    with pytest.raises(ConfigError, match="field 'cross_replace'"):
        method_of({"cross_replace": 1})
