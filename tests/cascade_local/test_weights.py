import re

import pytest

from cascade_local import WEIGHTS


def test_known_models_come_smallest_first():
    assert list(WEIGHTS) == ["smollm2-135m", "qwen2.5-0.5b", "qwen2.5-1.5b"]
    sizes = [weights.parameters for weights in WEIGHTS.values()]
    assert sizes == sorted(sizes)


def test_names_agree_with_keys_and_files_are_distinct():
    assert [weights.name for weights in WEIGHTS.values()] == list(WEIGHTS)
    assert len({weights.filename for weights in WEIGHTS.values()}) == len(WEIGHTS)


@pytest.mark.parametrize("name", WEIGHTS)
def test_everything_is_pinned(name):
    weights = WEIGHTS[name]
    assert re.fullmatch(r"[0-9a-f]{64}", weights.sha256)
    assert weights.licence == "Apache-2.0"
    for pin in weights.mirror:
        assert re.fullmatch(r"[a-z0-9-]+==[0-9.]+ --hash=sha256:[0-9a-f]{64}", pin)


def test_price_is_proportional_to_parameters():
    small, large = WEIGHTS["smollm2-135m"], WEIGHTS["qwen2.5-1.5b"]
    assert large.usd_per_token / small.usd_per_token == pytest.approx(large.parameters / small.parameters)
    assert large.usd_per_token == pytest.approx(1.5e-6, rel=0.05)


def test_weights_are_read_only():
    with pytest.raises(TypeError):
        WEIGHTS["other"] = WEIGHTS["smollm2-135m"]
