"""How prompts are read: synonyms by the bundled tokenizers, what is unknown, what is near it, and what is cut."""

import logging
import re
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from facemogle import cli
from facemogle.words import known_words, nearest, read_prompt, replacements
from train.mini.config import MiniConfig
from train.mini.portraits import VOCABULARY
from train.mini.text import UNKNOWN, TextEncoders, load_encoders, read_synonyms

ROOT = Path(__file__).parents[1]
MINI = ROOT / "assets" / "mini"
FLUX = Path(__file__).parent / "reference" / "tiny-flux"


@pytest.fixture(scope="module")
def tokenizers():
    """CLIP's and T5's, of the bundled checkpoint."""
    return [AutoTokenizer.from_pretrained(MINI / name) for name in ("tokenizer", "tokenizer_2")]


def words_read(tokenizer, prompt: str) -> str:
    return " ".join(tokenizer.tokenize(prompt))


READ_AS = {
    "a woman with blond hair": "a woman with blonde hair",
    "A fair-haired girl": "a blonde hair young woman",
    "fair skin": "light skin",
    "a brunette, strawberry-blonde curls": "a brown hair blonde curly hair",
    "a redhead": "a person with red hair",
    "a redheaded boy with a mustache": "a red hair young man with a moustache",
    "ginger hair and a ginger bob": "red hair and a red bob",
    "an old lady, a senior guy": "an old woman a elderly man",
    "a child, a teenager, grandma": "a young person a young person elderly woman",
    "spectacles or shades": f"glasses {UNKNOWN} sunglasses",
    "a baseball cap, a knitted hat": "a cap a beanie",
    "a pony tail, bangs, gray eyes": "a ponytail bangs grey eyes",
    "make-up, grinning": "lipstick smiling",
    "hats, caps, beards and two boys": f"hat cap beard and {UNKNOWN} young man",
    "long-haired, blue-eyed": "long hair blue eyes",
    "eyes closed, dark hair, silver hair": "closed eyes black hair grey hair",
    "silver earrings and dark skin": "silver earrings and dark skin",  # known as they stand
    "(red hair:1.3), [green eyes], ((hat))": "red hair green eyes hat",
    "a 70-year-old man": "a elderly man",
    "a man with no hat": "a man",
    "a man with no hat and a beard": "a man with a beard",
    "a woman without a hat or glasses, smiling": "a woman smiling",
    "a woman with red hair and no glasses": "a woman with red hair",
    "a man who isn't wearing any red hat": "a man",
    "no earrings, blue background": "blue background",
    "no hair": "bald head",
    "capital, shatter, beardy": f"{UNKNOWN} {UNKNOWN} {UNKNOWN}",  # words within words
    "a boy, hood": f"a young man {UNKNOWN}",
    "": "",
}


@pytest.mark.parametrize("prompt", READ_AS)
def test_synonyms_are_read_as_known_words_by_both_tokenizers(prompt, tokenizers):
    assert [words_read(each, prompt) for each in tokenizers] == [READ_AS[prompt]] * 2


def test_known_words_stand_for_themselves(tokenizers):
    for tokenizer in tokenizers:
        for word in known_words(tokenizer):
            assert words_read(tokenizer, word).split()[0] == word  # "hoop" is read as "hoop earrings"


def test_replacements_say_known_words_alone_and_fewer_of_a_larger_vocabulary(tokenizers):
    bundled, larger = known_words(tokenizers[1]), set(VOCABULARY)
    for known in (bundled, larger):
        assert all(word in known for _, text in replacements(known) for word in text.split() if word != "not")
    few, many = (
        {source for pattern, _ in replacements(known) for source in re.split(r"[(|)]|\?:", pattern)}
        for known in (larger, bundled)
    )
    assert {"blond", "gray", "redhead", "spectacles", "mustache"} <= many - few
    assert "braid" in few - many  # read as braids, once that is known


def test_the_bundled_tokenizers_are_as_the_tables_make_them(tmp_path):
    for name in ("tokenizer", "tokenizer_2"):
        shutil.copytree(MINI / name, tmp_path / name)
    read_synonyms(tmp_path)
    for name in ("tokenizer", "tokenizer_2"):
        ours, made = ((folder / name / "tokenizer.json").read_text() for folder in (MINI, tmp_path))
        assert ours == made, "The tables changed: call train.mini.text.read_synonyms on assets/mini."


