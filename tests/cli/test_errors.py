"""Bad input: one line that says what to do, exit code 2, and nothing left behind."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch

from faircut.edit import session

from .conftest import SOURCE, TARGET


@pytest.fixture
def refused(cli, tmp_path):
    """Run a command that must be refused; returns what it said."""

    def run(*arguments: object) -> str:
        before = sorted(tmp_path.rglob("*"))
        result = cli(*arguments)
        assert result.code == 2, result
        lines = result.err.strip().splitlines()
        assert len(lines) == 1, result.err
        assert lines[0].startswith("faircut: ")
        assert "Traceback" not in result.err
        assert not result.out
        assert sorted(tmp_path.rglob("*")) == before
        assert not list(Path(f"{tmp_path}-cache").rglob("*.partial*"))
        return lines[0]

    return run


@pytest.fixture
def edit(refused, clip, tiny_folder):
    def run(*arguments: object, source: str = SOURCE, prompt: str = TARGET, of: object = None, steps: int = 2) -> str:
        return refused(
            "edit",
            of or clip,
            "-s",
            source,
            "-p",
            prompt,
            "--model",
            tiny_folder,
            "--steps",
            steps,
            "-o",
            "out.mp4",
            *arguments,
        )

    return run


@pytest.fixture
def broken_editor(monkeypatch):
    """Let every editor that is loaded be spoilt first."""

    def spoil(how) -> None:
        load = session.load_editor

        def loaded(*arguments):
            editor = load(*arguments)
            how(editor)
            return editor

        monkeypatch.setattr(session, "load_editor", loaded)

    return spoil


def test_word_that_is_not_in_the_prompt(edit):
    line = edit("--blend", "jep:car")
    assert "'jep' is not in the prompt" in line
    assert "did you mean 'jeep'" in line


def test_replace_with_unequal_lengths(edit):
    line = edit("--alignment", "replace", prompt="a very silver car driving down a road")
    assert "'jeep' -> 'car'" in line
    assert "refine" in line


def test_too_many_tokens(edit):
    line = edit(prompt="a silver jeep " * 40)
    assert "122 tokens" in line
    assert "77" in line


def test_folder_that_is_no_model(refused, clip, tmp_path):
    (tmp_path / "nothing").mkdir()
    line = refused("edit", clip, "-s", SOURCE, "-p", TARGET, "--model", tmp_path / "nothing")
    assert "no model_index.json" in line


def test_model_that_does_not_exist(refused, clip, tmp_path):
    assert "does not exist" in refused("edit", clip, "-s", SOURCE, "-p", TARGET, "--model", tmp_path / "none")


def test_model_with_a_part_missing(refused, clip, tiny_folder, tmp_path):
    shutil.copytree(tiny_folder, tmp_path / "half")
    shutil.rmtree(tmp_path / "half" / "vae")
    assert "vae missing" in refused("edit", clip, "-s", SOURCE, "-p", TARGET, "--model", tmp_path / "half")


def test_truncated_video(edit, clip, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    assert "broken.mp4" in edit(of=broken)


def test_empty_video(edit, tmp_path):
    (tmp_path / "empty.mp4").touch()
    assert "empty.mp4" in edit(of=tmp_path / "empty.mp4")


def test_video_that_does_not_exist(edit):
    assert "none.mp4" in edit(of="none.mp4")


def test_more_frames_than_there_are(edit):
    assert "3" in edit("--frames", 99)


def test_size_too_small(edit):
    assert "at least 8" in edit("--size", "4")


def test_nan_latents_name_the_step(edit, broken_editor):
    broken_editor(lambda editor: editor.unet.conv_out.weight.data.fill_(torch.nan))
    assert "no longer finite after inversion step 1" in edit("--no-cache")


def test_attention_that_did_not_fire(edit, broken_editor):
    def detach(editor):
        block = editor.unet.mid_block.attentions[0].transformer_blocks[0]
        block.attn1.forward = lambda states, **more: states

    broken_editor(detach)
    line = edit("--no-cache")
    assert "mid_block.attentions.0.transformer_blocks.0.attn1" in line
    assert "faircut's processor" in line


def test_out_of_memory_names_a_plan_that_fits(edit, broken_editor):
    def exhaust(editor):
        def forward(*arguments, **more):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

        editor.unet.forward = forward

    broken_editor(exhaust)
    line = edit("--no-cache")
    assert "out of memory with 3 frames of 48 x 32" in line
    assert "frames" in line.split("try", 1)[1]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--method", "fatezro"], "no method 'fatezro': did you mean 'fatezero'"),
        (
            ["--method", "sdedit", "--blend", "jeep:car"],
            "is not an option of sdedit, whose options are shared_noise, strength",
        ),
        (["--method", "sdedit", "--threshold", "0.5"], "--threshold is not an option of sdedit"),
        (["--method", "sdedit", "--set", "strenght=0.5"], "did you mean 'strength'"),
        (["--method", "sdedit", "--set", "strength=2"], "strength is 2.0"),
        (["--method", "sdedit", "--set", "strength"], "NAME=VALUE"),
        (["--method", "sdedit", "--set", "strength=["], "cannot be read as the value"),
        (["--method", "prompt-to-prompt", "--attend", "first"], "prompt-to-prompt needs frames that attend to 0"),
        (["--method", "videograin", "--blend", "jeep,road:car"], "pairs"),
        (["--method", "null-text", "--guidance", "1"], "a guidance other than 1"),
        (["--blend", "jeep"], "SOURCE:TARGET"),
        (["--blend", "jeep:"], "SOURCE:TARGET"),
        (["--reweight", "car"], "NAME=VALUE"),
        (["--reweight", "car=much"], "'much' is not a number"),
        (["--reweight", "cat=2"], "'cat' is not in the prompt"),
        (["--cross-replace", "1.5"], "not a share of the run"),
        (["--self-replace", "0.2,0.4,0.6"], "3 numbers"),
        (["--latent-blend", "0.2,0.8"], "needs blend_words"),
        (["--threshold", "2"], "blend_threshold is 2"),
        (["--save-masks"], "--blend"),
        (["--alignment", "refien"], "alignment is 'refien'"),
        (["--attend", "midle"], "did you mean 'middle'"),
        (["--supplier", "dsk"], "supplier is 'dsk'"),
        (["--memory-budget", "lots"], "4GiB"),
        (["--device", "gpu"], "cpu"),
        (["--device", "cuda:99"], "not available"),
        (["--dtype", "int8"], "float32"),
        (["--size", "big"], "WIDTHxHEIGHT"),
        (["--lora", "none.safetensors"], "none.safetensors"),
        (["-o", "out.xyz"], ".mp4"),
        (["--steps", "0"], "0 steps"),
        (["--steps", "1000"], "between 1 and 999"),
        (["--guidance", "-1"], "guidance_scale"),
        (["--inversion", "nowhere"], "no readable inversion"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
        (["--promt", "a car"], "--prompt"),
        (["--steps", "many"], "--steps"),
    ],
)
def test_flags(edit, flags, expected):
    assert expected in edit(*flags)


def test_prompts_missing(refused, clip):
    assert "-s/--source-prompt and -p/--prompt missing" in refused("edit", clip)


def test_the_output_is_not_the_clip(refused, clip, tiny_folder):
    line = refused("edit", clip, "-s", SOURCE, "-p", TARGET, "--model", tiny_folder, "-o", clip)
    assert "is the input" in line


def test_a_place_that_cannot_be_written_to(refused, clip, tiny_folder):
    line = refused("edit", clip, "-s", SOURCE, "-p", TARGET, "--model", tiny_folder, "-o", clip / "out.mp4")
    assert "cannot write to" in line


def test_unknown_setting_in_a_configuration(refused, tmp_path):
    (tmp_path / "run.yaml").write_text("clip: a.mp4\nguidance: 3\n")
    line = refused("edit", "--config", tmp_path / "run.yaml")
    assert "'guidance'" in line
    assert "did you mean 'guidance_scale'" in line


def test_unknown_option_of_a_method_in_a_configuration(refused, clip, tmp_path):
    method = "{name: fatezero, blend_word: [jeep, car]}"
    text = f"clip: {clip}\nsource_prompt: {SOURCE}\nprompt: {TARGET}\nmethod: {method}\n"
    (tmp_path / "run.yaml").write_text(text)
    assert "did you mean 'blend_words'" in refused("edit", "--config", tmp_path / "run.yaml")


def test_configuration_that_would_run_code(refused, tmp_path):
    (tmp_path / "run.yaml").write_text("clip: !!python/object/apply:os.system ['touch hacked']\n")
    refused("edit", "--config", tmp_path / "run.yaml")


def test_unknown_command(refused):
    assert "edit" in refused("edti")


def test_unknown_demo(refused):
    assert "did you mean 'colour'" in refused("demo", "color")


def test_an_unexpected_exception_is_a_fault_in_one_line(cli, clip, tiny_folder, broken_editor):
    def fail(editor):
        raise ZeroDivisionError("a defect")

    broken_editor(fail)
    result = cli("edit", clip, "-s", SOURCE, "-p", TARGET, "--model", tiny_folder)
    assert result.code == 70
    assert result.err.count("\n") == 1
    said = re.match(
        r"faircut: this is a fault of faircut: ZeroDivisionError: a defect; details are in (.*), or --tr", result.err
    )
    details = Path(said[1])
    assert "ZeroDivisionError: a defect" in details.read_text()
    assert details.stat().st_mode & 0o777 == 0o600
    assert details.parent.stat().st_mode & 0o777 == 0o700


def test_a_traceback_is_shown_when_it_is_asked_for(cli, clip, tiny_folder, broken_editor):
    def fail(editor):
        raise ZeroDivisionError("a \x1b[31mdefect")

    broken_editor(fail)
    result = cli("--traceback", "edit", clip, "-s", SOURCE, "-p", TARGET, "--model", tiny_folder)
    assert result.code == 70
    assert "Traceback" in result.err
    assert "in fail" in result.err
    assert "\x1b" not in result.err
