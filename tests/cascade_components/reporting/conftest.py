import pytest

import cascade_components as cc
from tests.cascade_components.reporting.reading import Page


@pytest.fixture(scope="session")
def written(policy, held_out, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    return cc.report(policy, held_out, folder / "report.html", folder / "figures")


@pytest.fixture(scope="session")
def page(written):
    return Page(written.path.read_text())
