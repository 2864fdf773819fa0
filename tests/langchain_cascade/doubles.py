"""Scripted doubles: chat models that say what they are told, and a policy that plans what it is told."""

import json
import re
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any

import numpy as np
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, ToolMessage
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableParallel, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel, Field, PrivateAttr

from cascade_components.stickiness import Stay
from cascade_components.trace import EarlyRelease, Plan, Route

SAMPLES = {"integer": 3, "number": 3, "boolean": True, "array": [], "object": {}}


def sample(schema, text):
    """Arguments that fit a JSON schema; strings are `text`."""
    types = {name: one.get("type") for name, one in schema.get("properties", {}).items()}
    return {name: SAMPLES.get(kind, text) for name, kind in types.items()}


class ChatScripted(BaseChatModel):
    """Says `reply` (a text, a message, or an error to raise), word by word when streaming; remembers its calls."""

    model_name: str
    reply: Any = "a fine answer"
    breaks_after: int | None = None
    """Words after which the stream dies."""
    arguments: Any = None
    """What a tool is called with; None: something that fits."""
    tool: str | None = None
    """Which tool is called; None: the one that was asked for."""
    calls_tools: bool = True
    reports_usage: bool = True
    usage_details: dict = Field(default_factory=dict)
    """What `usage_metadata` tells beside the three sums."""
    finish_reason: str = "stop"
    streaming: bool = False
    _calls: list = PrivateAttr(default_factory=list)

    @property
    def calls(self):
        return self._calls

    @property
    def _llm_type(self):
        return "scripted"

    @property
    def _identifying_params(self):
        return {"model_name": self.model_name}

    def bind_tools(self, tools, *, tool_choice=None, **kwargs) -> Runnable[Any, AIMessage]:
        formatted = [convert_to_openai_tool(tool) for tool in tools]
        return self.bind(tools=formatted, tool_choice=tool_choice, **kwargs)

    def with_structured_output(self, schema, *, include_raw=False, method="function_calling", **kwargs):
        """By a tool; in JSON mode by a text."""
        if method != "json_mode":
            return super().with_structured_output(schema, include_raw=include_raw, **kwargs)
        model = self.bind(response_format={"type": "json_object"})
        is_model = isinstance(schema, type) and issubclass(schema, BaseModel)
        parser = PydanticOutputParser(pydantic_object=schema) if is_model else JsonOutputParser()
        if not include_raw:
            return model | parser
        parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
        unparsed = RunnablePassthrough.assign(parsed=lambda _: None)
        return RunnableParallel(raw=model) | parsed.with_fallbacks([unparsed], exception_key="parsing_error")

    def _message(self, messages, kwargs):
        self._calls.append({"messages": messages, **kwargs})
        reply = self.reply(messages) if callable(self.reply) else self.reply
        if isinstance(reply, Exception):
            raise reply
        message = reply if isinstance(reply, AIMessage) else AIMessage(reply)
        if kwargs.get("tools") and self.calls_tools and not isinstance(messages[-1], ToolMessage):
            message = AIMessage("", tool_calls=[self._tool_call(messages, kwargs)])
        elif "response_format" in kwargs:
            # The question names the keys: in JSON mode, the model is not given a schema.
            keys = re.findall(r"'(\w+)'", str(messages[-1].text))
            message = AIMessage(json.dumps(dict.fromkeys(keys, str(message.text))))
        metadata = {"model_name": kwargs.get("model", self.model_name), "finish_reason": self.finish_reason}
        return message.model_copy(update={"usage_metadata": self._usage(messages), "response_metadata": metadata})

    def _tool_call(self, messages, kwargs):
        functions = {tool["function"]["name"]: tool["function"] for tool in kwargs["tools"] if "function" in tool}
        name = kwargs.get("tool_choice")
        name = name if isinstance(name, str) and name in functions else next(iter(functions))
        arguments = self.arguments
        if arguments is None:
            arguments = sample(functions[name].get("parameters", {}), str(messages[-1].text))
        return {"name": self.tool or name, "args": arguments, "id": f"call_{self.model_name}", "type": "tool_call"}

    def _usage(self, messages):
        if not self.reports_usage:
            return None
        sums = {"input_tokens": 10 * len(messages), "output_tokens": 5, "total_tokens": 10 * len(messages) + 5}
        return {**sums, **self.usage_details}

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        message = self._message(messages, {"stop": stop, **kwargs})
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(self, messages, stop=None, run_manager=None, **kwargs):
        message = self._message(messages, {"stop": stop, **kwargs})
        for number, word in enumerate(str(message.text).split()):
            if number == self.breaks_after:
                raise ConnectionError(f"{self.model_name} broke")
            chunk = ChatGenerationChunk(message=AIMessageChunk(word if number == 0 else f" {word}"))
            if run_manager:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk
        calls = [
            {"name": call["name"], "args": json.dumps(call["args"]), "id": call["id"], "index": number}
            for number, call in enumerate(message.tool_calls)
        ]
        last = AIMessageChunk(
            "",
            tool_call_chunks=calls,
            usage_metadata=message.usage_metadata,
            response_metadata=message.response_metadata,
            chunk_position="last",
        )
        yield ChatGenerationChunk(message=last)


