"""The path between a clip and noise, and the algorithms that follow it.

`NoisePath` is the interface through which the rest of faircut uses a sampler's noise levels. `DDIMPath` is the only
implementation so far (Song et al., arXiv 2010.02502, equation 12). Its formulas are pure functions in the paper's
symbols: ``z`` is a latent, ``eps`` a noise prediction, ``a`` a cumulative product of alphas. Inversion, denoising and
null-text inversion work with any path.

Step k = 0 is the noisiest in both directions, so k stands for the same timestep in inversion and denoising. Step k
leads from level k, which belongs to timestep t_k, to the next cleaner level.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from faircut.errors import ConfigError, ModelError, NumericalError

__all__ = [
    "DDIMPath",
    "NoisePath",
    "add_noise",
    "classifier_free_guidance",
    "ddim_step",
    "denoise_latents",
    "invert_latents",
    "null_text_inversion",
    "to_eps",
]

Eps = Callable[[torch.Tensor, int], torch.Tensor]
OnLatents = Callable[[int, torch.Tensor], torch.Tensor]


class NoisePath(Protocol):
    """The noise levels of a sampler, and how to move between them.

    Methods and the editor use this interface and need not know alphas or sigmas. Latents may have any shape. k counts
    steps from the noisiest, 0 to N - 1.
    """

    @property
    def timesteps(self) -> tuple[int, ...]:
        """Timestep that the network gets at each step, noisiest first."""

    def __len__(self) -> int:
        """Return N, the number of steps."""

    def step(self, z: torch.Tensor, eps: torch.Tensor, k: int) -> torch.Tensor:
        """Move latents towards the clip, from the level where step k begins to the level where it ends."""

    def step_back(self, z: torch.Tensor, eps: torch.Tensor, k: int) -> torch.Tensor:
        """Move latents towards noise, from the level where step k ends to the level where it begins."""

    def noised(self, z_0: torch.Tensor, noise: torch.Tensor, k: int, *, after: bool = False) -> torch.Tensor:
        """Add noise to clean latents, up to the level where step k begins, or ends if ``after``.

        Args:
            z_0: Latents of the clip, any shape.
            noise: Standard normal noise, with the shape of ``z_0``.
            k: Index of the step.
            after: Whether to use the level where the step ends.
        """

    def eps(self, output: torch.Tensor, z: torch.Tensor, k: int) -> torch.Tensor:
        """Convert the network's output for latents ``z`` at step k to noise."""

    def clean(self, output: torch.Tensor, z: torch.Tensor, k: int) -> torch.Tensor:
        """Convert the network's output for latents ``z`` at step k to the clean latents that it predicts."""

    def target(self, z_0: torch.Tensor, noise: torch.Tensor, k: int) -> torch.Tensor:
        """Return the network's training target for `noised` latents at step k."""


