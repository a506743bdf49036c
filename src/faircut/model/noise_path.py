"""DDIM forwards and backwards, as pure functions in the paper's symbols (Song et al., arXiv 2010.02502, equation 12).

``z`` is a latent, ``eps`` a noise prediction, ``a`` the cumulative product of the alphas; t is the noisier timestep of
a step and s the cleaner one. Step k = 0 is the noisiest in both directions, so that k names the same timestep in both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from faircut.errors import ConfigError, ModelError, NumericalError

__all__ = [
    "Schedule",
    "add_noise",
    "classifier_free_guidance",
    "ddim_denoise",
    "ddim_invert",
    "ddim_step",
    "null_text_inversion",
    "to_eps",
]

Eps = Callable[[torch.Tensor, int], torch.Tensor]
OnLatents = Callable[[int, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Schedule:
    """The timesteps of a DDIM run, noisiest first.

    Attributes:
        timesteps: (step,), t_0 > t_1 > ... > t_{N-1}.
        a_t: (step,), cumulative alpha at t_k, float32.
        a_s: (step,), cumulative alpha at the next cleaner level, float32.
        prediction_type: what the model predicts, ``"epsilon"`` or ``"v_prediction"``.
    """

    timesteps: tuple[int, ...]
    a_t: torch.Tensor
    a_s: torch.Tensor
    prediction_type: str

    def __len__(self) -> int:
        return len(self.timesteps)

    @classmethod
    def of(cls, scheduler_config: Any, num_inference_steps: int) -> Schedule:
        """Build the schedule from a checkpoint's scheduler, whatever kind of sampler it names.

        Args:
            scheduler_config: the ``config`` of a diffusers scheduler.
            num_inference_steps: N, between 1 and the number of training timesteps.

        Raises:
            ConfigError: the number of steps is out of range.
            ModelError: the model predicts something else than noise or velocity.
        """
        from diffusers import DDIMScheduler

        scheduler = DDIMScheduler.from_config(scheduler_config, clip_sample=False, thresholding=False)
        train = scheduler.config.num_train_timesteps
        if not 1 <= num_inference_steps < train:
            raise ConfigError(f"{num_inference_steps} steps were asked for; give between 1 and {train - 1}, such as 50")
        if scheduler.config.prediction_type not in ("epsilon", "v_prediction"):
            raise ModelError(
                f"this model predicts {scheduler.config.prediction_type!r}; faircut edits with models that predict "
                "'epsilon' (Stable Diffusion 1.x) or 'v_prediction' (2.x)"
            )
        scheduler.set_timesteps(num_inference_steps)
        t = scheduler.timesteps
        if not 0 <= int(t.min()) <= int(t.max()) < train:
            raise ModelError(
                f"{num_inference_steps} steps with the scheduler's steps_offset of {scheduler.config.steps_offset} leave "
                f"the {train} timesteps of the model; give fewer steps, or a steps_offset of 1"
            )
        s = t - train // num_inference_steps
        a = scheduler.alphas_cumprod.float()
        a_s = torch.where(s >= 0, a[s.clamp(min=0)], scheduler.final_alpha_cumprod.float())
        return cls(tuple(int(x) for x in t), a[t], a_s, scheduler.config.prediction_type)


def to_eps(output: torch.Tensor, z: torch.Tensor, a: torch.Tensor, prediction_type: str) -> torch.Tensor:
    """Read the model's output as noise: itself, or from velocity ``v = sqrt(a) eps - sqrt(1 - a) z_0``."""
    if prediction_type == "epsilon":
        return output
    return a.sqrt() * output + (1 - a).sqrt() * z


def ddim_step(z: torch.Tensor, eps: torch.Tensor, a_from: torch.Tensor, a_to: torch.Tensor) -> torch.Tensor:
    """Move a latent from one noise level to another along ``eps``, eta 0.

    Args:
        z: latents at ``a_from``, any shape.
        eps: the noise in them, same shape.
        a_from: cumulative alpha of the level they are at.
        a_to: cumulative alpha of the level to go to.

    Returns:
        ``sqrt(a_to) (z - sqrt(1 - a_from) eps) / sqrt(a_from) + sqrt(1 - a_to) eps``, computed in float32 at least and
        returned in the dtype of ``z``.
    """
    a_from, a_to = a_from.to(z.device), a_to.to(z.device)
    x, e = (v if v.dtype == torch.float64 else v.float() for v in (z, eps))
    moved = a_to.sqrt() * (x - (1 - a_from).sqrt() * e) / a_from.sqrt() + (1 - a_to).sqrt() * e
    return moved.to(z.dtype)


