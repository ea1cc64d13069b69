"""The published parsers through their real loading code, with small stand-in weights that have the true interface.

The stand-ins answer by colour: blue is the left eye, green the right one, red the lower lip, grey the background.
"""

import io
import os
import re
import sys
from collections import Counter
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from huggingface_hub import constants, errors
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from facemogle import parser_checkpoints
from facemogle.checkpoints import (
    PARSERS,
    CheckpointError,
    default_parser,
    load_parser,
    parser_available,
    parser_of,
    parsers,
)
from facemogle.labels import CLASS_ID, NUM_CLASSES, PARSER_NAMES
from facemogle.parsing import segface
from facemogle.parsing.alignment import frame_whole
from facemogle.parsing.parse import parse_frame
from facemogle.parsing.photos import read_photo
from facemogle.parsing.published import IMAGENET_MEAN, IMAGENET_STD
from facemogle.parsing.segface import SegFace
from facemogle.whole_files import sha256_of

COLOURS = {
    "background": (90, 90, 90),
    "left_eye": (20, 40, 230),
    "right_eye": (30, 200, 40),
    "lower_lip": (220, 60, 60),
}
PUBLISHED = ("segface", "farl", "segformer")
needs_facer = pytest.mark.skipif(find_spec("facer") is None, reason="needs facer: pip install pyfacer")
every_parser = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[needs_facer] if name == "farl" else []) for name in PUBLISHED]
)
# The classes of COLOURS in the order that SegFace and FaRL have in common.
INDICES = torch.tensor([0, 8, 9, 12])
TINY = partial(SegFace, widths=(8, 8, 8, 8), depths=(1, 1, 1, 1), width=32, mlp_width=32, heads=2)


def normalised_colours() -> torch.Tensor:
    """(4, 3), as SegFace and SegFormer see them."""
    return (torch.tensor(list(COLOURS.values())) / 255 - torch.tensor(IMAGENET_MEAN)) / torch.tensor(IMAGENET_STD)


@torch.no_grad()
def segface_stand_in() -> dict[str, torch.Tensor]:
    """A tiny SegFace: tokens and image do not hear of each other, and the filters are solved for, a class a colour."""
    torch.manual_seed(0)
    network = TINY().eval()
    decoder = network.face_decoder
    mute = re.compile(r"layer_scale|(cross|final)_attn_\w+\.out_proj|linear_c\.[123]")
    for name, parameter in network.named_parameters():
        if mute.search(name):
            parameter.zero_()
    for index in (0, 3):  # all pixels of a block alike
        decoder.output_upscaling[index].weight.copy_(decoder.output_upscaling[index].weight[:, :, :1, :1])
    features, tokens, outputs = [], [], decoder.output_hypernetwork_mlps.layers[-1]
    hooks = [
        decoder.output_upscaling.register_forward_hook(lambda _, __, upscaled: features.append(upscaled[..., 16, 16])),
        outputs.register_forward_pre_hook(lambda _, inputs: tokens.append(inputs[0][0])),
    ]
    network(normalised_colours()[..., None, None].expand(-1, -1, 32, 32))
    for hook in hooks:
        hook.remove()
    wanted = torch.full((len(COLOURS), NUM_CLASSES), -20.0)
    wanted[range(len(COLOURS)), INDICES] = 20
    filters = torch.linalg.pinv(features[0]) @ wanted  # (width / 8, 19)
    outputs.weight.copy_((torch.linalg.pinv(tokens[0]) @ filters.T).T)
    outputs.bias.zero_()
    return network.state_dict()


class FarlStandIn(nn.Module):
    """RGB in 0..1 -> logits of `classes` classes at 512 x 512, and something else."""

    def __init__(self, classes: int = NUM_CLASSES):
        super().__init__()
        self.register_buffer("colours", torch.tensor(list(COLOURS.values())) / 255)
        self.register_buffer("classes", F.one_hot(INDICES % classes, classes).float())

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        assert pictures.shape[1:] == (3, 448, 448)
        assert float(pictures.min()) >= 0.0 and float(pictures.max()) <= 1.0
        distances = (pictures[:, None] - self.colours[:, :, None, None]).square().sum(2)
        logits = torch.einsum("bkhw,kc->bchw", 40 - 400 * distances, self.classes) - 20
        return F.interpolate(logits, [512, 512], mode="bilinear"), logits.mean()