def test_unknown_words_come_with_the_nearest(tokenizers):
    read = read_prompt("A sad wman, freckles, haiir; Braids (hijab), blond boys", tokenizers[1], 32)
    assert read.unknown == {
        "sad": "serious", "wman": "woman", "freckles": None, "haiir": "hair", "Braids": "ponytail", "hijab": "hat",
    }  # fmt: skip
    assert read.notes() == [
        "The model does not know: sad (the nearest that it knows: serious), wman (the nearest that it knows: woman), "
        "freckles, haiir (the nearest that it knows: hair), Braids (the nearest that it knows: ponytail)."
    ]
    assert read.unit == "word" and read.cut == ""
    assert nearest("blond", {"blonde"}) == "blonde" and nearest("xyzzy", {"blonde"}) is None


def test_how_much_of_a_long_prompt_counts(tokenizers):
    whole = read_prompt("a boy, " + "red " * 28, tokenizers[1], 32)
    assert (whole.tokens, whole.limit, whole.cut, whole.notes()) == (31, 31, "", [])
    read = read_prompt("a boy, " + "red " * 27 + "hair, Blue eyes, and a hat.", tokenizers[1], 32)
    assert (read.tokens, read.limit, read.cut) == (36, 31, "Blue eyes, and a hat.")
    assert read.notes() == ["Only the first 31 of the prompt's 36 words count: 'Blue eyes, and a hat.' is not read."]
    assert read_prompt("red " * 31 + "xyzzy", tokenizers[1], 32).unknown == {}  # it is not read in any case


def test_a_long_prompt_is_no_line_in_the_log(caplog):
    logger = logging.getLogger("transformers")  # it hands nothing up to the root
    logger.addHandler(caplog.handler)
    try:
        read_prompt("red " * 4000, AutoTokenizer.from_pretrained(MINI / "tokenizer_2"), 32)
    finally:
        logger.removeHandler(caplog.handler)
    assert caplog.messages == []


def test_tokenizers_that_split_words_know_them_all():
    tokenizer = AutoTokenizer.from_pretrained(FLUX / "tokenizer_2")
    read = read_prompt("an unheard-of boy", tokenizer, 512)
    assert (read.unknown, read.cut, read.unit, read.limit) == ({}, "", "token", 511)
    assert known_words(tokenizer) == set()


def test_the_command_line_offers_the_nearest_word(tmp_path, caplog):
    caplog.set_level(logging.WARNING, "facemogle")
    out = tmp_path / "face.png"
    command = ["generate", f"--out={out}", "--steps=1", "--size=64", "--device=cpu"]
    assert cli.main([*command, "--prompt=a blond boy with a hood, " + "red hair, " * 20]) == 0
    assert "does not know: hood (the nearest that it knows: hat)." in caplog.text
    assert caplog.text.count("Only the first 31 of the prompt's 47 words count") == 1
    caplog.clear()
    assert cli.main([*command, "--prompt=a blond boy with spectacles and no hat"]) == 0
    assert not caplog.text


def test_a_larger_vocabulary_goes_on_from_the_bundled_weights():
    """Words that both know keep what they mean; new ones start anew."""
    text = TextEncoders(MiniConfig())
    before = [each.get_input_embeddings().weight.clone() for each in (text.text_encoder, text.text_encoder_2)]
    load_encoders(text, MINI)
    bundled = [AutoTokenizer.from_pretrained(MINI / name).get_vocab() for name in ("tokenizer", "tokenizer_2")]
    for own, encoder, tokenizer, known in zip(
        before, (text.text_encoder, text.text_encoder_2), (text.tokenizer, text.tokenizer_2), bundled, strict=True
    ):
        now, ours = encoder.get_input_embeddings().weight, tokenizer.get_vocab()
        assert len(ours) > len(known)
        kept = [word for word in ours if torch.equal(now[ours[word]], own[ours[word]])]
        assert set(kept) == set(ours) - set(known) and "boy" in kept
    old = load_encoders_of_the_bundle()
    theirs = (torch.tensor([each.encode("a woman with red hair").ids]) for each in text.word_tokenizers())
    for ours, those in zip(text(*theirs), old, strict=True):
        assert torch.allclose(ours, those, atol=1e-5)


def load_encoders_of_the_bundle() -> tuple[torch.Tensor, torch.Tensor]:
    """What the bundled encoders say to "a woman with red hair"."""
    from facemogle.checkpoints import load_pipeline

    pipeline = load_pipeline("mini", device="cpu")
    return pipeline.encode_prompt(["a woman with red hair"], max_sequence_length=32)
