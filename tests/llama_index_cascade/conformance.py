"""A conformance suite for LlamaIndex's LLMs: what every caller of one relies on, through the public interface.

A subclass gives the fixture `backend` (see `contract.Backend`), overrides the flags of `contract.Contract` that differ,
and pytest runs the checks:

    class TestMyLLM(LLMConformance):
        text = "what it answers"
        supports_images = True

        @pytest.fixture
        def backend(self):
            return MyBackend()
"""

from .checks_answers import AnswerChecks
from .checks_events import EventChecks
from .checks_objects import ObjectChecks
from .checks_structures import StructureChecks
from .checks_tools import ToolChecks


class LLMConformance(AnswerChecks, ToolChecks, StructureChecks, EventChecks, ObjectChecks):
    """Everything."""
