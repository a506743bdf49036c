"""Memory counted on shapes against memory counted by hand, and the plan that the command line shows."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from faircut.config.values import SpatialTemporal
from faircut.edit.footprint import LiveBytes, Shadow, footprint, what_fits
from faircut.edit.memory import explain_out_of_memory
from faircut.errors import OutOfMemoryError
from faircut.methods import Ddim, FateZero, NullText, Pix2PixZero

from ..conftest import make_editor
from .conftest import SOURCE, TARGET


@pytest.fixture(scope="module")
def editor():
    return make_editor()


@pytest.fixture(scope="module")
def shadow(editor):
    return Shadow(editor.unet, editor.vae)


def meta(*shape: int) -> torch.Tensor:
    return torch.empty(*shape, device="meta")


def test_live_bytes_counts_what_is_alive():
    counter = LiveBytes()
    with counter:
        a = meta(1000)
        b = a + 1
        assert counter.now == 8000
        view = b.view(10, 100).t()
        assert counter.now == 8000, "a view is no new memory"
        del b
        assert counter.now == 8000, "the view keeps it alive"
        del view
        assert counter.now == 4000
        a.add_(1)
        assert counter.now == 4000
    assert counter.peak == 8000


def test_live_bytes_leaves_weights_out():
    layer = nn.Linear(10, 20, device="meta")
    counter = LiveBytes()
    with counter, torch.no_grad():
        peak = counter.peak_of(lambda: layer(meta(5, 10)))
    assert peak == 4 * (5 * 10 + 5 * 20)


def test_the_map_is_not_counted_for_fused_attention(shadow):
    # Full maps would grow with the fourth power of the side; fused attention leaves the square of it.
    small, large = (footprint(shadow, 2, (s, s), 1, SpatialTemporal()).source for s in (32, 128))
    assert large / small == pytest.approx(16, rel=0.05)


def test_linear_in_frames(shadow):
    four, eight = (footprint(shadow, n, (64, 64), 1, SpatialTemporal()).edit for n in (4, 8))
    assert eight / four == pytest.approx(2, rel=0.02)


def test_counted_as_measured_on_real_tensors(editor, shadow):
    """The same count, on real tensors of a real evaluation."""
    from faircut.edit.footprint import evaluate

    real = LiveBytes()
    with real, torch.no_grad():
        measured = real.peak_of(lambda: evaluate(editor.unet, ("source",), 3, (16, 24), SpatialTemporal()))
    counted = footprint(shadow, 3, (32, 48), 1, SpatialTemporal()).source
    assert counted == pytest.approx(measured, rel=0.03)


def test_the_edit_holds_more_than_the_source(editor, shadow):
    prompts = editor.tokenize(SOURCE), editor.tokenize(TARGET)
    method = FateZero(blend_words=("jeep", "car"))
    live, recorded = (
        footprint(shadow, 4, (64, 64), 10, SpatialTemporal(), method, prompts, live=live) for live in (True, False)
    )
    assert live.edit > recorded.edit > 2 * recorded.source
    unguided = footprint(shadow, 4, (64, 64), 10, SpatialTemporal(), method, prompts, guided=False)
    assert unguided.edit < live.edit
    assert live.recorded == editor.recorded_bytes(torch.zeros(4, 3, 64, 64), 10)


def test_what_fits_is_the_largest_that_does(editor):
    def fits(free: int) -> str | None:
        return what_fits(editor.unet, editor.vae, 8, (64, 96), SpatialTemporal(), free)

    everything = fits(2**40)
    assert everything is not None
    assert everything.startswith("8 frames of 96 x 64")
    assert fits(0) is None
    half = fits(12 * 2**20)
    assert half is not None
    assert not half.startswith("8 frames of 96 x 64")
    assert "live" in half


def test_out_of_memory_names_the_plan():
    with pytest.raises(OutOfMemoryError, match=r"8 frames of 64 x 32; try 3 frames at 5 px"):
        explain_out_of_memory(MemoryError(), 8, (32, 64), lambda: "3 frames at 5 px")
    with pytest.raises(OutOfMemoryError, match="4 frames, or half the size"):
        explain_out_of_memory(MemoryError(), 8, (32, 64), lambda: 1 / 0)
    explain_out_of_memory(RuntimeError("shapes differ"), 8, (32, 64))


def test_plan_command(cli, clip, tiny_folder):
    shared = (clip, "-s", SOURCE, "-p", TARGET, "--blend", "jeep:car", "--model", tiny_folder, "--steps", 4)
    result = cli("plan", *shared, "--json")
    assert result.code == 0, result.err
    plan = result.report
    modes = {mode["supplier"]: mode for mode in plan["modes"]}
    assert set(modes) == {"live", "memory", "disk"}
    assert plan["frames"] == 3
    assert (plan["height"], plan["width"]) == (32, 48)
    assert modes["disk"]["disk_bytes"] == plan["footprint"]["recorded"] > 0
    assert all(mode["fits"] and mode["seconds"] > 0 and mode["ram_bytes"] > 2**27 for mode in modes.values())
    assert modes["live"]["gpu_bytes"] is None or modes["live"]["gpu_bytes"] > 0
    shown = cli("plan", *shared).out
    assert "chosen" in shown
    assert "live" in shown


def test_a_backward_pass_is_counted_where_a_method_has_one(editor, shadow):
    prompts = editor.tokenize(SOURCE), editor.tokenize(TARGET)
    counted = {
        type(method): footprint(shadow, 2, (64, 64), 4, SpatialTemporal(), method, prompts, tokenize=editor.tokenize)
        for method in (Pix2PixZero(), NullText(), Ddim())
    }
    assert counted[Ddim].gradient < counted[Ddim].source
    assert counted[Pix2PixZero].gradient > 2 * counted[Pix2PixZero].edit
    assert counted[NullText].gradient > 2 * counted[NullText].source


def test_a_plan_counts_what_a_method_does(cli, clip, tiny_folder):
    def planned(*method: object):
        shared = (clip, "-s", SOURCE, "-p", TARGET, "--model", tiny_folder, "--steps", 4, "--json")
        result = cli("plan", *shared, "--method", *method)
        assert result.code == 0, result.err
        return result.report

    null_text, fame = planned("null-text"), planned("fame", "--blend", "jeep:car", "--target", "balanced")
    assert null_text["cost"] | {"source_steps": []} == {
        "first": 0, "source_steps": [], "level": "denoising", "reference": False, "evaluations": 8, "gradients": 40,
    }  # fmt: skip
    assert len(fame["cost"]["source_steps"]) == 4
    gradient = null_text["probe"]["gradient_seconds"]
    assert 0 < 40 * gradient < min(mode["seconds"] for mode in null_text["modes"])
    assert fame["probe"]["gradient_seconds"] == 0
