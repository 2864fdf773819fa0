"""What the servers say: every answer has a mark that no other has, in each of its words."""

import hashlib
import json
import re

MARK = re.compile(r"(?<![a-z])m(\d+)x\d")
QUESTION = re.compile(r"question #(\d+)")

_WORDS = 8
_HUGE_WORDS, _HUGE_BYTES = 200, 50_000


def marks(text):
    """The numbers of the answers that a text has something of."""
    return frozenset(map(int, MARK.findall(text)))


def digest(text):
    """A text, shortened so that many can be compared later."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def question_of(body):
    """The number of the question that a request asks."""
    return int(QUESTION.findall(json.dumps(body["messages"]))[-1])


def words(number, *, weak, huge=False):
    """The words of a plain answer."""
    filler = "y" * _HUGE_BYTES if huge else ""
    yield "perhaps" if weak else "sure"
    for position in range(_HUGE_WORDS if huge else _WORDS):
        yield f" m{number}x{position}{filler and f' {filler}'}"


def message(body, number, *, weak, empty=False, huge=False):
    """The message that answers a request: text, a tool call, or a structure."""
    if empty:
        return {"role": "assistant", "content": ""}
    tools, shape = body.get("tools"), (body.get("response_format") or {}).get("json_schema")
    if tools:
        function = tools[0]["function"]
        name = f"no_such_tool_m{number}x0" if weak and number % 2 else function["name"]
        arguments = _filled(function.get("parameters", {}), number, weak=weak)
        call = {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": arguments}}
        return {"role": "assistant", "content": None, "tool_calls": [call]}
    text = _filled(shape["schema"], number, weak=weak) if shape else "".join(words(number, weak=weak, huge=huge))
    return {"role": "assistant", "content": text}


def _filled(schema, number, *, weak):
    """Arguments that fit a schema of strings; weak ones don't."""
    names = ["nonsense"] if weak else list(schema.get("properties", {}))
    return json.dumps({name: f"m{number}x{position}" for position, name in enumerate(names)})


def deltas(found):
    """A message as a stream has it."""
    yield {"role": "assistant", "content": ""}
    for piece in re.findall(r"\s*\S+", found.get("content") or ""):
        yield {"content": piece}
    for index, call in enumerate(found.get("tool_calls", ())):
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        yield {"tool_calls": [{**call, "index": index, "function": {"name": name, "arguments": ""}}]}
        half = len(arguments) // 2
        for piece in (arguments[:half], arguments[half:]):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
