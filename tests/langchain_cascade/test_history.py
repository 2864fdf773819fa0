"""A conversation whose model changes: real message shapes of six providers, read by another one."""

import copy
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_openai import AzureChatOpenAI, ChatOpenAI

from langchain_cascade.history import provider_of, sanitize_history, seen_calls

EPHEMERAL = {"type": "ephemeral"}
PIXEL = "iVBORw0KGgo="
ARGS = {"city": "Paris"}
TRACE = {"model": "large", "path": ["large"]}
READERS = ("openai", "anthropic", "google_genai", "bedrock", "mistralai", "groq")


def call(call_id, name="weather"):
    return {"name": name, "args": ARGS, "id": call_id, "type": "tool_call"}


def said(provider, content, call_id=None, *, additional=None, **metadata):
    return AIMessage(
        content,
        tool_calls=[call(call_id)] if call_id else [],
        additional_kwargs=additional or {},
        response_metadata={"model_provider": provider, "cascade": TRACE, **metadata},
    )


OPENAI_CHAT = said(
    "openai",
    "I look.",
    "call_Ao02pnFYXD6GN1yzc0uXPsvF",
    additional={
        "refusal": None,
        "tool_calls": [
            {
                "id": "call_Ao02pnFYXD6GN1yzc0uXPsvF",
                "function": {"arguments": json.dumps(ARGS), "name": "weather"},
                "type": "function",
            }
        ],
    },
    id="chatcmpl-1",
    finish_reason="tool_calls",
)
OPENAI_RESPONSES = AIMessage(
    [
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "secret"}]},
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}},
        {
            "type": "text",
            "text": "I look.",
            "id": "msg_1",
            "annotations": [{"type": "url_citation", "url": "https://a.example", "start_index": 0, "end_index": 1}],
        },
        {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "weather", "arguments": json.dumps(ARGS)},
    ],
    id="resp_1",
    tool_calls=[call("call_1")],
    response_metadata={"model_provider": "openai", "id": "resp_1", "cascade": TRACE},
)
ANTHROPIC = said(
    "anthropic",
    [
        {"type": "thinking", "thinking": "secret", "signature": "EqQB"},
        {"type": "redacted_thinking", "data": "Zm9v"},
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [{"encrypted_content": "x"}]},
        {"type": "mcp_tool_use", "id": "mcptoolu_1", "name": "n", "server_name": "s", "input": {}},
        {"type": "text", "text": "I ", "cache_control": EPHEMERAL},
        {
            "type": "text",
            "text": "look.",
            "citations": [
                {"type": "web_search_result_location", "url": "u", "cited_text": "c", "encrypted_index": "e"}
            ],
        },
        {"type": "tool_use", "id": "toolu_01", "name": "weather", "input": ARGS},
    ],
    "toolu_01",
    id="msg_01",
)
GEMINI = said(
    "google_genai",
    [
        {"type": "thinking", "thinking": "secret", "signature": "c2ln"},
        {"type": "executable_code", "executable_code": "1+1", "language": "python", "id": "c"},
        {"type": "code_execution_result", "code_execution_result": "2", "outcome": 1, "tool_call_id": "c"},
        {"type": "text", "text": "I look.", "extras": {"signature": "c2ln"}},
    ],
    "7f2c4f0e-3c3b-4a44-a2b5-0d1a0a6d8f11",
    additional={
        "function_call": {"name": "weather", "arguments": json.dumps(ARGS)},
        "__gemini_function_call_thought_signatures__": {"7f2c": "c2ln"},
    },
    grounding_metadata={},
)
BEDROCK = said(
    "bedrock_converse",
    [
        {"type": "reasoning_content", "reasoning_content": {"text": "secret", "signature": "s"}},
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "tooluse_kZJMlvQmRJ6eAyJE5GIl7Q", "name": "weather", "input": ARGS},
    ],
    "tooluse_kZJMlvQmRJ6eAyJE5GIl7Q",
)
MISTRAL = said(
    "mistralai",
    [
        {"type": "thinking", "thinking": [{"type": "text", "text": "secret"}]},
        {"type": "text", "text": "I look."},
        {"type": "reference", "reference_ids": [1]},
    ],
    "D681PevKs",
)
DEEPSEEK = said("deepseek", "I look.", "call_0_ab", additional={"reasoning_content": "secret"})
KIMI = said("fireworks", "I look.", "functions.weather:0")
STANDARD = said(
    "openai",
    [
        {"type": "reasoning", "reasoning": "secret"},
        {"type": "server_tool_call", "id": "s", "name": "web_search", "args": {}},
        {"type": "server_tool_result", "tool_call_id": "s", "status": "success"},
        {"type": "text", "text": "I look.", "annotations": [{"type": "citation", "url": "u"}]},
        call("call_2"),
        {"type": "non_standard", "value": {"type": "mcp_approval_request"}},
    ],
    "call_2",
    output_version="v1",
)
SHAPES = {
    "openai": [OPENAI_CHAT, OPENAI_RESPONSES, STANDARD],
    "anthropic": [ANTHROPIC],
    "google_genai": [GEMINI],
    "bedrock": [BEDROCK],
    "mistralai": [MISTRAL],
    "deepseek": [DEEPSEEK],
    "fireworks": [KIMI],
}
WRITTEN = [(writer, message) for writer, messages in SHAPES.items() for message in messages]


