"""Checkpoints that are small enough to be fine-tuned in a test: one layer, random weights, words as tokens."""

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    PreTrainedTokenizerFast,
)

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["sums", "poems", "code", "question", "sure", "perhaps", "unknown", *map(str, range(100))]
SIZES = {
    "vocab_size": len(SPECIAL) + len(WORDS),
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}


def make_checkpoint(folder, **config):
    """Write a BERT-like checkpoint, as a user's own pre-trained one would lie in a folder."""
    make_tokenizer(["input_ids", "token_type_ids", "attention_mask"]).save_pretrained(folder)
    return make_network(folder, BertForMaskedLM, BertConfig(**SIZES | config))


def make_classifier(folder, *, tokenizer=True, max_length=None, **config):
    """Write a BERT-like checkpoint whose classification layer is there, with a tokenizer as training leaves it."""
    if tokenizer:
        made = make_tokenizer(["input_ids", "token_type_ids", "attention_mask"])
        if max_length:
            made(["sure"], truncation=True, padding="max_length", max_length=max_length)
        made.save_pretrained(folder)
    return make_network(
        folder, BertForSequenceClassification, BertConfig(**SIZES | {"initializer_range": 0.3} | config)
    )


def make_modern_classifier(folder):
    """Write a checkpoint of the architecture that cre-router fine-tunes."""
    make_tokenizer(["input_ids", "attention_mask"]).save_pretrained(folder)
    places = {"pad_token_id": 0, "cls_token_id": 2, "bos_token_id": 2, "sep_token_id": 3, "eos_token_id": 3}
    config = ModernBertConfig(**SIZES | {"num_hidden_layers": 2}, **places, initializer_range=1.0)
    return make_network(folder, ModernBertForSequenceClassification, config)


def make_network(folder, network, config):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network(config).save_pretrained(folder)
    return folder


def make_tokenizer(inputs):
    vocabulary = {word: number for number, word in enumerate([*SPECIAL, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_input_names=inputs,
    )