@dataclass(frozen=True)
class DDIMPath:
    """The timesteps and noise levels of a DDIM run, noisiest first; a `NoisePath`.

    Attributes:
        timesteps: (step,), t_0 > t_1 > ... > t_{N-1}.
        a_t: (step,), float32, cumulative alpha at t_k.
        a_s: (step,), float32, cumulative alpha at the next cleaner level.
        prediction_type: Meaning of the network's output, ``"epsilon"`` or ``"v_prediction"``.
    """

    timesteps: tuple[int, ...]
    a_t: torch.Tensor
    a_s: torch.Tensor
    prediction_type: str

    def __len__(self) -> int:
        return len(self.timesteps)

    @classmethod
    def of(cls, scheduler_config: Any, num_inference_steps: int) -> DDIMPath:
        """Return the path for a checkpoint's scheduler, whatever sampler it names.

        Args:
            scheduler_config: The ``config`` of a diffusers scheduler.
            num_inference_steps: N, from 1 to the number of training timesteps - 1.

        Raises:
            ConfigError: If the number of steps is out of range.
            ModelError: If the model predicts something other than noise or velocity.
        """
        scheduler = _ddim(scheduler_config)
        train = scheduler.config.num_train_timesteps
        if not 1 <= num_inference_steps < train:
            raise ConfigError(f"{num_inference_steps} steps were asked for; give between 1 and {train - 1}, such as 50")
        scheduler.set_timesteps(num_inference_steps)
        t = scheduler.timesteps
        if not 0 <= int(t.min()) <= int(t.max()) < train:
            raise ModelError(
                f"{num_inference_steps} steps with the scheduler's steps_offset of {scheduler.config.steps_offset} "
                f"exceed the {train} timesteps of the model; give fewer steps, or a steps_offset of 1"
            )
        return cls._at(scheduler, t, train // num_inference_steps)

    @classmethod
    def training(cls, scheduler_config: Any) -> DDIMPath:
        """Return the path with every timestep that the model was trained on. Step k is timestep ``len(path) - 1 - k``.

        Args:
            scheduler_config: The ``config`` of a diffusers scheduler.

        Raises:
            ModelError: If the model predicts something other than noise or velocity.
        """
        scheduler = _ddim(scheduler_config)
        return cls._at(scheduler, torch.arange(scheduler.config.num_train_timesteps - 1, -1, -1), 1)

    @classmethod
    def _at(cls, scheduler: Any, t: torch.Tensor, spacing: int) -> DDIMPath:
        """Return the path with timesteps t, (step,), which are ``spacing`` apart."""
        s = t - spacing
        a = scheduler.alphas_cumprod.float()
        a_s = torch.where(s >= 0, a[s.clamp(min=0)], scheduler.final_alpha_cumprod.float())
        return cls(tuple(int(x) for x in t), a[t], a_s, scheduler.config.prediction_type)

    def step(self, z: torch.Tensor, eps: torch.Tensor, k: int) -> torch.Tensor:
        """Move latents towards the clip by a DDIM step with eta 0."""
        return ddim_step(z, eps, self.a_t[k], self.a_s[k])

    def step_back(self, z: torch.Tensor, eps: torch.Tensor, k: int) -> torch.Tensor:
        """Move latents towards noise by the same formula with the levels exchanged."""
        return ddim_step(z, eps, self.a_s[k], self.a_t[k])

    def noised(self, z_0: torch.Tensor, noise: torch.Tensor, k: int, *, after: bool = False) -> torch.Tensor:
        """Return ``sqrt(a) z_0 + sqrt(1 - a) noise`` at the level where step k begins, or ends if ``after``."""
        return add_noise(z_0, noise, (self.a_s if after else self.a_t)[k])

    def eps(self, output: torch.Tensor, z: torch.Tensor, k: int) -> torch.Tensor:
        """Convert the network's output for latents ``z`` at step k to noise."""
        return to_eps(output, z, self.a_t[k].to(z.device), self.prediction_type)

    def clean(self, output: torch.Tensor, z: torch.Tensor, k: int) -> torch.Tensor:
        """Return the predicted clean latents, ``(z - sqrt(1 - a) eps) / sqrt(a)``."""
        a = self.a_t[k].to(z.device)
        return (z - (1 - a).sqrt() * self.eps(output, z, k)) / a.sqrt()

    def target(self, z_0: torch.Tensor, noise: torch.Tensor, k: int) -> torch.Tensor:
        """Return the training target: the noise, or the velocity ``sqrt(a) noise - sqrt(1 - a) z_0``."""
        if self.prediction_type == "epsilon":
            return noise
        a = self.a_t[k].to(z_0.device)
        return a.sqrt() * noise - (1 - a).sqrt() * z_0


def _ddim(scheduler_config: Any) -> Any:
    """Return a DDIM scheduler with the noise schedule of another scheduler.

    Raises:
        ModelError: If the scheduler has no noise schedule of a diffusion model, or the model predicts something other
            than noise or velocity.
    """
    from diffusers import DDIMScheduler

    # DDIMScheduler fills in defaults of its own for a noise schedule that the configuration lacks.
    if not any(scheduler_config.get(name) is not None for name in ("trained_betas", "beta_start")):
        raise ModelError(
            "this scheduler has no betas, so its noise levels are not those of a diffusion model (flow matching?); "
            "give a checkpoint with a DDIM, PNDM, Euler or DPM-Solver scheduler, such as Stable Diffusion 1.x or 2.x"
        )
    scheduler = DDIMScheduler.from_config(scheduler_config, clip_sample=False, thresholding=False)
    if scheduler.config.prediction_type not in ("epsilon", "v_prediction"):
        raise ModelError(
            f"this model predicts {scheduler.config.prediction_type!r}; give a model that predicts "
            "'epsilon' (Stable Diffusion 1.x) or 'v_prediction' (2.x)"
        )
    return scheduler


def to_eps(output: torch.Tensor, z: torch.Tensor, a: torch.Tensor, prediction_type: str) -> torch.Tensor:
    """Convert the model's output to noise. A velocity is ``v = sqrt(a) eps - sqrt(1 - a) z_0``."""
    if prediction_type == "epsilon":
        return output
    return a.sqrt() * output + (1 - a).sqrt() * z


def ddim_step(z: torch.Tensor, eps: torch.Tensor, a_from: torch.Tensor, a_to: torch.Tensor) -> torch.Tensor:
    """Move latents from one noise level to another along ``eps``, with eta 0.

    Args:
        z: Latents at level ``a_from``, any shape.
        eps: Noise in the latents, with the shape of ``z``.
        a_from: Cumulative alpha of the present level.
        a_to: Cumulative alpha of the level to move to.

    Returns:
        ``sqrt(a_to) (z - sqrt(1 - a_from) eps) / sqrt(a_from) + sqrt(1 - a_to) eps``, computed in float32 or float64
        and returned in the dtype of ``z``.
    """
    a_from, a_to = a_from.to(z.device), a_to.to(z.device)
    x, e = (v if v.dtype == torch.float64 else v.float() for v in (z, eps))
    moved = a_to.sqrt() * (x - (1 - a_from).sqrt() * e) / a_from.sqrt() + (1 - a_to).sqrt() * e
    return moved.to(z.dtype)


def add_noise(z_0: torch.Tensor, noise: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
    """Return clean latents with noise added: ``sqrt(a) z_0 + sqrt(1 - a) noise`` (Ho et al., arXiv 2006.11239)."""
    a = a.to(z_0.device)
    return a.sqrt() * z_0 + (1 - a).sqrt() * noise


def classifier_free_guidance(
    eps_uncond: torch.Tensor, eps_cond: torch.Tensor, guidance_scale: float | torch.Tensor
) -> torch.Tensor:
    """Return ``eps_uncond + g (eps_cond - eps_uncond)`` (Ho & Salimans, arXiv 2207.12598). g may vary with position."""
    return eps_uncond + guidance_scale * (eps_cond - eps_uncond)


def invert_latents(
    eps: Eps, z_0: torch.Tensor, path: NoisePath, *, corrected: int = 0, eps_again: Eps | None = None
) -> list[torch.Tensor]:
    """Follow a path from clean latents to noise: DDIM inversion (FateZero, section 3.1).

    The noise at level s is approximated by the model's prediction for the *noisier* timestep t, so the attention of
    timestep t is computed from the latents one level cleaner. Denoising uses the prediction at the noisier latents
    themselves. A fixed-point iteration approaches that prediction (AIDI, arXiv 2309.04907; ReNoise, arXiv 2403.14602).
    The error is largest at the levels with least noise.

    Args:
        eps: ``(z, k) -> noise``, the prediction at timestep t_k, with the shape of z.
        z_0: (frame, channel, height, width), latents of the clip.
        path: Noise levels.
        corrected: Number of steps, counted from the clean end, that get one fixed-point iteration. FateZero uses 0.
        eps_again: Prediction for those iterations. None uses ``eps``.

    Returns:
        N + 1 latents, from the clip to the noisiest.

    Raises:
        NumericalError: If latents are no longer finite.
    """
    trajectory = [z_0]
    for k in reversed(range(len(path))):
        z = trajectory[-1]
        noisier = path.step_back(z, eps(z, k), k)
        if len(trajectory) <= corrected:
            noisier = path.step_back(z, (eps_again or eps)(noisier, k), k)
        trajectory.append(_finite(noisier, "inversion", k))
    return trajectory


def denoise_latents(
    eps: Eps,
    z_t: torch.Tensor,
    path: NoisePath,
    on_step_end: OnLatents | None = None,
    *,
    on_step_begin: OnLatents | None = None,
    first: int = 0,
) -> torch.Tensor:
    """Follow a path from noise to clean latents.

    Args:
        eps: ``(z, k) -> noise``, the prediction at timestep t_k, with guidance applied.
        z_t: (frame, channel, height, width), latents to begin with, at the timestep of step ``first``.
        path: Noise levels.
        on_step_end: ``(k, latents) -> latents``, called after each step.
        on_step_begin: ``(k, latents) -> latents``, called before each step.
        first: Index of the first step; 0 is the noisiest.

    Returns:
        The clean latents.

    Raises:
        NumericalError: If latents are no longer finite.
    """
    z = z_t
    for k in range(first, len(path)):
        if on_step_begin is not None:
            z = on_step_begin(k, z)
        z = path.step(z, eps(z, k), k)
        if on_step_end is not None:
            z = on_step_end(k, z)
        _finite(z, "denoising", k)
    return z


def null_text_inversion(
    eps_uncond: Callable[[torch.Tensor, int, torch.Tensor], torch.Tensor],
    eps_cond: Eps,
    trajectory: torch.Tensor,
    path: NoisePath,
    embedding: torch.Tensor,
    guidance_scale: float,
    *,
    inner_steps: int = 10,
    learning_rate: float = 1e-2,
    tolerance: float = 1e-5,
    on_step_end: Callable[[int, torch.Tensor], object] | None = None,
) -> torch.Tensor:
    """Find an unconditional embedding for each step with which guided denoising reconstructs the clip.

    At every step Adam minimises ``|z_{s} - step(z_t, eps_u + g (eps_c - eps_u))|^2``, where z_s are the latents of the
    inversion, starting from the embedding of the step before (Mokady et al., arXiv 2211.09794, algorithm 1, with its
    learning rate and early stop).

    Args:
        eps_uncond: ``(z, k, embedding) -> noise``, differentiable in the embedding.
        eps_cond: ``(z, k) -> noise`` under the source prompt.
        trajectory: (step + 1, frame, channel, height, width), latents of the inversion, from the clip to the noisiest.
        path: Noise levels.
        embedding: (1 or frame, token, channel), embedding of the unconditional text, to begin with.
        guidance_scale: g, the guidance scale.
        inner_steps: Maximum number of Adam steps for each step of the sampler.
        learning_rate: Adam's learning rate at step 0. At step k it is ``learning_rate * (1 - k / 2N)``.
        tolerance: Error below which step 0 stops. At step k it is ``tolerance * (1 + 2 k)``.
        on_step_end: ``(k, latents)``, called after each step to report progress.

    Returns:
        (step, 1 or frame, token, channel), float32.
    """
    z, embeddings, null = trajectory[-1], [], embedding.detach().float()
    count = len(path)
    for k in range(count):
        target = trajectory[count - 1 - k]
        with torch.no_grad():
            cond = eps_cond(z, k)
        null = null.clone().requires_grad_(True)
        adam = torch.optim.Adam([null], lr=learning_rate * (1 - k / (2 * count)))
        for _ in range(inner_steps):
            with torch.enable_grad():
                eps = classifier_free_guidance(eps_uncond(z, k, null), cond, guidance_scale)
                error = (path.step(z, eps, k) - target).square().mean()
            if float(error) < tolerance * (1 + 2 * k):
                break
            (null.grad,) = torch.autograd.grad(error, null)
            adam.step()
        null = null.detach()
        embeddings.append(null)
        with torch.no_grad():
            eps = classifier_free_guidance(eps_uncond(z, k, null), cond, guidance_scale)
            z = _finite(path.step(z, eps, k), "null-text", k)
        if on_step_end is not None:
            on_step_end(k, z)
    return torch.stack(embeddings)


def _finite(z: torch.Tensor, what: str, k: int) -> torch.Tensor:
    """Return ``z`` after checking that all its values are finite."""
    if not torch.isfinite(z).all():
        raise NumericalError(
            f"latents are no longer finite after {what} step {k}; "
            "use dtype float32 (or bfloat16), or a lower guidance_scale"
        )
    return z
