import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cascade_components as cc

ROW = {"query_id": "q", "query": "2 + 2?", "model": "small", "correct": 1}


def test_rows_are_typed_and_extra_fields_ignored():
    (row,) = cc.load_outcomes([{**ROW, "output": "4", "grader": "exact", "token_logprobs": [-0.1]}])
    assert (row.correct, row.run, row.cost_usd, row.token_logprobs) == (1.0, 0, None, (-0.1,))
    assert row.answer == cc.Answer("4", model="small", token_logprobs=(-0.1,))


@pytest.mark.parametrize("name", ["o.jsonl", "o.jsonl.gz", "o.parquet"])
def test_a_file_round_trips(tmp_path, rows, name):
    outcomes = cc.load_outcomes(rows[:30])
    outcomes.save(tmp_path / name)
    assert list(cc.load_outcomes(tmp_path / name)) == list(outcomes)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_the_same_outcomes_make_the_same_file(tmp_path, rows):
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        cc.load_outcomes(rows[:9]).save(tmp_path / name)
    assert (tmp_path / "a.jsonl.gz").read_bytes()[12:] == (tmp_path / "b.jsonl.gz").read_bytes()[12:]


def test_several_files_are_joined(tmp_path, rows):
    for number in range(2):
        cc.load_outcomes(rows[number * 3 : number * 3 + 3]).save(tmp_path / f"{number}.jsonl")
    assert len(cc.load_outcomes([tmp_path / "0.jsonl", str(tmp_path / "1.jsonl")])) == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"correct": 1.5}, "line 2: correct: Input should be less than or equal to 1"),
        ({"correct": None}, "line 2: correct"),
        ({"query": "  "}, "line 2: query"),
        ({"cost_usd": -1}, "line 2: cost_usd"),
        ({"cost_usd": "NaN"}, "line 2: cost_usd"),
        ({"model": ""}, "line 2: model"),
        ({"output_tokens": 2.5}, "line 2: output_tokens"),
    ],
)
def test_a_broken_row_is_named_by_its_line_and_field(tmp_path, change, message):
    file = tmp_path / "o.jsonl"
    file.write_text(json.dumps(ROW) + "\n" + json.dumps({**ROW, "query_id": "r", **change}) + "\n")
    with pytest.raises(ValueError, match=message):
        cc.load_outcomes(file)


def test_a_broken_line_is_named(tmp_path):
    file = tmp_path / "o.jsonl"
    file.write_text(json.dumps(ROW) + "\n\n{half a li")
    with pytest.raises(ValueError, match=r"o\.jsonl, line 3: not valid JSON"):
        cc.load_outcomes(file)


def test_a_damaged_archive_is_named(tmp_path, rows):
    file = tmp_path / "o.jsonl.gz"
    cc.load_outcomes(rows).save(file)
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(ValueError, match="damaged"):
        cc.load_outcomes(file)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no outcomes"),
        ([ROW, ROW], "stands twice"),
        ([ROW, {**ROW, "model": "large", "query": "3 + 3?"}], "two different texts"),
    ],
)
def test_rows_that_contradict_each_other_are_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        cc.load_outcomes(rows)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.jsonl"):
        cc.load_outcomes(tmp_path / "none.jsonl")


@given(share=st.floats(0.1, 0.9), seed=st.integers(0, 100))
def test_a_split_cuts_by_query_and_loses_nothing(share, seed):
    outcomes = cc.load_outcomes(
        {"query_id": f"q{n}", "query": f"? {n}", "model": model, "correct": 1} for n in range(60) for model in "ab"
    )
    first, second = outcomes.split(share, seed=seed)
    assert not set(first.queries) & set(second.queries)
    assert len(first) + len(second) == len(outcomes)
    assert all(sum(row.query_id == query for row in part) == 2 for part in (first, second) for query in part.queries)


@pytest.mark.parametrize("share", [0, 1, 2])
def test_a_split_needs_a_share_between_0_and_1(rows, share):
    with pytest.raises(ValueError, match="between 0 and 1"):
        cc.load_outcomes(rows).split(share)


def test_what_rows_repeat_is_held_in_memory_once(tmp_path):
    file = tmp_path / "o.jsonl"
    file.write_text("\n".join(json.dumps({**ROW, "model": model}) for model in ("a", "b")))
    first, second = cc.load_outcomes(file)
    assert first.query is second.query
    assert first.query_id is second.query_id