def segformer_stand_in(folder: Path) -> None:
    """Its classes are in reverse order, under the names that the published config gives them."""
    torch.manual_seed(0)
    labels = PARSER_NAMES["segformer"][::-1]
    network = SegformerForSemanticSegmentation(
        SegformerConfig(
            depths=[1] * 4, hidden_sizes=[8] * 4, num_attention_heads=[1] * 4, decoder_hidden_size=16,
            mlp_ratios=[2] * 4, id2label=dict(enumerate(labels)), label2id={name: i for i, name in enumerate(labels)},
        )
    )  # fmt: skip
    classes = torch.tensor([NUM_CLASSES - 1 - CLASS_ID[name] for name in COLOURS])  # the published order is ours
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(60):
        blocks = torch.randint(len(COLOURS), (4, 4, 4)).repeat_interleave(16, 1).repeat_interleave(16, 2)
        logits = network(pixel_values=normalised_colours()[blocks].permute(0, 3, 1, 2)).logits
        loss = F.cross_entropy(F.interpolate(logits, scale_factor=4.0, mode="bilinear"), classes[blocks])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.save_pretrained(folder)


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("stand-ins")
    others = {"epoch": 299, "optimizer": {"state": {0: torch.zeros(3)}}, "scheduler": {"milestones": Counter([1])}}
    torch.save({"state_dict_backbone": segface_stand_in(), **others}, folder / "model_299.pt")
    torch.jit.script(FarlStandIn()).save(folder / "farl.pt")
    segformer_stand_in(folder / "segformer")
    return {"segface": folder / "model_299.pt", "farl": folder / "farl.pt", "segformer": folder / "segformer"}


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path) -> Path:
    """Tiny networks, empty caches, and no network."""
    monkeypatch.setattr(segface, "SegFace", TINY)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setitem(PARSERS, "farl", replace(PARSERS["farl"], home=(tmp_path / "nowhere").as_uri()))
    return tmp_path


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """(256, 256, 3). The subject's left eye, blue, is on the right of the picture."""
    picture = np.full((256, 256, 3), COLOURS["background"], np.uint8)
    picture[80:112, 48:96] = COLOURS["right_eye"]
    picture[80:112, 160:208] = COLOURS["left_eye"]
    picture[176:208, 80:176] = COLOURS["lower_lip"]
    return picture


@every_parser
def test_from_photo_bytes_to_a_label_map_with_left_and_right(name, stand_ins, photo):
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "PNG")
    file.seek(0)
    parser = load_parser(name, weights=stand_ins[name])
    read = read_photo(file)
    label_map = parse_frame(parser, read, frame_whole(read), clean=False).label_map
    expected = np.zeros((256, 256), np.uint8)
    for part, colour in COLOURS.items():
        expected[(photo == colour).all(-1)] = CLASS_ID[part]
    assert (label_map == expected).mean() > 0.97
    columns = {part: np.nonzero(label_map == CLASS_ID[part])[1].mean() for part in COLOURS if part != "background"}
    assert columns["right_eye"] < 110 < columns["lower_lip"] < 146 < columns["left_eye"]


@every_parser
def test_any_size_in_and_its_probabilities_out(name, stand_ins, photo):
    parser = load_parser(name, weights=stand_ins[name])
    pictures = [photo, photo[:, ::-1][:100, :70], np.zeros((1, 1, 3), np.uint8)]
    for picture, probabilities, label_map in zip(
        pictures, parser.probabilities(pictures), parser.parse(pictures), strict=True
    ):
        assert probabilities.shape == (NUM_CLASSES, *picture.shape[:2]) and probabilities.dtype == np.float32
        assert np.allclose(probabilities.sum(0), 1, atol=1e-5)
        assert np.array_equal(probabilities.argmax(0), label_map) and label_map.dtype == np.uint8
    with pytest.raises(ValueError, match=r"must be \(H, W, 3\) uint8 RGB"):
        parser.parse([photo / 255])


