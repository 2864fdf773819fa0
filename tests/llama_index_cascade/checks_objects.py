"""Checks of an LLM as an object: metadata, names, copies, serialisation, secrets."""

import copy
import json
import pickle

import pytest
from llama_index.core.base.llms.types import ChatMessage, LLMMetadata
from llama_index.core.llms import LLM
from llama_index.core.llms.function_calling import FunctionCallingLLM

from .contract import QUESTION, Contract, needs

COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "model_copy": lambda llm: llm.model_copy(),
}


class ObjectChecks(Contract):
    """Metadata, names, copies, serialisation, secrets."""

    def test_metadata(self, llm):
        """Metadata tells what the LLM can do, with a window and a name that make sense."""
        found = llm.metadata
        assert isinstance(found, LLMMetadata)
        assert found.context_window > 0
        assert found.num_output > 0 or found.num_output == -1
        assert found.num_output <= found.context_window
        assert found.model_name
        assert found.is_chat_model == self.is_chat_model
        assert found.is_function_calling_model == self.has_function_calling

    def test_it_is_an_llm(self, llm):
        """It is an LLM, and a function-calling one if it says so."""
        assert isinstance(llm, LLM)
        if self.has_function_calling:
            assert isinstance(llm, FunctionCallingLLM)

    def test_class_name(self, llm):
        """The class has a name of its own, in the serialised form too."""
        assert type(llm).class_name() not in ("base_component", "custom_llm", "")
        assert llm.to_dict()["class_name"] == type(llm).class_name()

    def test_payload(self, llm):
        """The payload for observability names the class, is JSON and holds no secret."""
        payload = llm.to_payload()
        assert payload["class_name"] == type(llm).class_name()
        text = json.dumps(payload, default=str)
        assert self.secret is None or self.secret not in text

    @needs("dict_is_json")
    def test_dict_is_json(self, llm):
        """The serialised form is JSON."""
        assert json.loads(llm.to_json()) == json.loads(json.dumps(llm.to_dict()))

    @needs("dict_is_safe", "secret")
    def test_no_secret_is_shown(self, llm):
        """Neither the serialised form nor the representation holds the secret."""
        for text in (llm.to_json(), repr(llm), str(llm)):
            assert self.secret not in text

    @needs("round_trips")
    def test_dict_round_trip(self, llm):
        """The serialised form makes an LLM that is the same."""
        again = self.rebuilt(llm)
        assert again.to_dict() == llm.to_dict()
        assert again.metadata == llm.metadata

    @pytest.mark.parametrize("way", COPIES)
    def test_a_copy_answers(self, llm, way):
        """A copy is the same LLM: it has the same metadata and answers; so does the original."""
        self._check_copy(COPIES[way](llm), llm)

    @needs("pickles")
    def test_a_pickle_answers(self, llm):
        """An LLM that was pickled is the same LLM, in another process too."""
        self._check_copy(pickle.loads(pickle.dumps(llm)), llm)

    def _check_copy(self, found, llm):
        assert type(found) is type(llm)
        assert found.metadata == llm.metadata
        for one in (found, llm):
            self.check_text(one.chat([ChatMessage(QUESTION)]).message.content)

    def test_calls_leave_the_llm_as_it_is(self, llm):
        """A call changes neither the serialised form nor the metadata."""
        before = (llm.to_dict(), llm.metadata)
        llm.chat([ChatMessage(QUESTION)])
        llm.complete(QUESTION)
        assert (llm.to_dict(), llm.metadata) == before
