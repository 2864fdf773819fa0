import json
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import Field

import cascade_components as cc
from langchain_cascade.capturing import capture


@dataclass(frozen=True)
class Asked:
    id: str
    text: str
    family: str = "test"


QUESTIONS = [Asked(f"q{number}", f"What is {number}?") for number in range(4)]


class Echo(BaseChatModel):
    """Answers with the question, in two chunks; remembers what it was asked."""

    asked: list = Field(default_factory=list)
    fails_at: str | None = None
    error: BaseException = TimeoutError("too slow")
    reports_usage: bool = True

    @property
    def _llm_type(self):
        return "echo"

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        return ChatResult(generations=[ChatGeneration(message=AIMessage(messages[-1].text))])

    def _stream(self, messages, stop=None, run_manager=None, **kwargs):
        text = messages[-1].text
        if text == self.fails_at:
            raise self.error
        self.asked.append(text)
        usage = {"input_tokens": 4, "output_tokens": 2, "total_tokens": 6} if self.reports_usage else None
        yield ChatGenerationChunk(message=AIMessageChunk("What "))
        yield ChatGenerationChunk(message=AIMessageChunk(text.removeprefix("What "), usage_metadata=usage))


def grade(question, output):
    return question.text == output and question.id != "q1"


def run(path, **kwargs):
    models = kwargs.pop("models", None) or {"small": Echo(), "large": Echo()}
    prices = dict.fromkeys(models, (1e-06, 2e-06))
    return capture(models, kwargs.pop("questions", QUESTIONS), path, grade=grade, prices=prices, **kwargs)


def test_every_model_answers_every_question_and_is_graded_timed_and_priced(tmp_path):
    outcomes = cc.load_outcomes(run(tmp_path / "o.jsonl"))
    assert len(outcomes) == 8
    assert {(row.query_id, row.correct) for row in outcomes} == {("q0", 1), ("q1", 0), ("q2", 1), ("q3", 1)}
    for row in outcomes:
        assert (row.output, row.task, row.input_tokens, row.output_tokens) == (row.query, "test", 4, 2)
        assert row.cost_usd == pytest.approx(8e-6)
        assert 0 <= row.ttft_ms <= row.e2el_ms
        assert row.tpot_ms == pytest.approx(row.e2el_ms - row.ttft_ms, abs=0.01)
    assert list(cc.load_outcomes(tmp_path / "o.jsonl")) == list(outcomes)


def test_it_goes_on_where_it_stopped_and_asks_nothing_twice(tmp_path):
    path = tmp_path / "o.jsonl"
    first = run(path)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:5]) + '{"query_id": "q3", "cut o')
    small, large = Echo(), Echo()
    again = run(path, models={"small": small, "large": large})
    assert small.asked == []
    assert large.asked == ["What is 1?", "What is 2?", "What is 3?"]
    assert [row["output"] for row in again] == [row["output"] for row in first]
    assert len(path.read_text().splitlines()) == 8


def test_a_model_that_fails_is_no_wrong_answer(tmp_path):
    path = tmp_path / "o.jsonl"
    with pytest.raises(RuntimeError, match=r"small failed at question 'q2' \(TimeoutError\)"):
        run(path, models={"small": Echo(fails_at="What is 2?")})
    assert len(path.read_text().splitlines()) == 2
    assert len(run(path, models={"small": Echo()})) == 4


def test_an_interrupt_ends_at_once_and_keeps_what_was_captured(tmp_path):
    path = tmp_path / "o.jsonl"
    with pytest.raises(KeyboardInterrupt):
        run(path, models={"small": Echo(fails_at="What is 2?", error=KeyboardInterrupt())})
    model = Echo()
    assert len(run(path, models={"small": model})) == 4
    assert model.asked == ["What is 2?", "What is 3?"]


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85", "\r", "é", "\n"])
def test_an_answer_may_hold_any_character(tmp_path, character):
    path, questions = tmp_path / "o.jsonl", [Asked("q0", f"What {character} is?"), Asked("q1", "What?")]
    first = run(path, questions=questions)
    small, large = Echo(), Echo()
    assert run(path, questions=questions, models={"small": small, "large": large}) == first
    assert small.asked == large.asked == []
    assert [row.output for row in cc.load_outcomes(path)] == [row["output"] for row in first]


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense",
        b"",
        b"[1]",
        b'{"query_id": "q1", "model": "small"}',
        b'{"query_id": "q1", "query": "What is 1?"}',
        b'{"query_id": "q1", "query": "What is 1?", "model": []}',
        b'{"query_id": "q1", "query": "\xff", "model": "small"}',
    ],
)
def test_a_broken_line_is_named(tmp_path, line):
    path = tmp_path / "o.jsonl"
    run(path)
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([lines[0], line, *lines[2:]]) + b"\n")
    with pytest.raises(ValueError, match=r"o\.jsonl, line 2 is no outcome"):
        run(path)


def test_rows_of_other_models_and_questions_stay_in_the_file_and_out_of_the_result(tmp_path):
    path = tmp_path / "o.jsonl"
    run(path)
    rows = run(path, models={"small": Echo()}, questions=iter(QUESTIONS[:2]))
    assert [(row["query_id"], row["model"]) for row in rows] == [("q0", "small"), ("q1", "small")]
    assert len(path.read_text().splitlines()) == 8


def test_an_id_that_stands_twice_is_refused(tmp_path):
    with pytest.raises(ValueError, match="question id 'q0' stands twice"):
        run(tmp_path / "o.jsonl", questions=[QUESTIONS[0], Asked("q0", "Something else?")])


def test_without_a_token_count_there_is_no_time_per_token_and_no_cost(tmp_path):
    (row,) = run(tmp_path / "o.jsonl", questions=QUESTIONS[:1], models={"small": Echo(reports_usage=False)})
    assert {"tpot_ms", "cost_usd", "input_tokens", "output_tokens"}.isdisjoint(row)
    assert row["ttft_ms"] <= row["e2el_ms"]


def test_a_file_of_other_questions_is_refused(tmp_path):
    path = tmp_path / "o.jsonl"
    run(path)
    with pytest.raises(ValueError, match="line 1: question 'q0' had another text; choose another path"):
        run(path, questions=[Asked("q0", "Something else?")])


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_kill_loses_no_answer_and_repeats_none(tmp_path):
    script = tmp_path / "slow.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import sys, time
            sys.path.insert(0, {str(Path.cwd())!r})
            from tests.langchain_cascade.test_capturing import Asked, Echo, capture

            class Slow(Echo):
                def _stream(self, *args, **kwargs):
                    time.sleep(0.05)
                    yield from super()._stream(*args, **kwargs)

            questions = [Asked(f"q{{n}}", f"What is {{n}}?") for n in range(200)]
            capture({{"small": Slow()}}, questions, sys.argv[1], grade=lambda q, o: 1)
            """
        )
    )
    path = tmp_path / "o.jsonl"
    process = subprocess.Popen([sys.executable, str(script), str(path)], stderr=subprocess.DEVNULL)
    while process.poll() is None and (not path.exists() or path.read_bytes().count(b"\n") < 3):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    saved = path.read_bytes().count(b"\n")
    assert 3 <= saved < 200
    model = Echo()
    questions = [Asked(f"q{n}", f"What is {n}?") for n in range(saved + 2)]
    rows = capture({"small": model}, questions, path, grade=lambda q, o: 1)
    assert len(model.asked) == 2
    assert len({json.dumps(row) for row in rows}) == saved + 2
