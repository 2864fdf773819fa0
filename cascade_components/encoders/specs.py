"""Encoders by name, as policies and users write them."""

from __future__ import annotations

from cascade_components.encoders.distilled import DistilledEncoder
from cascade_components.encoders.protocol import Encoder
from cascade_components.encoders.sentence import SentenceTransformerEncoder
from cascade_components.encoders.static import StaticEncoder


def encoder_from_spec(spec: str) -> SentenceTransformerEncoder | StaticEncoder:
    """The encoder that a text names: a sentence-transformers model, also after `onnx:` or `distilled:`, or `static:…`.

    Example:
        >>> encoder_from_spec("onnx:sentence-transformers/all-MiniLM-L6-v2")
        SentenceTransformerEncoder('sentence-transformers/all-MiniLM-L6-v2', backend='onnx')
    """
    kind, _, name = spec.partition(":")
    if kind == "static":
        return StaticEncoder(name)
    if kind == "distilled":
        return DistilledEncoder(name)
    if kind == "onnx":
        return SentenceTransformerEncoder(name, backend="onnx")
    return SentenceTransformerEncoder(name) if kind == "torch" else SentenceTransformerEncoder(spec)


def spec_of(encoder: Encoder) -> str | None:
    """The text that names an encoder; None where it is a callable that has to be given again.

    Example:
        >>> spec_of(SentenceTransformerEncoder("a/b"))
        'a/b'
    """
    return encoder.spec if isinstance(encoder, SentenceTransformerEncoder | StaticEncoder) else None
