"""Steps of second order."""

import math

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from facemogle.scheduler import FlowMatchAdamsBashforthScheduler


def walk(scheduler, steps: int, *, begin: int = 0, dtype=torch.float64) -> torch.Tensor:
    """From x = e**sigma at the first step to sigma 0, along dx / d sigma = x: 1, were it exact."""
    scheduler.set_timesteps(sigmas=np.linspace(1, 1 / steps, steps))
    scheduler.set_begin_index(begin)
    latents = torch.full((2, 3), math.exp(scheduler.sigmas[begin]), dtype=dtype)
    for timestep in scheduler.timesteps[begin:]:
        latents = scheduler.step(latents.clone(), timestep, latents, return_dict=False)[0]
    return latents


def error(scheduler, steps: int, **options) -> float:
    return abs(walk(scheduler, steps, **options)[0, 0].item() - 1)


def test_its_error_falls_with_the_square_of_the_steps():
    """Of equal length, and all the same in each run: nothing is left of the one before."""
    scheduler, euler = FlowMatchAdamsBashforthScheduler(), FlowMatchEulerDiscreteScheduler()
    assert error(scheduler, 32) / error(scheduler, 64) == pytest.approx(4, rel=0.1)
    assert error(euler, 32) / error(euler, 64) == pytest.approx(2, rel=0.1)
    for steps in (1, 2):  # the first and the last one are Euler's
        assert error(scheduler, steps) == error(euler, steps)


@pytest.mark.parametrize("shift", (1.0, 4.0))
def test_it_errs_less_than_eulers(shift):
    settings = {"shift": shift}
    ours, eulers = (
        kind.from_config(settings) for kind in (FlowMatchAdamsBashforthScheduler, FlowMatchEulerDiscreteScheduler)
    )
    assert error(ours, 4) < error(eulers, 4)
    assert error(ours, 8, begin=4) < error(eulers, 8, begin=4)


def test_latents_keep_their_dtype_and_settings_survive_a_folder(tmp_path):
    scheduler = FlowMatchAdamsBashforthScheduler(shift=3.0)
    assert walk(scheduler, 3, dtype=torch.bfloat16).dtype == torch.bfloat16
    scheduler.save_pretrained(tmp_path)
    assert error(FlowMatchAdamsBashforthScheduler.from_pretrained(tmp_path), 5) == error(scheduler, 5)
