"""A cascade as a tool, for agents of LlamaIndex that have an LLM of their own.

tools = CascadeToolSpec(policy="policy/", models={"small": OpenAI(...), "large": Anthropic(...)}).to_tool_list()
"""

from importlib.util import find_spec

if find_spec("llama_index.core") is None:
    msg = 'llama_index.tools.cascade needs llama-index-core: pip install "cascade-components[llama-index]"'
    raise ImportError(msg)

from llama_index.tools.cascade.base import CascadeAnswer, CascadeToolSpec

__all__ = ["CascadeAnswer", "CascadeToolSpec"]
