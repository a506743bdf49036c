"""Training and measuring the pocket model from the command line."""

import json

import pytest
import torch
import yaml
from PIL import Image

STEPS = {"batch": 4, "warmup": 1, "steps": 2}
TINY = {
    "run": {"processes": 1, "log_every": 1, "precision": "fp32"},
    "data": {"stills": 16, "held_out": 16, "shard": 16, "workers": 1},
    "vae": {"channels": [8, 16, 16], "crop": 32, "optim": STEPS, "decoder": STEPS},
    "judge": {"channels": [8, 8, 16, 16, 16], "painted": 16, "optim": {**STEPS, "batch": 16}},
    "clip": {"width": 32, "layers": 1, "text_layers": 1, "embed": 32, "optim": {**STEPS, "batch": 16}},
    "denoiser": {"channels": [8, 16, 16, 16], "text_width": 32, "text_layers": 1, "optim": STEPS},
}


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY))
    return path


def test_one_command_trains_everything_and_goes_on_where_it_stopped(cli, config, tmp_path):
    before = torch.get_num_threads()
    first = cli("pocket", "train", "--config", config, "-o", "out")
    assert first.code == 0, first.err
    assert [line for line in first.out.splitlines() if "took" in line and line.startswith("denoiser 100.0 %")]
    assert "loss" in first.out
    assert first.out.splitlines()[-1] == "out/weights"
    assert "pictures 96" in first.out  # 64 readable, 16 drawn anew, 16 beyond reading
    again = cli("pocket", "train", "--config", config, "-o", "out", "--stage", "denoiser")
    assert "loss" not in again.out  # its two steps are done
    STEPS_MORE = {**TINY, "denoiser": {**TINY["denoiser"], "optim": {**STEPS, "steps": 3}}}
    config.write_text(yaml.safe_dump(STEPS_MORE))
    more = cli("pocket", "train", "--config", config, "-o", "out", "--stage", "denoiser")
    assert more.out.count("samples 12 ") == 1
    assert "samples 8 " not in more.out
    assert torch.get_num_threads() == before

    measured = cli("pocket", "evaluate", "--model", "out/weights", "--part", "vae", "--scale", 0.05, "--json", "f.json")
    assert measured.code == 0, measured.err
    assert "short" in measured.out
    found = json.loads((tmp_path / "f.json").read_text())
    assert found["vae_psnr"]["n"] == 16
    assert 0 < found["vae_psnr"]["value"] < 29


def test_wrong_settings_are_one_line(cli, tmp_path, monkeypatch):
    # Without the hub, a name of it is refused earlier.
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    (tmp_path / "bad.yaml").write_text("denoiser: {chanels: [8]}")
    for arguments, said in (
        (("train", "--stage", "vea"), "unknown stage 'vea'"),
        (("train", "--config", "bad.yaml"), "unknown setting 'denoiser.chanels'"),
        (("train", "--config", "none.yaml"), "cannot read the training configuration none.yaml"),
        (("evaluate", "--part", "clipp"), "unknown part 'clipp'"),
        (("evaluate", "--model", "nowhere"), "no pocket model in nowhere"),
        (("evaluate", "--scale", "2"), "scale is 2.0 (--scale); give more than 0 and at most 1"),
    ):
        done = cli("pocket", *arguments)
        assert done.code == 2
        assert said in done.err
        assert done.err.count("\n") == 1
        assert list(tmp_path.iterdir()) == [tmp_path / "bad.yaml"]


def test_the_contact_sheet_is_a_picture_and_small(cli, tmp_path):
    assert cli("pocket", "sheet", "folder/world.png").code == 0
    path = tmp_path / "folder" / "world.png"
    assert 50_000 < path.stat().st_size < 600_000
    assert min(Image.open(path).size) > 1000
