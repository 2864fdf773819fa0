"""The encoder that all methods share, with its vectors kept on disk: encoding is what takes long.

A cache is a folder of `.npz` files, each with `k`, the first 12 bytes of the texts' SHA-1, shape (n, 12), and `x`,
their vectors in half precision, shape (n, dim).
"""

import hashlib
import re
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path
from tqdm import tqdm

from cascade_components.encoders import DEFAULT_ENCODER, encoder_from_spec

CACHE = user_cache_path("cascade-components") / "decisions"

_BATCH = 256
_SAVE_EVERY = 20_000


class DiskEncoder:
    """Texts → vectors, read from the cache, else encoded and added to it.

    Args:
        cache: Where vectors are kept; made if it isn't there. Encoders other than the default have folders within.
        spec: The encoder, as `fit` takes it.
    """

    def __init__(self, cache: Path = CACHE, spec: str = DEFAULT_ENCODER) -> None:
        folder = cache if spec == DEFAULT_ENCODER else cache / re.sub(r"\W+", "-", spec)
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._vectors: dict[bytes, NDArray[np.float16]] = {}
        self._read: set[Path] = set()
        self._new: list[bytes] = []
        self._model = encoder_from_spec(spec)

    def __deepcopy__(self, memo: object) -> "DiskEncoder":
        return self

    def __call__(self, texts: list[str], /) -> NDArray[np.float32]:
        """Encode texts, shape (n, dim)."""
        keys = [_key(text) for text in texts]
        if any(key not in self._vectors for key in keys):
            self._look_for_files()
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._vectors}
        if missing:
            self._encode(missing)
        return np.stack([self._vectors[key] for key in keys]).astype(np.float32)

    def missing(self, texts: list[str]) -> int:
        """How many of the texts the cache lacks."""
        self._look_for_files()
        return len({key for text in texts if (key := _key(text)) not in self._vectors})

    def save(self) -> None:
        """Write the vectors that are new."""
        if not self._new:
            return
        target = self.folder / f"decisions-{hashlib.sha1(b''.join(self._new)).hexdigest()[:16]}.npz"
        partial = target.with_suffix(".partial")
        with partial.open("wb") as file:
            keys = np.stack([np.frombuffer(key, np.uint8) for key in self._new])
            np.savez(file, k=keys, x=np.stack([self._vectors[key] for key in self._new]))
        partial.replace(target)
        self._read.add(target)
        self._new = []

    def _encode(self, missing: dict[bytes, str]) -> None:
        keys = sorted(missing, key=lambda key: len(missing[key]))  # similar lengths share a batch
        bar = tqdm(total=len(keys), desc="encode", disable=None if len(keys) > _BATCH else True, leave=False)
        for start in range(0, len(keys), _BATCH):
            batch = keys[start : start + _BATCH]
            found = self._model([missing[key] for key in batch]).astype(np.float16)
            self._vectors.update(zip(batch, found, strict=True))
            self._new += batch
            bar.update(len(batch))
            if len(self._new) >= _SAVE_EVERY:
                self.save()
        bar.close()

    def _look_for_files(self) -> None:
        for path in sorted(set(self.folder.glob("*.npz")) - self._read):
            try:
                with np.load(path) as stored:
                    self._vectors.update(zip(map(bytes, stored["k"]), stored["x"], strict=True))
            except (zipfile.BadZipFile, EOFError, OSError, ValueError):
                continue  # still being written
            self._read.add(path)


def _key(text: str) -> bytes:
    return hashlib.sha1(text.encode()).digest()[:12]
