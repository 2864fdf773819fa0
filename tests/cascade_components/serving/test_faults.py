import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import openai
import pytest

import cascade_components as cc
from cascade_components.serving.faults import blames_model, may_pass, retry_after_s

REQUEST = httpx.Request("POST", "http://localhost")


def status_error(status, **headers):
    response = httpx.Response(
        status, request=REQUEST, headers={name.replace("_", "-"): headers[name] for name in headers}
    )
    return openai.APIStatusError("no", response=response, body=None)


class ClientError(Exception):
    """As botocore's."""

    def __init__(self, status, **headers):
        self.response = {
            "Error": {"Code": "Told"},
            "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers},
        }


def broken_json():
    with pytest.raises(json.JSONDecodeError) as error:
        json.loads("{")
    return error.value


class ContextOverflowError(Exception):
    """As in langchain-core: no status."""


@pytest.mark.parametrize(
    ("error", "passes", "blamed"),
    [
        (TimeoutError(), True, True),
        (ConnectionResetError(), True, True),
        (openai.APITimeoutError(REQUEST), True, True),
        (openai.APIConnectionError(request=REQUEST), True, True),
        (httpx.ReadTimeout("slow"), True, True),
        (httpx.RemoteProtocolError("cut"), True, True),
        *((status_error(status), True, True) for status in (408, 409, 429, 500, 503, 529)),
        *((status_error(status), False, True) for status in (401, 403, 404)),
        *((status_error(status), False, False) for status in (400, 413, 422)),
        (ClientError(429), True, True),
        (ClientError(403), False, True),
        (ClientError(400), False, False),
        (broken_json(), False, True),
        (RuntimeError("out of memory"), False, True),
        (ValueError("the prompt is too long"), False, False),
        (ContextOverflowError(), False, False),
        (cc.SpendLimitError(), False, False),
    ],
    ids=repr,
)
def test_what_an_error_means(error, passes, blamed):
    assert (may_pass(error), blames_model(error)) == (passes, blamed)


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (status_error(429, retry_after="12"), 12.0),
        (status_error(503, retry_after="1.5"), 1.5),
        (status_error(429, retry_after_ms="250", retry_after="1"), 0.25),
        (ClientError(429, **{"retry-after": "3"}), 3.0),
        (status_error(429), None),
        (status_error(429, retry_after="soon"), None),
        (status_error(429, retry_after="-1"), None),
        (status_error(429, retry_after="inf"), None),
        (status_error(500, retry_after="12"), None),
        (TimeoutError(), None),
    ],
    ids=repr,
)
def test_how_long_a_model_asks_to_be_left_alone(error, seconds):
    assert retry_after_s(error) == seconds


def test_a_retry_after_may_be_a_date():
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert retry_after_s(status_error(429, retry_after=date)) == pytest.approx(30, abs=2)
