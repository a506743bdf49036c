"""What decides an audit and a benchmark of edits; imports nothing heavy, because the command line shows the
defaults."""

from __future__ import annotations

from dataclasses import dataclass

from faircut.config.ranges import check_guidance, check_range, check_seed, check_steps, read_float
from faircut.errors import ConfigError, choices
from faircut.model.checkpoints import POCKET

__all__ = ["AuditRun", "BenchRun", "RunOptions"]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What every benchmark takes.

    Attributes:
        methods: ways of editing, by name.
        seed: of everything that is drawn, and of the intervals.
        model: ``"pocket"``, a folder or a name.
        clip: the CLIP of the metrics, or ``"auto"``.
        steps: N of inversion and edit.
        keep_clips: whether all frames of every edit are kept.
        shard: (k, n): only every nth clip, from the kth; (0, 1) is all of them.
        output: folder.
        device: torch device or ``"auto"``.
        dtype: or ``"auto"``.
    """

    methods: tuple[str, ...]
    seed: int = 0
    model: str = POCKET
    clip: str = "auto"
    steps: int = 20
    keep_clips: bool = False
    shard: tuple[int, int] = (0, 1)
    output: str
    device: str = "auto"
    dtype: str = "auto"

    def __post_init__(self) -> None:
        if not self.methods:
            raise ConfigError("a benchmark needs at least one method; give one or more names")
        check_seed(self.seed)
        check_steps(self.steps, "steps")


@dataclass(frozen=True, kw_only=True)
class AuditRun(RunOptions):
    """Everything that decides an audit; the flags of ``faircut audit``.

    Attributes:
        benchmark: its name; None for pocket-professions, or for `tasks`.
        tasks: a YAML file of your own clips.
        methods: ways of editing, by name; see `RunOptions` for the rest.
        policies: what is asked for.
        attribute: whose values.
        n: only so many clips, from the start; None for all.
        reader: a CLIP, or ``"auto"``.
        guidance: scale; None is 4 for pocket models and 7.5 for others.
        alpha: ``"auto"`` or a number.
        calibrate: whether strengths are searched first.
    """

    benchmark: str | None = None
    tasks: str | None = None
    methods: tuple[str, ...] = ("fatezero", "fatezero+word", "fame")
    policies: tuple[str, ...] = ("balanced", "preserve", "explicit")
    attribute: str = "gender"
    n: int | None = None
    reader: str = "auto"
    guidance: float | None = None
    alpha: str = "auto"
    calibrate: bool = False
    output: str = "audit"

    def __post_init__(self) -> None:
        from faircut.benchmark.audit.policies import POLICIES

        super().__post_init__()
        for policy in self.policies:
            if policy not in POLICIES:
                raise ConfigError(f"no policy {policy!r}: {choices(policy, POLICIES)}")
        if self.benchmark is not None and self.tasks is not None:
            raise ConfigError("a benchmark and tasks of your own were both given; give one of them")
        if not self.policies:
            raise ConfigError("an audit needs at least one policy; give one or more names")
        if self.n is not None:
            check_range("n", self.n, 1, flag="--n", example="8 clips")
        if self.guidance is not None:
            check_guidance(self.guidance, "guidance")
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
            raise ConfigError(f"--alpha {self.alpha!r} is not a number; give one, such as 1.5, or auto") from None
        check_range("alpha", strength, 0, 3, flag="--alpha", example="1")
        return strength


@dataclass(frozen=True, kw_only=True)
class BenchRun(RunOptions):
    """Everything that decides a benchmark of edits; the flags of ``faircut bench run``.

    Attributes:
        benchmark: its name, a YAML file of items, or a folder of clips.
        methods: contestants; ``"all"`` is every one. See `RunOptions` for the rest.
        limit: only so many items, evenly from all kinds; None for all.
        tuning_steps: of the methods whose model is tuned to each clip first.
    """

    benchmark: str = "pocket-edit"
    methods: tuple[str, ...] = ("all",)
    limit: int | None = None
    tuning_steps: int = 500  # as `faircut tune`
    output: str = "bench"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.limit is not None:
            check_range("limit", self.limit, 1, flag="--limit", example="8 items")
        check_range("tuning_steps", self.tuning_steps, 1, 100_000_000, flag="--tuning-steps", example="500")
