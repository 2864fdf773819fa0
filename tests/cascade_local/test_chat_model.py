import asyncio
import copy
import gc
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
from langchain_core.callbacks import get_usage_metadata_callback
from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from pydantic import ValidationError

from cascade_local import ChatLocal, embedded_pool, fetch

QUESTION = "Count upwards from one."


def merged(chunks):
    whole = None
    for chunk in chunks:
        whole = chunk if whole is None else whole + chunk
    return whole


class TestConstruction:
    def test_unknown_model_lists_the_known_ones(self):
        with pytest.raises(ValidationError, match=r"unknown model 'gpt'; known are smollm2-135m, .* \.gguf file"):
            ChatLocal(model="gpt")

    def test_answer_must_leave_room_for_the_prompt(self):
        with pytest.raises(ValidationError, match="leaves no room for a prompt in context_window=256"):
            ChatLocal(max_tokens=256, context_window=256)

    def test_misspelt_setting_is_told(self):
        with pytest.raises(ValidationError, match="temprature"):
            ChatLocal(temprature=1)

    def test_nothing_is_loaded_or_fetched(self, monkeypatch, tmp_path):
        monkeypatch.setenv("CASCADE_MODELS_DIR", str(tmp_path))
        ChatLocal()
        assert not list(tmp_path.iterdir())

    def test_profile_tells_the_limits(self):
        profile = ChatLocal(max_tokens=100, context_window=1000).profile
        assert profile["max_input_tokens"] == 900
        assert profile["max_output_tokens"] == 100

    def test_whatever_changes_answers_identifies_the_model(self):
        first = ChatLocal()._get_llm_string()
        for setting in ({"model": "smollm2-135m"}, {"seed": 1}, {"stop": ["."]}, {"temperature": 0.5}):
            assert ChatLocal(**setting)._get_llm_string() != first

    def test_traces_name_the_model_of_the_call(self):
        params = ChatLocal(stop=["."])._get_ls_params(model="smollm2-135m", max_tokens=5)
        assert params["ls_model_name"] == "smollm2-135m"
        assert params["ls_max_tokens"] == 5
        assert params["ls_stop"] == ["."]

    def test_pool_holds_one_model_a_name(self):
        pool = embedded_pool(("smollm2-135m", "qwen2.5-1.5b"), max_tokens=7)
        assert {name: (model.model, model.max_tokens) for name, model in pool.items()} == {
            "smollm2-135m": ("smollm2-135m", 7),
            "qwen2.5-1.5b": ("qwen2.5-1.5b", 7),
        }

    def test_tools_are_not_supported(self):
        with pytest.raises(NotImplementedError):
            ChatLocal().bind_tools([])


@pytest.mark.local
class TestAnswers:
    def test_invoke_tells_usage_and_end(self, chat):
        message = chat.invoke(QUESTION)
        assert message.content
        assert message.usage_metadata["output_tokens"] == 8
        assert message.usage_metadata["input_tokens"] == chat.get_num_tokens_from_messages([HumanMessage(QUESTION)])
        assert message.response_metadata["finish_reason"] == "length"
        assert message.response_metadata["model_name"] == "smollm2-135m"

    def test_stream_adds_up_to_invoke(self, chat):
        chunks = list(chat.stream(QUESTION))
        whole, invoked = merged(chunks), chat.invoke(QUESTION)
        assert len(chunks) > 6
        assert whole.content == invoked.content
        assert whole.response_metadata == invoked.response_metadata
        assert whole.usage_metadata == invoked.usage_metadata
        assert sum(chunk.usage_metadata is not None for chunk in chunks) == 1

    async def test_async_equals_sync(self, chat):
        invoked = chat.invoke(QUESTION)
        assert (await chat.ainvoke(QUESTION)).content == invoked.content
        assert merged([chunk async for chunk in chat.astream(QUESTION)]).response_metadata == invoked.response_metadata

    def test_usage_reaches_callbacks_once(self, chat):
        with get_usage_metadata_callback() as usage:
            message = chat.invoke(QUESTION)
        assert usage.usage_metadata["smollm2-135m"] == message.usage_metadata

    def test_logprobs_have_openais_shape(self, chat):
        message = chat.invoke(QUESTION)
        content = message.response_metadata["logprobs"]["content"]
        assert len(content) == message.usage_metadata["output_tokens"]
        assert "".join(token["token"] for token in content) == message.content
        for token in content:
            first, second = token["top_logprobs"]
            assert first["token"] == token["token"]  # temperature 0 takes the likeliest
            assert token["logprob"] == first["logprob"]
            assert second["logprob"] <= first["logprob"] <= 0

    def test_logprobs_can_be_left_out(self, chat):
        assert "logprobs" not in chat.invoke(QUESTION, logprobs=False, max_tokens=2).response_metadata

    def test_stop_ends_the_answer_before_it(self, chat):
        whole = chat.invoke(QUESTION).content
        word = whole.split()[2]
        message = chat.invoke(QUESTION, stop=[word])
        assert message.content == whole[: whole.index(word)]
        assert message.response_metadata["finish_reason"] == "stop"
        stopping = ChatLocal(model="smollm2-135m", threads=1, max_tokens=8, stop=[word])
        assert stopping.invoke(QUESTION).content == message.content

    def test_seed_decides_at_a_temperature(self, chat):
        question = "Make up a name for a cat."
        answers = [chat.invoke(question, temperature=1.5, seed=seed).content for seed in (1, 1, 2, 3)]
        assert answers[0] == answers[1]
        assert len(set(answers)) > 1

    def test_earlier_questions_change_nothing(self, chat):
        first = chat.invoke(QUESTION).response_metadata
        chat.invoke("Count upwards from one, but in French.", max_tokens=1)
        assert chat.invoke(QUESTION).response_metadata == first

    def test_conversation_reaches_the_model(self, chat):
        talk = [SystemMessage("You are terse."), HumanMessage("hi"), AIMessage("Hello."), HumanMessage(QUESTION)]
        assert chat.invoke(talk, max_tokens=2).usage_metadata["input_tokens"] == chat.get_num_tokens_from_messages(talk)

    def test_model_of_the_call_answers(self, chat, larger_chat):
        message = chat.invoke(QUESTION, model="qwen2.5-0.5b")
        assert message.content == larger_chat.invoke(QUESTION, max_tokens=chat.max_tokens).content
        assert message.response_metadata["model_name"] == "qwen2.5-0.5b"

    def test_file_of_ones_own_answers(self, chat, tmp_path):
        path = tmp_path / "own.gguf"
        path.symlink_to(fetch("smollm2-135m"))
        own = ChatLocal(model=str(path), threads=1, max_tokens=8)
        assert own.invoke(QUESTION).content == chat.invoke(QUESTION).content