def talk(message):
    results = [ToolMessage("Sunny.", tool_call_id=one["id"]) for one in message.tool_calls]
    return [SystemMessage("Be brief."), HumanMessage("Weather?"), message, *results]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(("writer", "message"), WRITTEN)
def test_another_provider_gets_the_text_and_the_calls_and_nothing_else(writer, message, reader):
    history = talk(message)
    system, human, answer, result = sanitize_history(history, reader)
    assert (system, human) == (history[0], history[1])
    if writer == reader:
        assert answer is message
        return
    assert answer.content == "I look."
    assert [(one["name"], one["args"]) for one in answer.tool_calls] == [("weather", ARGS)]
    assert answer.tool_calls[0]["id"] == result.tool_call_id
    assert set(answer.tool_calls[0]) == {"name", "args", "id", "type"}
    assert answer.additional_kwargs == {}
    assert answer.response_metadata == {"cascade": TRACE}
    assert answer.id is None
    assert [block["type"] for block in answer.content_blocks] == ["text", "tool_call"]


@pytest.mark.parametrize(("writer", "message"), [one for one in WRITTEN if one[0] != "openai"])
@pytest.mark.parametrize("responses", [False, True])
def test_chatopenai_sends_nothing_foreign(writer, message, responses):
    model = ChatOpenAI(model="m", api_key="none", use_responses_api=responses, use_previous_response_id=responses)
    payload = model._get_request_payload(sanitize_history(talk(message), "openai"))
    assert "previous_response_id" not in payload
    if responses:
        text, called, result = payload["input"][2:]
        assert text["content"] == [{"type": "output_text", "text": "I look.", "annotations": []}]
        assert set(called) == {"type", "name", "arguments", "call_id"}
        assert called["call_id"] == result["call_id"]
        return
    answer, result = payload["messages"][2:]
    assert set(answer) == {"role", "content", "tool_calls"}
    assert answer["content"] == "I look."
    assert answer["tool_calls"][0]["id"] == result["tool_call_id"]


def test_a_response_of_another_provider_is_not_continued():
    foreign = said("azure-like-host", "Hi.", id="resp_7").model_copy(update={"id": "resp_7"})
    own = said("openai", "Hi.", id="resp_6")
    model = ChatOpenAI(model="m", api_key="none", use_previous_response_id=True)
    payload = model._get_request_payload(sanitize_history([own, foreign, HumanMessage("And?")], "openai"))
    assert payload["previous_response_id"] == "resp_6"
    assert [item["role"] for item in payload["input"]] == ["assistant", "user"]


@pytest.mark.parametrize(
    ("call_id", "reader", "kept"),
    [
        ("call_1", "anthropic", True),
        ("call_1", "mistralai", False),
        ("D681PevKs", "mistral", True),
        ("functions.weather:0", "anthropic", False),
        ("functions.weather:0", "bedrock_converse", False),
        ("x" * 41, "openai", False),
        ("x" * 40, "azure", True),
    ],
)
def test_a_tool_call_id_that_the_reader_refuses_is_replaced(call_id, reader, kept):
    message = said("elsewhere", "", call_id)
    message.invalid_tool_calls = [{"type": "invalid_tool_call", "name": "f", "args": "{", "id": "a.b", "error": None}]
    answer, result, error = sanitize_history(
        [message, ToolMessage("Sunny.", tool_call_id=call_id), ToolMessage("?", tool_call_id="a.b")], reader
    )
    found = answer.tool_calls[0]["id"]
    assert (found == call_id) is kept
    assert found == result.tool_call_id
    assert answer.invalid_tool_calls[0]["id"] == error.tool_call_id != "a.b"
    again = sanitize_history([message], reader)[0]
    assert again.tool_calls[0]["id"] == found


