"""ImageReward-v1.0 (arXiv 2304.05977): how much people would like a picture for its caption. The paper's IR.

Its BLIP is put together from transformers' parts, with the published weights under their names.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor, nn
from transformers import BertTokenizer, BlipTextConfig, BlipTextModel, BlipVisionConfig, BlipVisionModel

from facemogle.evaluation.metric import Metric, Network, NetworkFile
from facemogle.evaluation.networks import fill, read_weights, transformers_model
from facemogle.evaluation.pictures import clip_224
from facemogle.evaluation.studies import mean_score

_MEAN, _STD = 0.16717362830052426, 1.0333394966054072  # of rewards, so that they come out around 0
_TOKENS = 35

_VISION = "blip.visual_encoder."
_TEXT = "blip.text_encoder."
_HEAD = "mlp.layers."
_UNUSED = ("position_ids", "blip.vision_proj.", "blip.text_proj.")
_NAMES = {
    r"^cls_token": "embeddings.class_embedding",
    r"^pos_embed": "embeddings.position_embedding",
    r"^patch_embed\.proj": "embeddings.patch_embedding",
    r"^norm\.": "post_layernorm.",
    r"^blocks\.": "encoder.layers.",
    r"\.norm([12])": r".layer_norm\1",
    r"\.attn\.qkv": ".self_attn.qkv",
    r"\.attn\.proj": ".self_attn.projection",
}


def renamed(weights: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Published weights -> those of the picture's, the text's and the head's modules, by their prefixes."""
    found: dict[str, dict[str, Tensor]] = {_VISION: {}, _TEXT: {}, _HEAD: {}}
    for name, tensor in weights.items():
        if any(unused in name for unused in _UNUSED):
            continue
        prefix = next(
            (prefix for prefix in found if name.startswith(prefix)), _HEAD
        )  # a foreign one does not fit there
        name = name.removeprefix(prefix)
        for pattern, ours in _NAMES.items() if prefix == _VISION else ():
            name = re.sub(pattern, ours, name)
        found[prefix][name] = tensor
    return found


def load_image_reward(paths: Sequence[Path], device: str) -> Callable[[Tensor, list[str]], Tensor]:
    """(B, 3, 224, 224) and B captions -> (B,). The sizes are the weights' own, with 64 channels a head."""
    weights_file, vocabulary = paths
    weights = renamed(read_weights(weights_file))
    vision = transformers_model(BlipVisionModel, _vision_config(weights[_VISION]), weights[_VISION], weights_file)
    config = _text_config(weights[_TEXT])
    text = transformers_model(BlipTextModel, config, weights[_TEXT], weights_file, pooler=False).to(device)
    head = fill(_head(weights[_HEAD]), weights[_HEAD], weights_file).to(device)
    vision.to(device)
    words = vocabulary.read_text(encoding="utf-8").splitlines()
    tokenizer = BertTokenizer(vocab={word: index for index, word in enumerate(words)})

    def reward(pictures: Tensor, captions: list[str]) -> Tensor:
        tokens = tokenizer(captions, padding="max_length", truncation=True, max_length=_TOKENS, return_tensors="pt")
        seen = text(
            input_ids=tokens.input_ids.to(device),
            attention_mask=tokens.attention_mask.to(device),
            encoder_hidden_states=vision(pictures).last_hidden_state,
            is_decoder=False,
        )
        return (head(seen.last_hidden_state[:, 0])[:, 0] - _MEAN) / _STD

    return reward


def _vision_config(weights: dict[str, Tensor]) -> BlipVisionConfig:
    patches = weights["embeddings.patch_embedding.weight"]
    tokens = weights["embeddings.position_embedding"].shape[1] - 1
    return BlipVisionConfig(
        hidden_size=len(patches),
        intermediate_size=len(weights["encoder.layers.0.mlp.fc1.weight"]),
        num_hidden_layers=sum(name.endswith(".layer_norm1.weight") for name in weights),
        num_attention_heads=max(1, len(patches) // 64),
        image_size=round(tokens**0.5) * patches.shape[-1],
        patch_size=patches.shape[-1],
        layer_norm_eps=1e-6,
    )


def _text_config(weights: dict[str, Tensor]) -> BlipTextConfig:
    words, width = weights["embeddings.word_embeddings.weight"].shape
    return BlipTextConfig(
        vocab_size=words,
        hidden_size=width,
        encoder_hidden_size=weights["encoder.layer.0.crossattention.self.key.weight"].shape[1],
        intermediate_size=len(weights["encoder.layer.0.intermediate.dense.weight"]),
        num_hidden_layers=sum(name.endswith(".intermediate.dense.weight") for name in weights),
        num_attention_heads=max(1, width // 64),
        max_position_embeddings=len(weights["embeddings.position_embeddings.weight"]),
        is_decoder=True,  # what gives it the layers that look at the picture
    )


def _head(weights: dict[str, Tensor]) -> nn.Sequential:
    """Linear layers with nothing between them; in the published list of layers some are dropouts."""
    layers = {int(name.split(".")[0]): tensor for name, tensor in weights.items() if name.endswith(".weight")}
    modules = [nn.Linear(*layers[i].shape[::-1]) if i in layers else nn.Identity() for i in range(max(layers) + 1)]
    return nn.Sequential(*modules)


IMAGE_REWARD = Network(
    name="image-reward",
    files=(
        NetworkFile("zai-org/ImageReward/ImageReward.pt", size=1_790_000_000),
        NetworkFile(
            "google-bert/bert-base-uncased/vocab.txt",
            size=231_508,
            sha256="07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
        ),
    ),
    preprocess=clip_224,
    load=load_image_reward,
    licence="Apache-2.0",
)


IR = Metric("ir", "IR", "higher", frozenset({"caption"}), (IMAGE_REWARD,), mean_score(IMAGE_REWARD))
