"""LangChain's own conformance tests, against real models."""

import pytest
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from cascade_local import ChatLocal


class TestUnit(ChatModelUnitTests):
    @property
    def chat_model_class(self):
        return ChatLocal


@pytest.mark.local
@pytest.mark.usefixtures("chat", "larger_chat")
class TestIntegration(ChatModelIntegrationTests):
    @property
    def chat_model_class(self):
        return ChatLocal

    @property
    def chat_model_params(self):
        return {"model": "smollm2-135m", "threads": 1, "max_tokens": 48}

    @property
    def model_override_value(self):
        return "qwen2.5-0.5b"

    @pytest.fixture
    def model(self, request):
        settings = self.chat_model_params
        if "structured" in request.node.name:  # room for whole JSON
            settings["max_tokens"] = 256
        if "optional_param" in request.node.name:  # the smaller model rambles on inside a string
            settings["model"] = "qwen2.5-0.5b"
        return ChatLocal(**settings)