def test_the_reader_s_own_call_keeps_an_id_that_another_provider_had_to_change():
    foreign, own = said("elsewhere", "", "functions.f:0"), said("openai", "", "functions.f:0")
    result = ToolMessage("1", tool_call_id="functions.f:0")
    history = sanitize_history([foreign, result, own, result], "openai")
    assert history[0].tool_calls[0]["id"] == history[1].tool_call_id != "functions.f:0"
    assert history[2] is own
    assert history[3] is result


@pytest.mark.parametrize(
    ("block", "reader", "left"),
    [
        ({"type": "text", "text": "a", "cache_control": EPHEMERAL}, "openai", [{"type": "text", "text": "a"}]),
        (
            {"type": "text", "text": "a", "extras": {"cache_control": EPHEMERAL}},
            "groq",
            [{"type": "text", "text": "a"}],
        ),
        (
            {"type": "file", "url": "u", "metadata": {"cache_control": EPHEMERAL, "title": "t"}},
            "google_genai",
            [{"type": "file", "url": "u", "metadata": {"title": "t"}}],
        ),
        ({"cachePoint": {"type": "default"}}, "anthropic", []),
        ({"type": "non_standard", "value": {"cachePoint": {"type": "default"}}}, "openai", []),
        ({"type": "text", "text": "a", "prompt_cache_breakpoint": {}}, "anthropic", [{"type": "text", "text": "a"}]),
    ],
)
@pytest.mark.parametrize("kind", [SystemMessage, HumanMessage, lambda content: ToolMessage(content, tool_call_id="c")])
def test_cache_markers_of_others_are_taken_out_of_every_message(kind, block, reader, left):
    message = kind(["Hi.", block])
    assert sanitize_history([message], reader)[0].content == ["Hi.", *left]
    assert message.content == ["Hi.", block]


@pytest.mark.parametrize(
    ("block", "readers"),
    [
        ({"type": "text", "text": "a", "cache_control": EPHEMERAL}, ["anthropic", "anthropic-bedrock", "openrouter"]),
        ({"cachePoint": {"type": "default"}}, ["bedrock", "amazon_bedrock", "bedrock_converse"]),
        ({"type": "text", "text": "a", "prompt_cache_breakpoint": {}}, ["openai", "azure"]),
    ],
)
def test_cache_markers_stay_where_they_are_read(block, readers):
    message = HumanMessage(["Hi.", block])
    assert all(sanitize_history([message], reader)[0] is message for reader in readers)


@pytest.mark.parametrize(
    ("names", "reader"),
    [
        (["openai", "azure", "azure_openai", "openai-codex"], "azure"),
        (["anthropic", "anthropic-chat", "anthropic-bedrock"], "anthropic"),
        (["google_genai", "google_vertexai"], "google_vertexai"),
        (["amazon_bedrock", "bedrock", "bedrock_converse"], "bedrock"),
        (["mistral", "mistralai"], "mistral"),
    ],
)
def test_the_names_of_one_provider_are_one(names, reader):
    messages = [said(name, [{"type": "thinking", "thinking": "own"}]) for name in names]
    found = sanitize_history(messages, reader)
    assert all(one is other for one, other in zip(found, messages, strict=True))


def test_the_author_is_asked_where_the_message_does_not_tell():
    untold = AIMessage([{"type": "reasoning", "id": "rs_1", "summary": []}, {"type": "text", "text": "4"}])
    assert sanitize_history([untold], "openai", author=lambda message: "azure")[0] is untold
    assert sanitize_history([untold], "openai", author=lambda message: "anthropic")[0].content == "4"
    assert sanitize_history([untold], "openai")[0].content == "4"
    told = said("anthropic", [{"type": "thinking", "thinking": "secret"}, {"type": "text", "text": "4"}])
    assert sanitize_history([told], "openai", author=lambda message: "openai")[0].content == "4"


