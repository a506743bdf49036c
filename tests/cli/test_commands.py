"""The commands, end to end with a tiny random checkpoint."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
import yaml
from PIL import Image

from faircut import Inversion, read_video
from faircut.edit import run
from faircut.edit.editor import VideoEditor

from .conftest import SOURCE, TARGET


@pytest.fixture
def edit(cli, clip, tiny_folder):
    def run(*arguments: object):
        shared = (clip, "-s", SOURCE, "-p", TARGET, "--model", tiny_folder, "--steps", 3)
        return cli("edit", *shared, *arguments)

    return run


def test_edit_writes_the_video_and_what_belongs_to_it(edit, clip, tmp_path):
    result = edit("--blend", "jeep:car", "-o", "out/red.mp4", "--save-masks", "--save-attention", "--json")
    assert result.code == 0, result.err
    names = {p.name for p in (tmp_path / "out").iterdir()}
    siblings = ("side_by_side.mp4", "report.json", "run.yaml", "masks.png", "attention.png")
    assert names == {"red.mp4", *(f"red.{sibling}" for sibling in siblings)}
    source, edited = read_video(clip), read_video(tmp_path / "out" / "red.mp4")
    assert (edited.size, len(edited), edited.fps) == (source.size, len(source), source.fps)
    assert read_video(tmp_path / "out" / "red.side_by_side.mp4").size[1] == 2 * 4 * source.size[1]

    report = json.loads((tmp_path / "out" / "red.report.json").read_text())
    assert report == result.report
    assert report["settings"]["num_inference_steps"] == 3
    assert report["method"]["blend_words"] == [["jeep"], ["car"]]
    assert set(report["environment"]["versions"]) >= {"faircut", "torch", "diffusers", "transformers"}
    assert report["clip"]["hash"].startswith("sha256:")
    assert len(report["model"]["fingerprint"]) == 32
    assert set(report["seconds"]) >= {"read", "load", "invert", "reconstruct", "edit", "write"}
    assert report["peak_memory"]["rss_bytes"] > 2**27
    assert report["stored_bytes"] > 0
    assert report["reconstruction_psnr"] < 25
    assert "dB" in report["warnings"][0]
    assert [w["fate"] for w in report["alignment"]["words"]].count("replaced") == 1
    assert all((tmp_path / path).exists() for path in report["outputs"].values())

    # A row for each of the three steps, and for each of the six words of the source prompt.
    masks, attention = (Image.open(tmp_path / "out" / f"red.{name}.png") for name in ("masks", "attention"))
    assert masks.size[0] == attention.size[0]
    assert attention.size[1] / masks.size[1] == pytest.approx(6 / 3)


def test_other_methods_take_their_options_by_name(edit):
    settings = {
        "sdedit": (["--set", "strength=0.5"], {"strength": 0.5}),
        "blended-latent": (["--blend", "jeep:car"], {"words": ["jeep"]}),
        "videograin": (
            ["--blend", "jeep:car", "--blend", "road:road"],
            {"regions": [["jeep", "car"], ["road", "road"]]},
        ),
        "null-text": (["--cross-replace", "0.5", "--guidance", 3], {"cross_replace_steps": 0.5}),
    }
    for name, (flags, expected) in settings.items():
        result = edit("--method", name, *flags, "-o", f"{name}.mp4", "--json")
        assert result.code == 0, result.err
        assert result.report["method"].items() >= {"name": name, **expected}.items()
    # The frames see each other as the method needs it.
    assert result.report["settings"]["temporal"] == {"frames": [0], "least_channels": 0, "clip_norm": False}
    assert result.report["seconds"]["null-text"] > 0


def test_a_warning_is_one_yellow_line(edit):
    result = edit("-o", "out.mp4")
    assert result.code == 0
    lines = [line for line in result.err.splitlines() if line.strip()]
    assert len(lines) == 1, result.err
    assert lines[0].startswith("warning: the inversion gives the clip back at")


def test_a_saved_run_repeats_and_flags_override_it(edit, cli, tmp_path):
    assert edit("--blend", "jeep:car", "-o", "one.mp4", "--size", "24").code == 0
    assert cli("edit", "--config", "one.run.yaml", "-o", "two.mp4").code == 0
    assert cli("edit", "--config", "one.run.yaml", "-o", "three.mp4", "--guidance", 1, "--threshold", 0.9).code == 0
    one, two, three = (read_video(tmp_path / f"{name}.mp4").frames for name in ("one", "two", "three"))
    assert torch.equal(one, two)
    assert not torch.equal(one, three)
    saved = yaml.safe_load((tmp_path / "three.run.yaml").read_text())
    assert saved["guidance_scale"] == 1
    assert saved["size"] == 24
    assert saved["method"] == {"name": "fatezero", "blend_words": [["jeep"], ["car"]], "blend_threshold": 0.9}


def test_suppliers_agree_and_inversions_are_found_again(edit, tmp_path, monkeypatch):
    runs = {mode: edit("--supplier", mode, "--json", "-o", f"{mode}.mp4") for mode in ("live", "memory", "disk")}
    assert {mode: run.report["supplier"] for mode, run in runs.items()} == {m: m for m in runs}
    frames = [read_video(tmp_path / f"{mode}.mp4").frames for mode in runs]
    assert all((other - frames[0]).abs().max() < 0.02 for other in frames)

    def invert(*arguments, **more):
        raise AssertionError("inverted again")

    monkeypatch.setattr(VideoEditor, "invert", invert)
    monkeypatch.setattr(VideoEditor, "reconstruct", invert)
    again = edit("--supplier", "live", "--json", "-o", "again.mp4").report
    assert again["inversion_from_cache"]
    assert again["reconstruction_psnr"] == runs["live"].report["reconstruction_psnr"]
    assert "AssertionError: inverted again" in edit("--supplier", "live", "--no-cache").err


def test_a_damaged_inversion_in_the_cache_is_made_again(edit, tmp_path):
    assert edit("--no-reconstruction", "-o", "one.mp4").code == 0
    (facts,) = (tmp_path.parent / f"{tmp_path.name}-cache").rglob("inversion.json")
    whole = facts.read_text()
    facts.write_text("{}")
    result = edit("--no-reconstruction", "-o", "two.mp4", "--json")
    assert result.code == 0, result.err
    assert not result.report["inversion_from_cache"]
    assert facts.read_text() == whole


def test_invert_and_edit_the_inversion(edit, cli, clip, tiny_folder, tmp_path, monkeypatch):
    shared = ("-s", SOURCE, "--model", tiny_folder, "--steps", 3, "--no-cache")
    result = cli("invert", clip, *shared, "-o", "jeep.inversion", "--supplier", "memory", "--json")
    assert result.code == 0, result.err
    assert Inversion.load(tmp_path / "jeep.inversion").num_frames == result.report["frames"] == 3
    assert edit("-o", "direct.mp4", "--no-cache").code == 0
    monkeypatch.setattr(VideoEditor, "invert", None)
    assert edit("-o", "out.mp4", "--inversion", "jeep.inversion").code == 0
    direct, out = (read_video(tmp_path / name).frames for name in ("direct.mp4", "out.mp4"))
    assert (direct - out).abs().max() < 0.02
    other = cli("edit", clip, "-s", "a jeep", "-p", TARGET, "--model", tiny_folder, "--inversion", "jeep.inversion")
    assert other.code == 2
    assert "source prompt" in other.err


def test_align_shows_every_word(cli, tiny_folder):
    prompts = ("-s", "a silver jeep driving", "-p", "a car driving fast", "--model", tiny_folder, "--blend", "jeep:car")
    result = cli("align", *prompts, "--alignment", "refine", "--json")
    rows = [(w["source"], w["target"], w["fate"], w["region"] == 0) for w in result.report["words"]]
    assert rows == [
        ("a", "a", "kept", False),
        (None, "car", "added", True),
        ("silver", None, "dropped", False),
        ("jeep", None, "dropped", True),
        ("driving", "driving", "kept", False),
        (None, "fast", "added", False),
    ]
    shown = cli("align", *prompts).out
    assert "alignment replace" in shown
    assert "the mask is made of jeep" in shown


@pytest.mark.parametrize(
    ("method", "blend", "said"),
    [
        ("blended-latent", ["jeep:car"], "alignment none (blended-latent does not align prompts)"),
        ("blended-latent", ["jeep:car"], "the mask is made of jeep"),
        ("videograin", ["jeep:car", "road:road"], "2 masks: made of jeep; made of road"),
        ("diffedit", [], "made by comparing the predictions under both prompts"),
        ("sdedit", [], "there is no mask: all is edited"),
        ("fame", ["jeep:car"], "alignment refine"),
        ("null-text", ["jeep:car"], "alignment replace"),
    ],
)
def test_align_tells_the_truth_of_every_method(cli, tiny_folder, method, blend, said):
    words = [part for pair in blend for part in ("--blend", pair)]
    result = cli("align", "-s", SOURCE, "-p", TARGET, "--model", tiny_folder, "--method", method, *words)
    assert result.code == 0, result.err
    assert said in " ".join(result.out.split())


@pytest.mark.parametrize("method", ["blended-latent", "videograin", "diffedit", "fame"])
def test_masks_are_saved_for_every_method_that_has_some(edit, tmp_path, method):
    blend = [] if method == "diffedit" else ["--blend", "jeep:car", "--blend", "road:road"]
    blend += ["--target", "female"] if method == "fame" else []
    assert edit("--method", method, *blend, "--save-masks", "-o", "out.mp4", "--no-reconstruction").code == 0
    assert Image.open(tmp_path / "out.masks.png").size[1] > 60


def test_no_masks_are_promised_where_there_are_none(edit):
    result = edit("--method", "sdedit", "--save-masks", "-o", "out.mp4")
    assert result.code == 2
    assert "sdedit always edits everywhere" in result.err


def test_folder_output_and_rotation_of_names(edit, tmp_path):
    assert edit("-o", "pictures").code == 0
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 3
    assert (tmp_path / "pictures.report.json").is_file()


def test_demo_says_where_everything_is(cli, tiny_folder, tmp_path):
    result = cli("demo", "colour", "style", "--model", tiny_folder, "--steps", 1, "--frames", 2)
    assert result.code == 0, result.err
    paths = [line.strip() for line in result.out.splitlines() if line.endswith((".mp4", ".png"))]
    assert paths == ["demo/colour.side_by_side.mp4", "demo/style.side_by_side.mp4", "demo/demo.png"]
    assert all((tmp_path / path).is_file() for path in paths), paths
    assert result.out.count("the judge sees it in ") == 2
    assert result.out.count("background ") == 1  # a style changes the whole picture


def test_demo_as_json_has_the_figures(cli, tiny_folder):
    (entry,) = cli("demo", "profession", "--model", tiny_folder, "--steps", 1, "--frames", 1, "--json").report
    assert entry["settings"]["prompt"].startswith("a firefighter ")
    assert entry["figures"]["tem_con_ratio"] == 1.0
    assert 0 <= entry["figures"]["shown"] <= 1


@pytest.mark.parametrize("stage", ["inverting", "writing"])
def test_an_interrupt_leaves_nothing(edit, tmp_path, monkeypatch, stage):
    def interrupt(*arguments, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "save_report", interrupt if stage == "writing" else run.save_report)
    if stage == "inverting":
        monkeypatch.setattr("faircut.edit.editor.invert_latents", interrupt)
    result = edit("-o", "new/out.mp4", "--supplier", "disk", "--no-cache")
    assert result.code == 130
    assert result.err.splitlines()[-1].startswith("faircut: interrupted")
    assert "Traceback" not in result.err
    assert not [p for p in tmp_path.rglob("*") if p.is_file() or p.name.endswith(".partial")]


def test_control_c_in_the_middle(clip, tiny_folder, tmp_path):
    environment = {
        **os.environ,
        "FAIRCUT_CACHE": str(tmp_path / "cache"),
        "TMPDIR": str(tmp_path / "tmp"),
        "OMP_NUM_THREADS": "1",
    }
    (tmp_path / "tmp").mkdir()
    (tmp_path / "run").mkdir()
    command = ["edit", clip, "-s", SOURCE, "-p", TARGET, "--model", tiny_folder, "--steps", 900, "--supplier", "disk"]
    process = subprocess.Popen(
        [sys.executable, "-c", "from faircut.cli import main; main()", *map(str, command), "-o", "out.mp4"],
        cwd=tmp_path / "run",
        env=environment,
        stderr=subprocess.PIPE,
        # A shell that runs the tests in the background lets its children ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        text=True,
    )
    deadline = time.monotonic() + 60
    # Attention on disk means that it is inverting.
    while not list((tmp_path / "tmp").rglob("step_*.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.strip() == "faircut: interrupted; nothing half-written was left behind"
    assert not list((tmp_path / "run").iterdir())
    assert not list((tmp_path / "tmp").iterdir())
