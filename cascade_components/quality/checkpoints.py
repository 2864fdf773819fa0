"""Hugging Face encoders as sequence classifiers: fetched from a checkpoint, or built again from what was saved."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from safetensors import SafetensorError
from torch import nn

from cascade_components.quality.reading import AnswerReader, Layout


def fetch(
    checkpoint: str, max_length: int, layout: Layout, *, trained: bool, progress: bool
) -> tuple[AnswerReader, Any]:
    """A checkpoint's tokenizer, and its network as a classifier of two classes. No code of it is run.

    Args:
        checkpoint: Name on the Hugging Face Hub, or a folder.
        max_length: Tokens that are read at most.
        layout: How they are laid out.
        trained: Whether its layer that tells the classes apart must be there; if not, a fresh one may take its place.
        progress: Show the bars of a download on a terminal.

    Raises:
        OSError: It is neither a folder, nor cached, nor to be had from the Hub.
        ValueError: It is no encoder, is damaged, needs code of its own, or is not trained where it must be.
    """
    network, loading = _network(checkpoint, {} if trained else {"num_labels": 2}, progress=progress)
    if trained:
        _check_trained(checkpoint, network, loading)
    tokenizer = _tokenizer(checkpoint, progress=progress)
    length = min(max_length, tokenizer.model_max_length, _positions(network) or max_length)
    reader = AnswerReader.of(tokenizer, checkpoint, length, layout)
    if max(reader.tokenizer.get_vocab().values()) >= network.get_input_embeddings().num_embeddings:
        msg = f"The tokenizer of {checkpoint!r} knows more tokens than its network: they are not of one model."
        raise ValueError(msg)
    return reader, network.float().eval()


def build(config: Mapping[str, Any]) -> Any:
    """A network with random weights from its saved config; its layers are transformers' own, no code is fetched."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    classifier: Any = AutoModelForSequenceClassification
    plain = {name: value for name, value in config.items() if name not in ("model_type", "auto_map")}
    return classifier.from_config(AutoConfig.for_model(config["model_type"], **plain)).float()


def _network(checkpoint: str, settings: Mapping[str, Any], *, progress: bool) -> tuple[Any, Mapping[str, Any]]:
    """The network, and what transformers tells about its weights."""
    from transformers import AutoModelForSequenceClassification

    classifier: Any = AutoModelForSequenceClassification
    try:
        with _quietly(progress=progress):
            network, loading = classifier.from_pretrained(
                checkpoint, ignore_mismatched_sizes=True, output_loading_info=True, trust_remote_code=False, **settings
            )
    except (OSError, ValueError, SafetensorError) as error:
        reason, _, _ = str(error).strip().partition("\n")
        msg = (
            f"The checkpoint {checkpoint!r} could not be loaded as a sequence classifier "
            f"({type(error).__name__}: {reason}). "
            "Pass the folder, or the name on the Hugging Face Hub, of an encoder; offline, a folder."
        )
        raise (OSError if isinstance(error, OSError) else ValueError)(msg) from error
    return network, loading


def _tokenizer(checkpoint: str, *, progress: bool) -> Any:
    from transformers import AutoTokenizer

    msg = (
        f"The checkpoint {checkpoint!r} holds no tokenizer that can be read. Put that of its base model into the "
        "folder: AutoTokenizer.from_pretrained(base).save_pretrained(folder)."
    )
    try:
        with _quietly(progress=progress):
            tokenizer: Any = AutoTokenizer.from_pretrained(checkpoint, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ValueError(msg) from error
    if len(tokenizer) <= len(set(tokenizer.all_special_tokens)):  # what transformers makes up where there is none
        raise ValueError(msg)
    return tokenizer


def _check_trained(checkpoint: str, network: Any, loading: Mapping[str, Any]) -> None:
    if network.config.num_labels != 2:
        msg = f"The checkpoint {checkpoint!r} tells {network.config.num_labels} classes apart; a quality estimator's "
        raise ValueError(msg + "are two: 0 for a wrong answer, 1 for a right one.")
    untrained = {*loading["missing_keys"], *(name for name, *_ in loading["mismatched_keys"])}
    if untrained:
        msg = f"The checkpoint {checkpoint!r} is not fine-tuned as a sequence classifier: it has no trained weights of "
        raise ValueError(f"{msg}{', '.join(sorted(untrained))}. SequenceHead(checkpoint).fit trains them.")


def _positions(network: Any) -> int | None:
    """How many tokens the network can tell the places of; None: any number."""
    for name, layer in network.named_modules():
        if name.endswith("position_embeddings") and isinstance(layer, nn.Embedding):
            # RoBERTa and its kin count from the place after the one that stands for padding.
            return layer.num_embeddings - (0 if layer.padding_idx is None else layer.padding_idx + 1)
    return getattr(network.config, "max_position_embeddings", None)


@contextmanager
def _quietly(*, progress: bool) -> Iterator[None]:
    """That a fresh layer has no weights yet is no news; nor is progress, where there is no terminal to show it."""
    logging: Any = importlib.import_module("transformers.utils.logging")
    verbosity, shown = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    if not (progress and sys.stderr.isatty()):
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if shown:
            logging.enable_progress_bar()
