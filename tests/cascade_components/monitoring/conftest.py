import pytest

import cascade_components as cc
from tests.cascade_components.monitoring.driving import Reader
from tests.toy import make_rows, toy_encoder


@pytest.fixture(scope="session")
def rows():
    return make_rows(600)


@pytest.fixture(scope="session")
def policy(rows):
    return cc.fit(rows, encoder=toy_encoder, clusters=3, retention=0.97, quality=Reader())


@pytest.fixture(scope="session")
def stage1_policy(rows):
    return cc.fit(rows, encoder=toy_encoder, clusters=3, quality=None, cost_weight=0.1)
