import pytest
import torch

from facemogle.mogle import MoGLE
from train.objective import (
    ConditionDropout,
    TrainingBatch,
    add_noise,
    drop_text,
    dropped_masks,
    flow_matching_loss,
    sample_timesteps,
)

B, E, N, C = 400, 20, 2, 3


def test_timesteps_are_the_sigmoid_of_a_normal(seed):
    timesteps = sample_timesteps(20_000, generator=seed(0))
    assert timesteps.min() > 0 and timesteps.max() < 1
    normal = timesteps.logit()
    assert abs(normal.mean()) < 0.03 and abs(normal.std() - 1) < 0.03
    assert torch.equal(sample_timesteps(20_000, generator=seed(0)), timesteps)


def test_noise(seed):
    latents, noise = torch.randn(3, N, C, generator=seed(0)), torch.randn(3, N, C, generator=seed(1))
    noisy = add_noise(latents, noise, torch.tensor([0.0, 1.0, 0.25]))
    assert torch.equal(noisy[0], latents[0]) and torch.equal(noisy[1], noise[1])
    torch.testing.assert_close(noisy[2], 0.75 * latents[2] + 0.25 * noise[2])


def dropped(dropout, seed):
    """(B, E): which masks became black."""
    return dropped_masks(B, E, dropout, generator=seed(0))


def test_local_masks_drop_on_their_own_and_the_global_one_never(seed):
    black = dropped(ConditionDropout(local_mask=0.3, all_masks=0), seed)
    assert not black[:, 0].any()
    assert abs(black[:, 1:].float().mean() - 0.3) < 0.02
    assert black[:, 1:].any(0).all() and not black[:, 1:].all(1).any()


def test_all_masks_drop_together(seed):
    black = dropped(ConditionDropout(local_mask=0, all_masks=0.3), seed)
    assert torch.equal(black.all(1), black.any(1))
    assert abs(black[:, 0].float().mean() - 0.3) < 0.07


def test_text_drops(seed):
    prompts = [f"face {n}" for n in range(1000)]
    kept = drop_text(prompts, ConditionDropout(text=0.3), generator=seed(0))
    assert all(new in ("", old) for new, old in zip(kept, prompts, strict=True))
    assert abs(kept.count("") / 1000 - 0.3) < 0.05
    assert drop_text(prompts, ConditionDropout(text=0), generator=seed(0)) == prompts


@pytest.fixture
def batch(transformer, seed):
    config, generator = transformer.config, seed(0)
    return TrainingBatch(
        latents=torch.randn(2, 4, 64, generator=generator),
        prompt_embeds=torch.randn(2, 3, config.joint_attention_dim, generator=generator),
        pooled_prompt_embeds=torch.randn(2, config.pooled_projection_dim, generator=generator),
        img_ids=torch.zeros(4, 3),
        txt_ids=torch.zeros(3, 3),
    )


def test_the_base_trains_without_condition_tokens(batch, transformer, seed):
    noise, timestep = torch.randn(2, 4, 64, generator=seed(1)), torch.tensor([0.5, 0.9])
    loss = flow_matching_loss(transformer, None, batch, noise=noise, timestep=timestep)
    velocity = transformer(
        add_noise(batch.latents, noise, timestep),
        batch.prompt_embeds,
        batch.pooled_prompt_embeds,
        timestep,
        batch.img_ids,
        batch.txt_ids,
        guidance=torch.ones(2),
    ).sample
    torch.testing.assert_close(loss, (velocity - (noise - batch.latents)).square().mean())


def test_condition_tokens_need_a_mogle(batch, transformer):
    conditioned = TrainingBatch(**vars(batch) | {"condition_tokens": torch.zeros(2, 20, 4, 64)})
    inputs = {"noise": torch.zeros(2, 4, 64), "timestep": torch.tensor([0.5, 0.5])}
    assert flow_matching_loss(transformer, MoGLE(), conditioned, **inputs).isfinite()
    with pytest.raises(ValueError, match="needs a MoGLE"):
        flow_matching_loss(transformer, None, conditioned, **inputs)
