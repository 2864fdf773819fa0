"""Who is compared: chat models that stand for several, with the versions measured.

Left out are those behind which no chat model of one's own can stand, as they call a hosted service or their own list
of providers (langchain-kalibr, chatmodeltask), and agent middlewares, which are no chat models (langchain-router,
LangChain's own).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """One chat model class."""

    name: str
    """As `--only` takes it."""
    title: str
    fixtures: dict[str, str]
    """What happens in the calls → a function of `suite/fixtures.py`."""
    requirements: tuple[str, ...] = ()
    """What is installed into an environment of its own; none: the environment that runs this."""


CANDIDATES = (
    Candidate("control", "the wrapped model, alone (control)", {"": "control"}),
    Candidate(
        "cascade",
        "`CascadeChatModel` of this project",
        {
            "ungated": "cascade_ungated",
            "draft accepted": "cascade_accepted",
            "draft rejected": "cascade_escalated",
            "first is down": "cascade_down",
        },
    ),
    Candidate(
        "with-fallbacks",
        "`with_fallbacks` of langchain-core (a `Runnable`, no chat model)",
        {"first answers": "with_fallbacks_first", "first is down": "with_fallbacks_second"},
    ),
    Candidate(
        "cascadeflow",
        "`CascadeFlow` of cascadeflow 1.2.0",
        {
            "draft accepted": "cascadeflow_accepted",
            "draft rejected": "cascadeflow_rejected",
            "its defaults": "cascadeflow_defaults",
        },
        ("cascadeflow==1.2.0",),
    ),
    Candidate(
        "model-router",
        "`ChatRouter` of langchain-model-router 0.1.0",
        {"routed by a function": "model_router"},
        ("langchain-model-router==0.1.0",),
    ),
    Candidate(
        "fused-model",
        "`MultiModelManager` of langchain-fused-model 0.1.2",
        {"first answers": "fused_first", "first is down": "fused_second"},
        ("langchain-fused-model==0.1.2",),
    ),
    Candidate(
        "failover",
        "`FailoverChatModel` of langchain-failover 0.2.2",
        {"first answers": "failover_first", "first is down": "failover_second"},
        ("langchain-failover==0.2.2",),
    ),
    Candidate(
        "langwatch",
        "`ChatWithFallback` of fika-langwatch 0.3.6",
        {"first answers": "langwatch_first", "first is down": "langwatch_second"},
        ("fika-langwatch==0.3.6",),
    ),
    Candidate(
        "litellm",
        "`ChatLiteLLMRouter` of langchain-litellm 0.11.2, litellm 1.110.2",
        {"routed by LiteLLM": "litellm_router", "no router: `ChatLiteLLM`": "litellm_alone"},
        ("langchain-litellm==0.11.2", "litellm==1.110.2"),
    ),
)
