"""Compare faircut's FateZero with numbers of the method's reference implementation.

    python benchmarks/golden.py FILE.safetensors [--supplier live|recorded]

prints the largest difference of every tensor relative to the largest reference value, and exits 1 over the tolerance.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import tiny_sd
import torch
from safetensors import safe_open

from faircut import VideoEditor
from faircut.config.values import SpatialTemporal
from faircut.errors import ConfigError, choices
from faircut.methods import FateZero

TOLERANCE = 1e-3
KNOWN = {
    "source", "target", "frames", "steps", "guidance", "frame_index", "least_channels", "is_replace_controller",
    "cross_replace_steps", "self_replace_steps", "eq_params", "blend_words", "blend_th", "blend_self_attention",
}  # fmt: skip


def temporal_of(case: Mapping[str, Any]) -> SpatialTemporal:
    """Read whose keys and values a query sees."""
    names = {"mid": "middle"}
    frames = tuple(names.get(frame, frame) for frame in case.get("frame_index", (-1, "first")))
    return SpatialTemporal(frames=frames, least_channels=case.get("least_channels") or 0)


def method_of(case: Mapping[str, Any]) -> FateZero:
    """Read the method's options from the reference's own names."""
    unknown = sorted(set(case) - KNOWN)
    if unknown:
        raise ConfigError(f"the case has a field {unknown[0]!r}: {choices(unknown[0], KNOWN)}")
    windows = case["cross_replace_steps"]
    windows = dict(windows) if isinstance(windows, Mapping) else {"default_": windows}
    reweight = case.get("eq_params") or {"words": [], "values": []}
    words = case.get("blend_words")
    return FateZero(
        alignment="replace" if case["is_replace_controller"] else "refine",
        cross_replace_steps=_steps(windows.pop("default_", 1.0)),
        word_replace_steps={word: _steps(steps) for word, steps in windows.items()},
        self_replace_steps=_steps(case["self_replace_steps"]),
        blend_words=tuple(tuple(side) for side in words) if words else None,
        blend_self_attention=bool(case.get("blend_self_attention")),
        blend_threshold=case.get("blend_th", [0.3])[0],
        reweight=dict(zip(reweight["words"], reweight["values"], strict=True)),
    )


def _steps(value: float | list[float]) -> float | tuple[float, float]:
    return (value[0], value[1]) if isinstance(value, list) else float(value)


def compare(path: Path, suppliers: Sequence[str]) -> dict[str, float]:
    """Run a case.

    Args:
        path: the golden file.
        suppliers: ``"live"``, ``"recorded"`` or both.

    Returns:
        By tensor, ``max |ours - reference| / max |reference|``.
    """

    with safe_open(path, framework="pt") as file:
        case = json.loads(file.metadata()["case"])
        reference = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    method = method_of(case)
    with tempfile.TemporaryDirectory() as folder:
        editor = VideoEditor(**tiny_sd.components(Path(folder)))
        editor.set_progress_bar_config(disable=True)
        ours = {
            f"text_{name}": editor.embed(text)[0]
            for name, text in (("source", case["source"]), ("target", case["target"]), ("uncond", ""))
        }
        inversion = editor.invert(
            tiny_sd.clip_latents(case["frames"]),
            case["source"],
            num_inference_steps=case["steps"],
            temporal=temporal_of(case),
            supplier="memory" if "recorded" in suppliers else "live",
        )
        ours["inversion"] = inversion.latents
        for supplier in suppliers:
            edited: list[torch.Tensor] = []
            editor.edit(
                inversion if supplier == "recorded" else replace(inversion, attention=None),
                case["target"],
                method,
                guidance_scale=case["guidance"],
                output_type="latent",
                callback_on_step_end=lambda pipe, k, t, x, edited=edited: edited.append(x["latents"]),
            )
            ours[f"edit ({supplier})"] = torch.stack(edited)
    differences = {}
    for name, value in ours.items():
        expected = reference[name.split()[0]].double()
        differences[name] = float((value.double() - expected).abs().max() / expected.abs().max())
    return differences


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, nargs="+")
    parser.add_argument("--supplier", choices=("live", "recorded", "both"), default="both")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE)
    options = parser.parse_args()
    worst = 0.0
    for path in options.file:
        print(path.name)
        suppliers = ("live", "recorded") if options.supplier == "both" else (options.supplier,)
        for name, difference in compare(path, suppliers).items():
            print(f"  {name:<16} {difference:.2e}")
            worst = max(worst, difference)
    print(f"largest relative difference {worst:.2e}, tolerance {options.tolerance:.0e}")
    sys.exit(0 if worst <= options.tolerance else 1)


if __name__ == "__main__":
    main()
