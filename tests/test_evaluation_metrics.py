"""Metrics from files to values: real architectures of tiny width, against published code, or against it written out."""

import dataclasses
import json
import math
from functools import partial

import lpips
import numpy as np
import pytest
import pywt
import torch
import torch.nn.functional as F
from cleanfid import fid as cleanfid
from cleanfid.inception_torchscript import InceptionV3W
from cleanfid.utils import ResizeDataset
from PIL import Image
from torch import nn
from torchvision.models import alexnet
from torchvision.transforms.functional import to_tensor
from transformers import (
    BertTokenizer,
    CLIPConfig,
    CLIPModel,
    CLIPVisionModelWithProjection,
    Dinov2Config,
    Dinov2Model,
)

from facemogle.evaluation import image_reward, structure
from facemogle.evaluation.clip_score import TEXT
from facemogle.evaluation.cmmd import CLIP_L_336, CMMD
from facemogle.evaluation.detectors import DETECTORS, NPR, WAVELET_CLIP, NPRDetector, wavelet_head
from facemogle.evaluation.dinov2 import DINOV2, FD_DINOV2
from facemogle.evaluation.distances import frechet_distance, gaussian_mmd
from facemogle.evaluation.features import FeatureCache
from facemogle.evaluation.fid import FID, INCEPTION, KID, load_inception
from facemogle.evaluation.image_reward import IR
from facemogle.evaluation.metric import Picture, Study
from facemogle.evaluation.perceptual import LPIPS
from facemogle.evaluation.pictures import read_rgb
from facemogle.evaluation.structure import DINO, DINO_RAW, MASK, STRUCTURE
from facemogle.weight_files import CheckpointError
from facemogle.whole_files import sha256_of
from tests.published_vit import Published, bert, bert_shapes, linear, random_weights, vit, vit_shapes

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CAPTIONS = ("a man with it", "it", "hat and hair", "a hat", "she")


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    """Five pictures and their real counterparts, of several shapes and formats."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    pictures = []
    for index, caption in enumerate(CAPTIONS):
        paths = [folder / f"{kind}{index}.{'jpg' if index else 'png'}" for kind in ("made", "real")]
        for path in paths:
            coarse = rng.integers(0, 256, (6, 6, 3 if index else 4), np.uint8)
            Image.fromarray(coarse).resize((60 + 9 * index, 70), Image.Resampling.BICUBIC).save(path)
        pictures.append(Picture(str(index), paths[0], real=paths[1], caption=f" {caption}\nand more of it"))
    return Study(pictures, reals=[picture.real for picture in pictures])


@pytest.fixture
def features(tmp_path):
    """Over a folder `networks`, whose files need not be the published ones."""
    cache = FeatureCache(tmp_path / "cache", networks=tmp_path / "networks", download=False)

    def any_file(network, inputs):
        files = tuple(dataclasses.replace(file, sha256="") for file in network.files)
        network = dataclasses.replace(network, files=files)
        if network.name == INCEPTION.name:
            sha256 = sha256_of(tmp_path / "networks" / network.folder / files[0].name)
            network = dataclasses.replace(network, load=partial(load_inception, sha256=sha256))
        return cache(network, inputs)

    return any_file


def put(tmp_path, network, *contents) -> None:
    """Its files: a state dict, or an object as JSON, or text."""
    folder = tmp_path / "networks" / network.folder
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in zip(network.files, contents, strict=True):
        path = folder / file.name
        if path.suffix == ".json":
            path.write_text(json.dumps(content))
        elif path.suffix == ".txt":
            path.write_text(content)
        elif path.suffix == ".safetensors":
            from safetensors.torch import save_file

            save_file(content, path)
        else:
            torch.save(content, path)


def normalised(picture: Image.Image, mean, std) -> torch.Tensor:
    return (to_tensor(picture) - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


def clip_input(path) -> torch.Tensor:
    """OpenAI's: the shorter side to 224, then the middle."""
    picture = Image.open(path).convert("RGB")
    short = min(picture.size)
    size = [int(224 * side / short) for side in picture.size]
    left, top = (round((side - 224) / 2) for side in size)
    picture = picture.resize(size, Image.Resampling.BICUBIC).crop((left, top, left + 224, top + 224))
    return normalised(picture, CLIP_MEAN, CLIP_STD)


