import json
import os
import time
import tracemalloc
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cascade_components as cc
from cascade_components.evidence import Evidence
from cascade_components.optimism import NO_OPTIMISM
from cascade_components.options import OptionTable, option_table
from cascade_components.planning import Planner, Target
from cascade_components.policy_arrays import WANTED
from cascade_components.storage import read_folder
from tests.cascade_components import damage
from tests.cascade_components.damage import NASTY, copied, loaded_or_refused, places, put, rewrite
from tests.toy import make_rows, toy_encoder

ROWS = make_rows(count=150)
for row in ROWS:
    row["output"] += " and that is that"  # long enough for its beginning to be read


@pytest.fixture(scope="module", autouse=True)
def _no_waiting_for_the_disk():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="module")
def policy():
    found = cc.fit(ROWS, encoder=toy_encoder, clusters=3, retention=0.9, confidence=0.5, gate="gain", seed=1)
    return replace(found.reprice({"small": 0.5}).at(cost_weight=0.3), certificate=found.certificate)


@pytest.fixture(scope="module")
def saved(policy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "policy"
    policy.save(folder)
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Where policies are damaged: one after the other, for hypothesis takes no fixture of a single test."""
    return tmp_path_factory.mktemp("damaged") / "policy"


FUZZ = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], database=None)


def test_everything_that_is_checked_is_there(saved, policy):
    """Or the tests below would be in vain."""
    found = cc.CascadePolicy.load(saved, encoder=toy_encoder)
    assert found.fingerprint == policy.fingerprint
    assert found.certificate == policy.certificate is not None
    assert found.releases and found.factors and found.prices  # noqa: PT018
    assert {"clusters", "options", "evidence", "quality", "releases"} == set(read_folder(saved).files)


def test_whole_numbers_stay_what_they_were(policy, tmp_path):
    whole = policy.reprice({"small": 2}).at(budget=1)
    whole.save(tmp_path / "policy")
    assert cc.CascadePolicy.load(tmp_path / "policy", encoder=toy_encoder).fingerprint == whole.fingerprint


def test_every_array_has_its_check():
    for group, kind in (("options", OptionTable), ("evidence", Evidence)):
        arrays = {item.name for item in fields(kind)} - {"models", "query_ids"}
        assert set(WANTED[group]) == arrays, "say in policy_arrays.py what a new array must be"


def test_a_policy_that_could_not_be_loaded_is_not_saved(policy, tmp_path):
    for broken, match in (
        (replace(policy, centroids=policy.centroids[:2]), r"clusters\.safetensors: centroids must have the shape"),
        (replace(policy, point=replace(policy.point, cost=1.0)), r"policy\.json: point\.cost must be that of its"),
        (replace(policy, factors={"nobody": 1.0}), r"policy\.json: factors names 'nobody', which models lacks"),
    ):
        with pytest.raises(ValueError, match=f"cannot be saved, for it could not be loaded again: {match}"):
            broken.save(tmp_path / "policy")
        assert not list(tmp_path.iterdir())


@FUZZ
@given(data=st.data())
def test_truncated_files(saved, place, policy, data):
    folder = copied(saved, place)
    file = data.draw(st.sampled_from(sorted(folder.iterdir())))
    content = file.read_bytes()[: data.draw(st.integers(0, file.stat().st_size - 1))]
    if file.suffix == ".json":
        file.write_bytes(content)
        found = loaded_or_refused(folder)
        assert found is None or found.fingerprint == policy.fingerprint  # it ends in a line break
        return
    file.write_bytes(content)
    assert loaded_or_refused(folder) is None
    damage.replace_bytes(file, content)
    assert loaded_or_refused(folder) is None


@FUZZ
@given(data=st.data())
def test_flipped_bits(saved, place, policy, data):
    folder = copied(saved, place)
    file = data.draw(st.sampled_from(sorted(folder.iterdir())))
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    file.write_bytes(content)
    found = loaded_or_refused(folder)
    assert found is None or found.fingerprint == policy.fingerprint
    if file.suffix == ".json":
        damage.replace_index(folder, bytes(content))
    else:
        damage.replace_bytes(file, bytes(content))
    loaded_or_refused(folder)


@settings(FUZZ, max_examples=80)
@given(data=st.data())
def test_facts_of_other_types(saved, place, data):
    folder = copied(saved, place)
    where = data.draw(st.sampled_from(list(places(read_folder(saved).facts))[1:]))
    value = data.draw(st.sampled_from(NASTY))
    rewrite(folder, facts=lambda facts: put(facts, where, value))
    loaded_or_refused(folder)


def test_missing_and_added_facts(saved, place):
    facts = read_folder(saved).facts
    optional = {"certificate", "releases", "kind", "rival", "cache_read", "cache_creation", "models"}
    one_model = [where for where in places(facts) if not {"medium", "large"} & set(where)]
    for where in one_model[1:]:
        folder = copied(saved, place)
        rewrite(folder, facts=lambda facts, where=where: damage.without(facts, where))
        if loaded_or_refused(folder) is not None:
            # What names something, or may go without saying.
            named = where[0] in ("factors", "prices", "estimators", "releases") and len(where) == 2
            reader = where[0] == "releases" and where[2:3] == ("readers",) and len(where) == 4
            assert named or reader or where[-1] in optional or where[0] == "certificate", where
    for where in one_model:
        folder = copied(saved, place)
        rewrite(folder, facts=lambda facts, where=where: _with_more(facts, where))
        assert (loaded_or_refused(folder) is None) == isinstance(_at(facts, where), dict), where


def _at(data, where):
    for key in where:
        data = data[key]
    return data


def _with_more(facts, where):
    found = _at(facts, where)
    return put(facts, where, {**found, "surprise": 1}) if isinstance(found, dict) else facts


ARRAY_DAMAGE = {
    "missing": lambda array, at: None,
    "empty": lambda array, at: array[:0],
    "shorter": lambda array, at: array[:-1],
    "longer": lambda array, at: np.concatenate([array, array[-1:]]),
    "flat": lambda array, at: array.ravel() if array.ndim > 1 else array[:, None],
    "turned": lambda array, at: np.moveaxis(array, 0, -1).copy(),
    "half": lambda array, at: array.astype(np.float16),
    "double": lambda array, at: array.astype(np.float64),
    "whole": lambda array, at: np.nan_to_num(array).astype(np.int64),
    "bytes": lambda array, at: np.zeros(array.shape, np.uint8),
    "booleans": lambda array, at: np.zeros(array.shape, bool),
    "scalar": lambda array, at: array.ravel()[0],
    **{
        str(value): lambda array, at, value=value: _with(array, at, value)
        for value in (np.nan, np.inf, -np.inf, -1, -2, 2, 3, 1e9, 1e300, 2**62, -0.5)
    },
}


def _with(array, at, value):
    if array.dtype.kind in "iu" and not abs(value) < 2**63:
        return array
    with np.errstate(over="ignore", invalid="ignore"):
        changed = array.copy()
        changed.ravel()[at % max(1, changed.size)] = value
    return changed


@settings(FUZZ, max_examples=80)
@given(data=st.data())
def test_arrays_of_other_shapes_types_and_numbers(saved, place, data):
    folder = copied(saved, place)
    arrays = read_folder(saved).arrays
    known = [(group, name) for group, found in arrays.items() for name in found]
    which = data.draw(st.sampled_from(known))
    change = ARRAY_DAMAGE[data.draw(st.sampled_from(sorted(ARRAY_DAMAGE)))]
    at = data.draw(st.integers(0, arrays[which[0]][which[1]].size - 1))
    rewrite(folder, arrays={which: lambda array: change(array, at)})
    loaded_or_refused(folder)


@pytest.mark.parametrize(
    ("facts", "what"),
    [
        ({"models": ["small", "small", "large"]}, "models: 'small' is there twice"),
        ({"models": ["", "medium", "large"]}, r"models\.0: String should have at least 1 character, found ''"),
        ({"models": ["small", "large"]}, "'medium', which models lacks"),
        ({"strategy": "guess"}, "strategy: Input should be 'joint' or 'sequential', found 'guess'"),
        ({"seed": "0"}, "seed: Input should be a valid integer, found '0'"),
        ({"factors": {"small": 0.0}}, r"factors\.small: Input should be greater than 0, found 0\.0"),
        ({"prices": {"small": {"input": -1.0, "output": 1.0}}}, r"prices\.small\.input: .*greater than or equal to 0"),
        ({"optimism": {"cost_weights": [0.0, 1.0], "values": [0.0]}}, "optimism: it must have a value for each"),
        ({"target": dict.fromkeys(("budget", "retention", "cost_weight"))}, "target: it must have one of .* none"),
        ({"query_ids": ["q1", "q1"]}, "query_ids has an id twice"),
        ({"colour": "blue"}, "colour: Extra inputs are not permitted, found 'blue'"),
    ],
)
def test_what_is_wrong_with_the_facts_is_told(saved, place, facts, what):
    folder = copied(saved, place)
    rewrite(folder, facts=lambda known: known | facts)
    with pytest.raises(ValueError, match=rf"policy\.json is damaged: .*{what}.*\. Save the policy again"):
        cc.CascadePolicy.load(folder, encoder=toy_encoder)


@pytest.mark.parametrize(
    ("group", "name", "change", "what"),
    [
        ("clusters", "centroids", lambda a: a[:2], r"shape \(clusters, dim\) = \(3, 13\), found \(2, 13\)"),
        ("clusters", "radius", lambda a: a * np.nan, r"lie in 0…1e\+15, found nan at \(0,\)"),
        ("options", "start", lambda a: a + 1, r"lie in 0…2, found 3 at"),
        ("options", "start", lambda a: a.astype(float), "be of type int64, found float64"),
        ("options", "start", lambda a: a * 0, "start and target must have one option of small alone, found"),
        ("options", "target", lambda a: np.where(a < 0, a, 0), "a stronger model than start"),
        ("options", "threshold", lambda a: np.full_like(a, 0.5), "threshold must be a number where there is a target"),
        ("options", "accuracy", lambda a: a + 1, "accuracy must lie in"),
        ("options", "sizes", lambda a: a + 1, "sizes must be what labels of the evidence count"),
        ("options", "sizes", lambda a: a * 0, "sizes must have queries in a cluster"),
        ("evidence", "labels", lambda a: a + 1, "labels must lie in 0…2, found 3"),
        ("evidence", "correct", lambda a: a[:, :2], r"shape \(queries, models, runs\) = \(\d+, 3, 1\), found"),
        ("evidence", "cost", lambda a: -a, r"cost must lie in 0…1e\+15 \(or be NaN\), found -0\."),
        ("evidence", "scores", lambda a: None, "scores is missing"),
        ("evidence", "extra", lambda a: np.zeros(3), "it has 'extra', which nothing reads; there are coordinates, "),
        ("quality", "small/linear.weight", lambda a: a[:, 1:], r"small/linear.weight must have the shape \(1, 7\d\)"),
        ("quality", "small/mean", lambda a: a * np.nan, "small/mean must lie in"),
        ("quality", "small/mean", lambda a: None, "small/mean is missing"),
        ("quality", "nobody/mean", lambda a: np.zeros(3), "it has 'nobody/mean', which belongs to no estimator"),
        ("releases", "4/small/linear.bias", lambda a: a * np.inf, "4/small/linear.bias must lie in"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_what_is_wrong_with_an_array_is_told(saved, place, group, name, change, what):
    folder = copied(saved, place)
    rewrite(folder, arrays={(group, name): change})
    with pytest.raises(
        ValueError, match=rf"{group}-\w{{16}}\.safetensors is damaged: .*{what}.* Save the policy again"
    ):
        cc.CascadePolicy.load(folder, encoder=toy_encoder)


def test_what_a_plan_promises_is_what_its_options_do(saved, place):
    options = len(read_folder(saved).arrays["options"]["start"])
    for changes, what in (
        ({"options": [0, 0, options]}, f"point.options must lie below the number of options, {options}"),
        ({"options": [0, 0]}, r"centroids must have the shape \(clusters, dim\) = \(2, 13\), found"),
        ({"cost": 0.9}, r"point\.cost must be that of its options, .*, found 0\.9"),
        ({"accuracy": 0.123}, r"point\.accuracy must be that of its options, .*, found 0\.123"),
        ({"cost_weight": 0.4}, "point.cost_weight must be that of the target, 0.3, found 0.4"),
    ):
        folder = copied(saved, place)
        rewrite(folder, facts=lambda facts, changes=changes: facts | {"point": facts["point"] | changes})
        with pytest.raises(ValueError, match=what):
            cc.CascadePolicy.load(folder, encoder=toy_encoder)


def _header(text, length=None, body=b""):
    header = text if isinstance(text, bytes) else json.dumps(text).encode()
    return (len(header) if length is None else length).to_bytes(8, "little") + header + body


ONE = {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]}
HOSTILE = {
    "nothing": b"",
    "no header": b"\0" * 8,
    "a header without end": _header({"x": ONE}, length=2**63),
    "a header longer than the file": _header({"x": ONE}, length=10**6),
    "no JSON": _header(b"{{{{"),
    "a list": _header([]),
    "deep JSON": _header(b'{"x":' * 50_000),
    "a huge shape": _header({"x": ONE | {"shape": [2**40, 2**40]}}, body=b"\0" * 8),
    "a huge size": _header({"x": ONE | {"shape": [2**50], "data_offsets": [0, 2**53]}}, body=b"\0" * 8),
    "a negative size": _header({"x": ONE | {"shape": [-1]}}, body=b"\0" * 8),
    "sizes without content": _header({"x": ONE | {"shape": [2**60, 0], "data_offsets": [0, 0]}}),
    "backward offsets": _header({"x": ONE | {"data_offsets": [8, 0]}}, body=b"\0" * 8),
    "overlapping arrays": _header({"x": ONE, "y": ONE}, body=b"\0" * 8),
    "an unknown type": _header({"x": ONE | {"dtype": "object"}}, body=b"\0" * 8),
    "a type that numpy lacks": _header(
        {"x": {"dtype": "F8_E4M3", "shape": [8], "data_offsets": [0, 8]}}, body=b"\0" * 8
    ),
    "half numbers": _header({"x": {"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]}}, body=b"\0" * 8),
    "another name": _header({"../x": ONE}, body=b"\0" * 8),
    "a pickle": b"\x80\x04cos\nsystem\n(S'false'\ntR.",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("group", ["clusters", "quality"])
def test_hostile_arrays_are_refused(saved, place, content, group):
    folder = copied(saved, place)
    damage.replace_bytes(next(folder.glob(f"{group}-*")), content)
    tracemalloc.start()
    try:
        assert loaded_or_refused(folder) is None
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()


def test_huge_facts_take_no_room(saved, place):
    folder = copied(saved, place)
    many = ["x"] * 100_000
    for facts in ({"models": many}, {"query_ids": many}, {"point": {"options": [0] * 100_000}}):
        rewrite(folder, facts=lambda known, facts=facts: known | facts)
        tracemalloc.start()
        try:
            with pytest.raises(ValueError, match=r"policy\.json is damaged") as caught:
                cc.CascadePolicy.load(folder, encoder=toy_encoder)
            assert tracemalloc.get_traced_memory()[1] < 50e6
        finally:
            tracemalloc.stop()
        assert len(str(caught.value)) < 500
        copied(saved, folder)


def test_a_large_policy_loads_fast(policy, tmp_path):
    """20,000 queries × 10 models."""
    rng, queries, models = np.random.default_rng(0), 20_000, tuple(f"model {number}" for number in range(10))
    cells = {name: rng.random((queries, 10, 1)) for name in ("correct", "cost", "output_tokens", "p_correct")}
    evidence = Evidence(
        models=models,
        query_ids=tuple(f"query {number}" for number in range(queries)),
        labels=rng.integers(0, 3, queries),
        scores=np.full((queries, 10, 1), np.nan),
        coordinates=rng.random((queries, 50)),
        distances=rng.random(queries),
        **cells,
    ).ordered()
    table, target = option_table(evidence, "cost_usd"), Target(cost_weight=0.1)
    point = Planner(table, {}, "joint").at(target)
    nothing = {part: {} for part in ("estimators", "releases", "prices", "factors")}
    large = replace(policy, evidence=evidence, table=table, point=point, target=target, certificate=None, **nothing)
    replace(large, optimism=NO_OPTIMISM).save(tmp_path / "p")
    started = time.process_time()
    cc.CascadePolicy.load(tmp_path / "p", encoder=toy_encoder)
    assert time.process_time() - started < 1.0
