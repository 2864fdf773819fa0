"""Static embeddings of the default encoder, made once and kept beside the peers' environments."""

from platformdirs import user_cache_path

from cascade_components.encoders import StaticEncoder

FOLDER = user_cache_path("cascade-components") / "benchmark-static-encoder"


def static_encoder() -> StaticEncoder:
    """Load them, or distil them first: some minutes."""
    return StaticEncoder(FOLDER) if FOLDER.is_dir() else StaticEncoder.distilled(FOLDER)
