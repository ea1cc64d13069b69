"""What condition tokens cost: `python tests/benchmarks/forward.py`, times as ratios to stock FLUX in the same run."""

import time
from collections.abc import Callable

import torch
from diffusers import FluxTransformer2DModel

from facemogle.mogle import MoGLE
from facemogle.transformer import AdapterConfig, FaceMoGLETransformer2DModel

SIZE = {
    "num_layers": 2, "num_single_layers": 6, "attention_head_dim": 64, "num_attention_heads": 5,
    "joint_attention_dim": 128, "pooled_projection_dim": 128, "guidance_embeds": False, "axes_dims_rope": (16, 24, 24),
}  # fmt: skip
TEXT_TOKENS, IMAGE_TOKENS, ROUNDS = 32, 64, 15


def best_time(call: Callable[[], object]) -> float:
    """Seconds of the fastest of several calls: noise of the machine only ever adds."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def arguments(tokens: int) -> dict[str, torch.Tensor]:
    return {
        "hidden_states": torch.randn(1, tokens, 64),
        "encoder_hidden_states": torch.randn(1, TEXT_TOKENS, 128),
        "pooled_projections": torch.randn(1, 128),
        "timestep": torch.rand(1),
        "img_ids": torch.zeros(tokens, 3),
        "txt_ids": torch.zeros(TEXT_TOKENS, 3),
    }


@torch.inference_mode()
def main() -> None:
    torch.manual_seed(0)
    ours, stock, mogle = FaceMoGLETransformer2DModel(**SIZE).eval(), FluxTransformer2DModel(**SIZE).eval(), MoGLE()
    ours.add_condition_adapter(AdapterConfig(rank=32, alpha=32))
    image, rows = arguments(IMAGE_TOKENS), arguments(2 * IMAGE_TOKENS)
    condition, condition_tokens = torch.randn(1, IMAGE_TOKENS, 64), torch.randn(1, 20, IMAGE_TOKENS, 64)
    experts = mogle.expert_outputs(condition_tokens)
    base = best_time(lambda: stock(**image))
    for name, call in {
        "stock FLUX, twice the image tokens": lambda: stock(**rows),
        "ours, image alone": lambda: ours(**image),
        "ours, image and condition": lambda: ours(**image, condition_hidden_states=condition),
        "MoGLE, one step": lambda: mogle(condition_tokens, image["hidden_states"], torch.ones(1), experts),
        "MoGLE, experts (once a run)": lambda: mogle.expert_outputs(condition_tokens),
    }.items():
        print(f"{best_time(call) / base:7.3f} x stock FLUX   {name}")


if __name__ == "__main__":
    main()
