import pytest
import torch

from facemogle.mogle import EXPERTS, GATINGS, MoGLE

B, E, N, C = 2, 20, 6, 64


@pytest.fixture
def inputs(seed):
    generator = seed(0)
    return {
        "condition_tokens": torch.randn(B, E, N, C, generator=generator),
        "latents": torch.randn(B, N, C, generator=generator),
        "timestep": torch.tensor([0.9, 0.2]),
    }


def test_experts_in_one_batch_equal_experts_one_by_one(mogle, inputs):
    experts = [mogle.global_expert, *mogle.local_experts]
    tokens = inputs["condition_tokens"]
    one_by_one = torch.stack([expert.net(tokens[:, i]) for i, expert in enumerate(experts)], dim=1)
    torch.testing.assert_close(mogle.expert_outputs(tokens), one_by_one)


def test_blend(mogle, inputs):
    blended, gating_weights = mogle(**inputs)
    assert blended.shape == (B, N, C) and gating_weights.shape == (B, N, E)
    assert (gating_weights > 0).all()
    torch.testing.assert_close(gating_weights.sum(-1), torch.ones(B, N))
    outputs = mogle.expert_outputs(inputs["condition_tokens"])
    torch.testing.assert_close(blended[1, 3], gating_weights[1, 3] @ outputs[1, :, 3])


def test_expert_outputs_computed_before(mogle, inputs):
    outputs = mogle.expert_outputs(inputs["condition_tokens"])
    for with_outputs, without in zip(mogle(**inputs, expert_outputs=outputs), mogle(**inputs), strict=True):
        assert torch.equal(with_outputs, without)


@pytest.mark.parametrize("name", ["condition_tokens", "latents", "timestep"])
def test_gating_sees_global_mask_latents_and_time(name, mogle, inputs):
    _, before = mogle(**inputs)
    changed = inputs[name].clone()
    if name == "condition_tokens":
        changed[:, 1:] = 0
        assert torch.equal(mogle(**inputs | {name: changed})[1], before)
        changed[:, 0] = 0
    else:
        changed *= 0.5
    assert not torch.allclose(mogle(**inputs | {name: changed})[1], before, atol=1e-3)


def test_expert_scale_multiplies_the_weights_and_makes_them_sum_to_1(mogle, inputs):
    _, before = mogle(**inputs)
    scale = torch.ones(E)
    scale[3], scale[14] = 2.0, 0.0
    blended, weights = mogle(**inputs, expert_scale=scale)
    torch.testing.assert_close(weights, before * scale / (before * scale).sum(-1, keepdim=True))
    assert not weights[..., 14].any() and (weights[..., 3] > before[..., 3]).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(B, N))
    outputs = mogle.expert_outputs(inputs["condition_tokens"])
    torch.testing.assert_close(blended, torch.einsum("bne,benc->bnc", weights, outputs))


def test_an_expert_scale_of_ones_is_none(mogle, inputs):
    for with_scale, without in zip(mogle(**inputs, expert_scale=torch.ones(E)), mogle(**inputs), strict=True):
        assert torch.equal(with_scale, without)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_expert_without_weight_may_be_left_alone(mogle, inputs, dtype):
    with torch.no_grad():
        mogle.gating.gate[2].bias[5] = -1000  # its weight is 0 in the number format
    mogle.to(dtype)
    tokens = {name: tensor.to(dtype) for name, tensor in inputs.items()}
    alone = torch.zeros(E)
    alone[5] = 0.5
    assert not mogle(**tokens)[1][..., 5].any()
    assert (mogle(**tokens, expert_scale=alone)[1][..., 5] == 1).all()


def test_timestep_scale(mogle, inputs):
    unscaled = MoGLE(timestep_scale=1.0)
    unscaled.load_state_dict(mogle.state_dict())
    _, expected = mogle(**inputs)
    torch.testing.assert_close(unscaled(**inputs | {"timestep": inputs["timestep"] * 1000})[1], expected)


def test_save_and_load(inputs, tmp_path):
    mogle = MoGLE(timestep_scale=1.0)
    mogle.save_pretrained(tmp_path)
    loaded = MoGLE.from_pretrained(tmp_path)
    assert loaded.config.timestep_scale == 1.0
    assert torch.equal(loaded(**inputs)[0], mogle(**inputs)[0])


ABLATIONS = [
    {"experts": experts, "gating_kind": gating_kind, "gating_timestep": timestep}
    for experts in EXPERTS
    for gating_kind in GATINGS
    for timestep in (True, False)
]


@pytest.mark.parametrize("ablation", ABLATIONS, ids=lambda ablation: "-".join(map(str, ablation.values())))
def test_ablations(ablation, inputs, tmp_path):
    mogle = MoGLE(**ablation)
    with torch.no_grad():
        for parameter in mogle.parameters():  # a static gating begins with equal weights
            parameter.normal_(std=0.3, generator=torch.Generator().manual_seed(parameter.numel()))
    blended, weights = mogle(**inputs)
    assert blended.shape == (B, N, C) and weights.shape == (B, N, E)
    torch.testing.assert_close(weights.sum(-1), torch.ones(B, N))

    muted = {"global": weights[..., 1:], "local": weights[..., :1]}.get(ablation["experts"], torch.zeros(1))
    assert not muted.any()
    nets = [expert.net for expert in [mogle.global_expert, *mogle.local_experts] if expert is not None]
    assert len(nets) == {"both": 20, "global": 1, "local": 19, "none": 0}[ablation["experts"]]
    if ablation["experts"] == "none":
        torch.testing.assert_close(blended, torch.einsum("bne,benc->bnc", weights, inputs["condition_tokens"]))

    one_expert, kind = ablation["experts"] == "global", ablation["gating_kind"]
    assert torch.equal(weights, weights[:, :1].expand_as(weights)) == (one_expert or kind != "matrix")
    later = mogle(**inputs | {"timestep": inputs["timestep"] / 2})[1]
    knows_time = ablation["gating_timestep"] and kind != "static" and not one_expert
    assert torch.allclose(later, weights, atol=1e-6) != knows_time
    other = mogle(**inputs | {"latents": inputs["latents"] + 1})[1]
    assert torch.equal(other, weights) == (one_expert or kind == "static")

    mogle.save_pretrained(tmp_path)
    assert torch.equal(MoGLE.from_pretrained(tmp_path)(**inputs)[0], blended)


def test_muting_the_only_experts_is_refused(inputs):
    scale = torch.ones(E)
    scale[0] = 0
    with pytest.raises(ValueError, match="mutes all global experts"):
        MoGLE(experts="global")(**inputs, expert_scale=scale)
    weights = MoGLE(experts="local")(**inputs, expert_scale=scale)[1]
    torch.testing.assert_close(weights.sum(-1), torch.ones(B, N))


@pytest.mark.parametrize("wrong", [{"experts": "some"}, {"gating_kind": "none"}])
def test_unknown_ablations_are_refused(wrong):
    with pytest.raises(ValueError, match="must be one of"):
        MoGLE(**wrong)


def test_the_defaults_have_the_published_layout(mogle):
    assert len(mogle.state_dict()) == 90 and sum(map(torch.numel, mogle.state_dict().values())) == 101_780


def test_wrong_weights_are_refused(mogle):
    state_dict = mogle.state_dict()
    state_dict["gating.gate.4.bias"] = state_dict.pop("gating.gate.2.bias")
    with pytest.raises(RuntimeError, match=r"gating\.gate\.2\.bias"):
        mogle.load_state_dict(state_dict)