def test_segface_is_the_published_network():
    with torch.device("meta"):
        network = SegFace()
    tensors = network.state_dict()
    assert len(tensors) == 463 and sum(parameter.numel() for parameter in network.parameters()) == 91_828_992
    shapes = {
        "backbone.0.0.0.weight": (128, 3, 4, 4),
        "backbone.0.5.26.block.5.weight": (512, 2048),
        "backbone.0.7.2.layer_scale": (1024, 1, 1),
        "pe_layer.positional_encoding_gaussian_matrix": (2, 128),
        "linear_c.3.proj.weight": (256, 1024),
        "linear_fuse.weight": (256, 1024, 1, 1),
        "face_decoder.rightbro_token.weight": (1, 256),
        "face_decoder.transformer.layers.1.self_attn.q_proj.weight": (256, 256),
        "face_decoder.transformer.layers.0.cross_attn_image_to_token.out_proj.weight": (256, 128),
        "face_decoder.transformer.layers.0.mlp.lin1.weight": (2048, 256),
        "face_decoder.transformer.layers.1.norm4.bias": (256,),
        "face_decoder.transformer.final_attn_token_to_image.v_proj.weight": (128, 256),
        "face_decoder.transformer.norm_final_attn.weight": (256,),
        "face_decoder.output_upscaling.0.weight": (256, 64, 2, 2),
        "face_decoder.output_upscaling.1.weight": (64,),
        "face_decoder.output_upscaling.3.weight": (64, 32, 2, 2),
        "face_decoder.output_hypernetwork_mlps.layers.2.weight": (32, 256),
    }
    assert {name: tuple(tensors[name].shape) for name in shapes} == shapes


def test_segface_reads_any_multiple_of_32_and_its_image_tokens_know_their_places():
    torch.manual_seed(0)
    network = TINY().eval()
    first, second = (network(torch.ones(1, 3, *size)) for size in ((32, 64), (64, 32)))
    assert first.shape == (1, NUM_CLASSES, 32, 64) and second.shape == (1, NUM_CLASSES, 64, 32)
    matrix = network.pe_layer.positional_encoding_gaussian_matrix
    x, y = -1 + 1 / 4, -1 + 1 / 2  # of the first of 4 columns, of the first of 2 rows
    angles = 2 * torch.pi * (x * matrix[0] + y * matrix[1])
    torch.testing.assert_close(network.pe_layer(2, 4)[:, 0, 0], torch.cat([angles.sin(), angles.cos()]))


def test_segface_from_safetensors(stand_ins, photo, tmp_path):
    save_file(segface_stand_in(), tmp_path / "model.safetensors")
    first, second = (
        load_parser("segface", weights=file).parse([photo])[0]
        for file in (stand_ins["segface"], tmp_path / "model.safetensors")
    )
    assert np.array_equal(first, second)


