"""A recorder of runs, and cascades of two scripted models."""

import pytest
from langchain_core.callbacks import BaseCallbackHandler

from langchain_cascade import CascadeChatModel

from .doubles import policy, pool


class Runs(BaseCallbackHandler):
    """Remembers every run: parent, name, tags, metadata, how it ended; and the tokens that were streamed."""

    def __init__(self):
        self.kinds, self.parents, self.names, self.tags, self.metadata, self.ends = {}, {}, {}, {}, {}, {}
        self.tokens = []

    def _start(self, kind, run_id, parent_run_id=None, tags=None, metadata=None, name=None, **kwargs):
        self.kinds[run_id], self.parents[run_id], self.names[run_id] = kind, parent_run_id, name
        self.tags[run_id], self.metadata[run_id] = tags or [], metadata or {}

    def on_chain_start(self, serialized, inputs, **kwargs):
        self._start("chain", **kwargs)

    def on_chat_model_start(self, serialized, messages, **kwargs):
        self._start("model", **kwargs)

    def on_llm_new_token(self, token, **kwargs):
        self.tokens.append(token)

    def on_llm_end(self, response, *, run_id, **kwargs):
        self.ends[run_id] = response.generations[0][0].message

    def on_chain_end(self, outputs, *, run_id, **kwargs):
        self.ends[run_id] = outputs

    def on_chain_error(self, error, *, run_id, **kwargs):
        self.ends[run_id] = error

    on_llm_error = on_chain_error

    def of(self, kind):
        return [run_id for run_id, found in self.kinds.items() if found == kind]


@pytest.fixture
def runs():
    return Runs()


@pytest.fixture
def make():
    """A cascade of two scripted models: gated at 0.5 where a probability is given."""

    def make(probability=None, *, of=None, policy_changes=None, **changes):
        models = {name: changes.pop(name) for name in ("small", "large") if name in changes}
        found = of or policy(probability, **(policy_changes or {}))
        return CascadeChatModel(policy=found, models=pool(**models), **changes)

    return make


@pytest.fixture
def make_served(server):
    """A cascade of two clients of the server."""

    def make_served(probability=None, **kwargs):
        models = {name: server.client(name, **kwargs) for name in ("small", "large")}
        return CascadeChatModel(policy=policy(probability), models=models)

    return make_served
