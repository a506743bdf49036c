"""Flags, written once: what they are called, what they mean, and how they become settings."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar

import typer

from faircut.cli import typed
from faircut.config.flags import pairs
from faircut.errors import ConfigError, choices

__all__ = [
    "CLIP",
    "EDIT",
    "METHOD",
    "MODEL",
    "PROMPTS",
    "RUN",
    "flags",
    "to_settings",
]

F = TypeVar("F", bound=Callable[..., Any])


def _flag(kind: Any, *names: str, help: str, panel: str, metavar: str | None = None, hidden: bool = False) -> Any:
    """Describe one flag; all of them default to None, which means that it was not given."""
    info = typer.Option(*names, help=help, rich_help_panel=panel, metavar=metavar, show_default=False, hidden=hidden)
    return Annotated[kind | None, info]


_P, _C, _M, _E, _R, _A = "Prompts", "Clip", "Model", "Method", "Run", "Advanced"

PROMPTS: dict[str, Any] = {
    "source_prompt": _flag(str, "-s", "--source-prompt", help="Source prompt: what the clip shows.", panel=_P),
    "prompt": _flag(str, "-p", "--prompt", help="Target prompt: what the edited clip should show.", panel=_P),
    "blend": _flag(
        list[str],
        "--blend",
        help="Edit only where these words are: words of the source prompt, a colon, words of the target prompt; "
        "several joined by commas, and the flag may be repeated.",
        panel=_P,
        metavar="SOURCE:TARGET",
    ),
}
CLIP: dict[str, Any] = {
    "num_frames": _flag(int, "--frames", help="Number of frames to read (default: all).", panel=_C),
    "start": _flag(int, "--start", help="The first frame to read (default 0).", panel=_C),
    "stride": _flag(int, "--stride", help="Read every Nth frame (default 1).", panel=_C),
    "size": _flag(str, "--size", help="Shorter side in pixels, or WIDTHxHEIGHT (default: the clip's).", panel=_C),
}
MODEL: dict[str, Any] = {
    "model": _flag(str, "--model", help="pocket (default), a Stable Diffusion folder, or a name on the hub.", panel=_M),
    "lora": _flag(list[str], "--lora", help="A LoRA, with a scale if wanted.", panel=_A, metavar="PATH[:SCALE]"),
    "device": _flag(str, "--device", help="auto (default), cpu, cuda, cuda:1, mps.", panel=_M),
    "dtype": _flag(str, "--dtype", help="auto (default), float32, float16, bfloat16.", panel=_M),
    "num_inference_steps": _flag(
        int, "--steps", help="Number of denoising steps, for inversion and edit (default 50).", panel=_M
    ),
    "fixed_point_steps": _flag(
        float, "--fixed-point", help="Share of the inversion's steps, from the clip on, made more exact (default 0; "
        "0.1 gives the clip back some dB better).", panel=_A, metavar="SHARE",
    ),
    "supplier": _flag(
        str, "--supplier", help="Where the source's attention comes from: auto (default), live, memory, disk.", panel=_A
    ),
    "memory_budget": _flag(
        str, "--memory-budget", help="What recorded attention may take in auto (default: an eighth of what is free).",
        panel=_A, metavar="SIZE",
    ),
    "attend": _flag(
        str, "--attend", help="Frames whose keys and values a frame attends to: relative numbers, first, middle, last "
        "(default middle, on a tuned model first,-1; the paper has 0,middle).", panel=_A, metavar="FRAMES",
    ),
    "least_channels": _flag(int, "--least-channels", help="Narrower layers see their own frame alone.", panel=_A),
    "per_frame_norm": _flag(bool, "--per-frame-norm", help="Normalise frame by frame, not over the clip.", panel=_A),
}  # fmt: skip
METHOD: dict[str, Any] = {
    "method": _flag(
        str, "--method", help="The editing method (default fatezero). `faircut methods` lists all of them, and "
        "`faircut methods NAME` the flags and options of one.", panel=_E,
    ),
    "reader": _flag(
        str, "--reader", help="Reader of the people in the source, for fame (`faircut methods fame`).", panel=_E,
        metavar="auto|CLIP", hidden=True,
    ),
    "flags": _flag(list[str], "--method-flag", help="A flag of the method, FLAG=VALUE.", panel=_E, hidden=True),
    "options": _flag(
        list[str], "--set", help="Any option of the method by its name, such as strength=0.5; repeatable.",
        panel=_E, metavar="OPTION=VALUE",
    ),
    "guidance_scale": _flag(float, "--guidance", help="Classifier-free guidance (default 7.5; 1 is none).", panel=_E),
    "negative_prompt": _flag(str, "--negative-prompt", help="What to avoid.", panel=_E),
    "seed": _flag(int, "--seed", help="For methods that draw noise (default 0).", panel=_E),
}  # fmt: skip
RUN: dict[str, Any] = {
    "config": _flag(str, "--config", help="A saved run (out.run.yaml); flags override it.", panel=_R, metavar="YAML"),
    "no_cache": _flag(bool, "--no-cache", help="Invert again, and keep nothing for next time.", panel=_R),
    "no_reconstruction": _flag(bool, "--no-reconstruction", help="Do not measure the inversion's quality.", panel=_A),
}
EDIT: dict[str, Any] = {
    "inversion": _flag(str, "--inversion", help="A folder that faircut invert wrote.", panel=_R, metavar="FOLDER"),
    "save_masks": _flag(bool, "--save-masks", help="Write the blend masks as a picture.", panel=_R),
    "save_attention": _flag(bool, "--save-attention", help="Write the attention to each word as a picture.", panel=_R),
}
_GROUPS = (PROMPTS, CLIP, MODEL, METHOD, RUN, EDIT)


def flags(*groups: Mapping[str, Any]) -> Callable[[F], Callable[..., Any]]:
    """Give a command the flags of some groups; it receives those that were given as one dict.

    Args:
        groups: of the above.

    Returns:
        A decorator for ``command(given, other flags...)``.
    """
    shared = {name: hint for group in groups for name, hint in group.items()}

    def decorate(command: F) -> Callable[..., Any]:
        signature = inspect.signature(command, eval_str=True)
        own = [p for p in signature.parameters.values() if p.name != "given"]

        @functools.wraps(command)
        def run(**values: Any) -> Any:
            given = {name: values.pop(name) for name in shared}
            return command(given={k: v for k, v in given.items() if v not in (None, [])}, **values)

        extra = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=hint)
            for name, hint in shared.items()
        ]
        arguments = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
        run.__signature__ = inspect.Signature([*arguments, *extra])  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in [*arguments, *extra]}
        return run

    return decorate


# Settings that are called as their flag's destination and need no reading.
_PLAIN = (
    "source_prompt", "prompt", "num_frames", "start", "stride", "model", "device", "dtype", "num_inference_steps",
    "fixed_point_steps", "supplier", "reader", "guidance_scale", "negative_prompt", "seed",
    "inversion", "save_masks", "save_attention",
)  # fmt: skip


def _typed_flags(given: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return what was typed after flags of the method, in the order typed."""
    texts: dict[str, list[str]] = {}
    for text in reversed(given.get("flags", ())):
        flag, _, value = text.partition("=")
        texts.setdefault(flag, []).append(value)
    if "blend" in given:
        texts["--blend"] = list(given["blend"])
    return texts


