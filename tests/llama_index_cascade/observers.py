"""Observers of LLM calls: one for callback managers, one for the instrumentation dispatcher."""

from contextlib import contextmanager
from dataclasses import dataclass, field

from llama_index.core.callbacks import CBEventType
from llama_index.core.callbacks.base_handler import BaseCallbackHandler
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.events.exception import ExceptionEvent
from llama_index.core.instrumentation.events.llm import (
    LLMChatEndEvent,
    LLMChatStartEvent,
    LLMCompletionEndEvent,
    LLMCompletionStartEvent,
)
from llama_index.core.instrumentation.events.span import SpanDropEvent
from llama_index_instrumentation.event_handlers import BaseEventHandler
from llama_index_instrumentation.span_handlers import SimpleSpanHandler
from pydantic import Field

STARTS = (LLMChatStartEvent, LLMCompletionStartEvent)
ENDS = (LLMChatEndEvent, LLMCompletionEndEvent)
BROKEN = (ExceptionEvent, SpanDropEvent)


class Calls(BaseCallbackHandler):
    """Remembers the LLM events of a callback manager."""

    def __init__(self):
        super().__init__([], [])
        self.starts, self.ends = [], []

    def on_event_start(self, event_type, payload=None, event_id="", parent_id="", **kwargs):
        if event_type == CBEventType.LLM:
            self.starts.append((event_id, payload))
        return event_id

    def on_event_end(self, event_type, payload=None, event_id="", **kwargs):
        if event_type == CBEventType.LLM:
            self.ends.append((event_id, payload))

    def start_trace(self, trace_id=None):
        pass

    def end_trace(self, trace_id=None, trace_map=None):
        pass

    @property
    def paired(self):
        """Every start has one end."""
        return sorted(one for one, _ in self.starts) == sorted(one for one, _ in self.ends)


class _Events(BaseEventHandler):
    seen: list = Field(default_factory=list)

    def handle(self, event, **kwargs):
        self.seen.append(event)


@dataclass
class Dispatched:
    """What went through the dispatcher."""

    events: list = field(default_factory=list)
    spans: SimpleSpanHandler = field(default_factory=SimpleSpanHandler)

    def of(self, kinds):
        return [event for event in self.events if isinstance(event, kinds)]

    @property
    def unended(self):
        """Calls of models that were started and neither ended nor broke off."""
        ended = {event.span_id for event in self.of((*ENDS, *BROKEN))}
        return [event for event in self.of(STARTS) if event.span_id not in ended]

    @property
    def finished_spans(self):
        return [*self.spans.completed_spans, *self.spans.dropped_spans]

    @property
    def roots(self):
        return [span for span in self.finished_spans if span.parent_id is None]

    @property
    def orphans(self):
        """Spans whose parent was never seen."""
        known = {span.id_ for span in self.finished_spans} | {None}
        return [span for span in self.finished_spans if span.parent_id not in known]


@contextmanager
def dispatched():
    """Watch the dispatcher's events and spans."""
    root, found, events = get_dispatcher("root"), Dispatched(), _Events()
    found.events = events.seen
    before = (root.event_handlers, root.span_handlers)
    root.event_handlers, root.span_handlers = [*before[0], events], [*before[1], found.spans]
    try:
        yield found
    finally:
        root.event_handlers, root.span_handlers = before
