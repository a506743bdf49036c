"""Writes the reference pages: the command line from the app, the API from docstrings, the methods from their registry.

python docs/reference/make.py           # write the pages
python docs/reference/make.py --check   # exit with 1 if a page is out of date
python docs/reference/make.py PAGE.md   # wrap the lines of other pages
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import sys
import textwrap
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

# The public packages, in the order in which a reader meets them. A page lists every name of the
# package's __all__, or of its modules' where the package has none.
PACKAGES = (
    "faircut",
    "faircut.methods",
    "faircut.fairness",
    "faircut.metrics",
    "faircut.video",
    "faircut.evaluate",
    "faircut.study",
    "faircut.atlas",
    "faircut.tune",
    "faircut.attention.controller",
    "faircut.attention.context",
    "faircut.controllers",
    "faircut.model.backbone",
    "faircut.model.noise_path",
    "faircut.prompts",
    "faircut.errors",
)
WIDTH = 120
HEADINGS = ("Args", "Attributes", "Returns", "Raises", "Yields", "Warns")


def generated(title: str, *parts: str) -> str:
    """Return a page: a title, a line that says where it comes from, and its parts."""
    note = "*Written by `python docs/reference/make.py`; change the source, not this page.*"
    return wrap("\n\n".join([f"# {title}", note, *(part.strip("\n") for part in parts if part)])) + "\n"


def wrap(text: str) -> str:
    """Return Markdown with its paragraphs and list entries wrapped; code, tables and headings stay as they are."""
    out: list[str] = []
    block: list[str] = []

    def close() -> None:
        if block:
            # Spaces inside `code` are no places to break.
            joined = re.sub(
                r"`[^`]+`", lambda code: code[0].replace(" ", "\0"), " ".join(line.strip() for line in block)
            )
            head = re.match(r" *(?:[-*]|\d+\.) ", block[0])
            indent = len(block[0]) - len(block[0].lstrip())
            rest = " " * (len(head[0]) if head else indent)
            lines = textwrap.wrap(
                joined, WIDTH, initial_indent=" " * indent, subsequent_indent=rest, break_long_words=False,
                break_on_hyphens=False,
            )  # fmt: skip
            out.extend(line.replace("\0", " ") for line in lines)
            block.clear()

    fenced = False
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            close()
            fenced = not fenced
            out.append(line)
        elif fenced or not line.strip() or line.lstrip().startswith(("|", "#", "![")):
            close()
            out.append(line)
        else:
            if re.match(r" *(?:[-*]|\d+\.) ", line):
                close()
            block.append(line)
    close()
    return "\n".join(out)


def cell(text: str) -> str:
    """Return a text as one cell of a table."""
    return re.sub(r"\s+", " ", text).strip().replace("|", "\\|")


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Return a Markdown table, or nothing without rows."""
    if not rows:
        return ""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell(one) for one in line) + " |" for line in lines)


# The command line -----------------------------------------------------------------------------------------------------


def commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command of a group with the words that call it."""
    if hasattr(command, "commands"):
        for name, part in command.commands.items():
            yield from commands(part, (*path, name))
    if not hasattr(command, "commands") or getattr(command, "invoke_without_command", False):
        yield path, command


def is_argument(parameter: Any) -> bool:
    """Whether a parameter is given by its place, not by a flag."""
    return parameter.param_type_name == "argument"


def argument_name(parameter: Any) -> str:
    """Return what stands for an argument in a usage line."""
    return parameter.metavar or parameter.name.upper()


def usage(path: tuple[str, ...], command: Any) -> str:
    """Return the line that shows how a command is called."""
    arguments = [argument_name(parameter) for parameter in command.params if is_argument(parameter)]
    return " ".join(["faircut", *path, *arguments, "[FLAGS]"])


def flag_name(parameter: Any) -> str:
    """Return a flag as it is typed, with what follows it."""
    names = ", ".join(f"`{name}`" for name in sorted([*parameter.opts, *parameter.secondary_opts], key=len))
    if getattr(parameter, "is_flag", False):
        return names
    return f"{names} {parameter.metavar}" if parameter.metavar else names


def default_of(parameter: Any) -> str:
    """Return a default that the help text does not say by itself."""
    value = parameter.default
    plain = isinstance(value, (str, int, float, types.NoneType)) or hasattr(value, "__fspath__")
    if not parameter.show_default or not plain or value in (None, "") or isinstance(value, bool):
        return ""
    return f"`{value}`"


def cli_page() -> str:
    """Return the page of every command and flag."""
    from typer.main import get_command

    from faircut.cli.commands import app

    parts = [
        "Every command and flag, as `faircut COMMAND --help` shows them. "
        "How to use them is in the [guide](../guide/start.md).",
    ]
    for path, command in sorted(commands(get_command(app), ()), key=lambda pair: pair[0]):
        rows: dict[str, list[tuple[str, ...]]] = {}
        for parameter in command.params:
            if getattr(parameter, "hidden", False) or "--help" in parameter.opts:
                continue
            if is_argument(parameter):
                name, panel = f"`{argument_name(parameter)}`", "Arguments"
            else:
                name, panel = flag_name(parameter), getattr(parameter, "rich_help_panel", None) or "Flags"
            rows.setdefault(panel, []).append((name, parameter.help or "", default_of(parameter)))
        lines = [
            f"## {' '.join(('faircut', *path))}",
            f"```\n{usage(path, command)}\n```",
            inspect.cleandoc(command.help or ""),
        ]
        for panel, entries in rows.items():
            lines.append(table((panel, "What it does", "Default"), entries))
        parts.append("\n\n".join(line for line in lines if line))
    return generated("The command line", *parts)


# The API --------------------------------------------------------------------------------------------------------------


def prose(docstring: str | None) -> str:
    """Return a docstring as Markdown: its sections become lists."""
    lines, out, section, entry = inspect.cleandoc(docstring or "").splitlines(), [], "", ""

    def close() -> None:
        nonlocal entry
        if entry:
            out.append(entry)
        entry = ""

    for line in lines:
        word = line.strip().removesuffix(":")
        if line == f"{word}:" and word in HEADINGS:
            close()
            section = word
            out.extend(["", f"**{word}**", ""])
        elif section and line.startswith("    "):
            text = line[4:]
            if text.startswith(" ") or (section in ("Returns", "Yields") and entry):
                entry += " " + text.strip()
            else:
                close()
                match = (
                    re.match(r"(\*{0,2}[\w.]+|\w+(?:, \w+)*): (.*)", text)
                    if section not in ("Returns", "Yields")
                    else None
                )
                entry = f"- `{match[1]}`: {match[2]}" if match else f"- {text.strip()}"
        else:
            close()
            if line.strip():
                section = ""
            out.append(line)
    close()
    return re.sub(r"\n{3,}", "\n\n", "\n".join(out)).replace("``", "`").strip()


def annotation(value: Any) -> str:
    """Return an annotation as it is written in the source."""
    if isinstance(value, str):
        return value
    if isinstance(value, type) and value.__module__ == "builtins":
        return value.__name__
    return re.sub(r"\b(?:[a-z_]\w*\.)+", "", inspect.formatannotation(value))


def written(value: Any) -> str:
    """Return a value as this project's code writes it, in double quotes."""
    text = repr(value)
    return text if '"' in text else text.replace("'", '"')


def default(value: Any) -> str:
    """Return a default as it is written, shortened where it is long or says nothing."""
    if callable(value) and hasattr(value, "__name__"):
        return value.__name__
    text = written(value)
    return "..." if " object at 0x" in text or text.startswith("<") or len(text) > 60 else text


