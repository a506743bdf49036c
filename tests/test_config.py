from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faircut.attention.controller import StepWindow
from faircut.benchmark.audit.measure import AuditRecord
from faircut.benchmark.audit.results import AuditResult
from faircut.benchmark.audit.tasks import Task, TaskFile
from faircut.benchmark.edits.items import EditBenchmark, EditItem
from faircut.benchmark.edits.jobs import BenchRecord
from faircut.benchmark.edits.leaderboard import BenchResult
from faircut.benchmark.sweep_points import SweepPoint
from faircut.config.docstrings import attributes, first_clause
from faircut.config.values import SpatialTemporal, check_clips, from_dict, to_dict
from faircut.edit.request import RunSettings
from faircut.errors import ConfigError, PromptError, VideoError
from faircut.fairness.calibration import Calibration
from faircut.methods import FateZero, get_method
from faircut.study import Answers, StudyFile, StudyItem, StudyKey


def test_a_choice_survives_yaml_and_back():
    method = FateZero(
        blend_words=(("man",), ("female", "doctor")), reweight={"doctor": 2.0}, self_replace_steps=(0.1, 0.5)
    )
    again = from_dict(FateZero, to_dict(method))
    assert again == method
    assert from_dict(SpatialTemporal, {"frames": [-1, "first"]}).frames == (-1, "first")


def test_unknown_keys_name_the_close_ones():
    with pytest.raises(ConfigError, match=r"no setting 'blend_word': did you mean 'blend_words'"):
        from_dict(FateZero, {"blend_word": ["a", "b"]})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"blend_threshold": "high"}, r"blend_threshold is 'high'; give a float"),
        ({"alignment": "swap"}, r"alignment is 'swap': .*Possible: auto, refine, replace"),
        ({"blend_threshold": 1.5}, "give 0 <= threshold < 1"),
        ({"blend_words": ["jeep"]}, "blend_words is"),
        ({"self_replace_steps": 1.2}, "not a share of the run"),
        ({"self_replace_steps": [0.8, 0.2]}, "not a share of the run"),
    ],
)
def test_values_that_make_no_sense_are_refused(data, message):
    with pytest.raises(ConfigError, match=message):
        from_dict(FateZero, data)


def test_frames_to_attend_to_are_checked():
    assert SpatialTemporal("middle").frames == ("middle",)
    with pytest.raises(ConfigError, match=r"cannot attend to frame 'mid': did you mean 'middle'"):
        SpatialTemporal(("mid",))
    with pytest.raises(ConfigError, match="at least one"):
        SpatialTemporal(())


def test_windows_cover_whole_steps():
    assert list(StepWindow.of(0.8).steps(5)) == [0, 1, 2, 3]
    assert list(StepWindow.of((0.2, 0.5)).steps(10)) == [2, 3, 4]
    assert list(StepWindow.of(0).steps(10)) == []
    with pytest.raises(ConfigError):
        StepWindow.of("0.8")


def test_methods_are_found_by_name():
    assert get_method("fatezero") is FateZero
    with pytest.raises(ConfigError, match=r"no method 'fatezro': did you mean 'fatezero'"):
        get_method("fatezro")


