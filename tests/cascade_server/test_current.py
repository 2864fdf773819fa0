"""A policy is replaced while it serves."""

import asyncio
import pickle
import shutil
from functools import partial

import pytest

import cascade_components as cc
from cascade_server import GatewaySettings, Pool, create_app
from tests.cascade_server.conftest import NAMES, asking, auntil, body
from tests.langchain_cascade.doubles import ChatScripted

PATH = "/v1/chat/completions"


def scripted(names=NAMES):
    return Pool({name: ChatScripted(model_name=name, reply=f"{name}: sure") for name in names})


@pytest.fixture(scope="module")
def strong(fit_to, tmp_path_factory):
    return fit_to(tmp_path_factory.mktemp("strong") / "policy")


@pytest.fixture(scope="module")
def cheap(fit_to, tmp_path_factory):
    return fit_to(tmp_path_factory.mktemp("cheap") / "policy", cost_weight=1000.0)


@pytest.fixture
def folder(strong, tmp_path):
    return shutil.copytree(strong, tmp_path / "policy")


async def model_of(client):
    return (await client.post(PATH, json=body())).headers["x-cascade-model"]


async def ready(client):
    return (await client.get("/ready")).status_code == 200


async def test_it_is_ready_once_it_is_warm(folder, monkeypatch):
    app = create_app(folder, scripted())
    assert not app.state.current.ready
    async with asking(app) as client:
        assert (await client.get("/health")).status_code == 200
        await auntil(partial(ready, client))
        assert (await client.get("/ready")).json()["policy"] == app.state.current.served.policy.fingerprint
    monkeypatch.setattr(cc.CascadePolicy, "warm_up", lambda policy: 1 / 0)
    app = create_app(folder, scripted())
    async with asking(app) as client:
        await asyncio.sleep(0.05)
        assert (await client.get("/ready")).status_code == 503


async def test_a_new_policy_takes_over_and_no_request_is_dropped(folder, cheap):
    app = create_app(folder, scripted(), GatewaySettings(watch_s=0.05))
    async with asking(app) as client:
        await auntil(partial(ready, client))
        assert await model_of(client) == "large"
        statuses, models = [], set()

        async def keep_asking():
            while "small" not in models:
                response = await client.post(PATH, json=body(stream=len(statuses) % 2 == 0))
                statuses.append(response.status_code)
                models.add(response.headers["x-cascade-model"])

        cc.CascadePolicy.load(cheap).save(folder)
        async with asyncio.timeout(30):
            await asyncio.gather(*(keep_asking() for _ in range(4)))
        assert set(statuses) == {200}
        assert app.state.current.served.policy.fingerprint == cc.CascadePolicy.load(cheap).fingerprint
        assert app.state.current.ready


async def test_a_call_that_has_begun_ends_with_its_policy(folder, cheap):
    pool, begun, go_on = scripted(), asyncio.Event(), asyncio.Event()
    app = create_app(folder, pool, GatewaySettings(watch_s=0))

    async def slowly(*_, **__):
        begun.set()
        await go_on.wait()
        raise ConnectionError

    object.__setattr__(pool.models["large"], "_agenerate", slowly)
    async with asking(app) as client:
        asked = asyncio.create_task(client.post(PATH, json=body()))
        await begun.wait()
        old = app.state.current.served.policy.fingerprint
        cc.CascadePolicy.load(cheap).save(folder)
        assert await app.state.current.reload()
        go_on.set()
        assert (await asked).headers["x-cascade-policy"] == old
        assert await model_of(client) == "small"


async def test_a_damaged_policy_is_refused_and_the_old_one_stays(folder, caplog):
    app = create_app(folder, scripted(), GatewaySettings(watch_s=0.05))
    async with asking(app) as client:
        (folder / "policy.json").write_text("{}")
        await auntil(lambda: _soon("refused" in caplog.text))
        assert "The new policy is refused, the old one stays" in caplog.text
        assert await model_of(client) == "large"
        told = len(caplog.records)
        await asyncio.sleep(0.2)
        assert len(caplog.records) == told  # once, not with every look


async def test_a_policy_of_other_models_needs_another_pool(folder, cheap, caplog):
    names = [*NAMES]
    app = create_app(folder, lambda: scripted(names), GatewaySettings(watch_s=0))
    smaller = cc.CascadePolicy.load(cheap).remove_model("small")
    async with asking(app) as client:
        smaller.save(folder)
        assert not await app.state.current.reload()
        assert "The models are not those of the policy" in caplog.text
        assert await model_of(client) == "large"
        names.remove("small")
        assert await app.state.current.reload()
        assert await model_of(client) == "medium"


async def test_a_folder_that_is_gone_for_a_moment_is_waited_for(folder, tmp_path, caplog):
    app = create_app(folder, scripted(), GatewaySettings(watch_s=0.02))
    async with asking(app) as client:
        folder.rename(tmp_path / "aside")
        await asyncio.sleep(0.1)
        (tmp_path / "aside").rename(folder)
        await asyncio.sleep(0.1)
        assert await model_of(client) == "large"
    assert "refused" not in caplog.text


async def test_a_policy_that_was_given_as_an_object_stays(fitted):
    app = create_app(fitted, scripted())
    assert not await app.state.current.reload()


def test_a_pool_that_is_not_the_policys(fitted):
    with pytest.raises(ValueError, match="missing: large"):
        create_app(fitted, scripted(["small", "medium"]))


def test_its_arguments_can_be_sent_to_another_machine(folder):
    made = pickle.loads(pickle.dumps((folder, partial(scripted, NAMES), GatewaySettings(points=("0.9",)))))
    assert create_app(*made).state.current.served.policy.models == NAMES


async def _soon(found):
    return found
