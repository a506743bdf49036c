"""Deciding: policies read the source, prompts win, strengths come from the model's own table."""

import warnings
from dataclasses import replace

import pytest
import torch

from faircut.edit.readers import load_reader
from faircut.edit.request import EditRequest
from faircut.edit.session import Session
from faircut.errors import ConfigError, ModelError
from faircut.fairness.attributes import GENDER
from faircut.fairness.calibration import Calibration, find_calibration, load_calibration, save_calibration
from faircut.methods import Fame, Person
from tests.conftest import make_editor

SOURCE, TARGET = "a silver jeep driving down a road", "a silver car driving down a road"


@pytest.fixture(scope="module")
def editor():
    return make_editor()


@pytest.fixture(scope="module")
def clip():
    return torch.rand(3, 3, 32, 32) * 2 - 1


@pytest.fixture(scope="module")
def inversion(editor, clip):
    return editor.invert(clip, SOURCE, num_inference_steps=2)


class Sees:
    """A reader that always reads the same, and remembers where it was told to look."""

    def __init__(self, *values):
        self.values = list(values)
        self.boxes = []

    def __call__(self, frames, boxes, attribute):
        assert frames.shape == (3, 3, 32, 32)
        assert frames.min() >= 0
        assert frames.max() <= 1
        self.boxes.append(boxes)
        return self.values


def fame(target, **other):
    return Fame((Person("jeep", "car", target),), **{"alpha": 1.5, **other})


def decide(editor, clip, prompt, method, *, reader=None, seed=0):
    """Prepare an edit; returns its method and its decisions."""
    request = EditRequest(SOURCE, prompt, method, num_inference_steps=2, seed=seed, supplier="live")
    prepared = Session(editor, reader=reader).prepare(request, clip)
    return prepared.method, prepared.decisions


def decided(editor, clip, method, prompt=TARGET, **options):
    made, (decision,) = decide(editor, clip, prompt, method, **options)
    (person,) = made.people
    assert (person.target, person.alpha) == (decision.value, decision.alpha)
    assert not made.undecided
    return decision


def test_preserve_reads_the_source_where_the_person_is(editor, clip):
    reader = Sees("female", "female", None)
    decision = decided(editor, clip, fame("preserve"), reader=reader)
    assert (decision.value, decision.alpha) == ("female", 1.5)
    assert "'female' in 67%" in decision.because
    assert reader.boxes[0].shape == (3, 4)
    masks = torch.zeros(3, 32, 32)
    masks[:, 4:12, 6:20] = 1
    given = replace(fame("preserve"), people=(Person("jeep", "car", "preserve", masks=masks),))
    decided(editor, clip, given, reader=reader)
    assert reader.boxes[1].tolist() == [[6, 4, 20, 12]] * 3


def test_what_a_person_shows_is_noted_where_somebody_reads(editor, clip, inversion):
    for target, reader, shown in (
        ("preserve", Sees("female"), "female"), ("male", Sees("female"), "female"), ("male", None, None),
        ("male", Sees(None), None),
    ):  # fmt: skip
        made, _ = decide(editor, clip, TARGET, fame(target), reader=reader)
        assert made.people[0].shown == shown
    made, _ = decide(editor, inversion.latents[0], TARGET, fame("male"), reader=Sees("female"))
    assert made.people[0].shown is None


def test_an_unclear_source_is_left_alone(editor, clip):
    decision = decided(editor, clip, fame("preserve"), reader=Sees("female", "male", None))
    assert (decision.value, decision.alpha) == (None, None)
    assert "unclear" in decision.because


def test_a_value_that_the_prompt_says_wins(editor, clip):
    for target in ("preserve", "balanced", "male"):
        decision = decided(editor, clip, fame(target), prompt="a silver female car driving down a road")
        assert decision.value is None
        assert "the prompt says 'female'" in decision.because


