"""langchain-model-router: its chat model around a fake one, routed by a function."""

import sys

from fake_chat import FakeChat
from langchain_model_router import ChatRouter
from timing import report, timed


def main() -> None:
    """Measure."""
    small, large = FakeChat(model_name="small"), FakeChat(model_name="large")
    router = ChatRouter(routes={"small": small, "large": large}, default_route="large", strategy=lambda _: "small")
    functions = {
        "the fake model's invoke, alone": lambda: small.invoke("hi"),
        "`ChatRouter.invoke`, routed by a function": lambda: router.invoke("hi"),
    }
    report(timed(functions, 10 * int(sys.argv[1])), "the fake model's invoke, alone")


main()
