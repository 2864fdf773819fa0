"""A cascade for agents of any framework: a server of the Model Context Protocol."""

from __future__ import annotations

import os
import socket
import sys
from io import TextIOWrapper
from typing import Annotated, Any, TextIO

from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from pydantic import BaseModel, Field

from cascade_components.asking import AskInput
from langchain_cascade import CascadeChatModel
from langchain_cascade.agent_tool import CascadeTool, ExplainTool

try:
    import anyio
    import uvicorn
    from mcp.server.fastmcp import Context, FastMCP
    from mcp.server.stdio import stdio_server
    from mcp.types import CallToolResult, TextContent, ToolAnnotations
except ImportError as error:
    msg = 'The MCP server needs mcp: pip install "cascade-components[mcp]"'
    raise ImportError(msg) from error

_ABOUT = {name: found.description for name, found in AskInput.model_fields.items()}
Question = Annotated[str, Field(description=_ABOUT["question"])]
GivenContext = Annotated[str | None, Field(description=_ABOUT["context"])]
Retention = Annotated[float | None, Field(description=_ABOUT["retention"])]
Budget = Annotated[float | None, Field(description=_ABOUT["budget"])]


class Answered(BaseModel):
    """An answer, and how it came about."""

    answer: str
    model: str = Field(description="The model whose answer this is.")
    path: list[str] = Field(description="Every model asked, in order.")
    escalated: bool = Field(description="Whether an answer was judged weak and another model was asked.")
    cost_usd: float | None = Field(description="What all calls cost together; null where that is unknown.")
    reason: str


def mcp_server(cascade: CascadeChatModel, *, host: str = "127.0.0.1", **settings: Any) -> FastMCP[Any]:
    """Make a server with the tools `ask` and `explain`, and the policy as the resource `cascade://policy`.

    A tool's text is the answer (or the explanation) alone; the data beside it says how it came about. Whoever asks
    hears, as progress, which model is asked and why. What goes wrong is a tool error of one line.

    Args:
        cascade: The cascade; its policy is one that `fit` made.
        host: The address it will be served at: on loopback, requests for other host names are refused.
        settings: Further settings of `FastMCP`, such as `log_level` or `auth`.

    Raises:
        ValueError: The cascade's policy was not made by `fit`.

    Example:
        >>> mcp_server(CascadeChatModel(policy="policy/", models=models)).run("stdio")   # doctest: +SKIP
    """
    asking = CascadeTool(cascade=cascade, handle_tool_error=False)
    explaining = ExplainTool(cascade=cascade, handle_tool_error=False)
    server = FastMCP("cascade", host=host, **settings)

    @server.tool(description=asking.description, annotations=ToolAnnotations(readOnlyHint=True, openWorldHint=True))
    async def ask(
        question: Question,
        context: GivenContext = None,
        retention: Retention = None,
        budget: Budget = None,
        *,
        session: Context[Any, Any, Any],
    ) -> Annotated[CallToolResult, Answered]:
        given = {"question": question, "context": context, "retention": retention, "budget": budget}
        text, trace = await _call(asking, given, {"callbacks": [_Progress(session)]})
        told = {name: trace[name] for name in Answered.model_fields if name != "answer"}
        return _result(text, {"answer": text, **told})

    @server.tool(
        description=explaining.description, annotations=ToolAnnotations(readOnlyHint=True, openWorldHint=False)
    )
    async def explain(
        question: Question, retention: Retention = None, budget: Budget = None
    ) -> Annotated[CallToolResult, dict[str, Any]]:
        return _result(*await _call(explaining, {"question": question, "retention": retention, "budget": budget}))

    @server.resource("cascade://policy", name="policy", mime_type="text/plain")
    def policy() -> str:
        """The policy: each cluster's size, plan, expected accuracy and cost."""
        return explaining.policy.describe()

    return server


def claim_stdout() -> TextIO:
    """Keep standard output for the protocol: what anything else prints (native code, too) goes to standard error."""
    sys.stdout.flush()
    protocol = TextIOWrapper(os.fdopen(os.dup(1), "wb"), encoding="utf-8")
    os.dup2(2, 1)
    return protocol


def serve_stdio(server: FastMCP[Any], protocol: TextIO) -> None:
    """Serve one client over standard input and output until it leaves.

    Args:
        server: The server.
        protocol: What `claim_stdout` returned.
    """

    async def serve() -> None:
        async with stdio_server(stdout=anyio.wrap_file(protocol)) as (received, sent):
            # FastMCP's own run() would write to whatever standard output is by now.
            lower = server._mcp_server
            await lower.run(received, sent, lower.create_initialization_options())

    anyio.run(serve)


def serve_http(server: FastMCP[Any], listener: socket.socket) -> None:
    """Serve any number of clients over streamable HTTP, at the path /mcp, until the process is stopped.

    Args:
        server: The server.
        listener: The socket that clients connect to.
    """
    config = uvicorn.Config(server.streamable_http_app(), log_level="warning")
    uvicorn.Server(config).run(sockets=[listener])


class _Progress(AsyncCallbackHandler):
    """Tells a client, as progress, of each model that is asked."""

    def __init__(self, session: Context[Any, Any, Any]) -> None:
        self._session = session
        self._asked = 0

    async def on_chat_model_start(self, *_: Any, metadata: dict[str, Any] | None = None, **__: Any) -> None:
        self._asked += 1
        told = metadata or {}
        message = f"asking {told.get('cascade_model')} ({told.get('cascade_reason')})"
        await self._session.report_progress(self._asked, message=message)


async def _call(tool: BaseTool, given: dict[str, Any], config: RunnableConfig | None = None) -> tuple[str, Any]:
    call = {"type": "tool_call", "id": "mcp", "name": tool.name, "args": given}
    message = await tool.ainvoke(call, config)
    return str(message.text), message.artifact


def _result(text: str, data: dict[str, Any]) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=text)], structuredContent=data)
