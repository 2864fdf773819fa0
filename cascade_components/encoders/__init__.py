"""Text → vectors: the encoder protocol, sentence-transformers, static embeddings, and a bounded cache.

The vector of a text is the same alone and in company, up to rounding. What is asked at the same time is encoded
together: see `Batcher`.
"""

from cascade_components.encoders.batching import Batcher
from cascade_components.encoders.cache import BATCH, CACHE_SIZE, CachedEncoder, encode_with_progress, read_ahead
from cascade_components.encoders.distilled import DistilledEncoder
from cascade_components.encoders.protocol import DEFAULT_ENCODER, Encoder, Vectors
from cascade_components.encoders.sentence import SentenceTransformerEncoder
from cascade_components.encoders.specs import encoder_from_spec, spec_of
from cascade_components.encoders.static import StaticEncoder

__all__ = [
    "BATCH",
    "CACHE_SIZE",
    "DEFAULT_ENCODER",
    "Batcher",
    "CachedEncoder",
    "DistilledEncoder",
    "Encoder",
    "SentenceTransformerEncoder",
    "StaticEncoder",
    "Vectors",
    "encode_with_progress",
    "encoder_from_spec",
    "read_ahead",
    "spec_of",
]