def signature(function: Any, name: str) -> str:
    """Return how a function is called."""
    try:
        shape = inspect.signature(function)
    except (TypeError, ValueError):
        return name
    shown, previous = [], None
    for parameter in shape.parameters.values():
        if parameter.name in ("self", "cls"):
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and previous not in (
            parameter.KEYWORD_ONLY,
            parameter.VAR_POSITIONAL,
        ):
            shown.append("*")
        previous = parameter.kind
        prefix = "**" if parameter.kind is parameter.VAR_KEYWORD else "*" * (parameter.kind is parameter.VAR_POSITIONAL)
        text = prefix + parameter.name
        if parameter.annotation is not parameter.empty:
            text += f": {annotation(parameter.annotation)}"
        if parameter.default is not parameter.empty:
            text += f" = {default(parameter.default)}" if ":" in text else f"={default(parameter.default)}"
        shown.append(text)
    result = f" -> {annotation(shape.return_annotation)}" if shape.return_annotation is not shape.empty else ""
    line = f"{name}({', '.join(shown)}){result}"
    line = line.removesuffix(" -> None") if inspect.isclass(function) else line
    result = "" if inspect.isclass(function) else result
    return line if len(line) <= 100 else f"{name}(\n    " + ",\n    ".join(shown) + f",\n){result}"


def members(cls: type) -> Iterator[tuple[str, Any, str]]:
    """Yield the public methods and properties that a class defines itself: name, function, kind."""
    for name, value in vars(cls).items():
        if name.startswith("_"):
            continue
        if isinstance(value, (classmethod, staticmethod)):
            yield name, value.__func__, "method"
        elif isinstance(value, types.FunctionType):
            yield name, value, "method"
        elif isinstance(value, property) or type(value).__name__ == "cached_property":
            yield name, getattr(value, "fget", None) or value.func, "property"


def entry(name: str, value: Any) -> str:
    """Return what the page says of one public name."""
    if inspect.isclass(value):
        head = signature(value, name) if not issubclass(value, Exception) else f"{name}({value.__bases__[0].__name__})"
        parts = [f"## `{name}`", f"```python\nclass {head}\n```", prose(value.__doc__)]
        for part, function, kind in members(value):
            if not function.__doc__:
                continue
            shown = f"{name}.{part}" if kind == "property" else signature(function, f"{name}.{part}")
            parts += [f"### `{name}.{part}`", f"```python\n{shown}\n```", prose(function.__doc__)]
        return "\n\n".join(part for part in parts if part)
    if inspect.isfunction(value):
        return "\n\n".join([f"## `{name}`", f"```python\n{signature(value, name)}\n```", prose(value.__doc__)])
    kind = type(value).__name__
    text = written(value)
    return f"## `{name}`\n\n```python\n{name} = {text}\n```" if len(text) <= 100 else f"## `{name}`\n\nA {kind}."


def package_page(package: str) -> str:
    """Return the page of one public package."""
    module = importlib.import_module(package)
    parts = []
    for home in (module,) if hasattr(module, "__all__") else modules_of(module):
        parts += [entry(name, getattr(home, name)) for name in home.__all__ if not name.startswith("__")]
    return generated(package, prose(module.__doc__), *parts)


def modules_of(package: types.ModuleType) -> Iterator[types.ModuleType]:
    """Yield the modules of a package in the order of their names."""
    for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda module: module.name):
        yield importlib.import_module(f"{package.__name__}.{module.name}")


# The methods ----------------------------------------------------------------------------------------------------------


def linked(paper: str) -> str:
    """Return what a method says of its paper, with its number in arXiv as a link."""
    return re.sub(r"arXiv (\d{4}\.\d{5})", r"[arXiv \1](https://arxiv.org/abs/\1)", paper)


def summary(cls: Any) -> str:
    """Return a method's docstring without its options."""
    return prose(cls.__doc__).split("**Attributes**")[0].strip()


def method_part(facts: Any, cls: Any) -> str:
    """Return what the page says of one method."""
    rows = [
        (
            f"`{option.name}`" + (f", `{option.set}`" if option.flag else ""),
            option.meaning,
            option.type + (f". After the flag: {option.takes}" if option.takes not in ("", option.type) else ""),
            ("must be given" if option.needed else f"`{written(option.default)}`")
            + (f"; on the command line: {option.cli_default}" if option.cli_default else ""),
        )
        for option in facts.options
    ]
    flags = [
        (f"`{flag.syntax}`", flag.sets, flag.takes, f"`{flag.cli_default}`" if flag.cli_default else "")
        for flag in facts.flags.values()
    ]
    head = f"`faircut.methods.{cls.__name__}`" + (f". {linked(facts.paper)}" if facts.paper else "")
    parts = (
        f"## {facts.name}",
        head,
        summary(cls),
        table(("Option, flag", "What it does", "Takes", "Default"), rows),
        table(("More flags", "Sets", "Takes", "Default"), flags),
    )
    return "\n\n".join(part for part in parts if part)


