"""What the cluster's processes import."""

import os

from langchain_openai import ChatOpenAI

from cascade_server import Pool


def make_pool(url):
    """The models of `tests.toy`; each request says which process it came from."""
    settings = {"base_url": url, "api_key": "none", "max_retries": 0, "stream_usage": True}
    names = ("small", "medium", "large")
    return Pool({name: ChatOpenAI(model=name, model_kwargs={"user": str(os.getpid())}, **settings) for name in names})
