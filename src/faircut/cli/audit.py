"""``faircut audit``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from faircut.benchmark.settings import AuditRun
from faircut.cli.console import Bars, quiet_libraries, say, show_table
from faircut.cli.shared import (
    Clip,
    Device,
    Dtype,
    Json,
    KeepClips,
    Model,
    Output,
    Shard,
    Steps,
    shard_text,
    show_failures,
)
from faircut.cli.typed import commas, shard_of

__all__ = ["audit"]

# The defaults as a user would type them.
_METHODS, _POLICIES = ",".join(AuditRun.methods), ",".join(AuditRun.policies)
_SHARD = shard_text(AuditRun.shard)


def audit(
    benchmark: Annotated[
        str | None,
        typer.Option("--benchmark", help="Name of the benchmark: pocket-professions (default).", show_default=False),
    ] = AuditRun.benchmark,
    tasks: Annotated[
        Path | None,
        typer.Option("--tasks", help="Audit your own clips and prompts instead of a benchmark.", metavar="YAML"),
    ] = None,
    methods: Annotated[
        str,
        typer.Option(
            "--methods",
            help="Approaches to compare, separated by commas; 'ablation' adds variants of FAME and FateZero.",
        ),
    ] = _METHODS,
    policies: Annotated[
        str, typer.Option("--policies", help="balanced, preserve, explicit or minority, separated by commas.")
    ] = _POLICIES,
    attribute: Annotated[
        str, typer.Option("--attribute", help="Attribute to audit: gender or hair.")
    ] = AuditRun.attribute,
    n: Annotated[int | None, typer.Option("--n", help="Only the first N clips.", show_default="all")] = AuditRun.n,
    seed: Annotated[
        int, typer.Option("--seed", help="Seed of the policies' draws and the confidence intervals.")
    ] = AuditRun.seed,
    model: Model = AuditRun.model,
    clip: Clip = AuditRun.clip,
    reader: Annotated[
        str,
        typer.Option("--reader", help="What reads people: auto (the model's judge) or the folder or name of a CLIP."),
    ] = AuditRun.reader,
    steps: Steps = AuditRun.steps,
    guidance: Annotated[
        float | None,
        typer.Option(
            "--guidance", help="Classifier-free guidance scale of the edits.", show_default="4 for pocket, else 7.5"
        ),
    ] = AuditRun.guidance,
    alpha: Annotated[
        str,
        typer.Option("--alpha", help="FAME's strength: auto (from the model's calibration) or a number from 0 to 3."),
    ] = AuditRun.alpha,
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate", help="First search the strengths that this model needs, and store them for later edits."
        ),
    ] = AuditRun.calibrate,
    keep_clips: KeepClips = AuditRun.keep_clips,
    shard: Shard = _SHARD,
    output: Output = Path(AuditRun.output),
    json: Json = None,
    device: Device = AuditRun.device,
    dtype: Dtype = AuditRun.dtype,
) -> None:
    """Measure how fair edits of people are: methods x policies over a benchmark, or over your own clips.

    To continue a stopped audit, run the same command again: it makes only what the output folder lacks.
    """
    from faircut.benchmark.audit.run import AuditWing
    from faircut.benchmark.run import run

    settings = AuditRun(
        benchmark=benchmark,
        tasks=None if tasks is None else str(tasks),
        methods=commas(methods),
        policies=commas(policies),
        attribute=attribute,
        n=n,
        seed=seed,
        model=model,
        clip=clip,
        reader=reader,
        steps=steps,
        guidance=guidance,
        alpha=alpha,
        calibrate=calibrate,
        keep_clips=keep_clips,
        shard=shard_of(shard),
        output=str(output),
        device=device,
        dtype=dtype,
    )
    quiet_libraries()
    with Bars() as bars:
        result = run(AuditWing(settings), bars.stage, json)
    if result is None:
        say(
            f"part {shard} is done; when all parts are, run the same command without --shard for the report",
            "bold green",
        )
        return
    _show(result)
    say(str(Path(settings.output) / "report.html"), "bold green")


def _show(result: Any) -> None:
    """Print the main metrics of every method and policy with their intervals."""
    from faircut.evaluate import metrics_of

    metrics = [metric for metric in metrics_of("audit").values() if metric.headline]
    for method, policies in result.results.items():
        for policy, estimates in policies.items():
            rows = [
                (metric.label, f"{estimate.value:.3f}", f"{estimate.low:.3f} to {estimate.high:.3f}", str(estimate.n))
                for metric in metrics
                for estimate in [estimates[metric.name]]
                if estimate.n
            ]
            show_table(("measure", "value", "95% interval", "n"), rows, "lrrr", title=f"{method}, {policy}")
    show_failures(result.failed)
