import pytest

import cascade_components as cc
from tests.toy import make_rows, toy_encoder


@pytest.fixture(scope="session")
def rows():
    return make_rows()


@pytest.fixture(scope="session")
def held_out():
    return make_rows(seed=1, prefix="t")


@pytest.fixture(scope="session")
def policy(rows):
    return cc.fit(rows, encoder=toy_encoder, clusters=3, retention=0.97)


@pytest.fixture(scope="session")
def stage1_policy(rows):
    return cc.fit(rows, encoder=toy_encoder, clusters=3, quality=None, cost_weight=0.1)
