"""The wheel holds what it should, and works in an environment of its own, outside the checkout."""

import json
import os
import site
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
ROOTS = [Path(root) for root in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]]
"""The import roots, as folders of the checkout."""
INFO = f"cascade_components-{PROJECT['project']['version']}.dist-info"

TRY_IT = """
import json, sys
from importlib import metadata
from pathlib import Path

import cascade_cli, cascade_components as cc, cascade_local, cascade_server, langchain_cascade
from llama_index.llms.cascade import CascadeLLM
from llama_index.tools.cascade import CascadeToolSpec


def encoder(texts):
    return [[float("sum" in text), float("poem" in text), len(text) / 100] for text in texts]


def worth(model, topic, number):
    return 1.0 if model == "large" or topic == "sum" else float(number % 3 == 0)


rows = [
    {"query_id": f"{topic}{number}", "query": f"{topic} {number}", "model": model, "cost_usd": cost,
     "output": "sure" if worth(model, topic, number) else "perhaps", "correct": worth(model, topic, number)}
    for number in range(40) for topic in ("sum", "poem") for model, cost in (("small", 0.001), ("large", 0.01))
]
cc.fit(rows, encoder=encoder, clusters=2, retention=0.8, cache=None, progress=False).save("policy")
cascade = cc.Cascade(cc.CascadePolicy.load("policy", encoder=encoder))
sure = cascade.judge(cascade.start("sum 7"), "sure")
unsure = cascade.judge(cascade.start("poem 7"), "perhaps")
packages = (cascade_cli, cc, cascade_local, cascade_server, langchain_cascade)
places = [Path(module.__file__) for module in packages]
places += [Path(sys.modules[one.__module__].__file__) for one in (CascadeLLM, CascadeToolSpec)]
paths = [sure.path, unsure.path]
version = metadata.version("cascade-components")
print(json.dumps({"paths": paths, "done": sure.done, "places": list(map(str, places)), "version": version}))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The wheel and the source distribution, as hatchling builds them."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("*.whl")), next(folder.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def names(built):
    return set(zipfile.ZipFile(built[0]).namelist())


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """An environment with the wheel; what the wheel needs comes from this one, but the checkout does not."""
    home = tmp_path_factory.mktemp("elsewhere")
    venv.create(home / "venv", symlinks=True)
    packages = Path(next((home / "venv" / "lib").glob("python*/site-packages")))
    zipfile.ZipFile(built[0]).extractall(packages)
    # A path file of this environment's packages: path files in *there* are not followed, so no editable install is.
    (packages / "needed.pth").write_text("\n".join(site.getsitepackages()) + "\n", encoding="utf-8")
    return home


def run(home, *arguments):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [str(home / "venv" / "bin" / "python"), *arguments]
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_and_data_file_of_every_root_is_in_the_wheel(names):
    for root in ROOTS:
        for path in (ROOT / root).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                assert (path.relative_to(ROOT / root.parent)).as_posix() in names


def test_nothing_else_is(names):
    tops = {name.split("/")[0] for name in names}
    assert tops == {root.name for root in ROOTS} | {INFO}
    assert not [name for name in names if "test" in Path(name).name or name.endswith((".pyc", ".ipynb"))]
    assert "llama_index/__init__.py" not in names  # a namespace that llama-index-core shares
    assert "llama_index/llms/__init__.py" not in names


def test_it_is_typed_licensed_and_described(built, names):
    typed = {name.removesuffix("/py.typed") for name in names if name.endswith("/py.typed")}
    plain = {root.name for root in ROOTS} - {"llama_index"}
    assert typed == plain | {"llama_index/llms/cascade", "llama_index/tools/cascade"}
    licence = zipfile.ZipFile(built[0]).read(f"{INFO}/licenses/LICENSE")
    assert licence == (ROOT / "LICENSE").read_bytes()
    assert b"Apache License" in licence
    assert b"END OF TERMS AND CONDITIONS" in licence
    metadata = zipfile.ZipFile(built[0]).read(f"{INFO}/METADATA").decode()
    assert "License-Expression: Apache-2.0" in metadata
    assert "# Cascade Components" in metadata


def test_the_source_distribution_has_what_the_wheel_is_built_from(built, names):
    with tarfile.open(built[1]) as archive:
        inside = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {"pyproject.toml", "README.md", "LICENSE"} <= inside
    for root in ROOTS:
        modules = {name for name in names if name.startswith(f"{root.name}/")}
        assert {(root.parent / name).as_posix() for name in modules} <= inside


def test_it_works_outside_the_checkout(installed):
    found = json.loads(run(installed, "-c", TRY_IT).splitlines()[-1])
    assert found["done"]
    assert found["paths"] == [["small"], ["small", "large"]]
    assert found["version"] == PROJECT["project"]["version"]
    for place in found["places"]:
        assert Path(place).is_relative_to(installed)


def test_the_command_line_works_outside_the_checkout(installed):
    shown = run(
        installed, "-c", "import sys; sys.argv = ['cascade', '--help']; from cascade_cli.main import run; run()"
    )
    for command in ("quickstart", "capture", "fit", "evaluate", "mcp"):
        assert command in shown
