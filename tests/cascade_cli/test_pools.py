import pytest

from cascade_cli.pools import make_named_pool, make_pool


@pytest.mark.parametrize("names", [["smollm2-135m"], ["smollm2-135m", "smollm2-135m"], ["smollm2-135m", ""]])
def test_a_pool_is_two_different_models(names):
    with pytest.raises(ValueError, match="at least two different models"):
        make_pool(names, None)


def test_an_unknown_name_is_told_what_there_is():
    with pytest.raises(ValueError, match=r"'gpt-4o-mini' is no embedded model \(smollm2-135m, qwen2.5-0.5b"):
        make_pool(["gpt-4o-mini", "openai:gpt-4o"], None)


def test_models_of_other_providers_are_made_by_name_and_priced_per_million_tokens(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    pool = make_pool(["openai:gpt-4o-mini", "openai:gpt-4o"], "0.15/0.6,2.5/10")
    assert pool.usd_per_token == {"openai:gpt-4o-mini": (0.15e-6, 0.6e-6), "openai:gpt-4o": (2.5e-6, 1e-5)}
    assert pool.metric == "cost_usd"
    assert type(pool.models["openai:gpt-4o"]).__name__ == "ChatOpenAI"


def test_without_prices_latency_is_the_cost(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    assert make_pool(["openai:gpt-4o-mini", "openai:gpt-4o"], None).metric == "e2el_ms"


@pytest.mark.parametrize("prices", ["1/2", "1/2,3", "a/b,c/d", "1/2,3/4,5/6"])
def test_prices_must_fit_the_pool(monkeypatch, prices):
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    with pytest.raises(ValueError, match="--prices needs one in/out pair"):
        make_pool(["openai:gpt-4o-mini", "openai:gpt-4o"], prices)


def test_a_named_pool_has_the_names_of_a_policy(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    pool = make_named_pool("small=openai:gpt-4o-mini, openai:gpt-4o", "0.15/0.6,2.5/10")
    assert pool.usd_per_token == {"small": (0.15e-6, 0.6e-6), "openai:gpt-4o": (2.5e-6, 1e-5)}
    assert {name: model.model_name for name, model in pool.models.items()} == {
        "small": "gpt-4o-mini",
        "openai:gpt-4o": "gpt-4o",
    }
    assert pool.models["small"].max_tokens is None
    assert make_named_pool("openai:gpt-4o", None).usd_per_token == {}


@pytest.mark.parametrize("pool", ["", "a=openai:gpt-4o,", "a=,b=openai:gpt-4o", "=openai:gpt-4o", "a=x:y,a=x:z"])
def test_a_named_pool_has_a_model_for_each_name(pool):
    with pytest.raises(ValueError, match="each NAME=MODEL or MODEL, no name twice"):
        make_named_pool(pool, None)


def test_a_model_that_cannot_be_made_is_named(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ValueError, match=r"openai:gpt-4o cannot be made: .*OPENAI_API_KEY"):
        make_named_pool("large=openai:gpt-4o", None)


def test_models_of_other_providers_tell_what_a_stream_costs(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    assert make_named_pool("openai:gpt-4o", None).models["openai:gpt-4o"].stream_usage
