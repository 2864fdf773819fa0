"""How each candidate is set up around the fake model: a function gives its class and constructor arguments.

Imports stand inside the functions, since each candidate is installed in an environment of its own.
"""

from typing import Any, NamedTuple

from fake import ChatFake


class Fixture(NamedTuple):
    """What the suite needs to know."""

    chat_model_class: Any
    chat_model_params: dict[str, Any]
    model_override_value: str = "another-model"
    """What the tests pass as `model=`; by default a name that the fake model takes as it is."""


UNSURE = "I am not sure."


def control() -> Fixture:
    """The fake model alone."""
    return Fixture(ChatFake, {"model_name": "small"})


def cascade_ungated() -> Fixture:
    """The policy starts with the small model and has no estimator: what it says stands."""
    return _cascade(ChatFake(model_name="small"), quality=None, cost_weight=5.0)


def cascade_accepted() -> Fixture:
    """The estimator believes the small model's answer."""
    return _cascade(ChatFake(model_name="small"), retention=0.98)


def cascade_escalated() -> Fixture:
    """The estimator does not believe the small model's answer: the large model is asked, too."""
    return _cascade(ChatFake(model_name="small", reply=UNSURE), retention=0.98)


def cascade_down() -> Fixture:
    """The small model is down: the large model is asked."""
    return _cascade(_down(), retention=0.98)


def _cascade(small: ChatFake, **options: Any) -> Fixture:
    from fitted import fit

    from langchain_cascade import CascadeChatModel

    return Fixture(CascadeChatModel, {"policy": fit(UNSURE, **options), "models": {"small": small, "large": _large()}})


def cascadeflow_accepted() -> Fixture:
    """The validator gives every draft full marks."""
    return _cascadeflow(quality_validator=lambda _: 1.0, enable_pre_router=False)


def cascadeflow_rejected() -> Fixture:
    """The validator gives every draft no mark: the verifier is asked, too."""
    return _cascadeflow(quality_validator=lambda _: 0.0, enable_pre_router=False)


def cascadeflow_defaults() -> Fixture:
    """Nothing set but the models: the pre-router and the built-in quality score decide."""
    return _cascadeflow()


def _cascadeflow(**options: Any) -> Fixture:
    from cascadeflow.integrations.langchain import CascadeFlow

    return Fixture(CascadeFlow, {"drafter": ChatFake(model_name="small"), "verifier": _large(), **options})


def model_router() -> Fixture:
    """A strategy of one's own picks the route: the small one."""
    from langchain_model_router import ChatRouter

    routes = {"small": ChatFake(model_name="small"), "large": _large()}
    return Fixture(ChatRouter, {"routes": routes, "default_route": "large", "strategy": lambda _: "small"})


def fused_first() -> Fixture:
    """The first model answers: the default strategy goes by priority."""
    return _fused(ChatFake(model_name="small"))


def fused_second() -> Fixture:
    """The first model is down."""
    return _fused(_down())


def _fused(first: ChatFake) -> Fixture:
    from langchain_fused_model import ModelConfig, MultiModelManager

    configs = [ModelConfig(priority=priority, retry_on_errors=[ConnectionError]) for priority in (2, 1)]
    return Fixture(MultiModelManager, {"models": [first, _large()], "model_configs": configs})


def failover_first() -> Fixture:
    """The primary model answers."""
    return _failover(ChatFake(model_name="small"))


def failover_second() -> Fixture:
    """The primary model is down."""
    return _failover(_down())


def _failover(primary: ChatFake) -> Fixture:
    from langchain_failover import FailoverChatModel

    return Fixture(FailoverChatModel, {"primary": primary, "secondary": _large()})


def langwatch_first() -> Fixture:
    """The first model answers."""
    return _langwatch(ChatFake(model_name="small"))


def langwatch_second() -> Fixture:
    """The first model is down."""
    return _langwatch(_down())


def _langwatch(first: ChatFake) -> Fixture:
    from langwatch.langchain import ChatWithFallback

    return Fixture(ChatWithFallback, {"models": [first, _large()]})


def litellm_alone() -> Fixture:
    """LangChain's client of LiteLLM without a router: what LiteLLM itself costs."""
    from litellm_provider import register

    register()
    from langchain_litellm import ChatLiteLLM

    return Fixture(ChatLiteLLM, {"model": "fake/small"}, "fake/large")


def litellm_router() -> Fixture:
    """LiteLLM's router over two deployments of the fake model."""
    from litellm_provider import register

    register()
    from langchain_litellm import ChatLiteLLMRouter
    from litellm import Router

    models = [{"model_name": name, "litellm_params": {"model": f"fake/{name}"}} for name in ("small", "large")]
    return Fixture(ChatLiteLLMRouter, {"router": Router(model_list=models), "model": "small"}, "large")


class ChatWithFallbacks:
    """Constructs what `with_fallbacks` gives, which is no chat model; the suite looks at its methods only here."""

    bind_tools = ChatFake.bind_tools
    with_structured_output = ChatFake.with_structured_output
    is_lc_serializable = ChatFake.is_lc_serializable

    def __new__(cls, *, first: dict[str, Any], **parameters: Any) -> Any:
        """Two fake models, the second for when the first fails."""
        second = ChatFake(model_name="large", **parameters)
        return ChatFake(**{"model_name": "small", **first, **parameters}).with_fallbacks([second])


def with_fallbacks_first() -> Fixture:
    """The first model answers."""
    return Fixture(ChatWithFallbacks, {"first": {}})


def with_fallbacks_second() -> Fixture:
    """The first model is down."""
    return Fixture(ChatWithFallbacks, {"first": {"error": _down().error}})


def _large() -> ChatFake:
    return ChatFake(model_name="large")


def _down() -> ChatFake:
    return ChatFake(model_name="small", error=ConnectionError("The endpoint is down."))
