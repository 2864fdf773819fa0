"""Importers, each on a small sample written after the format's documentation."""

import json

import pytest

import cascade_components as cc
from cascade_cli.import_outcomes import ImportOptions, run_import


def lines(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def imported(folder, kind, *files, **given):
    result = run_import(ImportOptions(kind=kind, files=files, output=folder / "out.jsonl", show=False, **given))
    found = cc.load_outcomes(folder / "out.jsonl")
    assert len(found) == result["outcomes"]
    return {(row.model, row.query): row for row in found}, result["notes"]


# LangSmith


def human(text):
    return {
        "lc": 1,
        "type": "constructor",
        "id": ["langchain", "schema", "messages", "HumanMessage"],
        "kwargs": {"content": text},
    }


def run(number, text, model="gpt-4o-mini", **given):
    message = {"kwargs": {"content": "4", "response_metadata": {"finish_reason": "stop"}}}
    return {
        "id": f"run-{number}",
        "trace_id": f"trace-{number}",
        "parent_run_id": f"trace-{number}",
        "run_type": "llm",
        "name": "ChatOpenAI",
        "start_time": "2026-01-05T10:00:00.000000",
        "first_token_time": "2026-01-05T10:00:00.200000",
        "end_time": "2026-01-05T10:00:01.200000",
        "extra": {"metadata": {"ls_model_name": model}},
        "inputs": {"messages": [[human(text)]]},
        "outputs": {"generations": [[{"text": "4", "message": message}]]},
        "prompt_tokens": 10,
        "completion_tokens": 11,
        "total_cost": "0.000123",
        "error": None,
        "feedback_stats": None,
        **given,
    }


def root(number, **given):
    return {"id": f"trace-{number}", "trace_id": f"trace-{number}", "run_type": "chain", "inputs": {}, **given}


def test_langsmith_runs_with_the_feedback_on_them_or_on_their_trace(tmp_path):
    runs = lines(
        tmp_path / "runs.jsonl",
        root(1),
        run(1, "2 + 2?", feedback_stats={"correctness": {"n": 1, "avg": 1.0}}),
        root(2, feedback_stats={"correctness": {"n": 2, "avg": 0.5}}),
        run(2, "3 + 3?", reference_example_id="example-7"),
        root(3, feedback_stats={"correctness": {"n": 1, "avg": 1.0}}),
        run(3, "two calls"),
        {**run(3, "of one trace"), "id": "run-3b"},
        run(4, "failed", error="TimeoutError"),
        run(5, "by its feedback"),
    )
    feedback = lines(tmp_path / "feedback.jsonl", {"run_id": "run-5", "key": "correctness", "score": False})
    found, notes = imported(tmp_path, "langsmith", runs, feedback)
    assert {query: row.correct for (_, query), row in found.items()} == {
        "2 + 2?": 1,
        "3 + 3?": 0.5,
        "by its feedback": 0,
    }
    row = found["gpt-4o-mini", "2 + 2?"]
    assert (row.output, row.input_tokens, row.output_tokens, row.finish_reason) == ("4", 10, 11, "stop")
    assert (row.ttft_ms, row.tpot_ms, row.e2el_ms, row.cost_usd) == (200, 100, 1200, 0.000123)
    assert found["gpt-4o-mini", "3 + 3?"].query_id == "example-7"
    assert notes == ["1 rows: the run failed", "2 rows: no score"]


def test_langsmith_keys_and_scores_must_be_clear(tmp_path):
    both = {"helpful": {"avg": 4}, "correctness": {"avg": 1}}
    runs = lines(tmp_path / "runs.jsonl", run(1, "2 + 2?", feedback_stats=both))
    with pytest.raises(ValueError, match="feedback on correctness, helpful; say which one counts: --score correctness"):
        imported(tmp_path, "langsmith", runs)
    with pytest.raises(ValueError, match=r"runs.jsonl, line 1: the feedback 'helpful' must be 0…1.*found 4"):
        imported(tmp_path, "langsmith", runs, score="helpful")
    found, _ = imported(tmp_path, "langsmith", f"mine={runs}", score="correctness")
    assert set(found) == {("mine", "2 + 2?")}


def test_langsmith_experiments_list_the_traces_own_runs(tmp_path):
    own = root(1, inputs={"question": "2 + 2?"}, outputs={"output": "4"}, feedback_stats={"right": {"avg": 1}})
    runs = lines(tmp_path / "runs.jsonl", own)
    with pytest.raises(ValueError, match="line 1: the run names no model; name it as MODEL="):
        imported(tmp_path, "langsmith", runs)
    found, _ = imported(tmp_path, "langsmith", f"small={runs}")
    assert found["small", "2 + 2?"].output == "4"


# LiteLLM and OpenAI


def call(model, question, answer, **given):
    return {
        "id": "chatcmpl-1",
        "call_type": "acompletion",
        "status": "success",
        "model": f"openai/{model}",
        "model_group": model,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": question}],
        "response": {"choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": answer}}]},
        "prompt_tokens": 20,
        "completion_tokens": 5,
        "response_cost": 0.002,
        "startTime": 1767600000.0,
        "completionStartTime": 1767600000.5,
        "endTime": 1767600001.5,
        "cache_hit": None,
        "metadata": {},
        **given,
    }


