"""LangChain's own suite for chat models, on each way an answer can take."""

import base64
from types import SimpleNamespace

import httpx
import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from langchain_cascade import CascadeChatModel

from .doubles import ChatScripted, policy, pool

PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII=")
PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Count 0/Kids[]>>endobj\n"
PDF += b"trailer<</Root 1 0 R>>\n%%EOF\n"
WAV = b"RIFF\x26\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00"
WAV += b"data\x02\x00\x00\x00\x00\x00"
SAMPLES = {".png": PNG, ".pdf": PDF, ".wav": WAV}

DETAILS = {
    "input_token_details": {"audio": 1, "cache_read": 3, "cache_creation": 2},
    "output_token_details": {"audio": 1, "reasoning": 2},
}
KINDS = ["audio_input", "audio_output", "reasoning_output", "cache_read_input", "cache_creation_input"]


@pytest.fixture(autouse=True)
def local_samples(monkeypatch):
    """The files that the suite would download."""

    def get(url, **kwargs):
        return SimpleNamespace(content=SAMPLES[url[-4:]])

    monkeypatch.setattr(httpx, "get", get)
    monkeypatch.setenv("LANGCHAIN_TESTS_USER_AGENT", "nobody is asked")


class Fixture:
    """The small model's answer stands: there is no estimator."""

    probability = None
    finish_reason = "stop"
    supports_json_mode = True
    supports_image_inputs = supports_image_urls = supports_image_tool_message = True
    supports_pdf_inputs = supports_pdf_tool_message = True
    supports_audio_inputs = True
    supports_anthropic_inputs = True
    model_override_value = "another-model"

    @property
    def chat_model_class(self):
        return CascadeChatModel

    @property
    def chat_model_params(self):
        small = {"usage_details": DETAILS, "finish_reason": self.finish_reason}
        models = pool(small=small, large={"usage_details": DETAILS})
        return {"policy": policy(self.probability), "models": models}

    @property
    def supported_usage_metadata_details(self):
        return {"invoke": KINDS, "stream": KINDS}

    def _detailed(self, *, stream=False):
        model = CascadeChatModel(**self.chat_model_params)
        if not stream:
            return model.invoke("Hello")
        first, *rest = model.stream("Hello")
        return first + rest

    invoke_with_audio_input = invoke_with_audio_output = invoke_with_reasoning_output = _detailed
    invoke_with_cache_read_input = invoke_with_cache_creation_input = _detailed


class TestUnitUngated(Fixture, ChatModelUnitTests):
    pass


class TestUngated(Fixture, ChatModelIntegrationTests):
    pass


class TestUnitAccepted(Fixture, ChatModelUnitTests):
    probability = 0.9


class TestAccepted(Fixture, ChatModelIntegrationTests):
    probability = 0.9


class TestUnitEscalated(Fixture, ChatModelUnitTests):
    probability = 0.1


class TestEscalated(Fixture, ChatModelIntegrationTests):
    probability = 0.1


class Forced(Fixture):
    """Every first answer fails a check, tool calls and structured answers too."""

    probability = 0.9
    finish_reason = "length"


class TestUnitForced(Forced, ChatModelUnitTests):
    pass


two_starts = pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="the suite wants one chat model to start, and an escalation starts two",
)
each_schema = pytest.mark.parametrize("schema_type", ["pydantic", "typeddict", "json_schema"])


class TestForced(Forced, ChatModelIntegrationTests):
    @two_starts
    @each_schema
    def test_structured_output(self, model, schema_type):
        super().test_structured_output(model, schema_type)

    @two_starts
    @each_schema
    async def test_structured_output_async(self, model, schema_type):
        await super().test_structured_output_async(model, schema_type)


def blocks_of(model):
    """What a model was asked; LangChain gives a block that it converts a random id."""
    (call,) = model.calls
    contents = [message.content for message in call["messages"]]
    return [[{name: value for name, value in block.items() if name != "id"} for block in one] for one in contents]


@pytest.mark.parametrize("probability", [None, 0.9, 0.1])
def test_blocks_reach_the_wrapped_models_as_they_reach_a_plain_one(make, probability):
    def encoded(data):
        return base64.b64encode(data).decode()

    question = [
        {"type": "text", "text": "What is all this?"},
        {"type": "image", "base64": encoded(PNG), "mime_type": "image/png"},
        {"type": "image", "url": "https://example.com/cat.png"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded(PNG)}"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": encoded(PNG)}},
        {"type": "file", "base64": encoded(PDF), "mime_type": "application/pdf"},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{encoded(PDF)}"}},
        {"type": "audio", "base64": encoded(WAV), "mime_type": "audio/wav"},
        {"type": "input_audio", "input_audio": {"data": encoded(WAV), "format": "wav"}},
    ]
    messages = [HumanMessage(question), ToolMessage(question[1:3], tool_call_id="1")]
    model, plain = make(probability), ChatScripted(model_name="plain")
    model.invoke(messages)
    plain.invoke(messages)
    asked = [blocks_of(wrapped) for wrapped in model.models.values() if wrapped.calls]
    assert asked == [blocks_of(plain)] * (2 if probability == 0.1 else 1)
    assert asked[0][0][:6] == question[:6]
    assert asked[0][1] == question[1:3]
    assert messages[0].content == question


@pytest.mark.parametrize("probability", [None, 0.9, 0.1])
def test_token_details_add_up(make, probability):
    usage = {"usage_details": DETAILS}
    model = make(probability, small=usage, large=usage)
    first, *rest = model.stream("Hello")
    passes = 2 if probability == 0.1 else 1
    for message in (model.invoke("Hello"), first + rest):
        for kind, details in DETAILS.items():
            assert message.usage_metadata[kind] == {name: passes * count for name, count in details.items()}