METHODS = """Every method is a frozen dataclass of options and a list of controllers, on the same attention processor,
the same inversion and the same sampler. To use one:

```bash
faircut edit clip.mp4 -s "a jeep on a road" -p "a car on a road" --method sdedit --set strength=0.5
```

`--blend SOURCE:TARGET` says where to edit, and each method uses it as its paper does. `--set OPTION=VALUE` sets
any option of the tables below. From Python: `from faircut.methods import SDEdit`. `faircut methods`
and `faircut methods NAME` print this page's tables, with the methods of other installed packages."""

MORE_METHODS = """`faircut atlas` ([2109.11418](https://arxiv.org/abs/2109.11418)) takes the clip apart into two
pictures, one of which any of these methods edits for all frames: [edit through an atlas](../guide/atlas.md).

![What each of them makes of three drawn clips](../pictures/methods.webp)

**Differences from the papers** are in each method's text. These are common to all: the inversion is DDIM under
the source prompt, so pix2pix-zero's decorrelated noise, DiffEdit's inversion without a prompt and Blended
Latent's fitted decoder are left out. Noise that a method draws is the same for every frame, because a clip
flickers otherwise.

**Two options of FateZero are not in its paper**, and are off by default. `fresh_noise` draws a share of the
inverted noise anew where the edit is, for edits that stay too close to the source ([what it is
worth](../results/leaderboard.md#when-an-edit-stays-too-close-to-the-source)). `region_guidance` guides the edit
only inside the region of the blend words: the inversion is not guided, so guidance elsewhere redraws what
should stay ([FAME](fame.md#7-guidance-in-the-region-region_guidance)).

To compare methods on the same clips: [leaderboard](../results/leaderboard.md). To write one: [add a
method](../guide/add-a-method.md)."""


def methods_page() -> str:
    """Return the page of every registered method and its options."""
    from faircut.methods import get_method
    from faircut.methods.catalogue import list_methods

    methods = [(facts, get_method(facts.name)) for facts in list_methods() if facts.package == "faircut"]
    rows = [
        (f"[{facts.name}](#{facts.name})", facts.title, summary(cls).split("\n\n")[0], linked(facts.paper))
        for facts, cls in methods
    ]
    overview = table(("Method", "Name", "What it does", "Paper"), rows)
    return generated("Methods", METHODS, overview, MORE_METHODS, *(method_part(*method) for method in methods))


def pages() -> dict[Path, str]:
    """Return the text of every generated page by its path."""
    made = {HERE / "cli.md": cli_page(), HERE / "methods.md": methods_page()}
    for package in PACKAGES:
        made[HERE / "api" / f"{package.removeprefix('faircut.')}.md"] = package_page(package)
    links = [f"- [`{package}`]({package.removeprefix('faircut.')}.md): {first_line(package)}" for package in PACKAGES]
    made[HERE / "api" / "README.md"] = generated("The Python API", "\n".join(links))
    return made


def first_line(package: str) -> str:
    """Return what a package says of itself in one sentence."""
    return (importlib.import_module(package).__doc__ or "").strip().splitlines()[0]


def main(arguments: list[str]) -> int:
    """Write the pages, or say which of them are out of date; or wrap the lines of pages that are written by hand."""
    for name in (argument for argument in arguments if argument.endswith(".md")):
        Path(name).write_text(wrap(Path(name).read_text(encoding="utf-8")) + "\n", encoding="utf-8")
    if arguments and "--check" not in arguments:
        return 0
    made = pages()
    stale = [path for path, text in made.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    stale += [path for path in (HERE / "api").glob("*.md") if path not in made]
    if "--check" in arguments:
        for path in stale:
            print(f"{path.relative_to(HERE.parents[1])} is out of date: python docs/reference/make.py")
        return 1 if stale else 0
    for path in stale:
        if path not in made:
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(made[path], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
