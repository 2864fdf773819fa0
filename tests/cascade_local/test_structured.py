import pytest
from langchain_core.exceptions import OutputParserException
from pydantic import BaseModel, Field

from cascade_local import ChatLocal

QUESTION = "Paris is the capital of France. Which city is the capital, and of which country?"


class Capital(BaseModel):
    """A capital."""

    city: str
    country: str = Field(description="where the city lies")


SCHEMA = {
    "title": "Capital",
    "type": "object",
    "properties": {"city": {"enum": ["Paris", "Rome"]}},
    "required": ["city"],
}


def test_unknown_method_lists_the_known_ones():
    with pytest.raises(ValueError, match="function_calling, json_mode, json_schema, not 'magic'"):
        ChatLocal().with_structured_output(Capital, method="magic")


def test_unknown_argument_is_told():
    with pytest.raises(ValueError, match="does not know tools"):
        ChatLocal().with_structured_output(Capital, tools=[])


@pytest.mark.local
class TestAnswers:
    @pytest.fixture
    def terse(self, chat):
        return ChatLocal(model="smollm2-135m", threads=1, max_tokens=32)

    def test_pydantic(self, larger_chat):
        assert larger_chat.with_structured_output(Capital).invoke(QUESTION) == Capital(city="Paris", country="France")

    @pytest.mark.parametrize("method", ["json_schema", "function_calling"])
    def test_schema_rules_each_token(self, terse, method):
        answer = terse.with_structured_output(SCHEMA, method=method).invoke("Tell me about your day.")
        assert answer in ({"city": "Paris"}, {"city": "Rome"})

    def test_json_mode(self, larger_chat):
        asked = f"{QUESTION} Answer as a JSON object with the key 'city'."
        assert isinstance(larger_chat.with_structured_output(SCHEMA, method="json_mode").invoke(asked), dict)

    def test_include_raw(self, terse):
        answer = terse.with_structured_output(SCHEMA, include_raw=True).invoke(QUESTION)
        assert answer["parsed"].keys() == {"city"}
        assert answer["parsing_error"] is None
        assert answer["raw"].usage_metadata["output_tokens"] > 0

    def test_answer_cut_off_is_an_error(self, chat):
        with pytest.raises(OutputParserException, match="cut off"):
            chat.with_structured_output(Capital).invoke(QUESTION)
        answer = chat.with_structured_output(Capital, include_raw=True).invoke(QUESTION)
        assert answer["parsed"] is None
        assert isinstance(answer["parsing_error"], OutputParserException)
