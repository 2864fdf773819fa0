"""The gateway as a Ray Serve deployment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cascade_ray.cluster import the_ray

if TYPE_CHECKING:
    from cascade_server.settings import GatewaySettings, MakePool, PolicySource


def deployment(policy: PolicySource, pool: MakePool, settings: GatewaySettings | None = None, **options: Any) -> Any:
    """Make a Ray Serve application of the gateway: the same app, in as many replicas as the options say.

    Each replica loads the policy, watches its folder, and shares its encoder's batches among its own calls. What a
    replica counts (limits, metrics, circuit breakers, feedback) is its own: `max_concurrency` is for each replica.

    Args:
        policy: The policy's folder, on a disk that all machines have; or a policy.
        pool: Makes the models, in each replica. Keys stay in the environment of the cluster's machines.
        settings: Of the gateway.
        options: Of `ray.serve.deployment`: `num_replicas`, `autoscaling_config`, `ray_actor_options`,
            `max_ongoing_requests`, `name` …

    Returns:
        What `ray.serve.run` takes.

    Raises:
        ImportError: Ray Serve or the gateway is not installed.
        ValueError: An option is none of Ray Serve's.

    Example:
        >>> from ray import serve                                                         # doctest: +SKIP
        >>> serve.run(deployment("policy/", make_pool, num_replicas=2))                   # doctest: +SKIP
    """
    the_ray()
    from ray import serve

    from cascade_server import GatewaySettings, create_app

    chosen = settings or GatewaySettings()
    given: dict[str, Any] = {"name": "cascade", "max_ongoing_requests": chosen.max_concurrency, **options}
    replica = serve.ingress(lambda: create_app(policy, pool, chosen))()
    return serve.deployment(**given)(replica).bind()