@pytest.mark.parametrize("content", ["Hi.", [{"type": "text", "text": "Hi."}], [{"type": "image", "url": "u"}]])
def test_a_standard_message_of_unknown_author_stays(content):
    message = AIMessage(content, tool_calls=[call("c")], id="lc_1", name="helper")
    assert sanitize_history([message], "google_genai")[0] is message


def test_a_message_of_which_nothing_is_left_goes_with_the_results_that_only_its_writer_can_read():
    screen = said("openai", [{"type": "computer_call", "id": "cu_1", "call_id": "call_9", "action": {}}])
    shot = ToolMessage(
        [{"type": "input_image"}], tool_call_id="call_9", additional_kwargs={"type": "computer_call_output"}
    )
    thought = said("anthropic", [{"type": "thinking", "thinking": "…"}])
    ask = HumanMessage("Go.")
    assert sanitize_history([ask, screen, shot, thought], "bedrock") == [ask]
    assert sanitize_history([ask, screen, shot], "openai") == [ask, screen, shot]


def test_calls_alone_leave_an_empty_text():
    message = said("anthropic", [{"type": "tool_use", "id": "toolu_1", "name": "weather", "input": ARGS}], "toolu_1")
    assert sanitize_history([message], "openai")[0].content == ""


@pytest.mark.parametrize(
    "message",
    [
        said("openai", "", additional={"refusal": "I can't."}),
        said("openai", [{"type": "refusal", "refusal": "I can't.", "id": "msg_1"}]),
    ],
)
def test_a_refusal_is_text(message):
    assert sanitize_history([message], "anthropic")[0].content == "I can't."


IMAGE = {"type": "image", "base64": PIXEL, "mime_type": "image/png"}


def test_an_image_stays_where_an_answer_may_hold_one():
    generated = {"type": "image_generation_call", "id": "ig_1", "result": PIXEL, "output_format": "png"}
    message = said("openai", [{"type": "text", "text": "Look: ", "id": "msg_1"}, generated])
    assert sanitize_history([message], "google_genai")[0].content == [{"type": "text", "text": "Look: "}, IMAGE]


@pytest.mark.parametrize(
    "message",
    [
        said("google_genai", ["Look: ", IMAGE], output_version="v1"),
        said("google_genai", ["Look: ", {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}]),
    ],
)
def test_an_image_is_noted_where_no_answer_may_hold_one(message):
    assert sanitize_history([message], "openai")[0].content == "Look: [image]"


def test_a_file_that_the_writer_s_provider_holds_is_only_named():
    message = said("anthropic", [{"type": "file", "file_id": "file_1"}], output_version="v1")
    assert sanitize_history([message], "google_genai")[0].content == "[file]"


def test_a_streamed_message_is_read_like_a_whole_one():
    chunk = AIMessageChunk(
        [
            {"type": "thinking", "thinking": "secret", "index": 0},
            {"type": "text", "text": "I look.", "index": 1},
            {"type": "tool_use", "id": "toolu.1", "name": "weather", "input": {}, "index": 2},
        ],
        tool_call_chunks=[{"name": "weather", "args": json.dumps(ARGS), "id": "toolu.1", "index": 2}],
        response_metadata={"model_provider": "anthropic"},
        chunk_position="last",
    )
    answer, result = sanitize_history([chunk, ToolMessage("Sunny.", tool_call_id="toolu.1")], "openai")
    assert type(answer) is AIMessage
    assert (answer.content, answer.tool_calls[0]["args"]) == ("I look.", ARGS)
    assert answer.tool_calls[0]["id"] == result.tool_call_id != "toolu.1"


@pytest.mark.parametrize(
    "message",
    [
        said("openai", [{"type": "web_search_call"}, {"type": "text", "text": "4"}]),
        said("groq", [{"type": "text", "text": "4"}]),
        said("anthropic", ["4"]),
    ],
)
def test_a_form_that_the_writer_s_own_format_does_not_know_costs_no_text(message):
    assert sanitize_history([message], "bedrock")[0].content == "4"


# — whatever the conversation —

IDS = st.text(st.sampled_from("ab_.:é0"), min_size=1, max_size=50)
BLOCKS = st.one_of(
    st.text(max_size=5),
    st.sampled_from([block for _, one in WRITTEN if isinstance(one.content, list) for block in one.content]),
    st.sampled_from(
        [
            {"type": "image", "url": "https://a.example/a.png", "extras": {"cache_control": EPHEMERAL}},
            {"type": "text", "text": "a", "cache_control": EPHEMERAL},
            {"cachePoint": {"type": "default"}},
        ]
    ),
)
CONTENTS = st.one_of(st.text(max_size=5), st.lists(BLOCKS, max_size=4)).map(copy.deepcopy)
PROVIDERS = st.sampled_from([*READERS, "azure", "amazon_bedrock", "bedrock_converse", "deepseek", None])