def test_litellm_calls_with_a_score_in_the_metadata(tmp_path):
    log = lines(
        tmp_path / "log.jsonl",
        call("small", "2 + 2?", "4", metadata={"score": 1}),
        {"standard_logging_object": call("small", "2 + 2?", "5", metadata={"score": 0}, cache_hit=True)},
        call("large", "2 + 2?", None, status="failure"),
        call("large", "2 + 2?", "4", metadata={"eval": {"right": True}}),
    )
    result = run_import(ImportOptions(kind="litellm", files=[log], output=tmp_path / "out.jsonl", show=False))
    first, second = cc.load_outcomes(tmp_path / "out.jsonl")
    assert (first.correct, first.cost_usd, first.ttft_ms, first.tpot_ms, first.e2el_ms) == (1, 0.002, 500, 250, 1500)
    assert (second.run, second.correct, second.cost_usd, second.e2el_ms) == (1, 0, None, None)
    assert result["notes"] == ["1 rows: the call failed", "1 rows: no score"]
    found, _ = imported(tmp_path, "litellm", log, score="metadata.eval.right")
    assert set(found) == {("large", "2 + 2?")}


def test_logs_without_scores_are_graded_by_labels_or_by_agreement(tmp_path):
    log = lines(
        tmp_path / "log.jsonl",
        *(
            call(model, f"{n} + {n}?", f"It is {2 * n + (model == 'small' and n == 3)}.")
            for n in (2, 3)
            for model in ("small", "large")
        ),
    )
    with pytest.raises(ValueError, match=r"No outcome in .*: 4 rows: no score. Name the score by --score, or grade by"):
        imported(tmp_path, "litellm", log)
    labels = lines(tmp_path / "q.jsonl", {"question": "3 + 3?", "answer": 6})
    found, _ = imported(tmp_path, "litellm", log, grader="contains", questions=labels)
    assert {key: row.correct for key, row in found.items()} == {("small", "3 + 3?"): 0, ("large", "3 + 3?"): 1}
    found, _ = imported(tmp_path, "litellm", log, grader="numeric", agree_with="large")
    assert {key: row.correct for key, row in found.items() if key[0] == "small"} == {
        ("small", "2 + 2?"): 1,
        ("small", "3 + 3?"): 0,
    }
    with pytest.raises(ValueError, match="there is no such model in the log, only large, small"):
        imported(tmp_path, "litellm", log, grader="numeric", agree_with="nobody")


def test_openais_batches_are_joined_and_priced(tmp_path):
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": [{"type": "text", "text": "2 + 2?"}]}]}
    answer = {
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"message": {"content": "4"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 500},
    }
    asked = lines(
        tmp_path / "in.jsonl", {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}
    )
    given = lines(
        tmp_path / "out-batch.jsonl",
        {"id": "r1", "custom_id": "a", "response": {"status_code": 200, "body": answer}, "error": None},
        {"id": "r2", "custom_id": "b", "response": {"status_code": 429, "body": {}}, "error": None},
    )
    found, notes = imported(
        tmp_path, "litellm", asked, given, grader="exact",
        questions=lines(tmp_path / "q.jsonl", {"question": "2 + 2?", "answer": "4"}), prices=["gpt-4o-mini=0.15/0.6"],
    )  # fmt: skip
    assert found["gpt-4o-mini", "2 + 2?"].cost_usd == pytest.approx(450e-6)
    assert notes == ["1 rows: the call failed"]