# From files -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """A part.

    Attributes:
        name: what it is called; unique,
            in its whole.
        size: in pixels. More is better.
    """

    name: str
    size: int = 1


@dataclass(frozen=True)
class Whole:
    """A whole.

    Args:
        parts: of it.
        share: of all.
        words: by number.
        place: where.
        length: in seconds.
        mode: how.
        pair: of names.
        measured: may be NaN.
        other: another.
        anything: of any type.
    """

    parts: tuple[Part, ...]
    share: float = 0.5
    words: Mapping[str, int] = field(default_factory=dict)
    place: Path = Path(".")
    length: Fraction = Fraction(1, 2)
    mode: Literal["one", "two"] = "one"
    pair: tuple[str, str] | None = None
    measured: Mapping[str, float] = field(default_factory=dict, metadata={"finite": False})
    other: Part | int | None = None
    anything: Any = None

    def __post_init__(self) -> None:
        if self.share > 1:
            raise ConfigError(f"share is {self.share}; give at most 1")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "x.yaml is empty; give a mapping of parts, share"),
        ([1], r"x.yaml is \[1\]; give a mapping of parts"),
        ({}, r"x.yaml lacks parts: of it; add it"),
        ({"parts": [{"name": "a"}, {}]}, r"lacks parts\[1\]\.name: what it is called; add it"),
        ({"parts": [{"name": "a"}, 5]}, r"x.yaml: parts\[1\] is 5; give a Part"),
        ({"parts": [{"name": "a", "size": True}]}, r"x.yaml: parts\[0\]\.size is True; give an int"),
        ({"parts": [{"name": "a", "sise": 1}]}, r"x.yaml: parts\[0\] has no setting 'sise': did you mean 'size'"),
        ({"parts": [{"name": "a", 5: 1}]}, r"parts\[0\] has no setting 5"),
        ({"parts": {"name": "a"}}, "parts is {'name': 'a'}; give a tuple"),
        ({"parts": [], "share": 2}, "x.yaml: share is 2.0; give at most 1"),
        ({"parts": [], "share": 10**400}, "share is a number of 1329 bits; give a float"),
        ({"parts": [], "share": float("nan")}, "share is nan; give a float"),
        ({"parts": [], "share": True}, "share is True; give a float"),
        ({"parts": [], "words": {"a": 1, "b": "c"}}, r"words\.b is 'c'; give an int"),
        ({"parts": [], "words": {5: 1}}, "words has the key 5; give names as keys"),
        ({"parts": [], "words": [["a", 1]]}, "words is"),
        ({"parts": [], "place": ""}, "place is ''; give a Path"),
        ({"parts": [], "place": "a\0b"}, "place is"),
        ({"parts": [], "length": "1/0"}, "length is '1/0'; give a Fraction"),
        ({"parts": [], "length": "1e999999999"}, "length is"),
        ({"parts": [], "length": "two"}, "length is 'two'"),
        ({"parts": [], "mode": ["one"]}, r"mode is \['one'\]: did you mean 'one'"),
        ({"parts": [], "mode": "onee"}, "mode is 'onee': did you mean 'one'"),
        ({"parts": [], "pair": ["a", 5]}, r"pair\[1\] is 5; give a str"),
        ({"parts": [], "pair": ["a"]}, r"pair is \['a'\]; give a tuple\[str, str\]"),
        ({"parts": [], "other": {"size": 1}}, r"lacks other\.name"),
        ({"parts": [], "other": "x"}, r"other is 'x'; give a Part \| int \| None"),
        ({"parts": [], "x" * 10**5: 1}, "has no setting 'xxx.*Possible"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(data, message):
    with pytest.raises(ConfigError, match=message) as error:
        from_dict(Whole, data, "x.yaml")
    assert len(str(error.value)) < 400


def test_what_is_not_a_number_is_null_where_a_field_says_so():
    found = from_dict(Whole, {"parts": [], "measured": {"a": None, "b": float("inf"), "c": 1}})
    assert math.isnan(found.measured["a"])
    assert (found.measured["b"], found.measured["c"]) == (math.inf, 1.0)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "size", "a"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@pytest.mark.parametrize(
    "cls",
    [Whole, TaskFile, EditBenchmark, StudyFile, StudyKey, Answers, BenchResult, AuditResult, AuditRecord, BenchRecord,
            SweepPoint, RunSettings, Calibration, FateZero, get_method("fame"), get_method("videograin"),
            SpatialTemporal],
)  # fmt: skip
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_anything_is_built_or_refused_by_the_key_s_name(cls, data):
    names = [f.name for f in dataclasses.fields(cls) if f.init]
    drawn = data.draw(st.dictionaries(st.sampled_from(names) | st.text(max_size=3), VALUES, max_size=len(names)))
    said = ""
    try:
        assert isinstance(from_dict(cls, drawn, "x.yaml"), cls)
    except (ConfigError, PromptError) as error:
        said = str(error)
    assert not said or said.startswith("x.yaml")
    assert "\n" not in said


def test_every_needed_key_says_what_it_is_for():
    for cls in (TaskFile, Task, EditBenchmark, EditItem, StudyFile, StudyItem, StudyKey, Answers, RunSettings):
        for f in dataclasses.fields(cls):
            if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
                assert first_clause(attributes(cls).get(f.name, "")), f"{cls.__name__}.{f.name}"


def test_clips_stay_in_their_folder(tmp_path):
    (tmp_path / "in").mkdir()
    for place in ("in/a.mp4", "b.mp4"):
        (tmp_path / place).write_bytes(b"")
    folder = tmp_path / "in"
    check_clips("x.yaml", folder, ["a.mp4", "./a.mp4", str(tmp_path / "b.mp4")])
    for name, match in (
        ("../b.mp4", "outside"), ("a/../../b.mp4", "outside"), ("..", "outside"), ("", "names a clip ''"),
        (" ", "a clip"),
        ("a\0", "names a clip"), ("y" * 300, "too long"), ("c.mp4", "not in .*: c.mp4"), ("/gone/c.mp4", "not in"),
    ):  # fmt: skip
        with pytest.raises(VideoError, match=match):
            check_clips("x.yaml", folder, [name])
    with pytest.raises(VideoError, match="give a name inside it"):
        check_clips("x.yaml", folder, [str(tmp_path / "b.mp4")], inside=True)
