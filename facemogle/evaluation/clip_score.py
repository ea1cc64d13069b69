"""The paper's Text: 100 x the cosine of a picture and its caption in OpenAI's CLIP ViT-B/16, mean over pictures.

The published code computes in float16 on a GPU, so that its digits differ from the third on.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor
from torch.nn.functional import cosine_similarity
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from facemogle.evaluation.metric import Metric, Network, NetworkFile
from facemogle.evaluation.networks import read_weights, transformers_model
from facemogle.evaluation.pictures import clip_224
from facemogle.evaluation.studies import mean_score
from facemogle.weight_files import explained, read_json

_HOME = "openai/clip-vit-base-patch16"


def load_clip(paths: Sequence[Path], device: str) -> Callable[[Tensor, list[str]], Tensor]:
    """(B, 3, 224, 224) and B captions -> (B,) 100 x cosine. Captions beyond CLIP's 77 tokens are cut there."""
    weights_file, config_file, vocabulary, merges = paths
    config = CLIPConfig.from_dict(read_json(config_file))
    weights = {name: tensor for name, tensor in read_weights(weights_file).items() if "position_ids" not in name}
    network = transformers_model(CLIPModel, config, weights, weights_file).to(device)
    tokenizer = read_tokenizer(vocabulary, merges)
    length = config.text_config.max_position_embeddings

    def score(pictures: Tensor, captions: list[str]) -> Tensor:
        tokens = tokenizer(captions, padding=True, truncation=True, max_length=length, return_tensors="pt").to(device)
        seen = network(pixel_values=pictures, **tokens)
        return 100 * cosine_similarity(seen.image_embeds, seen.text_embeds)

    return score


def read_tokenizer(vocabulary: Path, merges: Path) -> CLIPTokenizer:
    with explained(merges):
        lines = merges.read_text(encoding="utf-8").strip().splitlines()
        pairs = [tuple(line.split()) for line in lines if not line.startswith("#version")]
        return CLIPTokenizer(vocab=json.loads(vocabulary.read_text(encoding="utf-8")), merges=pairs)


CLIP_B_16 = Network(
    name="clip-vit-base-patch16",
    files=(
        NetworkFile(f"{_HOME}/pytorch_model.bin", size=599_000_000),
        NetworkFile(f"{_HOME}/config.json", size=4_000),
        NetworkFile(f"{_HOME}/vocab.json", size=862_000),
        NetworkFile(f"{_HOME}/merges.txt", size=525_000),
    ),
    preprocess=clip_224,
    load=load_clip,
    licence="MIT, of OpenAI's code",
)


TEXT = Metric("text", "Text", "higher", frozenset({"caption"}), (CLIP_B_16,), mean_score(CLIP_B_16))
