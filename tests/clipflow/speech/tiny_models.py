"""Makes tiny models: a Whisper that writes the same line for any sound, and a random aligner.

The Whisper's decoder is reduced to its position embeddings, each of which selects the next token.
"""

import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from ctranslate2.converters import TransformersConverter
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

# Imported without its types, which are incomplete: its constructors count as untyped calls.
transformers: Any = import_module("transformers")

# Tokens of text, which come before the special ones.
_TEXT_TOKENS = 400
_SPECIAL = [
    "<|endoftext|>",
    "<|startoftranscript|>",
    "<|en|>",
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
]


def make_whisper(folder: Path, words: Sequence[str]) -> Path:
    """Make an English CTranslate2 model in `folder` that writes `words` for any sound."""
    raw = folder / "raw"
    tokenizer = _tokenizer(words)
    ids = tokenizer.get_vocab()
    line = [ids[f"Ġ{word}"] for word in words]
    # The prompt has two tokens, and the text follows the second.
    _save_whisper(tokenizer.get_vocab_size(), [0, *line, ids["<|endoftext|>"]], raw)
    tokenizer.save(str(raw / "tokenizer.json"))
    tokens = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"}
    (raw / "tokenizer_config.json").write_text(json.dumps(tokens))
    transformers.WhisperFeatureExtractor(feature_size=80).save_pretrained(raw)
    copied = ["tokenizer.json", "preprocessor_config.json"]
    TransformersConverter(str(raw), copy_files=copied).convert(str(folder / "whisper"))
    return folder / "whisper"


def _tokenizer(words: Sequence[str]) -> Tokenizer:
    text = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *(f"Ġ{word}" for word in words)]
    text += [f"filler{number}" for number in range(_TEXT_TOKENS - len(text))]
    tokenizer = Tokenizer(models.BPE({token: place for place, token in enumerate(text)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    times = [f"<|{number * 0.02:.2f}|>" for number in range(1501)]
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in _SPECIAL])
    tokenizer.add_tokens([AddedToken(token) for token in times])
    return tokenizer


def _save_whisper(size: int, tokens: Sequence[int], folder: Path) -> None:
    torch.manual_seed(1)
    sizes = {
        f"{side}_{what}": size
        for side in ("encoder", "decoder")
        for what, size in (("layers", 1), ("attention_heads", 4), ("ffn_dim", 64))
    }
    config = transformers.WhisperConfig(
        vocab_size=size, d_model=64, pad_token_id=0, bos_token_id=0, eos_token_id=0, **sizes
    )
    model = transformers.WhisperForConditionalGeneration(config).eval()
    decoder = model.model.decoder
    layer = decoder.layers[0]
    with torch.no_grad():
        embeddings = torch.nn.functional.normalize(torch.randn(size, 64), dim=1)
        decoder.embed_tokens.weight.copy_(embeddings)
        for part in (layer.self_attn.out_proj, layer.encoder_attn.out_proj, layer.fc2):
            part.weight.zero_()
            part.bias.zero_()
        for position, token in enumerate(tokens):
            decoder.embed_positions.weight[position] = 20 * embeddings[token]
    nothing: list[int] = []
    model.generation_config = transformers.GenerationConfig(
        suppress_tokens=nothing, begin_suppress_tokens=nothing
    )
    model.save_pretrained(folder)


def make_aligner(folder: Path) -> Path:
    """Make an untrained wav2vec2 model of the letters from a to z in `folder`."""
    torch.manual_seed(1)
    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefghijklmnopqrstuvwxyz'"]
    folder.mkdir()
    (folder / "letters.json").write_text(json.dumps({one: at for at, one in enumerate(letters)}))
    tokenizer = transformers.Wav2Vec2CTCTokenizer(str(folder / "letters.json"))
    extractor = transformers.Wav2Vec2FeatureExtractor()
    transformers.Wav2Vec2Processor(extractor, tokenizer).save_pretrained(folder)
    config = transformers.Wav2Vec2Config(
        vocab_size=len(letters),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(32,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        pad_token_id=0,
    )
    transformers.Wav2Vec2ForCTC(config).save_pretrained(folder)
    return folder
