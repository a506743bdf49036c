"""FAME and the audit on the command line: what is decided is reported, and mistakes are named."""

from __future__ import annotations

import json

import pytest
import yaml

from faircut.model.checkpoints import pocket_folder

from .conftest import SOURCE, TARGET
from .test_errors import refused  # noqa: F401


@pytest.fixture
def edit(cli, clip, tiny_folder):
    def run(*arguments: object, prompt: str = TARGET):
        return cli(
            "edit", clip, "-s", SOURCE, "-p", prompt, "--model", tiny_folder, "--steps", 2, "-o", "out.mp4", "--json",
            "--method", "fame", *arguments,
        )  # fmt: skip

    return run


def test_fame_edits_and_reports_what_was_decided(edit, cli, clip, tmp_path):
    report = edit("--target", "female", "--alpha", 1.5).report
    (person,) = report["people"]
    assert (person["person"], person["value"], person["alpha"]) == ("car", "female", 1.5)
    assert report["method"]["people"][0]["source"] == "jeep"
    saved = yaml.safe_load((tmp_path / "out.run.yaml").read_text())
    assert saved["method"]["people"] == [{"target": "female", "source": "jeep", "phrase": "car"}]
    again = cli("edit", "--config", "out.run.yaml", "--alpha", 0.5, "--json").report
    assert again["people"][0]["alpha"] == 0.5
    assert again["people"][0]["value"] == "female"


def test_balanced_draws_from_the_seed_and_a_word_in_the_prompt_wins(edit):
    values = {
        edit("--target", "balanced", "--alpha", 1, "--seed", seed).report["people"][0]["value"] for seed in range(5)
    }
    assert values == {"female", "male"}
    report = edit("--target", "balanced", prompt="a silver male car driving down a road").report
    assert report["people"][0]["value"] is None
    assert "the prompt says 'male'" in report["people"][0]["because"]


def test_a_model_that_is_not_calibrated_warns(edit):
    result = edit("--target", "male")
    assert result.report["people"][0]["alpha"] == 1.0
    assert "not calibrated" in result.err


def test_preserve_reads_the_source_with_a_clip(edit):
    report = edit("--reader", pocket_folder() / "clip").report
    (person,) = report["people"]
    assert person["target"] == "preserve"
    assert person["perceived"]["frames"]


def test_flags_of_the_base_keep_the_rest_of_it(edit):
    method = edit("--target", "male", "--self-replace", 0.2).report["method"]
    assert method["base"]["self_replace_steps"] == 0.2
    assert method["base"]["cross_replace_steps"] == 0.4
    assert method["base"]["latent_blend_steps"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "fame"], "needs a reader of the perceived gender"),
        (["--method", "fame", "--target", "femal"], "did you mean 'female'"),
        (["--method", "fame", "--target", "red"], "Possible: balanced, female, male"),
        (["--method", "fame", "--attribute", "age"], "no attribute 'age'"),
        (["--method", "fame", "--target", "female", "--target", "male"], "2 targets for 1 people"),
        (["--method", "fame", "--target", "female", "--alpha", "strong"], "--alpha 'strong' is not a number"),
        (["--method", "fame", "--target", "female", "--alpha", "9"], "alpha is 9.0; give 0 to 3"),
        (["--method", "fame", "--target", "female", "--blend", "jeep:car,road"], "every --blend names one person"),
        (["--target", "female"], "--target is for --method fame"),
        (["--fixed-point", "2"], "fixed_point_steps is 2"),
    ],
)
def test_mistakes_are_named(refused, clip, tiny_folder, arguments, message):  # noqa: F811
    import re

    said = refused(
        "edit", clip, "-s", SOURCE, "-p", TARGET, "--model", tiny_folder, "--steps", 2, "-o", "out.mp4", *arguments
    )  # fmt: skip
    assert re.search(message, said), said


def test_who_is_edited_must_be_clear(refused, clip, tiny_folder):  # noqa: F811
    said = refused(
        "edit", clip, "-s", SOURCE, "-p", f"{SOURCE} in the rain", "--model", tiny_folder, "--method", "fame", "-o",
        "o.mp4"
    )  # fmt: skip
    assert "say it with --blend" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--benchmark", "pocket-profession"], "did you mean 'pocket-professions'"),
        (["--methods", "fam"], "did you mean 'fame"),
        (["--policies", "fair"], "no policy 'fair'"),
        (["--n", "1000"], "1000 clips were requested"),
        (["--alpha", "much"], "is not a number"),
        (["--shard", "3"], "--shard '3' is not a part"),
        (["--shard", "3/2"], "K from 1 to N"),
        (["--tasks", "nowhere.yaml"], "cannot read the tasks nowhere.yaml"),
        (["--steps", "0"], "0 steps were asked for"),
        (["--model", "/nowhere"], "/nowhere"),
    ],
)
def test_audits_that_cannot_be_are_refused(refused, arguments, message):  # noqa: F811
    assert message in refused("audit", *arguments)


def test_an_audit_of_a_model_without_a_judge_asks_for_a_reader(refused, tiny_folder):  # noqa: F811
    assert "give --reader with the name of a CLIP" in refused("audit", "--model", tiny_folder, "--n", 2)


def test_an_audit_writes_its_figures_and_its_report(cli, tmp_path):
    result = cli(
        "audit", "--n", 2, "--methods", "fatezero", "--policies", "preserve", "--steps", 2, "--json", "a.json", "-o",
        "a"
    )  # fmt: skip
    assert result.code == 0, result.err
    assert "fatezero, preserve" in result.out
    data = json.loads((tmp_path / "a.json").read_text())
    assert data["results"]["fatezero"]["preserve"]["disparity"]["n"] == 2
    assert (tmp_path / "a" / "report.html").stat().st_size > 50_000
    assert data["provenance"]["settings"]["n"] == 2
    part = cli(
        "audit", "--n", 2, "--methods", "fatezero", "--policies", "preserve", "--steps", 2, "--shard", "1/2", "-o", "a"
    )
    assert "part 1/2 is done" in part.out
