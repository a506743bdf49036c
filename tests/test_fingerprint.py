"""One request, one key: whatever decides a result changes its name, and nothing else does."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig

from faircut import VideoEditor
from faircut.config.values import SpatialTemporal
from faircut.edit.request import EditRequest
from faircut.edit.session import Session
from faircut.errors import ModelError, ReconstructionWarning
from faircut.fairness.attributes import GENDER
from faircut.fairness.calibration import SHIPPED, find_calibration
from faircut.files.cache import Cache
from faircut.methods import Ddim, Fame, FateZero, Person
from faircut.model import fingerprint as fingerprints
from faircut.model.fingerprint import fingerprint, key_of
from faircut.model.temporal import attach_temporal

from .conftest import SCHEDULER, make_editor, make_tokenizer

# Values ---------------------------------------------------------------------------------------------------------------

_LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
_VALUES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12
)


def normal(value: Any) -> Any:
    """What is equal to Python and another ingredient all the same (True and 1), told apart; equal numbers made one."""
    if isinstance(value, dict):
        return ("map", tuple(sorted((k, normal(v)) for k, v in value.items())))
    if isinstance(value, list):
        return ("list", tuple(map(normal, value)))
    return (type(value).__name__ if not isinstance(value, float) else "int", value)


@given(_VALUES, _VALUES)
def test_values_have_one_key_exactly_if_they_are_the_same(a, b):
    assert (key_of(x=a) == key_of(x=b)) == (repr(normal(a)) == repr(normal(b)) or _equal_numbers(a, b))
    assert key_of(x=copy.deepcopy(a)) == key_of(x=a)


def _equal_numbers(a: Any, b: Any) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_equal_numbers(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_equal_numbers, a, b))
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    return (type(a) in (int, float) and type(b) in (int, float) and a == b) or (type(a) is type(b) and a == b)


@given(st.dictionaries(st.text(), _LEAVES, min_size=2, max_size=6), st.randoms())
def test_order_does_not_matter_where_there_is_none(facts, random):
    names = list(facts)
    random.shuffle(names)
    assert key_of(x={name: facts[name] for name in names}) == key_of(x=facts)


def test_lists_of_pieces_are_not_run_together():
    keys = {
        key_of(x=x)
        for x in (["ab", "c"], ["a", "bc"], ["abc"], [["ab"], "c"], "abc", {"ab": "c"}, b"abc", [], {}, None, 0)
    }
    assert len(keys) == 11


def test_tensors_count_by_content_shape_and_dtype():
    x = torch.arange(12.0)
    same = [x, x.clone(), torch.arange(24.0)[:12], torch.arange(24.0).view(2, 12)[0], np.arange(12, dtype=np.float32)]
    assert len({key_of(x=t) for t in same}) == 1
    others = [x.view(3, 4), x.double(), x.flip(0), -x, x + 1e-6, torch.zeros(0), torch.zeros(0, 3), x.to(torch.int32)]
    assert len({key_of(x=t) for t in [x, *others]}) == 9


def test_a_changed_tensor_is_never_taken_for_what_it_was():
    x = torch.randn(3, 1000)
    seen = {key_of(x=x)}
    for change in (
        lambda: x.data.mul_(2),  # torch's version counter does not see this one.
        lambda: x[1, 7].add_(1),
        lambda: x.copy_(x.flip(0)),
        lambda: x.copy_(x.flip(1)),
        lambda: x.neg_(),
    ):
        change()
        seen.add(key_of(x=x))
    assert len(seen) == 6


def test_what_nobody_knows_the_content_of_is_no_key():
    with pytest.raises(TypeError, match="object"):
        key_of(x=object())


def test_another_process_finds_the_same_name():
    facts = {"b": {"z", "a", "q"}, "a": {"y": 1.5, "x": [1, None]}, "m": FateZero(blend_words=("jeep", "car"))}
    code = (
        "from faircut.model.fingerprint import key_of; from faircut.methods import FateZero\n"
        "print(key_of(m=FateZero(blend_words=('jeep', 'car')), a={'x': [1, None], 'y': 1.5}, b={'q', 'z', 'a'}))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == key_of(**facts)


# Edits ----------------------------------------------------------------------------------------------------------------

REQUEST = EditRequest("a jeep", "a car", FateZero(), num_inference_steps=10)
SHARED = {"clip": torch.zeros(2, 3, 8, 8), "model": "m", "device": "cpu", "temporal": SpatialTemporal()}


@pytest.mark.parametrize(
    "temporal",
    [
        SpatialTemporal((0,)),
        SpatialTemporal(clip_norm=False),
        SpatialTemporal(least_channels=8),
        SpatialTemporal((0, "middle")),
    ],
)
def test_how_frames_see_each_other_is_an_ingredient(temporal):
    assert REQUEST.key(**{**SHARED, "temporal": temporal}) != REQUEST.key(**SHARED)


def test_methods_count_with_all_options_also_those_that_no_file_holds():
    person = Person("jeep", "car", "female")
    masks = [None, torch.zeros(2, 8, 8), torch.ones(2, 8, 8)]
    methods = [Ddim(), FateZero(), *(Fame((replace(person, masks=m),)) for m in masks)]
    assert len({replace(REQUEST, method=method).key(**SHARED) for method in methods}) == 5


# Models ---------------------------------------------------------------------------------------------------------------


def adapter(**options: Any) -> LoraConfig:
    torch.manual_seed(3)
    return LoraConfig(r=2, target_modules=["to_q", "conv1"], init_lora_weights=False, **options)


def _one_bit(part: str, name: str, place: int):
    def change(editor):
        parameter = getattr(editor, part).get_parameter(name)
        parameter.data.view(-1).view(torch.int32)[place] ^= 1

    return change


def _schedule(**changes):
    def change(editor):
        editor.scheduler = DDIMScheduler(**{**SCHEDULER, **changes})

    return change


def _register(part: str, **changes):
    return lambda editor: getattr(editor, part).register_to_config(**changes)


CHANGES = {
    "last bit of the unet": _one_bit("unet", "conv_out.weight", -1),
    "first bit of the unet": _one_bit("unet", "conv_in.weight", 0),
    "a bit of the vae": _one_bit("vae", "encoder.conv_in.weight", 5),
    "the last word's last value": _one_bit("text_encoder", "embeddings.token_embedding.weight", -1),
    "prediction type": _schedule(prediction_type="v_prediction"),
    "spacing": _schedule(timestep_spacing="trailing"),
    "beta start": _schedule(beta_start=0.001),
    "beta end": _schedule(beta_end=0.013),
    "beta schedule": _schedule(beta_schedule="linear"),
    "offset": _schedule(steps_offset=0),
    "clip": _schedule(clip_sample=True),
    "set alpha to one": _schedule(set_alpha_to_one=True),
    "zero snr": _schedule(rescale_betas_zero_snr=True),
    "timesteps": _schedule(num_train_timesteps=900),
    "trained betas": _schedule(trained_betas=[0.001] * 1000),
    "another sampler": lambda e: setattr(e, "scheduler", EulerDiscreteScheduler.from_config(e.scheduler.config)),
    "heads": _register("unet", attention_head_dim=4),
    "scaling factor": _register("vae", scaling_factor=0.4),
    "text encoder's activation": lambda e: setattr(e.text_encoder.config, "hidden_act", "gelu"),
    "an added token": lambda e: e.tokenizer.add_tokens(["<jeep>"]),
    "the tokenizer's length": lambda e: setattr(e.tokenizer, "model_max_length", 50),
    "half precision": lambda e: e.to(dtype=torch.float16),
    "FreeU": lambda e: e.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4),
    "another FreeU": lambda e: e.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.5),
    "tiles": lambda e: e.vae.enable_tiling(),
    "temporal layers": lambda e: attach_temporal(e.unet),
    "other temporal layers": lambda e: attach_temporal(e.unet, seed=1),
    "an adapter": lambda e: e.unet.add_adapter(adapter(), "style"),
    "a weaker adapter": lambda e: (e.unet.add_adapter(adapter(), "style"), e.set_adapters(["style"], [0.5])),
    "a fused adapter": lambda e: (e.unet.add_adapter(adapter(), "style"), e.fuse_lora()),
    "an adapter with DoRA": lambda e: e.unet.add_adapter(adapter(use_dora=True), "style"),
    "heads, by hand": lambda e: setattr(e.unet.down_blocks[0].attentions[0].transformer_blocks[0].attn1, "heads", 1),
}  # fmt: skip


def test_every_ingredient_of_a_model_changes_its_fingerprint():
    plain = make_editor().fingerprint
    found = {"nothing": plain}
    for name, change in CHANGES.items():
        editor = make_editor()
        assert editor.fingerprint == plain
        change(editor)
        found[name] = editor.fingerprint
    twice = [name for name in found if list(found.values()).count(found[name]) > 1]
    assert not twice, twice


def test_what_does_not_act_changes_nothing(tmp_path):
    editor = make_editor()
    plain, whatever = editor.fingerprint, editor.weights_fingerprint

    def same():
        assert (editor.fingerprint, editor.weights_fingerprint) == (plain, whatever)

    editor.unet.add_adapter(adapter(), "style")
    editor.disable_lora()
    same()
    editor.enable_lora()
    assert editor.fingerprint != plain
    editor.unet.delete_adapters("style")
    same()
    editor.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4)
    editor.disable_freeu()
    same()
    with pytest.raises(ModelError, match="unload_lora_weights"):
        editor.save_pretrained(tmp_path / "one")
    editor.unload_lora_weights()
    same()
    editor.tokenizer(["a", "b c"], padding="max_length", truncation=True, max_length=9)
    same()
    editor.save_pretrained(tmp_path / "one")
    editor = VideoEditor.from_pretrained(tmp_path / "one")
    same()
    (tmp_path / "one").rename(tmp_path / "two")
    editor = VideoEditor.from_pretrained(tmp_path / "two")
    same()


def test_two_adapters_count_in_their_order_and_not_by_their_names():
    def with_adapters(names):
        editor = make_editor()
        for name, seed in names:
            torch.manual_seed(seed)
            editor.unet.add_adapter(LoraConfig(r=2, target_modules=["to_q"], init_lora_weights=False), name)
        editor.unet.set_adapters([name for name, _ in names])
        return editor.fingerprint

    assert with_adapters([("a", 1), ("b", 2)]) == with_adapters([("x", 1), ("y", 2)])
    assert with_adapters([("a", 1), ("b", 2)]) != with_adapters([("a", 2), ("b", 1)])


def test_a_row_of_a_wide_embedding_is_seen():
    # A sample of every so manieth value never reaches a row that was added last where the width is a multiple of 256.
    wide = torch.nn.Embedding(1000, 256)
    before = fingerprint(wide)
    wide.weight.data[-1] += 1
    assert fingerprint(wide) != before


def test_precision_can_be_left_out():
    editor = make_editor().to(dtype=torch.float16)
    half, whatever = editor.fingerprint, editor.weights_fingerprint
    editor.to(dtype=torch.float32)
    assert editor.weights_fingerprint == whatever
    assert editor.fingerprint != half


def test_the_tokenizer_is_identified_by_words_and_rules():
    a, b = make_tokenizer(), make_tokenizer()
    assert fingerprint(a) == fingerprint(b)
    b.backend_tokenizer.normalizer = None
    assert fingerprint(a) != fingerprint(b)


def test_the_shipped_calibration_is_found_and_of_the_pocket_model(pocket_editor, tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRCUT_CACHE", str(tmp_path))
    (shipped,) = SHIPPED.glob("*.json")
    found = find_calibration(pocket_editor, GENDER)
    assert found.weights == pocket_editor.weights_fingerprint
    assert shipped.name == f"gender-{found.weights[:16]}.json"


# Inversions -----------------------------------------------------------------------------------------------------------


def test_an_inversion_is_refused_after_the_scheduler_was_exchanged(clip):
    editor = make_editor()
    inversion = editor.invert(clip, "a jeep", num_inference_steps=2)
    editor.scheduler = DDIMScheduler(**SCHEDULER, prediction_type="v_prediction")
    for use in (lambda: editor.edit(inversion, "a car"), lambda: editor.reconstruct(inversion)):
        with pytest.raises(ModelError, match="made with another model"):
            use()


def test_the_cache_holds_an_inversion_for_every_model(clip, tmp_path):
    editor = make_editor()
    for number, name in enumerate(
        ("nothing", "prediction type", "scaling factor", "an added token", "an adapter", "FreeU")
    ):
        CHANGES.get(name, lambda e: None)(editor)
        for _ in range(2):
            request = EditRequest("a jeep", num_inference_steps=1, supplier="live")
            Session(editor, cache=Cache(tmp_path)).prepare(request, clip)
            assert len([p for p in tmp_path.iterdir() if (p / "inversion.json").is_file()]) == number + 1


def test_a_found_inversion_is_as_bad_as_it_was(clip, tmp_path, monkeypatch):
    editor, request = make_editor(), EditRequest("a jeep", num_inference_steps=1, reconstruction=True)
    monkeypatch.setattr("faircut.edit.editor.RECONSTRUCTION_FLOOR", 101.0)
    found = []
    for _ in range(2):
        with pytest.warns(ReconstructionWarning, match="gives the clip back") as said:
            found.append(Session(editor, cache=Cache(tmp_path)).prepare(request, clip).from_cache)
        assert len(said) == 1
    assert found == [False, True]


def test_digests_are_kept_for_other_processes_and_belong_to_the_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(fingerprints, "_LARGE", 0)
    monkeypatch.setenv("FAIRCUT_CACHE", str(tmp_path / "cache"))
    make_editor().save_pretrained(tmp_path / "model")
    digested = []
    monkeypatch.setattr(fingerprints, "_bytes", lambda t, real=fingerprints._bytes: digested.append(t) or real(t))

    def load() -> tuple[VideoEditor, int]:
        """Another process: nothing is known of the tensors that it has read. Counts passes over their bytes."""
        editor = VideoEditor.from_pretrained(tmp_path / "model")
        digested.clear()
        editor.fingerprint  # noqa: B018
        return editor, len(digested)

    first, once = load()
    second, again = load()
    assert second.fingerprint == first.fingerprint
    assert again < once  # sums alone
    kept = list((tmp_path / "cache" / "digests").iterdir())
    assert len(kept) == 3
    assert {path.stat().st_mode & 0o777 for path in kept} == {0o600}

    # Weights that were changed in memory are not the file's, and neither are those of a changed file.
    with torch.no_grad():
        next(second.unet.parameters()).data.add_(1)
    assert second.fingerprint != first.fingerprint
    assert VideoEditor.from_pretrained(tmp_path / "model").fingerprint == first.fingerprint
    second.save_pretrained(tmp_path / "model")
    assert VideoEditor.from_pretrained(tmp_path / "model").fingerprint == second.fingerprint

    # What is damaged is made again.
    for path in (tmp_path / "cache" / "digests").iterdir():
        path.write_text(path.read_text().replace('"check": "', '"check": "0'))
    third, anew = load()
    assert third.fingerprint == second.fingerprint
    assert anew == once
