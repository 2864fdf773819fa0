import subprocess
import sys

import pytest

import cascade_components as cc


def test_the_public_names():
    assert sorted(cc.__all__) == cc.__all__
    assert set(cc.__all__) <= set(dir(cc))
    assert all(getattr(cc, name) is not None for name in cc.__all__)
    assert callable(cc.fit)


@pytest.mark.parametrize(("name", "home"), [("CascadeChatModel", "langchain_cascade"), ("ChatLocal", "cascade_local")])
def test_adapters_are_named_by_where_they_live(name, home):
    with pytest.raises(AttributeError, match=rf"{name} lives in {home}: pip install"):
        getattr(cc, name)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        cc.nonsense  # noqa: B018


def modules_after(code):
    script = f"import sys\n{code}\nprint(*sys.modules)"
    return set(
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    )


def test_importing_is_light_and_pulls_in_no_framework():
    loaded = modules_after("import cascade_components as cc; cc.Cascade; cc.load_outcomes; cc.CascadePolicy")
    assert not {"torch", "sklearn", "sentence_transformers", "transformers", "scipy"} & loaded


def test_the_whole_core_pulls_in_no_framework():
    loaded = modules_after("import cascade_components as cc; [getattr(cc, name) for name in cc.__all__]")
    assert not {"langchain_core", "llama_index", "langchain_cascade", "cascade_local", "cascade_cli"} & loaded
