"""Damages saved policies in such a way that only what is read behind the checksums can notice."""

import copy
import hashlib
import json
import shutil

import numpy as np

import cascade_components as cc
from cascade_components.storage import read_folder, write_folder
from tests.toy import toy_encoder

NASTY = (
    *(None, True, False, 0, -1, 1, 3, 2**31, 10**30, 0.5, -0.5, 1e-300, 1e300, "", "x", "\0", "../../x", "large"),
    *([], {}, [[]], [None], [1, 2], {"x": 1}, ["x", "x"], [0.5] * 3, json.loads("[" * 400 + "]" * 400)),
)
"""Values that stand where they should not."""


def places(data, place=()):
    """Where something lies in JSON data; of a list, only the first and the last entry."""
    yield place
    if isinstance(data, dict):
        for key, value in data.items():
            yield from places(value, (*place, key))
    elif isinstance(data, list):
        for number in sorted({0, len(data) - 1} if data else ()):
            yield from places(data[number], (*place, number))


def put(data, place, value):
    """A copy of JSON data with something else in a place."""
    if not place:
        return value
    data = copy.copy(data)
    data[place[0]] = put(data[place[0]], place[1:], value)
    return data


def without(data, place):
    """A copy of JSON data that lacks something."""
    data = copy.deepcopy(data)
    at = data
    for key in place[:-1]:
        at = at[key]
    del at[place[-1]]
    return data


def rewrite(folder, facts=None, arrays=None):
    """Save other facts and arrays as if they were the policy's own.

    Args:
        folder: The policy's.
        facts: A function of the facts, which gives others.
        arrays: (group, name) → a function of the array; the array is left out where that gives None.
    """
    stored = read_folder(folder)
    found = {group: dict(known) for group, known in stored.arrays.items()}
    for (group, name), change in (arrays or {}).items():
        changed = change(found[group].pop(name, None))
        found[group] |= {} if changed is None else {name: np.asarray(changed)}
    write_folder(folder, stored.facts if facts is None else facts(stored.facts), found)


def replace_bytes(file, content):
    """Give one of the arrays' files another content, with the checksum and the name that belong to it."""
    index = file.parent / "policy.json"
    data = json.loads(index.read_text())
    group = file.name.partition("-")[0]
    data["checksums"][group] = hashlib.sha256(content).hexdigest()
    file.unlink()
    (file.parent / f"{group}-{data['checksums'][group][:16]}.safetensors").write_bytes(content)
    index.write_text(json.dumps(data))


def replace_index(folder, text):
    """Give `policy.json` another content, with the checksum that belongs to it, where it is JSON still."""
    try:
        data = json.loads(text)
        whole = {key: value for key, value in data.items() if key not in ("format", "checksums")}
        spelt = json.dumps(whole, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
        data["checksums"]["facts"] = hashlib.sha256(spelt).hexdigest()
        text = json.dumps(data).encode()
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    (folder / "policy.json").write_bytes(text)


def copied(folder, place):
    """A copy of a saved policy in a place where there was another one."""
    shutil.rmtree(place, ignore_errors=True)
    return shutil.copytree(folder, place)


def loaded_or_refused(folder, **given):
    """The policy of a folder, after it has been tried out; None where it is refused by a message that names the file.

    Anything else is an error.
    """
    try:
        policy = cc.CascadePolicy.load(folder, encoder=toy_encoder, **given)
    except (ValueError, FileNotFoundError) as error:
        if not str(error).startswith(str(folder)):
            raise AssertionError(str(error)) from error
        return None
    assert str(policy.fingerprint) in policy.describe()
    assert len(policy.plans()) == len(policy.plans(frozenset(policy.models[1:]))) == len(policy.centroids)
    assert policy.front()
    policy.last_resorts, [policy.expected_output_tokens(model) for model in policy.models]
    cascade = cc.Cascade(policy)
    for query in ("sums question 1", "poems question", "elephants", "code question 7"):
        trace = cascade.start(query)
        while not trace.done:
            trace = cascade.release(trace, cc.Answer("perhaps so, and that is that"))
            trace = cascade.judge(trace, "perhaps so")
        assert trace.model in policy.models
    return policy
