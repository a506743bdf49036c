"""The path between a clip and noise, and the algorithms that follow it.

`NoisePath` is all that the rest of faircut may know of a sampler's noise levels. `DDIMPath` is the one path there is
today (Song et al., arXiv 2010.02502, equation 12); its formulas are pure functions in the paper's symbols: ``z`` is a
latent, ``eps`` a noise prediction, ``a`` a cumulative product of alphas. Inversion, denoising and null-text inversion
follow any path.

Step k = 0 is the noisiest in both directions, so that k names the same timestep in both. Step k leads from level k,
which belongs to timestep t_k, to the next cleaner level.
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

    Methods and the editor ask this and know nothing of alphas or sigmas. Latents may have any shape; k counts steps
    from the noisiest, 0 to N - 1.
    """

    @property
    def timesteps(self) -> tuple[int, ...]:
        """What the network is told at each step, noisiest first."""

    def __len__(self) -> int:
        """N, the number of steps."""

    def step(self, z: torch.Tensor, eps: torch.Tensor, k: int) -> torch.Tensor:
        """Move latents towards the clip, from the level where step k begins to the level where it ends."""

    def step_back(self, z: torch.Tensor, eps: torch.Tensor, k: int) -> torch.Tensor:
        """Move latents towards noise, from the level where step k ends to the level where it begins."""

    def noised(self, z_0: torch.Tensor, noise: torch.Tensor, k: int, *, after: bool = False) -> torch.Tensor:
        """Bring clean latents at once to the level where step k begins, or ends if ``after``.

        Args:
            z_0: the clip's latents.
            noise: standard normal, same shape.
            k: the step.
            after: take the level where the step ends.
        """

    def eps(self, output: torch.Tensor, z: torch.Tensor, k: int) -> torch.Tensor:
        """Read the network's output for latents ``z`` at step k as noise."""

    def clean(self, output: torch.Tensor, z: torch.Tensor, k: int) -> torch.Tensor:
        """Read the network's output for latents ``z`` at step k as the clean latents that it predicts."""

    def target(self, z_0: torch.Tensor, noise: torch.Tensor, k: int) -> torch.Tensor:
        """Return what the network is trained to predict for `noised` latents at step k."""


@dataclass(frozen=True)
class DDIMPath:
    """The timesteps and noise levels of a DDIM run, noisiest first; a `NoisePath`.

    Attributes:
        timesteps: (step,), t_0 > t_1 > ... > t_{N-1}.
        a_t: (step,), cumulative alpha at t_k, float32.
        a_s: (step,), cumulative alpha at the next cleaner level, float32.
        prediction_type: what the network predicts, ``"epsilon"`` or ``"v_prediction"``.
    """

    timesteps: tuple[int, ...]
    a_t: torch.Tensor
    a_s: torch.Tensor
    prediction_type: str

    def __len__(self) -> int:
        return len(self.timesteps)

    @classmethod
    def of(cls, scheduler_config: Any, num_inference_steps: int) -> DDIMPath:
        """Build the path from a checkpoint's scheduler, whatever kind of sampler it names.

        Args:
            scheduler_config: the ``config`` of a diffusers scheduler.
            num_inference_steps: N, between 1 and the number of training timesteps.

        Raises:
            ConfigError: the number of steps is out of range.
            ModelError: the model predicts something else than noise or velocity.
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
                f"leave the {train} timesteps of the model; give fewer steps, or a steps_offset of 1"
            )
        return cls._at(scheduler, t, train // num_inference_steps)

    @classmethod
    def training(cls, scheduler_config: Any) -> DDIMPath:
        """Build the path that has every timestep the model was trained on; step k is timestep ``len(path) - 1 - k``.

        Args:
            scheduler_config: the ``config`` of a diffusers scheduler.

        Raises:
            ModelError: the model predicts something else than noise or velocity.
        """
        scheduler = _ddim(scheduler_config)
        return cls._at(scheduler, torch.arange(scheduler.config.num_train_timesteps - 1, -1, -1), 1)

    @classmethod
    def _at(cls, scheduler: Any, t: torch.Tensor, spacing: int) -> DDIMPath:
        """Look up the levels of timesteps t, (step,), which lie ``spacing`` apart."""
        s = t - spacing
        a = scheduler.alphas_cumprod.float()
        a_s = torch.where(s >= 0, a[s.clamp(min=0)], scheduler.final_alpha_cumprod.float())
        return cls(tuple(int(x) for x in t), a[t], a_s, scheduler.config.prediction_type)

    def step(self, z: torch.Tensor, eps: torch.Tensor, k: int) -> torch.Tensor:
        """Move latents towards the clip: DDIM with eta 0."""
        return ddim_step(z, eps, self.a_t[k], self.a_s[k])

    def step_back(self, z: torch.Tensor, eps: torch.Tensor, k: int) -> torch.Tensor:
        """Move latents towards noise: the same formula, the other way."""
        return ddim_step(z, eps, self.a_s[k], self.a_t[k])

    def noised(self, z_0: torch.Tensor, noise: torch.Tensor, k: int, *, after: bool = False) -> torch.Tensor:
        """Return ``sqrt(a) z_0 + sqrt(1 - a) noise`` at the level where step k begins, or ends if ``after``."""
        return add_noise(z_0, noise, (self.a_s if after else self.a_t)[k])

    def eps(self, output: torch.Tensor, z: torch.Tensor, k: int) -> torch.Tensor:
        """Read the network's output for latents ``z`` at step k as noise."""
        return to_eps(output, z, self.a_t[k].to(z.device), self.prediction_type)

    def clean(self, output: torch.Tensor, z: torch.Tensor, k: int) -> torch.Tensor:
        """Return ``(z - sqrt(1 - a) eps) / sqrt(a)``."""
        a = self.a_t[k].to(z.device)
        return (z - (1 - a).sqrt() * self.eps(output, z, k)) / a.sqrt()

    def target(self, z_0: torch.Tensor, noise: torch.Tensor, k: int) -> torch.Tensor:
        """Return the noise, or the velocity ``sqrt(a) noise - sqrt(1 - a) z_0``."""
        if self.prediction_type == "epsilon":
            return noise
        a = self.a_t[k].to(z_0.device)
        return a.sqrt() * noise - (1 - a).sqrt() * z_0


