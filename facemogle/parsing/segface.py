"""SegFace (arXiv 2412.08647): a ConvNeXt, and a small decoder in which one learned token stands for each class.

B batch, C channels, N = h*w image tokens at a quarter of the resolution, T = 19 class tokens. Modules bear the names of
the published weights, so that these load strictly.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.convnext import CNBlockConfig, ConvNeXt, LayerNorm2d

from facemogle.labels import PARSER_NAMES
from facemogle.parsing.published import IMAGENET_MEAN, IMAGENET_STD, PublishedParser

SIZE = 512
TOKENS = (
    "background", "neck", "face", "cloth", "rightear", "leftear", "rightbro", "leftbro", "righteye", "lefteye", "nose",
    "innermouth", "lowerlip", "upperlip", "hair", "glass", "hat", "earring", "necklace",
)  # fmt: skip


def segface_parser(state_dict: dict[str, Tensor], device: torch.device | str = "cpu") -> PublishedParser:
    """The published network with its weights. RuntimeError where their names or shapes are others."""
    network = SegFace().eval()
    network.load_state_dict(state_dict)
    return PublishedParser(
        network.to(device), PARSER_NAMES["segface"], size=SIZE, mean=IMAGENET_MEAN, std=IMAGENET_STD, device=device
    )


class SegFace(nn.Module):
    """Pictures (B, 3, H, W), normalised as ImageNet's -> class logits (B, 19, H, W); H and W are multiples of 32.

    widths, depths: channels and blocks of the ConvNeXt's four stages (those of ConvNeXt-B). width: of the decoder.
    """

    def __init__(
        self,
        widths: Sequence[int] = (128, 256, 512, 1024),
        depths: Sequence[int] = (3, 3, 27, 3),
        width: int = 256,
        mlp_width: int = 2048,
        heads: int = 8,
    ):
        super().__init__()
        stages = [CNBlockConfig(*stage) for stage in zip(widths, (*widths[1:], None), depths, strict=True)]
        self.backbone = nn.Sequential(ConvNeXt(stages).features)
        self.pe_layer = PositionEmbedding(width // 2)
        self.linear_c = nn.ModuleList(Projection(inputs, width) for inputs in widths)
        self.linear_fuse = nn.Conv2d(len(widths) * width, width, 1, bias=False)
        self.face_decoder = FaceDecoder(width, mlp_width, heads)

    def forward(self, pictures: Tensor) -> Tensor:
        features, stages = pictures, []
        for index, layer in enumerate(self.backbone[0].children()):
            features = layer(features)
            if index % 2:  # after the stem, and after each downsampling, comes a stage
                stages.append(features)
        size = stages[0].shape[2:]
        projected = [project(stage) for project, stage in zip(self.linear_c, stages, strict=True)]
        projected = [F.interpolate(one, size, mode="bilinear") for one in projected]
        fused = self.linear_fuse(torch.cat(projected[::-1], 1))  # the coarsest first
        return self.face_decoder(fused, self.pe_layer(*size))


class Projection(nn.Module):
    """A linear layer over channels; (B, C, h, w) -> (B, C', h, w)."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.proj = nn.Linear(inputs, outputs)

    def forward(self, features: Tensor) -> Tensor:
        return self.proj(features.movedim(1, -1)).movedim(-1, 1)


class PositionEmbedding(nn.Module):
    """Sines and cosines along fixed random directions; h and w -> (2 * frequencies, h, w)."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, frequencies: int):
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, frequencies))

    def forward(self, height: int, width: int) -> Tensor:
        matrix = self.positional_encoding_gaussian_matrix
        y, x = (2 * (torch.arange(n, device=matrix.device, dtype=matrix.dtype) + 0.5) / n - 1 for n in (height, width))
        angles = 2 * math.pi * torch.stack(torch.meshgrid(x, y, indexing="xy"), -1) @ matrix
        return torch.cat([angles.sin(), angles.cos()], -1).movedim(-1, 0)


class FaceDecoder(nn.Module):
    """Image features (B, C, h, w) and their positions (C, h, w) -> class logits (B, T, 4h, 4w).

    What becomes of a class's token is, after an MLP, that class's linear filter over the upscaled features.
    """

    def __init__(self, width: int, mlp_width: int, heads: int):
        super().__init__()
        for name in TOKENS:
            self.add_module(f"{name}_token", nn.Embedding(1, width))
        self.transformer = TwoWayTransformer(width, mlp_width, heads)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(width, width // 4, 2, stride=2),
            LayerNorm2d(width // 4, eps=1e-6),
            nn.GELU(),
            nn.ConvTranspose2d(width // 4, width // 8, 2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetwork_mlps = FilterMLP(width, width // 8)

    def forward(self, features: Tensor, positions: Tensor) -> Tensor:
        tokens = torch.cat([self.get_parameter(f"{name}_token.weight") for name in TOKENS])
        image = features.flatten(2).transpose(1, 2)
        tokens, image = self.transformer(tokens.expand(len(image), -1, -1), image, positions.flatten(1).T)
        upscaled = self.output_upscaling(image.transpose(1, 2).unflatten(2, features.shape[2:]))
        return torch.einsum("btc,bchw->bthw", self.output_hypernetwork_mlps(tokens), upscaled)


class FilterMLP(nn.Module):
    """(B, T, C) -> (B, T, C')."""

    def __init__(self, width: int, outputs: int):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, outputs)])

    def forward(self, tokens: Tensor) -> Tensor:
        first, second, last = self.layers
        return last(F.relu(second(F.relu(first(tokens)))))