# lm-evaluation-harness

DATE = "2026-01-05T10-00-00.123456"


def sample(number, question, answer, right, **given):
    return {
        "doc_id": number,
        "doc": {"question": question, "answer": "… #### 4"},
        "target": "4",
        "arguments": {"gen_args_0": {"arg_0": f"Q: few shots\n\nQ: {question}\nA:", "arg_1": {"until": ["Q:"]}}},
        "resps": [[answer]],
        "filtered_resps": [answer],
        "filter": "strict-match",
        "metrics": ["exact_match"],
        "exact_match": right,
        **given,
    }


def test_lm_eval_samples_by_filter_and_metric(tmp_path):
    strict = sample(0, "2 + 2?", "It is 4", 0.0)
    folder = tmp_path / "runs" / "org__small"
    lines(folder / f"samples_gsm8k_{DATE}.jsonl", strict, {**strict, "filter": "flexible-extract", "exact_match": 1.0})
    with pytest.raises(ValueError, match="filters strict-match, flexible-extract; say which ones count: --filter"):
        imported(tmp_path, "lm-eval", str(folder))
    found, notes = imported(
        tmp_path, "lm-eval", str(folder), answer_filter="flexible-extract", costs=["org/small=0.001"]
    )
    row = found["org/small", "2 + 2?"]
    assert (row.query_id, row.task, row.output, row.correct, row.cost_usd) == ("gsm8k-0", "gsm8k", "It is 4", 1, 0.001)
    assert notes == ["1 rows: another filter's row"]
    (folder / f"results_{DATE}.json").write_text(json.dumps({"model_name": "org/small-v2"}))
    found, _ = imported(tmp_path, "lm-eval", str(folder), answer_filter="strict-match", grader="numeric")
    assert found["org/small-v2", "2 + 2?"].correct == 1  # graded anew, against the sample's target


def test_lm_eval_likelihood_tasks_have_no_answers_text(tmp_path):
    likelihood = {
        "doc_id": 3,
        "doc": {"ctx_a": "A man", "label": 1},
        "target": 1,
        "arguments": {"gen_args_0": {"arg_0": "A man sits", "arg_1": " down"}},
        "resps": [[[-3.5, False]], [[-1.5, True]]],
        "filter": "none",
        "metrics": ["acc", "acc_norm"],
        "acc": 1.0,
        "acc_norm": 0.0,
    }
    file = lines(tmp_path / "samples_hellaswag.jsonl", likelihood)
    found, _ = imported(tmp_path, "lm-eval", f"small={file}")
    assert (found["small", "A man sits"].output, found["small", "A man sits"].correct) == (None, 1)
    assert imported(tmp_path, "lm-eval", f"small={file}", score="acc_norm")[0]["small", "A man sits"].correct == 0
    with pytest.raises(ValueError, match="line 1: there is no metric 'bleu'; found acc, acc_norm"):
        imported(tmp_path, "lm-eval", f"small={file}", score="bleu")


# cre-router


def generation(qid, number, run, **given):
    return {
        "qid": qid, "cluster": "0", "run": run, "question": f"{qid}?", "prompt": f"<user>{qid}?", "answer": 4,
        "ground_truth_answer": 4, "full_output": "so 4", "num_tokens": number, "correct": True, **given,
    }  # fmt: skip


