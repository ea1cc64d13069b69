"""What a run trains: a frozen base, a LoRA on its condition rows, a MoGLE; and the optimiser of the two."""

import importlib
import logging
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from facemogle.checkpoints import CHECKPOINTS, find_files, find_folder, read_mogle
from facemogle.mogle import MoGLE
from facemogle.pipeline import FaceMoGLEPipeline, image_ids
from facemogle.quantisation import with_adapter_of
from facemogle.transformer import AdapterConfig, FaceMoGLETransformer2DModel

# Unused here: diffusers loads a component only of a module that was imported.
from facemogle.vae import PixelShuffleAutoencoderKL  # noqa: F401
from facemogle.weight_files import check_model, read_model
from train.config import TrainingConfig
from train.objective import TrainingBatch, flow_matching_loss

logger = logging.getLogger(__name__)

TEXT_PARTS = ("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")


def quantise(transformer: FaceMoGLETransformer2DModel, kind: str) -> None:
    """Put layers of bitsandbytes in the place of those in the blocks. They pack their weights on their way to a device.

    Not by diffusers, which knows nothing of condition rows, and refuses to do it without a GPU.
    """
    bnb = optional("bitsandbytes", f"quantise={kind}")
    for name, linear in list(transformer.named_modules()):
        if not isinstance(linear, nn.Linear) or "blocks." not in name:
            continue
        shape = linear.in_features, linear.out_features, linear.bias is not None
        if kind == "4bit":
            layer = bnb.nn.Linear4bit(*shape, compute_dtype=linear.weight.dtype, quant_type="nf4")
        else:
            layer = bnb.nn.Linear8bitLt(*shape, has_fp16_weights=False)
        own = {key: value for key, value in linear.state_dict().items() if key in ("weight", "bias")}
        layer.to(linear.weight.dtype).load_state_dict(own)
        transformer.set_submodule(name, with_adapter_of(linear, layer))


def load_base(config: TrainingConfig, device: torch.device | str) -> FaceMoGLEPipeline:
    """The checkpoint's pipeline, without text encoders where a cache stands for them. CheckpointError."""
    checkpoint = CHECKPOINTS.get(config.checkpoint)
    adapter = mogle = None
    if config.from_checkpoint:
        files = find_files(config.checkpoint, download=True)
        folder, adapter, mogle = files.base, files.adapter, files.mogle or files.base / "mogle"
    else:
        folder = find_folder(checkpoint.base if checkpoint else config.checkpoint, download=True)
    dtype = base_dtype(config, device)
    check_model(folder / "transformer")
    check_model(folder / "vae")
    pipeline = FaceMoGLEPipeline.from_pretrained(
        folder,
        transformer=read_model(FaceMoGLETransformer2DModel, folder / "transformer", dtype),
        mogle=MoGLE() if mogle is None else read_mogle(mogle, torch.float32),
        dtype=dtype,
        **(dict.fromkeys(TEXT_PARTS) if config.cache else {}),
    )
    if adapter is not None:
        pipeline.load_condition_adapter(adapter)
    if config.quantise != "none":
        quantise(pipeline.transformer, config.quantise)
    pipeline.register_to_config(height=config.height, width=config.width)
    pipeline.set_progress_bar_config(disable=True)
    if torch.device(device).type == "cpu":  # whose convolutions are many times slower in bfloat16
        pipeline.vae.float()
    return pipeline.to(device)


def add_trained(pipeline: FaceMoGLEPipeline, config: TrainingConfig) -> None:
    """Give the pipeline the adapter and the MoGLE that the config asks for, in float32; they alone require gradients.

    With from_checkpoint the values are the pipeline's own: ValueError where they are of another kind.
    """
    transformer, given = pipeline.transformer, pipeline.mogle
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        mogle = MoGLE(
            channels=transformer.config.in_channels,
            timestep_scale=config.timestep_scale,
            experts=config.experts,
            gating_kind=config.gating,
            gating_timestep=config.gating_timestep,
        )
    if config.from_checkpoint:
        wanted = AdapterConfig(config.rank, config.alpha)
        same = ("timestep_scale", "experts", "gating_kind", "gating_timestep")
        differing = [name for name in same if given.config[name] != mogle.config[name]]
        if transformer.adapter_config != wanted or differing:
            raise ValueError(
                f"{config.checkpoint} has {transformer.adapter_config} and {dict(given.config)}, the config asks for "
                f"{wanted} and {dict(mogle.config)}. Make them equal, or train new ones with from_checkpoint: false."
            )
        mogle.load_state_dict(given.state_dict())
    else:
        generator = torch.Generator().manual_seed(config.seed)
        transformer.add_condition_adapter(AdapterConfig(config.rank, config.alpha), generator=generator)
    pipeline.register_modules(mogle=mogle.to(pipeline.device).requires_grad_(True))
    for name, parameter in transformer.named_parameters():
        learns = is_adapter(name) or config.train_base
        parameter.requires_grad_(learns)
        if learns:
            parameter.data = parameter.data.float()
    for part in (pipeline.vae, pipeline.text_encoder, pipeline.text_encoder_2):
        if part is not None:
            part.requires_grad_(False)
    if config.gradient_checkpointing:
        transformer.enable_gradient_checkpointing()


def is_adapter(name: str) -> bool:
    return name.endswith(("adapter_A", "adapter_B"))


