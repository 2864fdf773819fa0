"""LangChain's own suite for chat models, on each way an answer can take."""

from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from langchain_cascade import CascadeChatModel

from .doubles import policy, pool


class Fixture:
    """The small model's answer stands: there is no estimator."""

    probability = None

    @property
    def chat_model_class(self):
        return CascadeChatModel

    @property
    def chat_model_params(self):
        return {"policy": policy(self.probability), "models": pool()}

    @property
    def model_override_value(self):
        return "another-model"


class TestUnitUngated(Fixture, ChatModelUnitTests):
    pass


class TestUngated(Fixture, ChatModelIntegrationTests):
    pass


class TestUnitAccepted(Fixture, ChatModelUnitTests):
    probability = 0.9


class TestAccepted(Fixture, ChatModelIntegrationTests):
    probability = 0.9


class TestUnitEscalated(Fixture, ChatModelUnitTests):
    probability = 0.1


class TestEscalated(Fixture, ChatModelIntegrationTests):
    probability = 0.1
