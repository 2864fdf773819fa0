import subprocess
import sys

import pytest

HEAVY = ("torch", "sentence_transformers", "transformers", "sklearn", "scipy", "onnxruntime", "pandas")


@pytest.mark.parametrize(
    "code",
    [
        "import cascade_components.policy, cascade_components.cascade, cascade_components.deciding",
        "import langchain_cascade; langchain_cascade.CascadeChatModel",
        "import llama_index.llms.cascade",
        "import cascade_components.encoders as e; e.SentenceTransformerEncoder(), e.StaticEncoder('.')",
    ],
)
def test_what_is_slow_to_import_loads_when_it_is_first_used(code):
    names = f"[name for name in {HEAVY!r} if name in sys.modules]"
    done = subprocess.run([sys.executable, "-c", f"import sys\n{code}\nprint({names})"], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
