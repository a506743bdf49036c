"""``faircut study``: the page, its key, and what came back."""

from __future__ import annotations

import json
import shutil

import pytest
import yaml

from .test_errors import refused  # noqa: F401


@pytest.fixture
def study(clip, tmp_path):
    """A study file: two methods that left the clip as it is."""
    for name in ("clip", "one", "two"):
        shutil.copy(clip, tmp_path / f"{name}.mp4")
    item = {"prompt": "a silver car", "source": "clip.mp4", "results": {"one": "one.mp4", "two": "two.mp4"}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({"version": 1, "items": [item]}))
    return tmp_path / "study.yaml"


@pytest.fixture
def answers(cli, study, tmp_path):
    """Three participants who all prefer the first method, and one who does not."""
    made = cli("study", "make", study, "-o", "page.html", "--seed", 1)
    assert made.code == 0, made.err
    key = json.loads((tmp_path / "page.key.json").read_text())
    assert key["seed"] == 1
    by = {clip["method"]: name for name, clip in key["clips"].items()}
    paths = []
    for number in range(4):
        said = {
            "question": "editing",
            "left": by["one"],
            "right": by["two"],
            "choice": by["two" if number == 3 else "one"],
        }
        paths.append(tmp_path / f"{number}.json")
        paths[-1].write_text(
            json.dumps({"format": 1, "study": key["study"], "participant": str(number), "answers": [said]})
        )
    return paths


def test_make_says_where_page_and_key_are(cli, study, tmp_path):
    result = cli("study", "make", study)
    assert result.code == 0, result.err
    assert {p.name for p in tmp_path.glob("study.*")} == {"study.yaml", "study.html", "study.key.json"}
    assert "study.key.json (do not give it to participants)" in result.out
    assert "1 clips, 2 results" in result.out


def test_show_counts_what_came_back(cli, answers, tmp_path):
    result = cli("study", "show", *answers, "--key", "page.key.json", "--json", "found.json")
    assert result.code == 0, result.err
    assert ["one", "0.750"] in [line.split()[:2] for line in result.out.splitlines()]
    assert "4 answers of 4 participants" in result.out
    data = json.loads((tmp_path / "found.json").read_text())
    assert data["preference"]["editing"]["one"]["n"] == 4
    printed = cli("study", "show", *answers, "--key", "page.key.json", "--json", "-").report
    assert printed == data


def test_mistakes(refused, answers, study, tmp_path):  # noqa: F811
    assert "are both from the participant" in refused("study", "show", answers[0], answers[0], "--key", "page.key.json")
    assert "cannot read the key" in refused("study", "show", *answers, "--key", "none.json")
    assert "cannot read the study" in refused("study", "make", "none.yaml")
    assert ".html" in refused("study", "make", study, "-o", "page.txt")
    assert "cannot write" in refused("study", "make", study, "-o", study / "page.html")
    assert "--key" in refused("study", "show", *answers)
    assert "'answers'" in refused("study", "show", "--key", "page.key.json")
