import pytest

from cascade_components.serving.secrecy import may_be_secret


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("api_key", "sk-1"),
        ("openai_api_key", "sk-1"),
        ("default_headers", {"Authorization": "x"}),
        ("default_query", {"key": "x"}),
        ("access_token", "x"),
        ("base_url", "https://user:password@host/v1"),
    ],
)
def test_what_may_be_a_secret(name, value):
    assert may_be_secret(name, value)
    assert not may_be_secret(name, None)


@pytest.mark.parametrize(
    ("name", "value"), [("max_tokens", 9), ("model", "gpt-4o"), ("base_url", "https://host:8000/v1"), ("api_key", "")]
)
def test_what_is_none(name, value):
    assert not may_be_secret(name, value)