def _ddim(scheduler_config: Any) -> Any:
    """Return the DDIM scheduler with the noise schedule of another one.

    Raises:
        ModelError: the model predicts something else than noise or velocity.
    """
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler.from_config(scheduler_config, clip_sample=False, thresholding=False)
    if scheduler.config.prediction_type not in ("epsilon", "v_prediction"):
        raise ModelError(
            f"this model predicts {scheduler.config.prediction_type!r}; faircut edits with models that predict "
            "'epsilon' (Stable Diffusion 1.x) or 'v_prediction' (2.x)"
        )
    return scheduler


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
    """Bring a clean latent to a noise level at once: ``sqrt(a) z_0 + sqrt(1 - a) noise`` (Ho et al., arXiv
    2006.11239)."""
    a = a.to(z_0.device)
    return a.sqrt() * z_0 + (1 - a).sqrt() * noise


def classifier_free_guidance(
    eps_uncond: torch.Tensor, eps_cond: torch.Tensor, guidance_scale: float | torch.Tensor
) -> torch.Tensor:
    """``eps_uncond + g (eps_cond - eps_uncond)`` (Ho & Salimans, arXiv 2207.12598); g may differ from place to
    place."""
    return eps_uncond + guidance_scale * (eps_cond - eps_uncond)


def invert_latents(
    eps: Eps, z_0: torch.Tensor, path: NoisePath, *, corrected: int = 0, eps_again: Eps | None = None
) -> list[torch.Tensor]:
    """Follow a path from a clean latent to noise: DDIM inversion (FateZero, section 3.1).

    The noise at level s is taken as the model's prediction for the *noisier* timestep t: the attention that belongs to
    t is computed from the latent one level cleaner. Denoising asks for the prediction at the noisier latent itself,
    which a fixed-point iteration approaches (AIDI, arXiv 2309.04907; ReNoise, arXiv 2403.14602); the error is largest
    where there is least noise.

    Args:
        eps: ``(z, k) -> noise`` at timestep t_k, same shape as z.
        z_0: the clip's latents, (frame, channel, height, width).
        path: the noise levels.
        corrected: how many steps, from the clip on, make one fixed-point iteration; FateZero makes none.
        eps_again: the prediction for those; by default `eps`.

    Returns:
        N + 1 latents, the clip first, the noisiest last.

    Raises:
        NumericalError: a latent is no longer finite.
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
    """Follow a path from noise to a clean latent.

    Args:
        eps: ``(z, k) -> noise`` at timestep t_k, guidance already applied.
        z_t: the latents to begin with, at timestep ``t_first``, (frame, channel, height, width).
        path: the noise levels.
        on_step_end: ``(k, latents) -> latents`` after each step.
        on_step_begin: the same before each step.
        first: the step to begin with; 0 is the noisiest.

    Returns:
        The clean latents.

    Raises:
        NumericalError: a latent is no longer finite.
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
    """Find unconditional embeddings, one a step, with which guided denoising gives the clip back.

    At every step Adam makes ``|z_{s} - step(z_t, eps_u + g (eps_c - eps_u))|^2`` small, z_s being the inversion's
    latent; it goes on from the last step's embedding (Mokady et al., arXiv 2211.09794, algorithm 1, with its learning
    rate and early stop).

    Args:
        eps_uncond: ``(z, k, embedding) -> noise``; carries a gradient to the embedding.
        eps_cond: ``(z, k) -> noise`` under the source prompt.
        trajectory: (step + 1, frame, channel, height, width), the clip first.
        path: the noise levels.
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
    count = len(path)
    for k in range(count):
        wanted = trajectory[count - 1 - k]
        with torch.no_grad():
            cond = eps_cond(z, k)
        null = null.clone().requires_grad_(True)
        adam = torch.optim.Adam([null], lr=learning_rate * (1 - k / (2 * count)))
        for _ in range(inner_steps):
            with torch.enable_grad():
                eps = classifier_free_guidance(eps_uncond(z, k, null), cond, guidance_scale)
                error = (path.step(z, eps, k) - wanted).square().mean()
            if float(error) < tolerance * (1 + 2 * k):
                break
            (null.grad,) = torch.autograd.grad(error, null)
            adam.step()
        null = null.detach()
        found.append(null)
        with torch.no_grad():
            eps = classifier_free_guidance(eps_uncond(z, k, null), cond, guidance_scale)
            z = _finite(path.step(z, eps, k), "null-text", k)
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