class InceptionLike(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.AdaptiveAvgPool2d(8), torch.nn.Flatten(), torch.nn.Linear(192, width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


def put_inception(tmp_path, width: int) -> None:
    folder = tmp_path / "networks" / INCEPTION.folder
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    torch.jit.script(InceptionLike(width).eval().requires_grad_(False)).save(folder / INCEPTION.files[0].name)


def test_grey_of_16_bits_is_seen_as_the_same_in_8(tmp_path):
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(grey).save(tmp_path / "8.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "16.png")
    assert np.array_equal(read_rgb(tmp_path / "8.png"), read_rgb(tmp_path / "16.png"))


def test_inceptions_input_and_features_are_clean_fids(study, features, tmp_path):
    put_inception(tmp_path, 2048)
    paths = [picture.path for picture in study.pictures]
    resized = ResizeDataset([str(path) for path in paths], mode="clean")
    assert all(torch.equal(INCEPTION.preprocess(path), expected) for path, expected in zip(paths, resized, strict=True))
    published = InceptionV3W(str(tmp_path / "networks" / INCEPTION.folder), download=False)
    expected = published(torch.stack(list(resized))).detach().numpy()
    np.testing.assert_allclose(features(INCEPTION, paths), expected, rtol=1e-5, atol=1e-5)


def test_fid_and_kid_of_files_are_clean_fids(study, features, tmp_path):
    put_inception(tmp_path, 3)
    made, real = (features(INCEPTION, paths) for paths in ([p.path for p in study.pictures], study.reals))
    assert FID.measure(study, features).value == pytest.approx(frechet_distance(made, real))
    np.random.seed(42)  # noqa: NPY002 what the published code does
    assert KID.measure(study, features).value == pytest.approx(1000 * cleanfid.kernel_distance(real, made), rel=1e-4)
    nameless = dataclasses.replace(study, reals=())  # the counterparts are all there is
    assert FID.measure(nameless, features).value == FID.measure(study, features).value


TOWER = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
VOCABULARY = [*"abcdefghijklmnopqrstuvwxyz", *(f"{letter}</w>" for letter in "abcdefghijklmnopqrstuvwxyz")]
VOCABULARY += ["it</w>", "<|startoftext|>", "<|endoftext|>"]


def clip(image_size: int) -> tuple[CLIPModel, dict, dict]:
    """-> model, weights as they were once saved, config as its file."""
    special = {"bos_token_id": 53, "eos_token_id": 2, "pad_token_id": 1}  # 2: as in the published files
    text = TOWER | special | {"vocab_size": len(VOCABULARY), "max_position_embeddings": 77}
    vision = TOWER | {"image_size": image_size, "patch_size": image_size // 4}
    config = {"text_config": text, "vision_config": vision, "projection_dim": 16, "model_type": "clip"}
    torch.manual_seed(0)
    model = CLIPModel(CLIPConfig(**config)).eval()
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.1)
    old = {"vision_model.embeddings.position_ids": torch.arange(17)[None]}
    return model, model.state_dict() | old, config


def test_text_is_the_cosine_of_clip(study, features, tmp_path):
    model, weights, config = clip(224)
    vocabulary = {word: index for index, word in enumerate(VOCABULARY)}
    put(tmp_path, TEXT.networks[0], weights, config, vocabulary, "#version: 0.2\ni t</w>\n")
    measured = TEXT.measure(study, features)
    for kind, found in (("path", measured.value), ("real", measured.real)):
        scores = []
        for picture, caption in zip(study.pictures, CAPTIONS, strict=True):
            words = [[*word[:-1], f"{word[-1]}</w>"] if word != "it" else ["it</w>"] for word in caption.split()]
            ids = [53, *(vocabulary[token] for word in words for token in word), 54]
            with torch.inference_mode():
                text = model.text_model(torch.tensor([ids])).last_hidden_state[:, -1] @ model.text_projection.weight.T
                seen = model.vision_model(clip_input(getattr(picture, kind))[None]).pooler_output
                seen = seen @ model.visual_projection.weight.T
            scores.append(100 * F.cosine_similarity(seen, text).item())
        assert found == pytest.approx(np.mean(scores), rel=1e-4)
    assert (
        measured.each["4"] == pytest.approx(TEXT.measure(Study(study.pictures[4:]), features).value)
        and np.ptp(list(measured.each.values())) > 1
    )


def test_cmmd_sees_the_middle_square(study, features, tmp_path):
    model, weights, config = clip(336)
    put(tmp_path, CLIP_L_336, weights, config)
    config["vision_config"]["projection_dim"] = 16
    vision = CLIPVisionModelWithProjection(CLIPConfig(**config).vision_config).eval()
    vision.load_state_dict({k: v for k, v in model.state_dict().items() if k.startswith("vis")})
    seen = []
    for paths in ([picture.path for picture in study.pictures], study.reals):
        squares = []
        for path in paths:
            picture = Image.open(path).convert("RGB")
            (w, h), side = picture.size, min(picture.size)
            box = ((w - side) // 2, (h - side) // 2, (w - side) // 2 + side, (h - side) // 2 + side)
            square = picture.crop(box).resize((336, 336), Image.Resampling.BICUBIC)
            squares.append(normalised(square, CLIP_MEAN, CLIP_STD))
        with torch.inference_mode():
            found = vision(torch.stack(squares)).image_embeds
        seen.append((found / found.norm(dim=1, keepdim=True)).numpy())
    assert CMMD.measure(study, features).value == pytest.approx(gaussian_mmd(*seen), rel=1e-4)


def test_dinov2_at_224_is_resized_as_its_own_code_does(study, features, tmp_path):
    config = TOWER | {"image_size": 518, "patch_size": 14, "mlp_ratio": 2, "model_type": "dinov2"}
    torch.manual_seed(0)
    model = Dinov2Model(Dinov2Config(**config)).eval()
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(tmp_path / "networks" / DINOV2.folder)
    paths = [picture.path for picture in study.pictures]
    at_224 = Dinov2Model(Dinov2Config(**(config | {"image_size": 224}))).eval()
    weights = model.state_dict()
    positions = weights["embeddings.position_embeddings"]
    grid = positions[:, 1:].reshape(1, 37, 37, 32).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, scale_factor=(16.1 / 37, 16.1 / 37), mode="bicubic").permute(0, 2, 3, 1)
    weights["embeddings.position_embeddings"] = torch.cat([positions[:, :1], grid.reshape(1, 256, 32)], 1)
    at_224.load_state_dict(weights)
    with torch.inference_mode():
        pictures = [Image.open(path).convert("RGB").resize((224, 224), Image.Resampling.BICUBIC) for path in paths]
        seen = at_224(torch.stack([normalised(picture, IMAGENET_MEAN, IMAGENET_STD) for picture in pictures]))
    found = features(DINOV2, paths)
    np.testing.assert_allclose(found, seen.last_hidden_state[:, 0].numpy(), atol=1e-4)
    expected = frechet_distance(found, features(DINOV2, study.reals))
    assert FD_DINOV2.measure(study, features).value == pytest.approx(expected)


def self_similarity(keys: torch.Tensor) -> torch.Tensor:
    lengths = keys.norm(dim=-1, keepdim=True)
    return keys @ keys.T / torch.clamp(lengths @ lengths.T, min=1e-8)


@pytest.mark.parametrize(("network", "metric"), [(DINO_RAW, MASK), (DINO, STRUCTURE)], ids=["published", "meant"])
def test_structure_distance_is_that_of_the_published_network(study, features, tmp_path, network, metric):
    weights = random_weights(vit_shapes(128, 2, side=224, patch=56))
    put(tmp_path, network, weights)
    side, published = (512, True) if metric is MASK else (224, False)
    grid = weights["pos_embed"][:, 1:].reshape(1, 4, 4, 128).permute(0, 3, 1, 2)
    tokens = side // 56
    if tokens != 4:
        grid = F.interpolate(grid, scale_factor=((tokens + 0.1) / 4, (tokens + 0.1) / 4), mode="bicubic")
    positions = torch.cat([weights["pos_embed"][:, :1], grid.permute(0, 2, 3, 1).reshape(1, -1, 128)], 1)
    distances = []
    for picture in study.pictures:
        found = []
        for path in (picture.path, picture.real):
            resample = Image.Resampling.BICUBIC if published else Image.Resampling.BILINEAR
            pixels = Image.open(path).convert("RGB").resize((side, side), resample)
            pixels = to_tensor(pixels) if published else normalised(pixels, IMAGENET_MEAN, IMAGENET_STD)
            _, keys = vit(Published(weights), pixels[None], heads=2, positions=positions)
            found.append(self_similarity(keys[0]))
        distances.append(F.mse_loss(*found).item())
    measured = metric.measure(study, features)
    assert measured.value == pytest.approx(sum(distances) if published else np.mean(distances), rel=1e-3)
    assert published or list(measured.each.values()) == pytest.approx(distances, rel=1e-3)


def test_mask_as_published_is_a_mean_of_sums_over_batches_of_64(tmp_path):
    distances = np.random.default_rng(0).random(130).astype(np.float32)
    study = Study([Picture(str(index), tmp_path, real=tmp_path) for index in range(130)])
    expected = np.mean([distances[start : start + 64].sum() for start in range(0, 130, 64)])
    measured = MASK.measure(study, lambda network, inputs: distances)
    assert measured.value == pytest.approx(expected, rel=1e-6)
    assert measured.value == pytest.approx(distances.mean() * 130 / math.ceil(130 / 64), rel=1e-6)
    assert f"{distances.mean():.4f}" in measured.note
    with pytest.raises(ValueError, match="real counterpart"):
        MASK.measure(Study([Picture("alone", tmp_path)]), None)


def image_reward_shapes(*, width, layers, side, patch, text_width, text_layers, words):
    vision, text = (
        vit_shapes(width, layers, side=side, patch=patch),
        bert_shapes(text_width, text_layers, words=words, seen=width),
    )
    shapes = {f"blip.visual_encoder.{name}": shape for name, shape in vision.items()}
    shapes |= {f"blip.text_encoder.{name}": shape for name, shape in text.items()}
    shapes |= linear("blip.vision_proj", 256, width) | linear("blip.text_proj", 256, text_width)
    sizes = (text_width, 1024, 128, 64, 16, 1)
    for place, inputs, outputs in zip((0, 2, 4, 6, 7), sizes[:-1], sizes[1:], strict=True):
        shapes |= linear(f"mlp.layers.{place}", outputs, inputs)
    return shapes


def test_image_reward_is_that_of_the_published_network(study, features, tmp_path):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "man", "it", "hat", "she", "hair", "and", "##s"]
    shapes = image_reward_shapes(width=64, layers=2, side=224, patch=56, text_width=128, text_layers=2, words=15)
    weights = random_weights(shapes)
    put(tmp_path, IR.networks[0], weights, "\n".join(words) + "\n")
    measured = IR.measure(study, features)
    tokens = {word: index for index, word in enumerate(words)}
    for kind, found in (("path", measured.value), ("real", measured.real)):
        rewards = []
        for picture, caption in zip(study.pictures, CAPTIONS, strict=True):
            ids = [2, *(tokens.get(word, 1) for word in caption.split()), 3]
            mask = torch.arange(35)[None] < len(ids)
            ids = torch.tensor([ids + [0] * (35 - len(ids))])
            seen, _ = vit(Published(weights, "blip.visual_encoder."), clip_input(getattr(picture, kind))[None], heads=1)
            x = bert(Published(weights, "blip.text_encoder."), ids, mask, seen, heads=2)[:, 0]
            for place in (0, 2, 4, 6, 7):
                x = Published(weights).linear(f"mlp.layers.{place}", x)
            rewards.append((x.item() - 0.16717362830052426) / 1.0333394966054072)
        assert found == pytest.approx(np.mean(rewards), abs=1e-4)
        if kind == "path":
            assert list(measured.each.values()) == pytest.approx(rewards, abs=1e-4) and np.ptp(rewards) > 0.05

    tokenizer = BertTokenizer(vocab=tokens)
    assert len(tokenizer("a man " * 40, truncation=True, max_length=35).input_ids) == 35
    for broken in (weights | {"blip.text_encoder.foreign": torch.ones(1)}, dict(list(weights.items())[:-1])):
        put(tmp_path, IR.networks[0], broken, "\n".join(words))
        with pytest.raises(CheckpointError, match=r"ImageReward\.pt"):
            IR.measure(study, features)


def test_image_rewards_published_shapes_are_blips():
    """Of ViT-L/16 and BERT-base, on no memory."""
    shapes = image_reward_shapes(width=1024, layers=24, side=224, patch=16, text_width=768, text_layers=12, words=30524)
    with torch.device("meta"):
        weights = image_reward.renamed({name: torch.empty(shape) for name, shape in shapes.items()})
        vision = image_reward.BlipVisionModel(image_reward._vision_config(weights[image_reward._VISION]))
        config = image_reward._text_config(weights[image_reward._TEXT])
        text = image_reward.BlipTextModel(config, add_pooling_layer=False)
    for model, part in ((vision, image_reward._VISION), (text, image_reward._TEXT)):
        ours = {name: tensor.shape for name, tensor in model.state_dict().items()}
        assert ours == {name: tensor.shape for name, tensor in weights[part].items()}
    assert (vision.config.num_attention_heads, config.num_attention_heads) == (16, 12)


def random_alexnet(pretrained):
    """Without the classifier's 58 million weights, which it would take seconds to draw."""
    with torch.device("meta"):
        network = alexnet()
    torch.manual_seed(0)
    for parameter in network.features.to_empty(device="cpu").parameters():
        torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    return network


def test_lpips_is_the_published_package(study, features, tmp_path, monkeypatch):
    monkeypatch.setattr(lpips.pretrained_networks.tv, "alexnet", random_alexnet)
    published = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).eval()
    trunk = {f"features.{name.split('.', 1)[1]}": tensor for name, tensor in published.net.state_dict().items()}
    heads = {name: tensor for name, tensor in published.state_dict().items() if "model" in name and "lins" not in name}
    put(tmp_path, LPIPS, trunk | {"classifier.1.weight": torch.ones(2)}, heads)
    pairs = [(picture.path, picture.real) for picture in study.pictures[:2]]
    found = features(LPIPS, pairs)
    for value, pair in zip(found, pairs, strict=True):
        pictures = [Image.open(path).convert("RGB").resize((256, 256), Image.Resampling.BICUBIC) for path in pair]
        with torch.inference_mode():
            expected = published(*(2 * to_tensor(picture)[None] - 1 for picture in pictures)).item()
        assert value == pytest.approx(expected, rel=1e-4)


def test_npr_is_the_published_network(study, features, tmp_path):
    torch.manual_seed(0)
    network = NPRDetector().eval()
    put(tmp_path, NPR, network.state_dict())
    path = study.pictures[1].path
    picture = Image.open(path).convert("RGB").resize((256, 256), Image.Resampling.BILINEAR)
    x = normalised(picture, IMAGENET_MEAN, IMAGENET_STD)[None]
    options = {"mode": "nearest", "recompute_scale_factor": True}
    x = x - F.interpolate(F.interpolate(x, scale_factor=0.5, **options), scale_factor=2, **options)
    with torch.inference_mode():
        x = network.maxpool(network.bn1(network.conv1(x * 2 / 3)).relu())
        expected = network.fc1(network.layer2(network.layer1(x)).mean((2, 3))).sigmoid().item()
    assert features(NPR, [path])[0] == pytest.approx(expected, rel=1e-4)
    assert sum(p.numel() for p in network.parameters()) < 2e6 and network.fc1.in_features == 512
    auc = next(metric for metric in DETECTORS if metric.name == "npr_auc")
    assert auc.measure(Study(study.pictures[:2]), features).value in (0, 0.25, 0.5, 0.75, 1)


def band(signal: np.ndarray, coefficients: list[float]) -> np.ndarray:
    """Zeros beyond the ends, every other value."""
    return np.convolve(signal, coefficients)[1::2]


def joined(low: np.ndarray, high: np.ndarray, wavelet) -> np.ndarray:
    """The inverse of two bands."""
    found = np.zeros(2 * len(high) - len(wavelet.rec_lo) + 2)
    for coefficients, values in ((wavelet.rec_lo, low[: len(high)]), (wavelet.rec_hi, high)):
        spread = np.zeros(2 * len(values) - 1)
        spread[::2] = values
        whole = np.convolve(spread, coefficients)
        found += whole[len(coefficients) - 2 : len(coefficients) - 2 + len(found)]
    return found


def test_wavelet_clip_changes_the_low_band_alone(study, features, tmp_path):
    wavelet, rng = pywt.Wavelet("db6"), np.random.default_rng(0)
    shapes = linear("slp", 137, 137) | linear("head", 2, 1024)
    weights = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    signal = rng.normal(size=1024)
    low, high = signal, []
    for _ in range(3):
        low, band_above = band(low, wavelet.dec_lo), band(low, wavelet.dec_hi)
        high.append(band_above)
    x = weights["slp.weight"] @ low + weights["slp.bias"]
    for band_above in reversed(high):
        x = joined(x, band_above, wavelet)
    expected = weights["head.weight"] @ x + weights["head.bias"]
    assert wavelet_head(signal[None], weights)[0] == pytest.approx(expected, rel=1e-5)

    model, _, _ = clip(224)
    vision = model.vision_model.state_dict()
    shapes = linear("slp", 13, 13) | linear("head", 2, 32)
    head = {name: torch.randn(shape) for name, shape in shapes.items()}
    extra = {"dwt.h0": torch.ones(1, 1, 12, 1), "backbone.embeddings.position_ids": torch.arange(17)[None]}
    put(tmp_path, WAVELET_CLIP, {f"backbone.{name}": tensor for name, tensor in vision.items()} | head | extra)
    paths = [picture.path for picture in study.pictures]
    found = features(WAVELET_CLIP, paths)
    one_head = model.vision_model
    for layer in one_head.encoder.layers:  # as many heads as the published one has for its width
        layer.self_attn.num_heads, layer.self_attn.head_dim, layer.self_attn.scale = 1, 32, 32**-0.5
    with torch.inference_mode():
        pooled = one_head(torch.stack([WAVELET_CLIP.preprocess(path) for path in paths])).pooler_output.numpy()
    logits = torch.from_numpy(wavelet_head(pooled, {name: tensor.numpy() for name, tensor in head.items()}))
    np.testing.assert_allclose(found, logits.softmax(1)[:, 1].numpy(), atol=1e-4)
    put(tmp_path, WAVELET_CLIP, {"head.weight": torch.ones(2, 2)})
    with pytest.raises(CheckpointError, match="no Wavelet-CLIP"):
        features(WAVELET_CLIP, paths)


def test_dinos_names_are_all_known():
    renamed = structure.renamed(random_weights(vit_shapes(8, 1, side=16, patch=8)))
    assert not any(part in name for name in renamed for part in ("blocks", "attn", "mlp", "norm1", "patch_embed."))
    query, value = (renamed[f"encoder.layer.0.attention.attention.{part}.weight"] for part in ("query", "value"))
    assert query.shape == value.shape == (8, 8)
