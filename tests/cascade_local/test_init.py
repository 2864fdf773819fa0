import subprocess
import sys

import pytest

import cascade_local


def test_public_names_are_few_and_exist():
    assert cascade_local.__all__ == ["WEIGHTS", "ChatLocal", "Weights", "cache_dir", "embedded_pool", "fetch"]
    assert all(hasattr(cascade_local, name) for name in cascade_local.__all__)


@pytest.mark.parametrize("missing", ["langchain_core", "filelock"])
def test_missing_extra_is_named(missing):
    code = f"import sys; sys.modules[{missing!r}] = None; import cascade_local"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert 'pip install "cascade-components[local]"' in run.stderr


def test_import_loads_no_runtime():
    code = "import sys, cascade_local; print([name for name in ('xllamacpp', 'torch') if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