class TwoWayTransformer(nn.Module):
    """Tokens (B, T, C), image (B, N, C) and its positions (N, C) -> both, after each has attended to the other.

    The tokens as they came in serve as their own positions throughout.
    """

    def __init__(self, width: int, mlp_width: int, heads: int, depth: int = 2):
        super().__init__()
        self.layers = nn.ModuleList(TwoWayBlock(width, mlp_width, heads) for _ in range(depth))
        self.final_attn_token_to_image = Attention(width, width // 2, heads)
        self.norm_final_attn = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, image: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        places = tokens
        for index, block in enumerate(self.layers):
            tokens, image = block(tokens, image, places, positions, first=index == 0)
        seen = self.final_attn_token_to_image(tokens + places, image + positions, image)
        return self.norm_final_attn(tokens + seen), image


class TwoWayBlock(nn.Module):
    """Tokens attend to each other and to the image, pass an MLP, and the image attends to them."""

    def __init__(self, width: int, mlp_width: int, heads: int):
        super().__init__()
        self.self_attn = Attention(width, width, heads)
        self.cross_attn_token_to_image = Attention(width, width // 2, heads)
        self.mlp = MLP(width, mlp_width)
        self.cross_attn_image_to_token = Attention(width, width // 2, heads)
        self.norm1, self.norm2, self.norm3, self.norm4 = (nn.LayerNorm(width) for _ in range(4))

    def forward(
        self, tokens: Tensor, image: Tensor, places: Tensor, positions: Tensor, *, first: bool
    ) -> tuple[Tensor, Tensor]:
        if first:  # tokens are still their own positions, and attention replaces them instead of adding to them
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            tokens = tokens + self.self_attn(tokens + places, tokens + places, tokens)
        tokens = self.norm1(tokens)
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(tokens + places, image + positions, image))
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = self.norm4(image + self.cross_attn_image_to_token(image + positions, tokens + places, tokens))
        return tokens, image


class MLP(nn.Module):
    """(B, T, C) -> the same."""

    def __init__(self, width: int, mlp_width: int):
        super().__init__()
        self.lin1, self.lin2 = nn.Linear(width, mlp_width), nn.Linear(mlp_width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.lin2(F.relu(self.lin1(tokens)))


class Attention(nn.Module):
    """Queries (B, Q, C), keys and values (B, K, C) -> (B, Q, C), through `inner` channels."""

    def __init__(self, width: int, inner: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(width, inner) for _ in range(3))
        self.out_proj = nn.Linear(inner, width)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        projected = (self.q_proj(queries), self.k_proj(keys), self.v_proj(values))
        split = (tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2) for tokens in projected)
        return self.out_proj(F.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2))
