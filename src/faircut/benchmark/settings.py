"""Settings of the benchmarks. Imports nothing heavy, because the command line shows the defaults."""

from __future__ import annotations

from dataclasses import dataclass

from faircut.config.ranges import check_guidance, check_range, check_seed, check_steps, read_float
from faircut.errors import ConfigError, choices
from faircut.model.checkpoints import POCKET

__all__ = ["AuditRun", "BenchRun", "RunOptions"]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Settings that all benchmarks share.

    Attributes:
        methods: Names of the methods.
        seed: Seed of everything that is drawn at random, and of the confidence intervals.
        model: ``"pocket"``, or the folder or hub name of a model.
        clip: Folder or hub name of the CLIP that the metrics use, or ``"auto"``.
        steps: Number of denoising steps, for inversion and edit.
        keep_clips: Whether to store all frames of every edit.
        shard: (k, n), to edit only every nth clip from the kth on; (0, 1) edits all.
        output: Output folder.
        device: PyTorch device, or ``"auto"``.
        dtype: PyTorch dtype, or ``"auto"``.
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
    """The settings of one audit, as ``faircut audit`` takes them. See `RunOptions` for those that are not listed.

    Attributes:
        benchmark: Name of the benchmark. None for pocket-professions, or if `tasks` is given.
        tasks: YAML file that lists your own clips.
        methods: Names of the approaches that are compared.
        policies: Names of the policies, which decide the requested values.
        attribute: Attribute whose values are requested.
        n: Number of clips to use, from the first on; None for all.
        reader: Folder or hub name of the CLIP that reads people, or ``"auto"`` for the model's judge.
        guidance: Guidance scale. None is 4 for pocket models and 7.5 for others.
        alpha: FAME's strength, a number from 0 to 3, or ``"auto"``.
        calibrate: Whether to search the model's strengths first.
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
            raise ConfigError("both a benchmark and your own tasks are given; give only one of them")
        if not self.policies:
            raise ConfigError("an audit needs at least one policy; give one or more names")
        if self.n is not None:
            check_range("n", self.n, 1, flag="--n", example="8 clips")
        if self.guidance is not None:
            check_guidance(self.guidance, "guidance")
        _ = self.strength  # The property checks the value.

    @property
    def name(self) -> str:
        """Name of the benchmark, or path of the task file."""
        return self.tasks or self.benchmark or "pocket-professions"

    @property
    def strength(self) -> float | None:
        """FAME's strength as a number, or None for ``"auto"``.

        Raises:
            ConfigError: If the strength is not a number from 0 to 3.
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
    """The settings of one benchmark of edits, as ``faircut bench run`` takes them. `RunOptions` has the others.

    Attributes:
        benchmark: Name of the benchmark, YAML task file, or folder of clips.
        methods: Names of the contestants; ``"all"`` is all of them.
        limit: Number of items to use, spread evenly over the kinds of edits; None for all.
        tuning_steps: Number of training steps for methods that fine-tune the model on each clip.
    """

    benchmark: str = "pocket-edit"
    methods: tuple[str, ...] = ("all",)
    limit: int | None = None
    tuning_steps: int = 500  # the default of `faircut tune`
    output: str = "bench"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.limit is not None:
            check_range("limit", self.limit, 1, flag="--limit", example="8 items")
        check_range("tuning_steps", self.tuning_steps, 1, 100_000_000, flag="--tuning-steps", example="500")
