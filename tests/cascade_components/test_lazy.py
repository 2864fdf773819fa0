import sys

import pytest


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "loaded_late"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "from cascade_components.lazy import loaded_when_used\n"
        "__all__ = ['answer']\n"
        "__getattr__, __dir__ = loaded_when_used(__name__, {'answer': 'deep.home'})\n"
    )
    (folder / "deep").mkdir()
    (folder / "deep" / "home.py").write_text("answer = object()\n")
    monkeypatch.syspath_prepend(tmp_path)
    import loaded_late

    yield loaded_late
    for name in [name for name in sys.modules if name.startswith("loaded_late")]:
        del sys.modules[name]


def test_a_name_loads_its_home_when_it_is_used_and_stays(package):
    assert "loaded_late.deep.home" not in sys.modules
    assert package.answer is sys.modules["loaded_late.deep.home"].answer
    assert vars(package)["answer"] is package.answer


def test_its_names_are_listed_before_they_are_loaded(package):
    assert {"answer", "__all__"} <= set(dir(package))
    assert "loaded_when_used" not in dir(package)


def test_other_names_are_attribute_errors(package):
    with pytest.raises(AttributeError, match="module 'loaded_late' has no attribute 'other'"):
        package.other  # noqa: B018