@st.composite
def conversations(draw):
    messages = [HumanMessage(draw(CONTENTS))]
    for _ in range(draw(st.integers(0, 4))):
        provider, ids = draw(PROVIDERS), draw(st.lists(IDS, max_size=3, unique=True))
        metadata = {"cascade": TRACE} | ({"model_provider": provider} if provider else {})
        messages.append(
            AIMessage(draw(CONTENTS), tool_calls=[call(one) for one in ids], response_metadata=metadata, id="resp_1")
        )
        messages += [ToolMessage(draw(CONTENTS), tool_call_id=one) for one in ids]
        messages.append(HumanMessage(draw(CONTENTS)))
    return messages


@given(conversations(), st.sampled_from(READERS))
def test_nothing_is_changed_in_place_and_a_second_time_changes_nothing(messages, reader):
    before = copy.deepcopy(messages)
    once = sanitize_history(messages, reader)
    assert messages == before
    twice = sanitize_history(once, reader)
    assert all(one is other for one, other in zip(once, twice, strict=True))


@given(conversations(), st.sampled_from(READERS))
def test_results_follow_their_calls_under_the_same_distinct_ids(messages, reader):
    found = sanitize_history(messages, reader)
    counts = []
    for number, message in enumerate(found):
        if isinstance(message, AIMessage):
            ids = [one["id"] for one in message.tool_calls]
            counts.append(len(ids))
            assert len(set(ids)) == len(ids)
            assert [result.tool_call_id for result in found[number + 1 : number + 1 + len(ids)]] == ids
    kept = [message for message in messages if isinstance(message, AIMessage) and message.tool_calls]
    assert [count for count in counts if count] == [len(message.tool_calls) for message in kept]


@given(conversations(), st.sampled_from(["anthropic", "mistralai", "bedrock"]))
def test_what_a_strict_provider_gets_of_another_s_answers(messages, reader):
    form = re.compile(r"[a-zA-Z0-9]{9}" if reader == "mistralai" else r"[a-zA-Z0-9_-]{1,64}")
    foreign = [
        message.model_copy(update={"response_metadata": {"model_provider": "groq"}})
        if message.type == "ai"
        else message
        for message in messages
    ]
    for message in sanitize_history(foreign, reader):
        if not isinstance(message, AIMessage):
            continue
        assert message.response_metadata == message.additional_kwargs == {}
        assert all(form.fullmatch(one["id"]) for one in message.tool_calls)
        assert message.content or message.tool_calls
        if isinstance(message.content, list):
            assert {block["type"] for block in message.content} <= {"text", "image"}


@given(conversations(), st.sampled_from(READERS))
def test_no_text_is_lost(messages, reader):
    wanted = "".join(str(message.text) for message in messages).split()
    found = "".join(str(message.text) for message in sanitize_history(messages, reader)).replace("[image]", "")
    assert "".join(found.split()) == "".join(wanted)


# — the helpers —


def test_the_provider_of_a_model():
    azure = AzureChatOpenAI(azure_endpoint="https://a.example", api_version="1", api_key="none", azure_deployment="d")
    assert provider_of(ChatOpenAI(model="m", api_key="none")) == provider_of(azure) == "openai"
    assert provider_of(FakeListChatModel(responses=["4"])) == "fakelistchatmodel"


def test_seen_calls():
    first = AIMessage("", tool_calls=[call("1", "old")])
    then = AIMessage("", tool_calls=[call("2", "seen"), call("3", "failed"), call("4", "unanswered")])
    messages = [
        HumanMessage("Weather?"),
        first,
        ToolMessage("Sunny.", tool_call_id="1"),
        HumanMessage("And now?"),
        then,
        ToolMessage("Rain.", tool_call_id="2"),
        ToolMessage("Time-out.", tool_call_id="3", status="error"),
    ]
    assert seen_calls(messages) == ({"name": "seen", "args": ARGS},)
    assert seen_calls(messages[:3]) == ({"name": "old", "args": ARGS},)
    assert seen_calls(messages[:2]) == seen_calls([]) == ()
