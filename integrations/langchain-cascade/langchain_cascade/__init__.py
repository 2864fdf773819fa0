"""A cascade of chat models as one LangChain chat model.

model = CascadeChatModel(policy="policy/", models={"small": ChatOpenAI(...), "large": ChatAnthropic(...)})
message = model.invoke("What is 2 + 2?")
message.response_metadata["cascade"]["path"]
"""

from importlib.util import find_spec

if find_spec("langchain_core") is None:
    msg = 'langchain_cascade needs langchain-core: pip install "cascade-components[langchain]"'
    raise ImportError(msg)

from langchain_cascade.capture import capture
from langchain_cascade.chat_model import CascadeChatModel

__all__ = ["CascadeChatModel", "capture"]
