"""A cascade of LlamaIndex LLMs as one.

llm = CascadeLLM(policy="policy/", models={"small": OpenAI(...), "large": Anthropic(...)})
response = llm.chat([ChatMessage("What is 2 + 2?")])
response.additional_kwargs["cascade"]["path"]
"""

from importlib.util import find_spec

if find_spec("llama_index.core") is None:
    msg = 'llama_index.llms.cascade needs llama-index-core: pip install "cascade-components[llama-index]"'
    raise ImportError(msg)

from llama_index.llms.cascade.events import CascadeEndEvent
from llama_index.llms.cascade.llm import CascadeLLM

__all__ = ["CascadeEndEvent", "CascadeLLM"]
