"""Word-level tokenizers and small CLIP and T5 text encoders over the captions' closed vocabulary."""

from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast, T5Config, T5EncoderModel

from facemogle.words import known_words, replacements
from train.mini.config import MiniConfig
from train.mini.portraits import VOCABULARY

UNKNOWN = "<unk>"
CLIP_BEGIN, CLIP_END = "<|startoftext|>", "<|endoftext|>"


def word_tokenizer(special: list[str], template: str, *, length: int, **names: str) -> PreTrainedTokenizerFast:
    """One token a word; punctuation is dropped, a word outside the vocabulary becomes `<unk>`."""
    vocabulary = {word: index for index, word in enumerate([*special, *VOCABULARY])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Punctuation("removed"), pre_tokenizers.WhitespaceSplit()]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[(token, index) for index, token in enumerate(special)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=length, unk_token=UNKNOWN, padding_side="right", **names
    )


def clip_tokenizer(config: MiniConfig) -> PreTrainedTokenizerFast:
    # The end token is not id 2: CLIPTextModel reads that id as a sign of an old, wrong config.
    return word_tokenizer(
        [CLIP_BEGIN, UNKNOWN, "<pad>", CLIP_END],
        f"{CLIP_BEGIN} $A {CLIP_END}",
        length=config.text_length,
        bos_token=CLIP_BEGIN,
        eos_token=CLIP_END,
        pad_token="<pad>",
    )


def t5_tokenizer(config: MiniConfig) -> PreTrainedTokenizerFast:
    return word_tokenizer(
        ["<pad>", "</s>", UNKNOWN], "$A </s>", length=config.text_length, pad_token="<pad>", eos_token="</s>"
    )


def read_synonyms(folder: Path) -> None:
    """Let the tokenizers of a checkpoint read what people say for the words that it knows; captions say those words."""
    for file in (folder / "tokenizer" / "tokenizer.json", folder / "tokenizer_2" / "tokenizer.json"):
        tokenizer = Tokenizer.from_file(str(file))
        rules = [normalizers.Replace(Regex(pattern), text) for pattern, text in replacements(known_words(tokenizer))]
        tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *rules])
        tokenizer.save(str(file))


class TextEncoders(nn.Module):
    """The two tokenizers and encoders of a Flux pipeline: pooled CLIP text, and a T5 sequence."""

    def __init__(self, config: MiniConfig):
        super().__init__()
        self.length = config.text_length
        self.tokenizer, self.tokenizer_2 = clip_tokenizer(config), t5_tokenizer(config)
        width = config.text_width
        self.text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(self.tokenizer),
                hidden_size=width,
                intermediate_size=4 * width,
                num_hidden_layers=2,
                num_attention_heads=4,
                max_position_embeddings=config.text_length,
                projection_dim=width,
                bos_token_id=self.tokenizer.bos_token_id,
                eos_token_id=self.tokenizer.eos_token_id,
                pad_token_id=self.tokenizer.pad_token_id,
            )
        )
        self.text_encoder_2 = T5EncoderModel(
            T5Config(
                vocab_size=len(self.tokenizer_2),
                d_model=width,
                d_kv=32,
                d_ff=4 * width,
                num_layers=3,
                num_heads=4,
                dropout_rate=0.0,
                feed_forward_proj="gated-gelu",
                pad_token_id=self.tokenizer_2.pad_token_id,
                eos_token_id=self.tokenizer_2.eos_token_id,
            )
        )

    def word_tokenizers(self) -> tuple[Tokenizer, Tokenizer]:
        """CLIP's and T5's, without torch; `tokenizer.encode(caption).ids`: `text_length`, as FluxPipeline pads them."""
        pair = []
        for tokenizer in (self.tokenizer, self.tokenizer_2):
            plain = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
            plain.enable_truncation(self.length)
            plain.enable_padding(length=self.length, pad_id=tokenizer.pad_token_id, pad_token=tokenizer.pad_token)
            pair.append(plain)
        return pair[0], pair[1]

    def forward(self, clip_ids: Tensor, t5_ids: Tensor) -> tuple[Tensor, Tensor]:
        """(B, L) and (B, L) token ids -> prompt_embeds (B, L, width) and pooled_prompt_embeds (B, width)."""
        return self.text_encoder_2(t5_ids)[0], self.text_encoder(clip_ids).pooler_output


def load_encoders(encoders: TextEncoders, folder: Path) -> None:
    """Take the weights of an exported checkpoint; words that its vocabulary lacks keep the weights they have."""
    for name in ("", "_2"):
        encoder, tokenizer = getattr(encoders, f"text_encoder{name}"), getattr(encoders, f"tokenizer{name}")
        other = type(encoder).from_pretrained(folder / f"text_encoder{name}", dtype=torch.float32)
        known = PreTrainedTokenizerFast.from_pretrained(folder / f"tokenizer{name}").get_vocab()
        words = [(index, known[word]) for word, index in tokenizer.get_vocab().items() if word in known]
        rows, sources = (list(column) for column in zip(*words, strict=True))
        embedding = encoder.get_input_embeddings().weight.data.clone()
        embedding[rows] = other.get_input_embeddings().weight.data[sources]
        state = other.state_dict()
        table = other.get_input_embeddings().weight.data_ptr()
        state |= {key: embedding for key, value in state.items() if value.data_ptr() == table}
        encoder.load_state_dict(state)
