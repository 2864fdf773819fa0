"""LangChain's own suite on one fixture, which the environment names."""

import os
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import fixtures
import pytest
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

FIXTURE = getattr(fixtures, os.environ["STANDARD_TESTS_FIXTURE"])()


@pytest.fixture(scope="session", autouse=True)
def _versions(record_testsuite_property: Callable[[str, object], None]) -> None:
    for package in ("langchain-core", "langchain-tests"):
        record_testsuite_property(package, version(package))


class Given:
    """What both suites are given; everything else keeps the suite's default."""

    @property
    def chat_model_class(self) -> Any:
        """The candidate."""
        return FIXTURE.chat_model_class

    @property
    def chat_model_params(self) -> dict[str, Any]:
        """How it is constructed."""
        return FIXTURE.chat_model_params

    @property
    def model_override_value(self) -> str:
        """What is passed as `model=`."""
        return FIXTURE.model_override_value


class TestUnit(Given, ChatModelUnitTests):
    """Construction, tools and tracing parameters."""


class TestIntegration(Given, ChatModelIntegrationTests):
    """Calls: plain, streamed, batched, with tools, with structured output."""