def test_balanced_is_a_seeded_draw_for_each_person(editor, clip):
    pair = replace(fame("balanced"), people=(Person("jeep", "car", "balanced"), Person("road", "road", "balanced")))
    drawn = [tuple(d.value for d in decide(editor, clip, TARGET, pair, seed=seed)[1]) for seed in range(40)]
    assert len(set(drawn)) == 4
    assert drawn[7] == tuple(d.value for d in decide(editor, clip, TARGET, pair, seed=7)[1])


def test_nobody_to_read_is_an_error(editor, clip, inversion, monkeypatch):
    # Without the hub, a name of it is refused earlier.
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with pytest.raises(ConfigError, match="needs a reader"):
        decide(editor, clip, TARGET, fame("preserve"))
    with pytest.raises(ConfigError, match="no frames to read"):
        decide(editor, inversion.latents[0], TARGET, fame("preserve"), reader=Sees("female"))
    assert load_reader("auto", "runwayml/stable-diffusion-v1-5") is None
    with pytest.raises(ModelError, match="cannot load '/nowhere' as a CLIP"):
        load_reader("/nowhere", "pocket")


def test_undecided_people_are_not_edited(editor, inversion):
    with pytest.raises(ConfigError, match="undecided; let Session"):
        editor.edit(inversion, TARGET, fame("preserve"))
    with pytest.raises(ConfigError, match="undecided; let Session"):
        editor.edit(inversion, TARGET, fame("female", alpha="auto"))


def test_strengths_come_from_the_models_table(editor, clip, tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRCUT_CACHE", str(tmp_path))
    with pytest.warns(UserWarning, match="this model is not calibrated"):
        assert decided(editor, clip, fame("female", alpha="auto")).alpha == 1.0
    table = Calibration(
        "gender", "tiny", editor.weights_fingerprint, {"car": {"female": 1.75}}, {"female": 1.25, "male": 1.5},
        {"car": {"female": 0.9, "male": 0.1}},
    )  # fmt: skip
    path = tmp_path / "calibrations" / f"gender-{editor.weights_fingerprint[:16]}.json"
    save_calibration(table, path)
    assert load_calibration(path) == table
    assert find_calibration(editor, GENDER) == table
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decided(editor, clip, fame("female", alpha="auto")).alpha == 1.75
        assert decided(editor, clip, fame("male", alpha="auto")).alpha == 1.5
        assert decided(editor, clip, fame("minority", alpha="auto")).value == "male"
    path.write_text("{")
    with pytest.warns(UserWarning, match="cannot read the calibration"):
        assert find_calibration(editor, GENDER) is None
    assert path.with_name(f"{path.name}.damaged").read_text() == "{"


def test_the_table_is_looked_up_once_and_only_where_it_decides(editor, clip, monkeypatch):
    found = []
    monkeypatch.setattr("faircut.edit.session.find_calibration", lambda *_: found.append(1))
    decided(editor, clip, fame("female"))
    decided(editor, clip, fame("preserve", alpha="auto"), reader=Sees(None, None, None))
    assert not found
    pair = replace(fame("female", alpha="auto"), people=(Person("jeep", "car", "male"), Person("road", "road", "male")))
    with pytest.warns(UserWarning, match="not calibrated"):
        decide(editor, clip, TARGET, pair)
    assert found == [1]


def test_minority_needs_a_prior(editor, clip, tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRCUT_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match="calibrate it first"):
        decide(editor, clip, TARGET, fame("minority"))


def test_words_are_found_in_a_clip(editor, inversion):
    mask = editor.locate(inversion, "jeep", threshold=0.5)
    assert mask.shape == (3, 32, 32)
    assert mask.dtype == torch.bool
    assert 0 < mask.float().mean() < 1
    assert mask.sum() > editor.locate(inversion, "jeep", threshold=0.9).sum()
    recorded = editor.invert(inversion.frames.float() / 127.5 - 1, SOURCE, num_inference_steps=2, supplier="memory")
    live = editor.invert(inversion.frames.float() / 127.5 - 1, SOURCE, num_inference_steps=2, supplier="live")
    assert torch.equal(editor.locate(recorded, "jeep"), editor.locate(live, "jeep"))