@needs_facer
def test_farl_alone_does_what_facers_own_call_does_on_an_aligned_crop(stand_ins):
    import facer

    side = 448
    picture = np.random.default_rng(0).integers(256, size=(side // 8, side // 8, 3), dtype=np.uint8)
    picture = np.kron(picture, np.ones((8, 8, 1), np.uint8))
    # FFHQ's quad is 3.6 times as wide as the eyes are above the mouth, and its centre a tenth of that below the eyes.
    height = side / 3.6
    eyes, half = side / 2 - height / 10 - 0.5, side / 10
    centre = side / 2 - 0.5
    points = [
        (centre - half, eyes), (centre + half, eyes), (centre, eyes + height / 2),
        (centre - half, eyes + height), (centre + half, eyes + height),
    ]  # fmt: skip
    data = {"points": torch.tensor([points]), "image_ids": torch.tensor([0])}
    theirs = facer.face_parser("farl/celebm/448", device="cpu", model_path=str(stand_ins["farl"]))(
        torch.from_numpy(picture).permute(2, 0, 1)[None], data
    )["seg"]["logits"].softmax(1)[0]
    ours = load_parser("farl", weights=stand_ins["farl"]).probabilities([picture])[0]
    order = [0, 2, 10, 15, 8, 9, 6, 7, 4, 5, 11, 13, 12, 14, 16, 17, 18, 1, 3]
    assert np.abs(ours - theirs.numpy()[order]).max() < 0.01  # in steep slopes, from rounding


@needs_facer
def test_a_network_of_other_classes_is_refused(photo, tmp_path):
    torch.jit.script(FarlStandIn(classes=11)).save(tmp_path / "lapa.pt")
    with pytest.raises(ValueError, match="must tell 19 classes, this one tells 11"):
        load_parser("farl", weights=tmp_path / "lapa.pt").parse([photo])


def test_a_segformer_folder_needs_no_name(stand_ins, photo):
    assert parser_available(stand_ins["segformer"])
    by_name = load_parser("segformer", weights=stand_ins["segformer"] / "model.safetensors")
    assert np.array_equal(load_parser(stand_ins["segformer"]).parse([photo]), by_name.parse([photo]))


def test_a_segformer_with_the_wrong_labels_it_once_had_is_refused(tmp_path):
    labels = [f"{name}.png" if name != "background" else name for name in PARSER_NAMES["segformer"]]
    config = SegformerConfig(
        depths=[1] * 4, hidden_sizes=[8] * 4, num_attention_heads=[1] * 4, decoder_hidden_size=8,
        id2label=dict(enumerate(labels)), label2id={name: i for i, name in enumerate(labels)},
    )  # fmt: skip
    SegformerForSemanticSegmentation(config).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"missing: skin, nose.*unknown: skin\.png, nose\.png"):
        load_parser(tmp_path)


def test_a_folder_of_something_else_is_refused(tmp_path, stand_ins):
    with pytest.raises(CheckpointError, match=r"no parser .*nothing: it is no folder.*segface, farl, segformer, mini"):
        load_parser(tmp_path / "nothing")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "model.safetensors").write_bytes((stand_ins["segformer"] / "model.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="holds a bert; expected a MiniParser or a segformer"):
        load_parser(tmp_path)


# Broken files


class _Code:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def _weights(stand_ins: dict[str, Path], name: str, folder: Path) -> Path:
    """A copy of a stand-in's weights that a test may break."""
    source = stand_ins[name]
    for file in source.iterdir() if source.is_dir() else [source]:
        (folder / file.name).write_bytes(file.read_bytes())
    return folder / ("model.safetensors" if source.is_dir() else source.name)


@every_parser
def test_truncated_weights_are_named_with_the_remedy(name, stand_ins, tmp_path):
    weights = _weights(stand_ins, name, tmp_path)
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match=rf"{weights.name} .*truncated.*[Ff]etch it again\. {name} reads"):
        load_parser(name, weights=weights)


@every_parser
def test_missing_weights_are_named_with_the_remedy(name, tmp_path):
    with pytest.raises(CheckpointError, match=rf"no file .*mine\.pt\. {name} reads .* weights='path/to/"):
        load_parser(name, weights=tmp_path / "mine.pt")


@pytest.mark.parametrize("name", ["segface", pytest.param("farl", marks=needs_facer)])
def test_pickled_code_is_refused_and_not_run(name, tmp_path):
    torch.save({"state_dict_backbone": _Code(tmp_path / "it-ran")}, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=r"model\.pt (was refused: a pickle may run code|cannot be loaded)"):
        load_parser(name, weights=tmp_path / "model.pt")
    assert not (tmp_path / "it-ran").exists()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda state: {name: state[name] for name in state if "hat_token" not in name}, "hat_token"),
        (lambda state: state | {"stray.weight": torch.zeros(1)}, "stray.weight"),
        (lambda state: state | {"linear_fuse.weight": torch.zeros(8, 8, 1, 1)}, "linear_fuse.weight"),
        (lambda state: state | {"linear_fuse.weight": torch.full((32, 128, 1, 1), torch.nan)}, "NaN"),
        (lambda state: list(state.values()), "must hold a state dict of tensors, got list"),
    ],
)
def test_segface_weights_that_do_not_fit(edit, message, tmp_path):
    torch.save({"state_dict_backbone": edit(segface_stand_in())}, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=rf"model\.pt.*{message}.*segface reads convnext_celeba_512"):
        load_parser("segface", weights=tmp_path / "model.pt")


def test_without_facer_farl_says_how_to_install_it(monkeypatch, stand_ins):
    monkeypatch.setitem(sys.modules, "facer", None)
    assert not parser_available("farl")
    with pytest.raises(CheckpointError, match="facer is not installed: pip install pyfacer"):
        load_parser("farl", weights=stand_ins["farl"])


# Downloads


def _as_published(monkeypatch, stand_ins: dict[str, Path], name: str, folder: Path) -> list[Path]:
    """Let a stand-in be what is published, served from a folder; the files there."""
    source, given = PARSERS[name], stand_ins[name]
    served = [folder / file for file in source.files]
    for file in served:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes((given / file.name if given.is_dir() else given).read_bytes())
    home = source.home if source.revision else folder.as_uri()
    sha256 = sha256_of(served[-1])
    monkeypatch.setitem(PARSERS, name, replace(source, home=home, size=served[-1].stat().st_size, sha256=sha256))

    def hf_hub_download(repository, file, *, revision):
        assert (repository, revision) == (source.home, source.revision)
        if not (folder / file).exists():
            raise errors.LocalEntryNotFoundError("offline")
        path = PARSERS[name].folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((folder / file).read_bytes())
        return str(path)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hf_hub_download)
    return served