def _method(given: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the name and the options of the method.

    Raises:
        ConfigError: there is no such method or flag, or what was typed cannot be read.
    """
    method = dict(settings.get("method", {"name": "fatezero"}))
    if "method" in given and given["method"] != method.get("name"):
        method = {"name": given["method"]}
    texts = _typed_flags(given)
    if texts or "method" in given or "config" in given:
        from faircut.methods import get_method, method_names

        cls = get_method(method["name"])
        methods = {flag for name in method_names() for flag in get_method(name).flags()}
        for flag in texts:
            if flag not in methods:
                everywhere = {name for group in _GROUPS for hint in group.values() for name in _names(hint)}
                raise ConfigError(f"no such option: {flag}: {choices(flag, methods | everywhere)}")
        prompts = (
            str(given.get("source_prompt", settings.get("source_prompt", ""))),
            str(given.get("prompt", settings.get("prompt", ""))),
        )
        options = {name: value for name, value in method.items() if name != "name"}
        method = {"name": method["name"], **cls.from_flags(texts, options, prompts)}
    chosen = dict(pairs(given.get("options", ()), "--set"))
    if "name" in chosen:
        raise ConfigError("--set name would be another method; give --method")
    return method | {name: typed.value_of(text) for name, text in chosen.items()}


def _names(hint: Any) -> list[str]:
    """Return the names of a flag, as they are typed."""
    info = hint.__metadata__[0]
    return [name for name in (info.default, *(info.param_decls or ())) if isinstance(name, str)]


def to_settings(given: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Turn flags into settings by name, over those of ``--config``.

    Args:
        given: the flags that were given.
        more: settings that have no flag; None for those that were not given.

    Returns:
        What `RunSettings` takes, as far as it is known.

    Raises:
        ConfigError: a flag's value cannot be read, or the configuration cannot.
    """
    from faircut.edit.request import load_settings
    from faircut.files.cache import parse_bytes

    settings: dict[str, Any] = load_settings(given["config"]) if "config" in given else {}
    settings["method"] = _method(given, settings)

    temporal = dict(settings.get("temporal") or {})
    if "attend" in given:
        temporal["frames"] = [typed.frame(part.strip()) for part in given["attend"].split(",")]
    if "least_channels" in given:
        temporal["least_channels"] = given["least_channels"]
    if "per_frame_norm" in given:
        temporal["clip_norm"] = not given["per_frame_norm"]
    if temporal:
        settings["temporal"] = temporal

    settings |= {name: given[name] for name in _PLAIN if name in given}
    settings |= {name: list(given[name]) for name in ("lora",) if name in given}
    if "size" in given:
        settings["size"] = typed.size(given["size"])
    if "memory_budget" in given:
        settings["memory_budget"] = parse_bytes(given["memory_budget"])
    for flag, name in (("no_cache", "cache"), ("no_reconstruction", "reconstruction")):
        if given.get(flag):
            settings[name] = False
    settings |= {name: value for name, value in more.items() if value is not None}
    return settings