class Estimator:
    """Believes in every answer alike, or as a function of the query says."""

    def __init__(self, probability):
        self.probability = probability

    def predict_proba(self, queries, answers):
        given = self.probability
        return np.array([given(query) if callable(given) else given for query in queries], dtype=float)


@dataclass(frozen=True)
class ScriptedPolicy:
    """Gives every query the same plan."""

    plan: Plan = field(default_factory=lambda: Plan("small"))
    probability: Any = None
    """P(correct) of every answer; None: no estimator."""
    models: tuple = ("small", "large")
    fingerprint: str = "0123456789ab"
    prices: dict = field(default_factory=lambda: {"small": 0.001, "large": 0.01})
    """USD per token."""
    asked: list = field(default_factory=list)
    """Queries routed."""
    points: list = field(default_factory=list)
    """Operating points asked for."""
    sure_after: int | None = None
    """Words after which an answer is released early."""
    read: list = field(default_factory=list)
    """Beginnings of answers that were read for that."""

    def route(self, query, available):
        self.asked.append(query)
        start = self.plan.start if self.plan.start in available else max(available, key=self.models.index)
        plan = self.plan if start == self.plan.start and self.plan.target in available else Plan(start)
        return Route(plan, 0, 0.5, f"cluster 0: {plan}")

    def estimator(self, model):
        return None if self.probability is None else Estimator(self.probability)

    def cost_usd(self, model, input_tokens, output_tokens):
        price = self.prices.get(model)
        return None if price is None else price * (input_tokens + output_tokens)

    def early_release(self, query, answer, threshold):
        self.read.append(answer.text)
        words = len(answer.text.split())
        return EarlyRelease(words, 0.95, 0.9) if self.sure_after is not None and words >= self.sure_after else None

    def staying(self, route, model, available):
        return Stay(Plan(model))

    def expected_output_tokens(self, model):
        return 5.0

    @property
    def last_resorts(self):
        return tuple(dict.fromkeys([self.plan.target or self.plan.start, self.models[-1]]))

    def cheaper(self, pressure):
        self.points.append({"pressure": pressure})
        return replace(self, plan=Plan(self.models[0]), fingerprint=f"pressure {pressure}")

    def at(self, **target):
        self.points.append(target)
        return replace(self, plan=Plan("large"), fingerprint=f"at {target}")


GATED = Plan("small", "large", 0.5)


def policy(probability=None, **changes):
    """Ungated without a probability, gated at 0.5 with one."""
    return ScriptedPolicy(plan=Plan("small") if probability is None else GATED, probability=probability, **changes)


def pool(**changes):
    """Two models; `small=...` and `large=...` are replies or further fields of each."""
    found = {}
    for name in ("small", "large"):
        given = changes.get(name, {})
        fields = given if isinstance(given, dict) else {"reply": given}
        found[name] = ChatScripted(**{"model_name": name, "reply": f"{name} says so", **fields})
    return found
