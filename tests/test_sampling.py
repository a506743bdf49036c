from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler

from faircut.errors import ConfigError, ModelError, NumericalError
from faircut.model.noise_path import DDIMPath, classifier_free_guidance, denoise_latents, invert_latents, to_eps
from tests.conftest import SCHEDULER


@pytest.mark.parametrize("steps", [1, 5, 30, 50])
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_denoising_is_diffusers_ddim(steps, prediction_type):
    scheduler = DDIMScheduler(**SCHEDULER, prediction_type=prediction_type)
    scheduler.set_timesteps(steps)
    schedule = DDIMPath.of(scheduler.config, steps)
    assert list(schedule.timesteps) == scheduler.timesteps.tolist()
    torch.manual_seed(0)
    outputs = torch.randn(steps, 2, 4, 3, 3)
    z = expected = torch.randn(2, 4, 3, 3)
    for output, t in zip(outputs, scheduler.timesteps, strict=True):
        expected = scheduler.step(output, t, expected).prev_sample
    ours = denoise_latents(lambda z, k: to_eps(outputs[k], z, schedule.a_t[k], prediction_type), z, schedule)
    torch.testing.assert_close(ours, expected, rtol=2e-5, atol=2e-5)


def test_a_fixed_noise_prediction_is_undone_exactly():
    schedule = DDIMPath.of(DDIMScheduler(**SCHEDULER).config, 20)
    torch.manual_seed(0)
    noise, z_0 = torch.randn(20, 1, 4, 3, 3, dtype=torch.float64), torch.randn(1, 4, 3, 3, dtype=torch.float64)
    trajectory = invert_latents(lambda z, k: noise[k], z_0, schedule)
    assert len(trajectory) == 21
    back = denoise_latents(lambda z, k: noise[k], trajectory[-1], schedule)
    torch.testing.assert_close(back, z_0, rtol=1e-5, atol=1e-5)


def test_fixed_points_near_the_clip_bring_the_way_back_nearer():
    schedule = DDIMPath.of(DDIMScheduler(**SCHEDULER).config, 20)
    torch.manual_seed(0)
    z_0 = 0.2 * torch.randn(1, 4, 3, 3, dtype=torch.float64)

    def lost(corrected):
        again = []

        def eps(z, k):
            # The exact prediction for normal data with a variance of .04: it changes fastest where there is little
            # noise.
            a = schedule.a_t[k].double()
            return (1 - a).sqrt() * z / (0.04 * a + 1 - a)

        def eps_again(z, k):
            again.append(k)
            return eps(z, k)

        trajectory = invert_latents(eps, z_0, schedule, corrected=corrected, eps_again=eps_again)
        return float((denoise_latents(eps, trajectory[-1], schedule) - z_0).norm()), again

    assert lost(0)[1] == []
    assert lost(3)[1] == [19, 18, 17]
    assert lost(3)[0] < 0.8 * lost(0)[0]
    assert lost(20)[0] < lost(3)[0]


def test_inversion_goes_from_the_cleanest_step_to_the_noisiest():
    seen = []
    schedule = DDIMPath.of(DDIMScheduler(**SCHEDULER).config, 4)
    invert_latents(lambda z, k: seen.append(k) or z, torch.ones(1, 1, 1, 1), schedule)
    assert seen == [3, 2, 1, 0]
    assert schedule.timesteps == (751, 501, 251, 1)


def test_any_scheduler_of_a_checkpoint_gives_the_schedule():
    euler = EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1)
    assert DDIMPath.of(euler.config, 10).timesteps == DDIMPath.of(DDIMScheduler(**SCHEDULER).config, 10).timesteps


def test_guidance():
    u, c = torch.tensor([1.0]), torch.tensor([3.0])
    assert classifier_free_guidance(u, c, 7.5) == 16.0
    assert classifier_free_guidance(u, c, 1.0) == c


def test_bad_numbers_are_named_with_their_step():
    schedule = DDIMPath.of(DDIMScheduler(**SCHEDULER).config, 5)

    def eps(z, k):
        return z * float("nan") if k == 2 else z

    with pytest.raises(NumericalError, match="after inversion step 2"):
        invert_latents(eps, torch.ones(1, 1, 1, 1), schedule)
    with pytest.raises(NumericalError, match="after denoising step 2"):
        denoise_latents(eps, torch.ones(1, 1, 1, 1), schedule)


def test_impossible_schedules_are_refused():
    config = DDIMScheduler(**SCHEDULER).config
    for steps in (0, -1, 1000):
        with pytest.raises(ConfigError, match="give between 1 and 999"):
            DDIMPath.of(config, steps)
    with pytest.raises(ModelError, match="predicts 'sample'"):
        DDIMPath.of(DDIMScheduler(**SCHEDULER, prediction_type="sample").config, 10)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_a_path_reads_what_the_network_is_trained_to_predict(prediction_type):
    path = DDIMPath.of(DDIMScheduler(**SCHEDULER, prediction_type=prediction_type).config, 10)
    torch.manual_seed(0)
    z_0, noise = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3)
    for k in (0, 5, 9):
        z, output = path.noised(z_0, noise, k), path.target(z_0, noise, k)
        torch.testing.assert_close(path.eps(output, z, k), noise, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(path.clean(output, z, k), z_0, atol=1e-4, rtol=1e-4)
        # A step along the true noise leads to the level that the step ends at, and back.
        cleaner = path.noised(z_0, noise, k, after=True)
        torch.testing.assert_close(path.step(z, noise, k), cleaner, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(path.step_back(cleaner, noise, k), z, atol=1e-5, rtol=1e-5)
        assert not torch.allclose(z, cleaner, atol=1e-3)


def test_the_path_of_training_has_every_timestep():
    scheduler = DDIMScheduler(**SCHEDULER)
    path = DDIMPath.training(scheduler.config)
    assert path.timesteps == tuple(range(999, -1, -1))
    assert torch.equal(path.a_t.flip(0), scheduler.alphas_cumprod)
    assert torch.equal(path.a_s[:-1], path.a_t[1:])


def test_a_scheduler_without_betas_is_refused():
    with pytest.raises(ModelError, match="scheduler has no betas"):
        DDIMPath.of(FlowMatchEulerDiscreteScheduler().config, 4)
