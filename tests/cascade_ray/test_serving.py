"""The gateway in two replicas on a cluster, asked by OpenAI's own client."""

from concurrent.futures import ThreadPoolExecutor

import openai
import pytest

import cascade_components as cc
from tests.cascade_components.tiny_encoder import make_sentence_transformer
from tests.openai_server import Reply
from tests.toy import make_rows

pytestmark = [pytest.mark.enable_socket, pytest.mark.ray, pytest.mark.timeout(600)]

SERVE = """
import functools, socket, sys
import ray
from ray import serve
import cascade_ray
from tests.cascade_ray.pools import make_pool

policy, url, address = sys.argv[1:]
ray.init(address, log_to_driver=False, logging_level="error")
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
serve.start(http_options={"host": "127.0.0.1", "port": port})
pool = functools.partial(make_pool, url)
app = cascade_ray.deployment(policy, pool, num_replicas=2, ray_actor_options={"num_cpus": 0.5}, max_ongoing_requests=1)
serve.run(app)
print(f"http://127.0.0.1:{port}/v1", flush=True)
sys.stdin.readline()
serve.shutdown()
"""


def test_two_replicas_answer(cluster, server, tmp_path):
    encoder = str(make_sentence_transformer(tmp_path / "encoder"))
    policy = cc.fit(make_rows(60), encoder=encoder, clusters=2, quality=None, cost_weight=0.0, cache=None)
    policy.save(tmp_path / "policy")
    driver = cluster.run(SERVE, tmp_path, tmp_path / "policy", server.url, cluster.address)
    try:
        base_url = driver.stdout.readline().strip()
        assert base_url, driver.communicate()
        with openai.OpenAI(base_url=base_url, api_key="none", timeout=60) as client:
            assert "cascade" in {model.id for model in client.models.list()}
            asked = [{"role": "user", "content": "sums question q0"}]
            server.replies |= {name: Reply(f"{name} here", wait_s=0.2) for name in ("small", "medium", "large")}

            def text_of(_):
                return client.chat.completions.create(model="cascade", messages=asked).choices[0].message.content

            with ThreadPoolExecutor(4) as callers:
                texts = set(callers.map(text_of, range(16)))
            assert len(texts) == 1
            assert texts.copy().pop().endswith(" here")
            assert len({body["user"] for body in server.bodies}) == 2
            streamed = client.chat.completions.create(model="cascade", messages=asked, stream=True)
            text = "".join(chunk.choices[0].delta.content or "" for chunk in streamed if chunk.choices)
            assert {text} == texts
            with pytest.raises(openai.NotFoundError):
                client.chat.completions.create(model="nobody", messages=asked)
        driver.communicate("\n", timeout=60)
        assert driver.returncode == 0
    finally:
        driver.kill()
        driver.communicate()