class Trained(nn.Module):
    """The transformer and the MoGLE as one module, whose output is the loss: what runs in many processes."""

    def __init__(self, pipeline: FaceMoGLEPipeline, config: TrainingConfig):
        super().__init__()
        self.transformer, self.mogle = pipeline.transformer, pipeline.mogle
        self.guidance = config.guidance if self.transformer.config.guidance_embeds else None

    def forward(self, batch: TrainingBatch, noise: Tensor, timestep: Tensor) -> Tensor:
        return flow_matching_loss(
            self.transformer, self.mogle, batch, noise=noise, timestep=timestep, guidance_scale=self.guidance
        )

    def learning(self) -> dict[str, nn.Parameter]:
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}


def put(parameters: Mapping[str, nn.Parameter], values: Mapping[str, Tensor]) -> None:
    """Copy values into the parameters of those names. ValueError where there are none."""
    if unknown := sorted(values.keys() - parameters.keys()):
        raise ValueError(f"The checkpoint holds {unknown[0]}, which this config does not train.")
    with torch.no_grad():
        for name, value in values.items():
            parameters[name].copy_(value)


def precision(config: TrainingConfig, device: torch.device | str) -> torch.dtype:
    """Of the base, and of what is computed."""
    on_cuda = torch.device(device).type == "cuda"
    half = config.precision == "bfloat16" or (config.precision == "auto" and on_cuda)
    return torch.bfloat16 if half else torch.float32


def base_dtype(config: TrainingConfig, device: torch.device | str) -> torch.dtype:
    return torch.float32 if config.train_base else precision(config, device)


def autocast_dtype(config: TrainingConfig, device: torch.device | str) -> torch.dtype | None:
    """Of what computes in less than its weights have: a base that learns, in float32. A frozen one has few already.

    Autocast over it would make its norms float32, and cast before each linear.
    """
    dtype = precision(config, device)
    return dtype if config.train_base and dtype != torch.float32 else None


def freeze_idle(trained: Trained, autocast: torch.dtype | None) -> list[str]:
    """Stop training what no gradient reaches, and name it: looked up by one step on random tokens.

    In the last single block, what the adapter adds to the condition rows' queries and outputs leads nowhere. In
    several processes each parameter that is trained has to take part in every step.
    """
    config, device = trained.transformer.config, trained.transformer.device
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(device)

    batch = TrainingBatch(
        latents=random(2, 4, config.in_channels),
        prompt_embeds=random(2, 3, config.joint_attention_dim),
        pooled_prompt_embeds=random(2, config.pooled_projection_dim),
        img_ids=image_ids(2, 2).to(device),
        txt_ids=torch.zeros(3, 3, device=device),
        condition_tokens=random(2, trained.mogle.config.num_local_experts + 1, 4, config.in_channels),
    )
    with torch.autocast(device.type, autocast, enabled=autocast is not None):
        loss = trained(batch, random(*batch.latents.shape), torch.full([2], 0.5, device=device))
    loss.backward()
    learning = trained.learning()
    # A new adapter's B is 0, so that nothing reaches its A yet: the two learn or rest together.
    of_pair = {name: learning[f"{name[:-1]}B"] if is_adapter(name) else learning[name] for name in learning}
    idle = [name for name, parameter in of_pair.items() if parameter.grad is None or not parameter.grad.any()]
    for name in idle:
        learning[name].requires_grad_(False)
    trained.zero_grad(set_to_none=True)
    return idle


def shard(trained: Trained, num_processes: int) -> None:
    """Spread the frozen weights of the blocks over all processes, which gather a block's when they come to it (FSDP2).

    What learns stays whole in each; DistributedDataParallel, which keeps that equal, must not look at the rest.
    """
    transformer = trained.transformer
    mesh = init_device_mesh(transformer.device.type, (num_processes,))
    for block in [*transformer.transformer_blocks, *transformer.single_transformer_blocks]:
        fully_shard(block, mesh=mesh, ignored_params={each for each in block.parameters() if each.requires_grad})
    frozen = {name: parameter for name, parameter in trained.named_parameters() if not parameter.requires_grad}
    whole, here = (sum(each.nbytes for each in values) for values in (frozen.values(), map(local, frozen.values())))
    logger.info(f"Of the base's {whole / 1e6:,.1f} MB, each process keeps {here / 1e6:,.1f}.")
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(trained, list(frozen))


def local(parameter: Tensor) -> Tensor:
    """This process's part of a parameter that is spread, or all of it."""
    return parameter.to_local() if isinstance(parameter, DTensor) else parameter


def build_optimizer(parameters: list[nn.Parameter], config: TrainingConfig) -> torch.optim.Optimizer:
    common: dict[str, Any] = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
    if config.optimizer == "prodigy":
        prodigy = optional("prodigyopt", "optimizer=prodigy").Prodigy
        return prodigy(parameters, use_bias_correction=True, safeguard_warmup=config.warmup_steps > 0, **common)
    if config.optimizer == "adamw8bit":
        return optional("bitsandbytes", "optimizer=adamw8bit").optim.AdamW8bit(parameters, **common)
    return torch.optim.AdamW(parameters, fused=True, **common)


def learning_rate(step: int, config: TrainingConfig) -> float:
    """Of the step with that number, from 0: a linear warm-up, then the schedule's descent to 0, or none."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    factor = {"constant": 1.0, "linear": 1 - progress, "cosine": (1 + math.cos(math.pi * progress)) / 2}
    return config.learning_rate * factor[config.schedule]


def optional(package: str, wish: str) -> Any:
    """A package that only some settings need. ImportError says how to get it."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(f"{wish} needs the package {package}: pip install {package}") from error