@pytest.mark.local
class TestFaults:
    def test_prompt_too_long_is_told_in_tokens(self, chat):
        with pytest.raises(ContextOverflowError, match=r"the prompt has \d{4} tokens and max_tokens is 8.*=4096"):
            chat.invoke("word " * 4090)

    def test_answer_too_long_is_told(self, chat):
        with pytest.raises(ContextOverflowError, match="max_tokens is 4090"):
            next(chat.stream(QUESTION, max_tokens=4090))

    def test_longest_prompt_that_fits_is_answered(self, chat):
        frame = chat.get_num_tokens_from_messages([HumanMessage("word")])
        longest = "word" + " word" * 20
        tight = ChatLocal(model="smollm2-135m", threads=1, max_tokens=4, context_window=frame + 20 + 4)
        assert tight.invoke(longest).usage_metadata["input_tokens"] == frame + 20
        with pytest.raises(ContextOverflowError):
            tight.invoke(longest + " word")

    @pytest.mark.parametrize("prompt", ["", [HumanMessage("")]])
    def test_empty_prompt_is_an_error(self, chat, prompt):
        with pytest.raises(ValueError, match="the prompt is empty"):
            chat.invoke(prompt)

    def test_unknown_option_is_told(self, chat):
        with pytest.raises(TypeError, match="does not know temprature; options of a call are cache_prompt, freq"):
            chat.invoke(QUESTION, temprature=1)

    def test_unknown_model_of_the_call_is_told(self, chat):
        with pytest.raises(ValueError, match="unknown model 'gpt'"):
            chat.invoke(QUESTION, model="gpt")

    def test_llama_errors_surface(self, chat):
        with pytest.raises(RuntimeError, match=r"llama\.cpp"):
            chat.invoke(QUESTION, grammar="no grammar")

    def test_time_limit(self, chat):
        with pytest.raises(TimeoutError):
            chat.invoke(QUESTION, max_tokens=900, timeout=0.1)


@pytest.mark.local
class TestSharing:
    def test_each_thread_gets_its_own_answer(self, chat):
        questions = [
            f"Repeat after me: {word}" for word in ("sun", "rain", "tree", "fish", "bread", "blue", "six", "no")
        ]
        alone = [chat.invoke(question).content for question in questions]
        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(lambda question: chat.invoke(question).content, questions))
        assert together == alone
        assert len(set(alone)) > 4

    def test_batch_is_in_order(self, chat):
        questions = [[SystemMessage("Repeat."), HumanMessage(word)] for word in ("sun", "rain")]
        assert [m.content for m in chat.batch(questions)] == [chat.invoke(question).content for question in questions]

    def test_stream_closed_early_disturbs_nobody(self, chat):
        whole = chat.invoke(QUESTION).content
        for _ in range(3):
            stream = chat.stream(QUESTION, max_tokens=900)
            next(stream)
            stream.close()
        assert chat.invoke(QUESTION).content == whole

    async def test_event_loop_goes_on(self, chat):
        beats = 0

        async def beat():
            nonlocal beats
            while True:
                await asyncio.sleep(0)
                beats += 1

        heart = asyncio.create_task(beat())
        await chat.ainvoke(QUESTION)
        heart.cancel()
        assert beats > 50

    async def test_cancelled_call_ends(self, chat):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(chat.ainvoke(QUESTION, max_tokens=3000), timeout=0.5)
        gc.collect()
        assert (await asyncio.wait_for(chat.ainvoke(QUESTION, max_tokens=2), timeout=30)).content

    async def test_async_stream_closed_early(self, chat):
        stream = chat.astream(QUESTION, max_tokens=3000)
        await anext(stream)
        await stream.aclose()
        assert (await chat.ainvoke(QUESTION, max_tokens=2)).content

    def test_equal_instances_share_one_model(self, chat):
        other = ChatLocal(model="smollm2-135m", threads=1)
        assert other._runtime("smollm2-135m") is chat._runtime("smollm2-135m")

    @pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
    def test_copies_answer_alike(self, chat, copied):
        assert copied(chat).invoke(QUESTION).content == chat.invoke(QUESTION).content

    def test_tokens_are_the_models_own(self, chat):
        ids = chat.get_token_ids("Hello world")
        assert len(ids) == chat.get_num_tokens("Hello world") == 2
        assert ChatLocal(custom_get_token_ids=lambda text: [1, 2, 3]).get_num_tokens("x") == 3