def test_cre_router_captures_with_the_times_of_each_request(tmp_path):
    name = "aime_org_small_20260105_100000"
    lines(
        tmp_path / "results" / f"{name}_generations.jsonl",
        generation("a", 3, 0),
        generation("b", 1, 0, correct=False),
        generation("a", 2, 1),
    )
    detail = tmp_path / "results" / "detail"
    detail.mkdir()
    times = {"output_lens": [3, 1], "ttfts": [0.1, 0.2], "itls": [[0.01, 0.03], []]}
    (detail / "detail_aime_org_small_c0_r0.json").write_text(json.dumps(times))
    (detail / "detail_aime_org_large_c0_r0.json").write_text("{}")
    _, notes = imported(tmp_path, "cre", f"small={tmp_path / 'results'}")
    outcomes = {(row.query_id, row.run): row for row in cc.load_outcomes(tmp_path / "out.jsonl")}
    first, second = outcomes["a", 0], outcomes["b", 0]
    assert (first.correct, first.ttft_ms, first.tpot_ms, first.e2el_ms) == (
        1,
        100,
        pytest.approx(20),
        pytest.approx(140),
    )
    assert (second.correct, second.tpot_ms, second.e2el_ms) == (0, 0, 200)
    assert (outcomes["a", 1].e2el_ms, outcomes["a", 1].query) == (None, "a?")
    assert notes == ["1 rows: times of single requests were not kept; the outcome is there without them"]
    (detail / "detail_aime_org_small_c0_r0.json").write_text(json.dumps({**times, "output_lens": [3, 2]}))
    with pytest.raises(ValueError, match="holds the times of other answers"):
        imported(tmp_path, "cre", f"small={tmp_path / 'results'}")
    with pytest.raises(ValueError, match="Which model answered in"):
        imported(tmp_path, "cre", str(tmp_path / "results"))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves its files open
def test_cre_routers_own_reader_finds_the_same_times(tmp_path):
    captures = pytest.importorskip("cre_router.captures")
    folder = tmp_path / "results_run1_Qwen_small"
    rows = [
        generation("a", 3, 0, full_output="The final answer is 4"),
        generation("b", 1, 0, full_output="5", correct=False),
    ]
    lines(folder / "aime_Qwen_small_20260105_100000_generations.jsonl", *rows)
    lines(folder / "aime_Qwen_small_20260105_100000.jsonl", {"cluster": "0", "run": 0, "tpot_ms": 20, "num_prompts": 2})
    (tmp_path / "detail_run1").mkdir()
    times = {"output_lens": [3, 1], "ttfts": [0.1, 0.2], "itls": [[0.01, 0.03], []]}
    (tmp_path / "detail_run1" / "detail_aime_Qwen_small_c0_r0.json").write_text(json.dumps(times))
    found, _ = imported(tmp_path, "cre", f"small={folder}")
    theirs = captures.load_capture("run1", tmp_path)
    assert len(theirs) == len(found) == 2
    for row in found.values():
        other = theirs[row.query_id, row.run]
        assert row.ttft_ms == pytest.approx(1000 * other["ttft_s"])
        assert row.tpot_ms == pytest.approx(other["tpot_ms"])
        assert row.e2el_ms == pytest.approx(1000 * other["e2el_s"])
        assert row.output_tokens == other["tokens"]


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        ("litellm", {"prices": ["large=1/2"]}, "--price large: there is no such model in the log, only small"),
        ("litellm", {"prices": ["small"]}, "--price must be MODEL="),
        ("litellm", {"costs": ["small=cheap"]}, "'cheap' is no amount of USD"),
        ("litellm", {"answer_filter": "x"}, "--filter is for lm-eval"),
        ("litellm", {"grader": "judge:small"}, "needs a pool of models"),
        ("litellm", {"agree_with": "small"}, "go with --grader"),
        ("litellm", {"score": "messages"}, "line 1: messages must be 0…1"),
        ("lm-eval", {}, "line 1: no sample of lm-evaluation-harness"),
        ("cre", {}, "line 1: no generation of cre-router: qid is missing"),
    ],
)
def test_bad_input_is_told(tmp_path, kind, given, message):
    log = lines(tmp_path / "log.jsonl", call("small", "2 + 2?", "4", metadata={"score": 1}))
    with pytest.raises(ValueError, match=message):
        imported(tmp_path, kind, f"small={log}", **given)


def test_a_broken_line_is_named(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text((json.dumps(call("small", "a?", "b")) + "\n") * 9999 + "{oh\n")
    with pytest.raises(ValueError, match=r"log\.jsonl, line 10000: not valid JSON"):
        imported(tmp_path, "litellm", str(log))
    with pytest.raises(FileNotFoundError, match="There is no file or folder nowhere"):
        imported(tmp_path, "litellm", "small=nowhere")