@every_parser
def test_it_is_downloaded_once_into_the_usual_cache(name, monkeypatch, stand_ins, photo, elsewhere):
    served = _as_published(monkeypatch, stand_ins, name, elsewhere / "served")
    assert not parser_available(name)
    first = load_parser(name).parse([photo])[0]
    assert parser_available(name)
    for file in served:
        file.unlink()
    assert np.array_equal(load_parser(name).parse([photo])[0], first)
    assert set(np.unique(first)) == {CLASS_ID[part] for part in COLOURS}


@every_parser
def test_a_download_with_another_hash_is_thrown_away(name, monkeypatch, stand_ins, elsewhere):
    served = _as_published(monkeypatch, stand_ins, name, elsewhere / "served")
    content = served[-1].read_bytes()
    served[-1].write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CheckpointError, match=rf"{served[-1].name} came with another sha256.*thrown away"):
        load_parser(name)
    assert not parser_available(name)
    served[-1].write_bytes(content)
    load_parser(name)


@every_parser
def test_a_file_cut_short_in_the_cache_is_named(name, monkeypatch, stand_ins, elsewhere):
    _as_published(monkeypatch, stand_ins, name, elsewhere / "served")
    load_parser(name)
    weights = PARSERS[name].folder / PARSERS[name].files[-1]
    weights.write_bytes(weights.read_bytes()[:-1])
    assert not parser_available(name)
    with pytest.raises(CheckpointError, match=rf"{weights.name} is truncated.*Delete it and fetch it again"):
        load_parser(name)


@every_parser
def test_offline_it_says_what_is_missing_and_where_to_put_it(name, monkeypatch, stand_ins, elsewhere):
    published = PARSERS[name]
    with pytest.raises(CheckpointError) as caught:
        load_parser(name)
    said = str(caught.value)
    places = [str(published.folder / file) for file in published.files]
    own = f"load_parser('{name}', weights='path/to/{Path(published.files[-1]).name}')"
    for part in (published.page, f"{published.size / 1e9:.2f} GB, licence: {published.licence}", *places, own):
        assert part in said
    served = _as_published(monkeypatch, stand_ins, name, elsewhere / "by-hand")
    for file, path in zip(PARSERS[name].files, served, strict=True):
        target = published.folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, target)
    load_parser(name)


def test_the_hubs_own_client_finds_what_was_put_there_by_hand():
    source = PARSERS["segface"]
    target = source.folder / source.files[-1]
    target.parent.mkdir(parents=True)
    target.write_bytes(b"weights")
    found = huggingface_hub.hf_hub_download(
        source.home, source.files[-1], revision=source.revision, cache_dir=constants.HF_HUB_CACHE, local_files_only=True
    )
    assert Path(found) == target


@needs_facer
def test_the_menu_and_the_choice(monkeypatch, stand_ins, elsewhere):
    assert list(parsers()) == ["segface", "farl", "segformer", "mini"]
    assert (
        all("\n" not in line for line in parsers().values())
        and "1.10 GB to download, licence: MIT" in parsers()["segface"]
    )
    assert parser_available("mini") and not parser_available("unknown")
    assert (default_parser(), parser_of("mini"), parser_of("flux"), parser_of("a/folder")) == (
        "mini", "mini", None, None,
    )  # fmt: skip
    for name in reversed(PUBLISHED):
        _as_published(monkeypatch, stand_ins, name, elsewhere / name)
        load_parser(name)
        assert default_parser() == parser_of("flux") == name
    assert parser_of("mini") == "mini"


def test_the_release_is_kept_where_torch_keeps_its_own(monkeypatch, tmp_path):
    farl = parser_checkpoints.PARSERS["farl"]
    for name, value in (("TORCH_HOME", tmp_path / "one"), ("XDG_CACHE_HOME", tmp_path / "other"), ("HOME", tmp_path)):
        for other in ("TORCH_HOME", "XDG_CACHE_HOME"):
            monkeypatch.delenv(other, raising=False)
        monkeypatch.setenv(name, str(value))
        assert farl.folder == Path(torch.hub.get_dir()) / "checkpoints"
