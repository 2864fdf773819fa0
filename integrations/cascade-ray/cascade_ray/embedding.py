"""Embeddings made on a cluster and kept where `cascade_components.fit` looks for them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tqdm import tqdm

from cascade_components.embedding_cache import Cache, store_of
from cascade_components.encoders import BATCH, DEFAULT_ENCODER, CachedEncoder, Encoder, Vectors, encoder_from_spec
from cascade_components.judging import MOST_ANSWERS
from cascade_components.outcomes import Outcomes, load_outcomes
from cascade_components.quality.features import readable_text
from cascade_components.vector_store import VectorStore
from cascade_ray.cluster import connected, cpus, gpus_of, quiet

_BLOCK = 4 * BATCH
"""Texts that a worker takes at a time, and that are written together."""

_LOOKED_UP = 10_000


def embed(
    texts: Outcomes | str | os.PathLike[str] | Iterable[str],
    *,
    encoder: str | Encoder = DEFAULT_ENCODER,
    cache: Cache = True,
    address: str = "auto",
    workers: int | None = None,
    gpus: float = 0,
    progress: bool = True,
) -> int:
    """Embed texts on a Ray cluster, and keep the vectors, so that `fit(…, cache=cache)` does not embed them again.

    The workers encode; this process alone writes, block by block. Called again after it was killed, it embeds what is
    not in the file.

    Args:
        texts: Outcomes, or their file: what `fit` reads of them is embedded. Or the texts themselves.
        encoder: As `fit` takes it; a callable needs an attribute `cache_key`, and must be known to the workers.
        cache: The file, on this machine, that `fit` is given, too; True: the one in the user's cache folder.
        address: Of the cluster; "local" starts one on this machine. Not looked at where Ray is connected already.
        workers: Processes that encode, each on one CPU; None: one for each CPU, or as many as the GPUs allow.
        gpus: GPUs of each worker, on which an encoder on torch computes; 0.5 lets two workers share one.
        progress: Show a progress bar on a terminal.

    Returns:
        How many texts were embedded now.

    Raises:
        ImportError: Ray is not installed.
        OSError: There is no cluster, or a file is missing.
        ValueError: There is nowhere to keep the vectors, or not enough room for them; or the cluster has not the GPUs.

    Example:
        >>> embed("outcomes.parquet", cache="embeddings.sqlite", address="10.0.0.1:6379")   # doctest: +SKIP
        1204331
        >>> policy = fit("outcomes.parquet", cache="embeddings.sqlite")                     # doctest: +SKIP
    """
    found = encoder_from_spec(encoder) if isinstance(encoder, str) else encoder
    store = store_of(found, cache)
    if store is None:
        msg = "There is nowhere to keep the vectors: cache must be a file that can be written, or True, "
        raise ValueError(msg + "and a callable encoder must have an attribute cache_key.")
    try:
        missing = _missing(store, _all(texts))
        if missing:
            with connected(address) as ray:
                most = _workers(ray, workers, gpus)
                _encode(ray, found, missing, store, most, gpus, progress=progress)
        return len(missing)
    finally:
        store.close()


class Embedder:
    """An actor of Ray Data: encodes batches of texts."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = CachedEncoder(encoder, size=0)  # remembers nothing, but checks

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The texts with their vectors."""
        return {"text": batch["text"], "vector": self._encoder(batch["text"].tolist())}


def texts_to_fit(outcomes: Outcomes) -> Iterator[str]:
    """What `fit` embeds: the queries, and the answers as an estimator reads them.

    Of a model with more answers than `fit` reads, it chooses those by the clusters, and embeds them itself.
    """
    yield from outcomes.queries.values()
    answers = Counter(row.model for row in outcomes if row.output is not None)
    for row in outcomes:
        if row.output is not None and answers[row.model] <= MOST_ANSWERS:
            yield readable_text(row.answer) or " "


def _all(texts: Outcomes | str | os.PathLike[str] | Iterable[str]) -> Iterable[str]:
    if isinstance(texts, str | os.PathLike):
        texts = load_outcomes(texts)
    return texts_to_fit(texts) if isinstance(texts, Outcomes) else texts


def _missing(store: VectorStore, texts: Iterable[str]) -> list[str]:
    """The texts without a vector, each once, those of similar length together."""
    wanted, missing = list(dict.fromkeys(texts)), []
    for start in range(0, len(wanted), _LOOKED_UP):
        part = wanted[start : start + _LOOKED_UP]
        known = store.read(part)
        missing += [text for text in part if text not in known]
    return sorted(missing, key=len)


def _workers(ray: Any, wanted: int | None, gpus: float) -> int:
    """How many encode, of those that the cluster has room for."""
    if not gpus:
        return wanted or cpus(ray)
    room = int(gpus_of(ray) / gpus)
    if room < (wanted or 1):
        msg = f"The cluster has {gpus_of(ray):g} GPUs: not enough for {wanted or 1} workers with {gpus:g} each."
        raise ValueError(msg)
    return wanted or room


def _encode(
    ray: Any,
    encoder: Encoder,
    texts: Sequence[str],
    store: VectorStore,
    workers: int,
    gpus: float,
    *,
    progress: bool,
) -> None:
    import pyarrow as pa

    blocks = [pa.table({"text": texts[start : start + _BLOCK]}) for start in range(0, len(texts), _BLOCK)]
    encoded = quiet(ray.data.from_blocks(blocks)).map_batches(
        Embedder,
        fn_constructor_args=(encoder,),
        batch_size=BATCH,
        compute=ray.data.ActorPoolStrategy(size=min(workers, len(blocks))),
        num_cpus=1,
        num_gpus=gpus or None,
    )
    with tqdm(total=len(texts), desc="embed", unit="text", disable=None if progress else True) as bar:
        for batch in encoded.iter_batches(batch_size=None, batch_format="numpy"):
            _keep(store, batch["text"].tolist(), batch["vector"], len(texts))
            bar.update(len(batch["text"]))


def _keep(store: VectorStore, texts: list[str], vectors: Vectors, total: int) -> None:
    if not store.has_room_for(total, vectors.shape[1]):
        msg = f"{store.path} has no room for {total} vectors of {vectors.shape[1]} dimensions, as the oldest would go: "
        raise ValueError(msg + "name a file by cache=, which has no such limit.")
    for start in range(0, len(texts), BATCH):
        store.write(texts[start : start + BATCH], vectors[start : start + BATCH])
