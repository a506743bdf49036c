"""What decides an audit, and a benchmark of edits; nothing heavy is imported, for the command line shows the defaults."""

from __future__ import annotations

from dataclasses import dataclass

from faircut.config.ranges import check_guidance, check_range, check_seed, check_steps, read_float
from faircut.errors import ConfigError, choices
from faircut.model.checkpoints import POCKET

__all__ = ["AuditRun", "BenchRun"]


@dataclass(frozen=True)
class AuditRun:
    """Everything that decides an audit; the flags of ``faircut audit``.

    Attributes:
        benchmark: its name; None for pocket-professions, or for `tasks`.
        tasks: a YAML file of one's own clips.
        methods: ways of editing.
        policies: what is asked for.
        attribute: whose values.
        n: only the first so many clips; None for all.
        seed: of draws and intervals.
        model: ``"pocket"``, a folder or a name.
        clip: of the metrics, or ``"auto"``.
        reader: a CLIP, or ``"auto"``.
        steps: N.
        guidance: scale; None is 4 for pocket models and 7.5 for others.
        alpha: ``"auto"`` or a number.
        calibrate: whether strengths are searched first.
        keep_clips: whether all frames of every edit are kept.
        shard: (k, n).
        output: folder.
        device: torch device or ``"auto"``.
        dtype: or ``"auto"``.
    """

    benchmark: str | None = None
    tasks: str | None = None
    methods: tuple[str, ...] = ("fatezero", "fatezero+word", "fame")
    policies: tuple[str, ...] = ("balanced", "preserve", "explicit")
    attribute: str = "gender"
    n: int | None = None
    seed: int = 0
    model: str = POCKET
    clip: str = "auto"
    reader: str = "auto"
    steps: int = 20
    guidance: float | None = None
    alpha: str = "auto"
    calibrate: bool = False
    keep_clips: bool = False
    shard: tuple[int, int] = (0, 1)
    output: str = "audit"
    device: str = "auto"
    dtype: str = "auto"

    def __post_init__(self) -> None:
        from faircut.benchmark.audit import POLICIES

        for policy in self.policies:
            if policy not in POLICIES:
                raise ConfigError(f"no policy {policy!r}: {choices(policy, POLICIES)}")
        if self.benchmark is not None and self.tasks is not None:
            raise ConfigError("a benchmark and tasks of your own were both given; give one of them")
        if not self.methods or not self.policies:
            raise ConfigError("an audit needs at least one method and one policy")
        if self.n is not None:
            check_range("n", self.n, 1, flag="--n", example="8 clips")
        if self.guidance is not None:
            check_guidance(self.guidance, "guidance")
        check_seed(self.seed)
        check_steps(self.steps, "steps")
        _ = self.strength  # It is checked there.

    @property
    def name(self) -> str:
        """What is audited on."""
        return self.tasks or self.benchmark or "pocket-professions"

    @property
    def strength(self) -> float | None:
        """The strength that was given; None for ``"auto"``.

        Raises:
            ConfigError: it is no number.
        """
        if self.alpha == "auto":
            return None
        try:
            strength = read_float(self.alpha)
        except ValueError:
            raise ConfigError(f"--alpha {self.alpha!r} is no number; give one, such as 1.5, or auto") from None
        check_range("alpha", strength, 0, 3, flag="--alpha", example="1")
        return strength


@dataclass(frozen=True)
class BenchRun:
    """Everything that decides a benchmark of edits; the flags of ``faircut bench run``.

    Attributes:
        benchmark: its name, a YAML file of items, or a folder of clips.
        methods: contestants; ``"all"`` is every one.
        limit: only so many items, evenly from all kinds; None for all.
        seed: of methods that draw noise, and of the intervals.
        model: ``"pocket"``, a folder or a name.
        clip: of the metrics, or ``"auto"``, the pocket model's.
        steps: N.
        tuning_steps: of the methods whose model is tuned to each clip first.
        keep_clips: whether all frames of every edit are kept.
        shard: (k, n).
        output: folder.
        device: torch device or ``"auto"``.
        dtype: or ``"auto"``.
    """

    benchmark: str = "pocket-edit"
    methods: tuple[str, ...] = ("all",)
    limit: int | None = None
    seed: int = 0
    model: str = POCKET
    clip: str = "auto"
    steps: int = 20
    tuning_steps: int = 500  # as `faircut tune`
    keep_clips: bool = False
    shard: tuple[int, int] = (0, 1)
    output: str = "bench"
    device: str = "auto"
    dtype: str = "auto"

    def __post_init__(self) -> None:
        if not self.methods:
            raise ConfigError("a benchmark needs at least one method; give names, or all")
        if self.limit is not None:
            check_range("limit", self.limit, 1, flag="--limit", example="8 items")
        check_seed(self.seed)
        check_steps(self.steps, "steps")
        check_range("tuning_steps", self.tuning_steps, 1, 100_000_000, flag="--tuning-steps", example="500")
