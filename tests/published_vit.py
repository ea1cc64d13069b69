"""Published transformers written out plainly, over random weights of any size under their published names.

What evaluation's networks are held against: DINO's ViT, which BLIP's pictures go through as well, and BLIP's text.
B batch, N tokens, C channels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def vit_shapes(width: int, layers: int, *, side: int, patch: int) -> dict[str, tuple[int, ...]]:
    tokens = (side // patch) ** 2 + 1
    shapes = {"cls_token": (1, 1, width), "pos_embed": (1, tokens, width)}
    shapes |= linear("patch_embed.proj", width, 3, patch, patch) | norm("norm", width)
    for layer in (f"blocks.{index}" for index in range(layers)):
        shapes |= norm(f"{layer}.norm1", width) | norm(f"{layer}.norm2", width)
        shapes |= linear(f"{layer}.attn.qkv", 3 * width, width) | linear(f"{layer}.attn.proj", width, width)
        shapes |= linear(f"{layer}.mlp.fc1", 4 * width, width) | linear(f"{layer}.mlp.fc2", width, 4 * width)
    return shapes


def bert_shapes(width: int, layers: int, *, words: int, seen: int) -> dict[str, tuple[int, ...]]:
    """seen: channels of the picture's tokens."""
    shapes = {"embeddings.word_embeddings.weight": (words, width), "embeddings.position_ids": (1, 512)}
    shapes |= {"embeddings.position_embeddings.weight": (512, width)} | norm("embeddings.LayerNorm", width)
    for layer in (f"encoder.layer.{index}" for index in range(layers)):
        for kind, keys in (("attention", width), ("crossattention", seen)):
            shapes |= linear(f"{layer}.{kind}.self.query", width, width) | norm(
                f"{layer}.{kind}.output.LayerNorm", width
            )
            shapes |= linear(f"{layer}.{kind}.self.key", width, keys) | linear(
                f"{layer}.{kind}.self.value", width, keys
            )
            shapes |= linear(f"{layer}.{kind}.output.dense", width, width)
        shapes |= linear(f"{layer}.intermediate.dense", 4 * width, width) | norm(f"{layer}.output.LayerNorm", width)
        shapes |= linear(f"{layer}.output.dense", width, 4 * width)
    return shapes


def linear(name: str, *shape: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def random_weights(shapes: dict[str, tuple[int, ...]], *, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    weights = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    for name, tensor in weights.items():
        tensor.mul_(tensor[0].numel() ** -0.5 if tensor.ndim > 1 else 0.3)
        if "norm" in name.lower() and name.endswith("weight"):
            tensor.add_(1)
    return weights


class Published:
    """Weights below a prefix, and layers that use them."""

    def __init__(self, weights: dict[str, Tensor], prefix: str = ""):
        self.weights, self.prefix = weights, prefix

    def __getitem__(self, name: str) -> Tensor:
        return self.weights[self.prefix + name]

    def below(self, name: str) -> "Published":
        return Published(self.weights, f"{self.prefix}{name}.")

    def linear(self, name: str, x: Tensor) -> Tensor:
        return x @ self[f"{name}.weight"].T + self[f"{name}.bias"]

    def norm(self, name: str, x: Tensor, eps: float) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self[f"{name}.weight"], self[f"{name}.bias"], eps)


def attention(query: Tensor, key: Tensor, value: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    """(B, N, C) each; mask (B, N) of what may be looked at."""
    query, key, value = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key, value))
    scores = query @ key.mT / query.shape[-1] ** 0.5
    if mask is not None:
        scores = scores - 10_000.0 * (1 - mask[:, None, None].float())
    return (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)


def vit(net: Published, pictures: Tensor, *, heads: int, positions: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """(B, 3, H, W) -> tokens after the last norm, and keys of the last layer, both (B, N, C)."""
    patch = net["patch_embed.proj.weight"]
    x = F.conv2d(pictures, patch, net["patch_embed.proj.bias"], stride=patch.shape[-1]).flatten(2).mT
    x = torch.cat([net["cls_token"].expand(len(x), -1, -1), x], 1) + (
        net["pos_embed"] if positions is None else positions
    )
    for index in range(sum(name.endswith("norm1.weight") for name in net.weights)):
        block = net.below(f"blocks.{index}")
        query, key, value = block.linear("attn.qkv", block.norm("norm1", x, 1e-6)).chunk(3, -1)
        x = x + block.linear("attn.proj", attention(query, key, value, heads))
        x = x + block.linear("mlp.fc2", F.gelu(block.linear("mlp.fc1", block.norm("norm2", x, 1e-6))))
    return net.norm("norm", x, 1e-6), key


def bert(net: Published, ids: Tensor, mask: Tensor, seen: Tensor, *, heads: int) -> Tensor:
    """BLIP's text that looks at a picture's tokens `seen`: ids and mask (B, N) -> (B, N, C)."""
    embedded = (
        net["embeddings.word_embeddings.weight"][ids] + net["embeddings.position_embeddings.weight"][: ids.shape[1]]
    )
    x = net.norm("embeddings.LayerNorm", embedded, 1e-12)
    for index in range(sum(name.endswith("intermediate.dense.weight") for name in net.weights)):
        layer = net.below(f"encoder.layer.{index}")
        for kind, source, may_see in (("attention", None, mask), ("crossattention", seen, None)):
            part, source = layer.below(kind), x if source is None else source
            query, key, value = (
                part.linear("self.query", x),
                part.linear("self.key", source),
                part.linear("self.value", source),
            )
            found = part.linear("output.dense", attention(query, key, value, heads, may_see))
            x = part.norm("output.LayerNorm", found + x, 1e-12)
        found = layer.linear("output.dense", F.gelu(layer.linear("intermediate.dense", x)))
        x = layer.norm("output.LayerNorm", found + x, 1e-12)
    return x
