"""What the OpenAPI schema says is what the gateway does, as schemathesis finds out."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from cascade_server import GatewaySettings, create_app
from tests.cascade_server.conftest import NAMES
from tests.langchain_cascade.doubles import ChatScripted

EXAMPLES = 40


@pytest.fixture(scope="module")
def schema(fitted):
    pool = {name: ChatScripted(model_name=name, calls_tools=False) for name in NAMES}
    app = create_app(fitted, pool, GatewaySettings(api_keys=("sk-house",), max_request_bytes=100_000))
    return schemathesis.openapi.from_asgi("/openapi.json", app)


OPERATIONS = [
    ("/v1/chat/completions", "POST"),
    ("/v1/feedback", "POST"),
    ("/v1/models", "GET"),
    ("/v1/models/{model}", "GET"),
    ("/health", "GET"),
    ("/ready", "GET"),
    ("/metrics", "GET"),
]


def test_all_operations_are_there(schema):
    assert {(path, method.upper()) for path in schema for method in schema[path]} == set(OPERATIONS)


POSITIVE, NEGATIVE = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
CASES = [*((*operation, POSITIVE) for operation in OPERATIONS), *((*one, NEGATIVE) for one in OPERATIONS[:2])]
"""What takes no body cannot be asked wrongly."""


@pytest.mark.parametrize(("path", "method", "mode"), CASES)
def test_it_is_as_described(schema, path, method, mode):
    @settings(
        max_examples=EXAMPLES if method == "POST" else 5,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=schema[path][method].as_strategy(generation_mode=mode))
    def check(case):
        if isinstance(case.body, dict) and mode is POSITIVE and "model" in case.body:
            case.body["model"] = "cascade"  # else every request ends with "no such model"
        case.call_and_validate(headers={"Authorization": "Bearer sk-house"})

    check()
