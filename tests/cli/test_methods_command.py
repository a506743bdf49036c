"""``faircut methods``, the flags of methods, and methods of other packages."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from faircut.cli.options import _typed_flags
from faircut.errors import ConfigError
from faircut.methods import FateZero, get_method, method_names
from faircut.methods.base import Method, register
from faircut.methods.catalogue import facts_of

from .conftest import SOURCE, TARGET

PLUGIN = """
from dataclasses import dataclass
from typing import ClassVar
from faircut.config.flags import option, read_number
from faircut.methods.base import Method

@dataclass(frozen=True)
class Mine(Method):
    \"\"\"Does nothing of note.

    Attributes:
        amount: how much of it.
    \"\"\"

    name: ClassVar[str] = "NAME"
    amount: float = option(0.5, flag="--amount", read=read_number)
"""


def test_every_method_tells_all_of_itself(cli):
    listed = cli("methods", "--json").report
    assert [facts["name"] for facts in listed] == method_names()
    for facts in listed:
        assert "arXiv" in facts["paper"]
        assert facts["summary"].endswith(".")
        for option in facts["options"]:
            assert option["meaning"], f"{facts['name']} does not say what {option['name']} means"
            assert option["type"]
    assert "null-text" in cli("methods").out


def test_a_method_shows_its_options_with_flags_and_defaults(cli):
    facts = cli("methods", "null-text", "--json").report
    options = {option["name"]: option for option in facts["options"]}
    assert options["cross_replace_steps"]["flag"] == "--cross-replace"
    assert options["self_replace_steps"]["default"] == 0.4
    assert facts["regions"] == "optional"
    shown = cli("methods", "sdedit").out
    assert "strength  (--set strength=VALUE)" in shown
    assert "default 0.6" in shown
    assert "arXiv 2108.01073" in shown
    assert facts_of("fame").flags["--cross-replace"].sets == "base.cross_replace_steps"
    result = cli("methods", "sdedti")
    assert result.code == 2
    assert "did you mean 'sdedit'" in result.err


def test_command_line_facts_are_told_apart_from_python(cli):
    fame = {option["name"]: option for option in cli("methods", "fame", "--json").report["options"]}
    assert (fame["alpha"]["default"], fame["alpha"]["cli_default"]) == (1.0, "auto")
    assert fame["people"]["cli_default"] == "the words that differ between the prompts"
    assert fame["people"]["set"] == "--blend SOURCE:TARGET"
    assert fame["eta"]["set"] == "--set eta=VALUE"
    for name in ("videograin", "blended-latent"):
        (masks,) = (option for option in cli("methods", name, "--json").report["options"] if option["name"] == "masks")
        assert (masks["set"], masks["type"]) == (None, "arrays, from Python only")
    shown = cli("methods", "fame").out
    assert "default auto (in Python: 1.0)" in shown
    assert "--reader auto|CLIP" in shown
    assert "--reader" not in cli("edit", "--help").out


def test_a_method_without_options_says_so(cli):
    for typed in (("--set", "foo=1"), ("--alignment", "refine")):
        result = cli("edit", "clip", "-s", SOURCE, "-p", TARGET, "--method", "ddim", *typed)
        assert result.code == 2
        assert "it has no options" in result.err


def test_flags_of_a_method_are_read_as_they_are_typed(cli, tiny_folder):
    shared = ("align", "-s", SOURCE, "-p", TARGET, "--model", tiny_folder, "--json")
    first = cli(*shared, "--blend", "jeep:car", "--threshold", "0.7").report
    assert first["regions"][0]["threshold"] == 0.7
    assert cli("align", "--threshold=0.7", *shared[1:], "--blend", "jeep:car").report == first
    for typed, said in (
        (("--threshold", "much"), "--threshold 'much' is not a number"),
        (("--threshold",), "--threshold '' is not a number"),
        (("--method", "sdedit", "--alignment", "refine"), "--alignment is not an option of sdedit, whose options are"),
        (("--alignmnt", "refine"), "did you mean '--alignment'"),
        (("--promtp", "a car"), "did you mean '--prompt'"),
    ):
        result = cli(*shared, *typed)
        assert (result.code, result.err.count("\n")) == (2, 1)
        assert said in result.err


def test_repeated_flags_keep_their_order():
    given = {"flags": ["--target=male", "--reweight=b=2", "--target=female", "--reweight=a=1"], "blend": ["x:y"]}
    assert _typed_flags(given) == {"--target": ["female", "male"], "--reweight": ["a=1", "b=2"], "--blend": ["x:y"]}


def test_fame_reads_fatezeros_flags_for_what_lies_beneath():
    typed = {"--blend": ["man:doctor", "dog:cat"], "--target": ["female"], "--cross-replace": ["0.2"]}
    options = get_method("fame").from_flags(typed, {}, ("", ""))
    assert [person["target"] for person in options["people"]] == ["female", "female"]
    assert options["base"]["cross_replace_steps"] == 0.2
    assert options["base"]["alignment"] == "refine"
    assert options["alpha"] == "auto"
    typed = {"--blend": ["a:b", "c:d", "e:f"], "--target": ["male", "female"]}
    with pytest.raises(ConfigError, match="2 targets for 3 people"):
        get_method("fame").from_flags(typed, {}, ("", ""))


def test_a_name_is_taken_once():
    class Other(Method):
        name = "fatezero"

    with pytest.raises(ConfigError, match=r"calls itself 'fatezero', which is faircut\.methods\.fatezero\.FateZero"):
        register(Other)
    assert get_method("fatezero") is FateZero


@pytest.fixture
def plugin(tmp_path):
    """Install a package that names a method, and run faircut beside it."""

    def run(text: str, *arguments: str, entry: str = "Mine") -> subprocess.CompletedProcess[str]:
        (tmp_path / "their_package.py").write_text(text)
        facts = tmp_path / "their_package-1.0.dist-info"
        facts.mkdir(exist_ok=True)
        (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.0\n")
        (facts / "entry_points.txt").write_text(f"[faircut.methods]\nmine = their_package:{entry}\n")
        path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
        command = [sys.executable, "-m", "faircut", *arguments]
        environment = {**os.environ, "PYTHONPATH": path}
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    return run


def test_a_method_of_another_package_is_found(plugin):
    done = plugin(PLUGIN.replace("NAME", "mine"), "methods", "mine")
    assert done.returncode == 0, done.stderr
    assert "amount  (--amount NUMBER)" in done.stdout
    assert "how much of it." in done.stdout


@pytest.mark.parametrize(("text", "entry"), [("1 / 0", "Mine"), ("", "Mine"), ("Mine = 3", "Mine")])
def test_a_broken_package_is_one_warning(plugin, text, entry):
    done = plugin(text, "methods", "sdedit", entry=entry)
    assert done.returncode == 0
    assert "SDEdit" in done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith("warning: ")
    assert "their-package" in line


def test_a_package_that_takes_a_name_of_ours_is_an_error(plugin):
    done = plugin(PLUGIN.replace("NAME", "sdedit"), "methods", "sdedit")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "their_package.Mine calls itself 'sdedit'" in line
