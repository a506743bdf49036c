"""Flags, written once: what they are called, what they mean, and how they become settings."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeVar

import typer

from faircut.cli import typed
from faircut.errors import ConfigError

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


def _flag(kind: Any, *names: str, help: str, panel: str, metavar: str | None = None) -> Any:
    """Describe one flag; all of them default to None, which means that it was not given."""
    return Annotated[
        kind | None, typer.Option(*names, help=help, rich_help_panel=panel, metavar=metavar, show_default=False)
    ]


_P, _C, _M, _E, _R = "Prompts", "Clip", "Model", "Method", "Run"

PROMPTS: dict[str, Any] = {
    "source_prompt": _flag(str, "-s", "--source-prompt", help="What is in the clip.", panel=_P),
    "prompt": _flag(str, "-p", "--prompt", help="What shall be in it.", panel=_P),
    "blend": _flag(
        list[str],
        "--blend",
        help="Edit only where these words are: words of the source prompt, a colon, words of the target prompt; "
        "several joined by commas, and the flag may be repeated.",
        panel=_P,
        metavar="SOURCE:TARGET",
    ),
    "alignment": _flag(str, "--alignment", help="auto (default), replace or refine.", panel=_P),
}
CLIP: dict[str, Any] = {
    "num_frames": _flag(int, "--frames", help="How many frames to read (default: all).", panel=_C),
    "start": _flag(int, "--start", help="The first frame to read (default 0).", panel=_C),
    "stride": _flag(int, "--stride", help="Read every so manieth frame (default 1).", panel=_C),
    "size": _flag(str, "--size", help="Shorter side in pixels, or WIDTHxHEIGHT (default: the clip's).", panel=_C),
}
MODEL: dict[str, Any] = {
    "model": _flag(str, "--model", help="pocket (default), a Stable Diffusion folder, or a name on the hub.", panel=_M),
    "lora": _flag(list[str], "--lora", help="A LoRA, with a scale if wanted.", panel=_M, metavar="PATH[:SCALE]"),
    "device": _flag(str, "--device", help="auto (default), cpu, cuda, cuda:1, mps.", panel=_M),
    "dtype": _flag(str, "--dtype", help="auto (default), float32, float16, bfloat16.", panel=_M),
    "num_inference_steps": _flag(int, "--steps", help="Steps of inversion and of editing (default 50).", panel=_M),
    "fixed_point_steps": _flag(
        float, "--fixed-point", help="Share of the inversion's steps, from the clip on, made more exact (default 0; 0.1 "
        "gives the clip back some dB better).", panel=_M, metavar="SHARE",
    ),
    "supplier": _flag(
        str, "--supplier", help="Where the source's attention comes from: auto (default), live, memory, disk.", panel=_M
    ),
    "memory_budget": _flag(
        str, "--memory-budget", help="What recorded attention may take in auto (default: an eighth of what is free).",
        panel=_M, metavar="SIZE",
    ),
    "attend": _flag(
        str, "--attend", help="Whose keys and values a frame sees: relative numbers, first, middle, last "
        "(default middle, on a tuned model first,-1; the paper has 0,middle).", panel=_M, metavar="FRAMES",
    ),
    "least_channels": _flag(int, "--least-channels", help="Narrower layers see their own frame alone.", panel=_M),
    "per_frame_norm": _flag(bool, "--per-frame-norm", help="Normalise frame by frame, not over the clip.", panel=_M),
}  # fmt: skip
METHOD: dict[str, Any] = {
    "method": _flag(str, "--method", help="The editing method (default fatezero).", panel=_E),
    "cross_replace": _flag(
        str, "--cross-replace", help="Steps in which words take the source's cross-attention (default 0.8).", panel=_E,
        metavar="SHARE|FROM,TO",
    ),
    "self_replace": _flag(
        str, "--self-replace", help="Steps in which the edit takes the source's self-attention (default 0.8).", panel=_E,
        metavar="SHARE|FROM,TO",
    ),
    "word_replace": _flag(
        list[str], "--word-replace", help="Cross-attention steps of one target word; repeatable.", panel=_E,
        metavar="WORD=SHARE",
    ),
    "reweight": _flag(
        list[str], "--reweight", help="Factor on the attention to one target word; repeatable.", panel=_E,
        metavar="WORD=FACTOR",
    ),
    "threshold": _flag(float, "--threshold", help="Where the blend mask begins, 0 to 1 (default 0.3).", panel=_E),
    "latent_blend": _flag(
        str, "--latent-blend", help="Steps in which the source's latents are put back outside the mask.", panel=_E,
        metavar="SHARE|FROM,TO",
    ),
    "fresh_noise": _flag(
        float, "--fresh-noise", help="Share of the inverted noise, where the edit is, that is drawn anew: more lets go of "
        "the source's silhouette (default 0, fame 0.8).", panel=_E,
    ),
    "target": _flag(
        list[str], "--target", help="fame: what each edited person shall be seen as: preserve (default), balanced, "
        "minority, or a value such as female; one for all, or one for each --blend.", panel=_E, metavar="POLICY|VALUE",
    ),
    "attribute": _flag(str, "--attribute", help="fame: what the target is of: gender (default) or hair.", panel=_E),
    "alpha": _flag(
        str, "--alpha", help="fame: strength of the debiasing: auto (default, from the model's calibration) or a number; 1 "
        "is the plain word's.", panel=_E, metavar="NUMBER|auto",
    ),
    "reader": _flag(
        str, "--reader", help="fame: who reads the source for preserve: auto (the pocket model's judge) or a CLIP.",
        panel=_E,
        metavar="auto|CLIP",
    ),
    "options": _flag(
        list[str], "--set", help="Any other option of the method by its name, such as strength=0.5; repeatable.",
        panel=_E, metavar="OPTION=VALUE",
    ),
    "guidance_scale": _flag(float, "--guidance", help="Classifier-free guidance (default 7.5; 1 is none).", panel=_E),
    "negative_prompt": _flag(str, "--negative-prompt", help="What shall not be in it.", panel=_E),
    "seed": _flag(int, "--seed", help="For methods that draw noise (default 0).", panel=_E),
}  # fmt: skip
RUN: dict[str, Any] = {
    "config": _flag(str, "--config", help="A saved run (out.run.yaml); flags override it.", panel=_R, metavar="YAML"),
    "no_cache": _flag(bool, "--no-cache", help="Invert again, and keep nothing for next time.", panel=_R),
    "no_reconstruction": _flag(bool, "--no-reconstruction", help="Do not measure the inversion's quality.", panel=_R),
}
EDIT: dict[str, Any] = {
    "inversion": _flag(str, "--inversion", help="A folder that faircut invert wrote.", panel=_R, metavar="FOLDER"),
    "save_masks": _flag(bool, "--save-masks", help="Write the blend masks as a picture.", panel=_R),
    "save_attention": _flag(bool, "--save-attention", help="Write the attention to each word as a picture.", panel=_R),
}


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
# Settings that are a method's options, by flag.
_METHOD_OPTIONS = {
    "alignment": "alignment",
    "cross_replace": "cross_replace_steps",
    "self_replace": "self_replace_steps",
    "word_replace": "word_replace_steps",
    "reweight": "reweight",
    "threshold": "blend_threshold",
    "latent_blend": "latent_blend_steps",
    "fresh_noise": "fresh_noise",
    "blend": "blend_words",
}
_READERS: dict[str, Callable[[Any], Any]] = {
    "cross_replace": lambda text: typed.window(text, "--cross-replace"),
    "self_replace": lambda text: typed.window(text, "--self-replace"),
    "latent_blend": lambda text: typed.window(text, "--latent-blend"),
    "word_replace": lambda texts: {
        w: typed.window(v, "--word-replace") for w, v in typed.pairs(texts, "--word-replace")
    },
    "reweight": lambda texts: {w: typed.number(v, "--reweight") for w, v in typed.pairs(texts, "--reweight")},
    "blend": typed.blend,
}


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
    method = dict(settings.get("method", {"name": "fatezero"}))
    if "method" in given and given["method"] != method.get("name"):
        method = {"name": given["method"]}
    read = {
        option: _READERS.get(flag, lambda value: value)(given[flag])
        for flag, option in _METHOD_OPTIONS.items()
        if flag in given
    }
    if method["name"] == "fame":
        prompts = [str(given.get(name, settings.get(name, ""))) for name in ("source_prompt", "prompt")]
        method = _fame(method, read, given, prompts)
    else:
        for flag in ("target", "attribute", "alpha"):
            if flag in given:
                raise ConfigError(
                    f"--{flag} is for --method fame, and the method is {method['name']}; give --method fame, too"
                )
        method |= _options(method["name"], read)
    if "name" in dict(typed.pairs(given.get("options", ()), "--set")):
        raise ConfigError("--set name would be another method; give --method")
    method |= {name: typed.value_of(text) for name, text in typed.pairs(given.get("options", ()), "--set")}
    settings["method"] = method

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


def _options(name: str, read: dict[str, Any]) -> dict[str, Any]:
    """Turn what was read from flags into a method's options.

    Raises:
        ConfigError: the method has no use for a flag.
    """
    if not read:
        return {}
    import dataclasses

    from faircut.methods import get_method

    cls = get_method(name)
    if "blend_words" in read:
        read |= cls.located(*read.pop("blend_words"))
    known = {field.name for field in dataclasses.fields(cls)}
    for flag, option in _METHOD_OPTIONS.items():
        if option in read and option not in known:
            raise ConfigError(
                f"--{flag.replace('_', '-')} is of no use to {name}, whose options are {', '.join(sorted(known)) or 'none'}"
            )
    return read


def _fame(
    method: dict[str, Any], read: dict[str, Any], given: Mapping[str, Any], prompts: Sequence[str]
) -> dict[str, Any]:
    """Turn FateZero's flags and FAME's own into its options: the blend words are its people."""
    from faircut.config.values import to_dict
    from faircut.methods import FateZero
    from faircut.methods.fame import BASE
    from faircut.prompts import replaced_phrases

    if "fresh_noise" in read:
        method["fresh_noise"] = read.pop("fresh_noise")
    pairs = read.pop("blend_words", None)
    if pairs is not None:
        if len(pairs[0]) != len(pairs[1]):
            raise ConfigError(
                "for fame every --blend names one person: words of the source prompt, a colon, of the target's"
            )
        method["people"] = [{"source": a, "phrase": b} for a, b in zip(*pairs, strict=True)]
    elif "people" not in method:
        method["people"] = [{"source": a, "phrase": b} for a, b in replaced_phrases(*prompts)]
    people = method["people"] = [{"target": "preserve", **person} for person in method["people"]]
    if not people:
        raise ConfigError(
            "fame edits people, and the prompts do not tell who; say it with --blend, such as --blend person:doctor"
        )
    targets = given.get("target")
    if targets is not None:
        if len(targets) not in (1, len(people)):
            raise ConfigError(
                f"{len(targets)} targets for {len(people)} people; give one --target for all, or one for each"
            )
        for person, target in zip(people, list(targets) * len(people), strict=False):
            person["target"] = target
    if read:
        plain = to_dict(FateZero())
        usual = {option: value for option, value in to_dict(BASE).items() if value != plain[option]}
        method["base"] = {**usual, **method.get("base", {}), **read}
    if "attribute" in given:
        method["attribute"] = given["attribute"]
    if "alpha" in given:
        method["alpha"] = "auto" if given["alpha"] == "auto" else typed.number(given["alpha"], "--alpha")
    return {"alpha": "auto", **method}