def add_noise(z_0: torch.Tensor, noise: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
    """Bring a clean latent to a noise level at once: ``sqrt(a) z_0 + sqrt(1 - a) noise`` (Ho et al., arXiv 2006.11239)."""
    a = a.to(z_0.device)
    return a.sqrt() * z_0 + (1 - a).sqrt() * noise


def classifier_free_guidance(
    eps_uncond: torch.Tensor, eps_cond: torch.Tensor, guidance_scale: float | torch.Tensor
) -> torch.Tensor:
    """``eps_uncond + g (eps_cond - eps_uncond)`` (Ho & Salimans, arXiv 2207.12598); g may differ from place to place."""
    return eps_uncond + guidance_scale * (eps_cond - eps_uncond)


def ddim_invert(
    eps: Eps, z_0: torch.Tensor, schedule: Schedule, *, corrected: int = 0, eps_again: Eps | None = None
) -> list[torch.Tensor]:
    """Follow DDIM from a clean latent to noise (FateZero, section 3.1).

    The noise at level s is taken as the model's prediction for the *noisier* timestep t: the attention that belongs to t
    is computed from the latent one level cleaner. Denoising asks for the prediction at the noisier latent itself, which a
    fixed-point iteration approaches (AIDI, arXiv 2309.04907; ReNoise, arXiv 2403.14602); the error is largest where there
    is least noise.

    Args:
        eps: ``(z, k) -> noise`` at timestep t_k, same shape as z.
        z_0: the clip's latents, (frame, channel, height, width).
        schedule: the timesteps.
        corrected: how many steps, from the clip on, make one fixed-point iteration; FateZero makes none.
        eps_again: the prediction for those; by default `eps`.

    Returns:
        N + 1 latents, the clip first, the noisiest last.

    Raises:
        NumericalError: a latent is no longer finite.
    """
    trajectory = [z_0]
    for k in reversed(range(len(schedule))):
        z = trajectory[-1]
        noisier = ddim_step(z, eps(z, k), schedule.a_s[k], schedule.a_t[k])
        if len(trajectory) <= corrected:
            noisier = ddim_step(z, (eps_again or eps)(noisier, k), schedule.a_s[k], schedule.a_t[k])
        trajectory.append(_finite(noisier, "inversion", k))
    return trajectory


def ddim_denoise(
    eps: Eps,
    z_t: torch.Tensor,
    schedule: Schedule,
    on_step_end: OnLatents | None = None,
    *,
    on_step_begin: OnLatents | None = None,
    first: int = 0,
) -> torch.Tensor:
    """Follow DDIM from noise to a clean latent.

    Args:
        eps: ``(z, k) -> noise`` at timestep t_k, guidance already applied.
        z_t: the latents to begin with, at timestep ``t_first``, (frame, channel, height, width).
        schedule: the timesteps.
        on_step_end: ``(k, latents) -> latents`` after each step.
        on_step_begin: the same before each step.
        first: the step to begin with; 0 is the noisiest.

    Returns:
        The clean latents.

    Raises:
        NumericalError: a latent is no longer finite.
    """
    z = z_t
    for k in range(first, len(schedule)):
        if on_step_begin is not None:
            z = on_step_begin(k, z)
        z = ddim_step(z, eps(z, k), schedule.a_t[k], schedule.a_s[k])
        if on_step_end is not None:
            z = on_step_end(k, z)
        _finite(z, "denoising", k)
    return z


def null_text_inversion(
    eps_uncond: Callable[[torch.Tensor, int, torch.Tensor], torch.Tensor],
    eps_cond: Eps,
    trajectory: torch.Tensor,
    schedule: Schedule,
    embedding: torch.Tensor,
    guidance_scale: float,
    *,
    inner_steps: int = 10,
    learning_rate: float = 1e-2,
    tolerance: float = 1e-5,
    on_step_end: Callable[[int, torch.Tensor], None] | None = None,
) -> torch.Tensor:
    """Find unconditional embeddings, one a step, with which guided denoising gives the clip back.

    At every step Adam makes ``|z_{s} - step(z_t, eps_u + g (eps_c - eps_u))|^2`` small, z_s being the inversion's latent; it
    goes on from the last step's embedding (Mokady et al., arXiv 2211.09794, algorithm 1, with its learning rate and early
    stop).

    Args:
        eps_uncond: ``(z, k, embedding) -> noise``; carries a gradient to the embedding.
        eps_cond: ``(z, k) -> noise`` under the source prompt.
        trajectory: (step + 1, frame, channel, height, width), the clip first.
        schedule: the timesteps.
        embedding: (1 or frame, token, channel), the unconditional text's, to begin with.
        guidance_scale: g.
        inner_steps: at most so many steps of Adam for each step of the sampler.
        learning_rate: of the first step; it falls by a hundredth of itself a step.
        tolerance: a step is done when its error is below this, and a little more with every step.
        on_step_end: ``(k, latents)``, to show how far it is.

    Returns:
        (step, 1 or frame, token, channel), float32.
    """
    z, found, null = trajectory[-1], [], embedding.detach().float()
    count = len(schedule)
    for k in range(count):
        wanted = trajectory[count - 1 - k]
        with torch.no_grad():
            cond = eps_cond(z, k)
        null = null.clone().requires_grad_(True)
        adam = torch.optim.Adam([null], lr=learning_rate * (1 - k / (2 * count)))
        for _ in range(inner_steps):
            with torch.enable_grad():
                eps = classifier_free_guidance(eps_uncond(z, k, null), cond, guidance_scale)
                error = (ddim_step(z, eps, schedule.a_t[k], schedule.a_s[k]) - wanted).square().mean()
            if float(error) < tolerance * (1 + 2 * k):
                break
            (null.grad,) = torch.autograd.grad(error, null)
            adam.step()
        null = null.detach()
        found.append(null)
        with torch.no_grad():
            eps = classifier_free_guidance(eps_uncond(z, k, null), cond, guidance_scale)
            z = _finite(ddim_step(z, eps, schedule.a_t[k], schedule.a_s[k]), "null-text", k)
        if on_step_end is not None:
            on_step_end(k, z)
    return torch.stack(found)


def _finite(z: torch.Tensor, what: str, k: int) -> torch.Tensor:
    """Return ``z`` if all of it is finite."""
    if not torch.isfinite(z).all():
        raise NumericalError(
            f"latents are no longer finite after {what} step {k}; "
            "use dtype float32 (or bfloat16), or a lower guidance_scale"
        )
    return z
