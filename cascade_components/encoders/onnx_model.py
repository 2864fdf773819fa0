"""Sentence-transformers models in 8 bits on ONNX Runtime: converted once, kept in the user's cache folder."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cascade_components.encoders.model_files import keep, kept_folder
from cascade_components.encoders.protocol import Vectors, tail

_FORMAT = "2"
"""Part of where a model is kept: converted otherwise, it is kept elsewhere."""

ALIKE = 0.97
"""Least cosine between the vectors of a model and of its conversion."""

PROBES = [
    "What is the capital of France?",
    "Write a function that returns the n-th Fibonacci number, and explain why it is correct. " * 3,
    "A train leaves at 9:40 and arrives at 13:05. How long does the journey take? Answer in minutes. " * 20,
]
"""What a conversion is tried on."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Converted:
    """All that serving needs: neither torch nor transformers is loaded for it."""

    graph: bytes
    """The ONNX model: token ids → unit vectors."""
    tokenizer: str
    """As JSON."""
    window: int
    """Tokens that the model reads."""
    inputs: tuple[str, ...]


def load_onnx(location: str, load: Callable[..., Any]) -> Callable[[list[str]], Vectors]:
    """The encoder of a model: texts → unit vectors, shape (n, dim).

    A text is encoded by itself: in 8 bits a batch gains nothing, and padding costs.

    Args:
        location: The model's folder, or its name on the Hub.
        load: Loads the model (a `SentenceTransformer`), where it has not been converted yet.

    Raises:
        ImportError: ONNX Runtime is not installed.
        RuntimeError: The model cannot be converted.
    """
    missing = [name for name in ("onnx", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        msg = f'The onnx backend needs {" and ".join(missing)}: pip install "cascade-components[onnx]".'
        raise ImportError(msg)
    folder = kept_folder("onnx", _FORMAT, location)
    found = None if folder is None else _kept(folder)
    if found is not None:
        return session(found)
    from cascade_components.encoders.onnx_export import convert

    _log.info("Converting %s for ONNX Runtime; it is done once.", location)
    model = load(model_kwargs={"attn_implementation": "eager"})  # the attention that can be exported
    found = convert(model)
    run = session(found)
    _check(run, model, location)
    if (folder := kept_folder("onnx", _FORMAT, location)) is not None:
        _keep(found, folder)
    return run


def session(converted: Converted) -> Callable[[list[str]], Vectors]:
    """Texts → unit vectors, by a converted model: several texts on as many cores, each on one.

    Two threads on one text are hardly faster, and spin while they wait for each other.
    """
    import onnxruntime
    from tokenizers import Tokenizer

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    runtime = onnxruntime.InferenceSession(converted.graph, options, providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_str(converted.tokenizer)
    tokenizer.enable_truncation(converted.window, direction="left")
    tokenizer.no_padding()

    def encode(text: str) -> Any:
        tokens = tokenizer.encode(tail(text, converted.window))
        columns = {"input_ids": tokens.ids, "attention_mask": tokens.attention_mask, "token_type_ids": tokens.type_ids}
        return runtime.run(None, {name: np.array([columns[name]], np.int64) for name in converted.inputs})[0][0]

    cores = os.cpu_count() or 1
    pool = ThreadPoolExecutor(cores, "cascade-encoder")  # starts no thread before it is used

    def run(texts: list[str]) -> Vectors:
        each = map(encode, texts) if len(texts) == 1 or cores == 1 else pool.map(encode, texts)
        return np.asarray(list(each), np.float32)

    return run


def _check(run: Callable[[list[str]], Vectors], model: Any, location: str) -> None:
    wanted = model.encode(PROBES, show_progress_bar=False, normalize_embeddings=True)
    alike = float((run(PROBES) * wanted).sum(1).min())
    if not alike >= ALIKE:
        msg = f"{location} cannot be converted: its vectors came out another way (cosine {alike:.3f}). "
        raise RuntimeError(msg + 'Use SentenceTransformerEncoder(name, backend="torch").')


# — in the user's cache folder —


def _kept(folder: Path) -> Converted | None:
    try:
        facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        graph = (folder / "model.onnx").read_bytes()
        if hashlib.sha256(graph).hexdigest() != facts.pop("sha256"):
            return None  # damaged: it is converted again
        return Converted(graph, inputs=tuple(facts.pop("inputs")), **facts)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _keep(converted: Converted, folder: Path) -> None:
    facts = asdict(converted)
    graph = facts.pop("graph")
    text = json.dumps(facts | {"sha256": hashlib.sha256(graph).hexdigest()})
    keep({"model.onnx": graph, "facts.json": text.encode()}, folder, "The converted model")
