"""The embedded pool: small language models on this machine's processor, as LangChain chat models."""

try:
    from cascade_local.chat_model import ChatLocal, embedded_pool
    from cascade_local.fetching import cache_dir, fetch
    from cascade_local.weights import WEIGHTS, Weights
except ImportError as error:
    raise ImportError(
        f'cascade_local needs the extra [local]: pip install "cascade-components[local]" ({error})', name=error.name
    ) from error

__all__ = ["WEIGHTS", "ChatLocal", "Weights", "cache_dir", "embedded_pool", "fetch"]
