"""A sentence-transformers model that is small enough to be converted in a test."""

from transformers import BertConfig, BertModel

from tests.cascade_components.quality.tiny import SIZES, make_network, make_tokenizer

WINDOW = 24


def make_sentence_transformer(folder):
    """Two layers, random weights, words as tokens, mean pooling; it reads `WINDOW` tokens."""
    from sentence_transformers import SentenceTransformer

    try:
        from sentence_transformers.sentence_transformer import modules
    except ImportError:  # before version 6
        from sentence_transformers import models as modules

    make_tokenizer(["input_ids", "token_type_ids", "attention_mask"]).save_pretrained(folder / "bert")
    config = BertConfig(**SIZES | {"num_hidden_layers": 2, "initializer_range": 0.3})
    make_network(folder / "bert", BertModel, config)
    transformer = modules.Transformer(str(folder / "bert"), max_seq_length=WINDOW)
    pooling = modules.Pooling(SIZES["hidden_size"], "mean")
    SentenceTransformer(modules=[transformer, pooling], device="cpu").save(str(folder / "made"))
    return folder / "made"
