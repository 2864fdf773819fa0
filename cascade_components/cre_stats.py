"""Reads the statistics of cre-router, the package of the authors of arXiv 2606.27457."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cascade_components.arrays import Floats
from cascade_components.pool import ERROR_TOL, Conditioning, PoolStats

CreMetric = Literal["tpot_ms", "e2el_ms"]

_Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Amounts = dict[str, _Amount]
_Model = TypeVar("_Model", bound=BaseModel)


class CreModel(BaseModel):
    """One model's measurements, as `cre evaluate` and `cre stats` write them; by cluster."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    errors: dict[str, Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]]
    tpot_ms: _Amount | None = None
    cluster_tpot_ms: _Amounts = {}
    e2el_ms: _Amount | None = None
    cluster_e2el_ms: _Amounts = {}
    cluster_ttft_ms: _Amounts = {}
    cluster_output_tokens: _Amounts = {}

    def tokens(self, cluster: str) -> float:
        """Mean output tokens of an answer, as its times imply them, or as stored; NaN where neither is there."""
        tpot, e2el, ttft = (
            of.get(cluster) for of in (self.cluster_tpot_ms, self.cluster_e2el_ms, self.cluster_ttft_ms)
        )
        if not tpot or e2el is None or ttft is None:
            return self.cluster_output_tokens.get(cluster, np.nan)
        return 1 + max(1.0, (e2el - ttft) / tpot)  # the first token is not part of TPOT


class CreStats(BaseModel):
    """A whole statistics file."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    cluster_sizes: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(min_length=1)
    models: dict[str, CreModel] = Field(min_length=1)
    error_tol: _Amount | None = None

    @property
    def clusters(self) -> list[str]:
        """Names of the clusters: numbers in their order, then words in theirs."""
        return sorted(self.cluster_sizes, key=lambda name: (0, int(name), "") if name.isdecimal() else (1, 0, name))


def read_cre_stats(
    source: str | os.PathLike[str] | Mapping[str, Any],
    cost: CreMetric = "tpot_ms",
    *,
    conditioning: Conditioning = "model",
) -> PoolStats:
    """Read the statistics that cre-router fits on, for `route`, `regions`, `best_region` and their like.

    Clusters come in the order of their numbers. A model's cost is the one that the file states (`tpot_ms`, `e2el_ms`),
    else the size-weighted mean over its clusters; a cluster that was not measured takes the model's cost. The file's
    `error_tol` is kept. The length of answers follows from TPOT, TTFT and E2EL where all three are there.

    Args:
        source: The JSON file, as `cre evaluate` or `cre stats` writes it, or what it holds.
        cost: Which measurement is Cost, in milliseconds: `tpot_ms` (per output token) or `e2el_ms` (per request).
        conditioning: What Eq. 2 prices: "model" is the paper's; "cluster" needs a measurement in every cluster.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: Something is wrong in it; the message names the file, the key and the value.

    Example:
        >>> small = {"errors": {"0": 0.3, "1": 0.1}, "tpot_ms": 8}
        >>> large = {"errors": {"0": 0.1, "1": 0.1}, "cluster_tpot_ms": {"0": 20, "1": 30}}
        >>> found = read_cre_stats({"cluster_sizes": {"0": 50, "1": 50}, "models": {"small": small, "large": large}})
        >>> found.models, found.model_cost.tolist()
        (('small', 'large'), [8.0, 25.0])
    """
    if isinstance(source, Mapping):
        return pool_stats(validated(CreStats, source, "stats"), cost, conditioning, "stats")
    return pool_stats(validated(CreStats, read_json(source), str(source)), cost, conditioning, str(source))


def pool_stats(stats: CreStats, cost: CreMetric, conditioning: Conditioning, place: str) -> PoolStats:
    """Validated statistics as arrays; `place` is where they were read, for the errors.

    Raises:
        ValueError: Clusters do not match, a cost is missing, or `cost` or `conditioning` is unknown.
    """
    if cost not in get_args(CreMetric):
        msg = f"cost must be one of {', '.join(get_args(CreMetric))}; found {cost!r}."
        raise ValueError(msg)
    for problem in _problems(stats, cost, conditioning):
        msg = f"{place}: {problem}"
        raise ValueError(msg)
    clusters, models = stats.clusters, stats.models.values()
    sizes = np.array([stats.cluster_sizes[cluster] for cluster in clusters])
    costs = np.array([_costs(model, cost, clusters, sizes) for model in models])
    stated = np.array([np.nan if (own := getattr(model, cost)) is None else own for model in models])
    tokens = np.array([[model.tokens(cluster) for cluster in clusters] for model in models])
    return PoolStats(
        tuple(stats.models),
        np.array([[model.errors[cluster] for cluster in clusters] for model in models]),
        costs,
        sizes,
        given_model_cost=None if np.isnan(stated).all() else np.where(np.isnan(stated), _mean(costs, sizes), stated),
        output_tokens=None if np.isnan(tokens).all() else tokens,
        conditioning=conditioning,
        error_tol=ERROR_TOL if stats.error_tol is None else stats.error_tol,
    )


def read_json(path: str | os.PathLike[str]) -> Any:
    """What a JSON file holds.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no JSON; the message names the line.
    """
    if not Path(path).is_file():
        msg = f"There is no file {path}."
        raise FileNotFoundError(msg)
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        msg = f"{path}, line {error.lineno}: not valid JSON ({error.msg} at column {error.colno})."
    except UnicodeDecodeError as error:
        msg = f"{path}: not valid JSON ({error})."
    raise ValueError(msg)


def validated(model: type[_Model], data: Any, place: str) -> _Model:
    """Check data against a pydantic model.

    Raises:
        ValueError: The first thing that is wrong: place, key and value.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = "".join(f"[{part!r}]" for part in first["loc"])
        msg = f"{place}{key}: {first['msg']} (found {first['input']!r:.80})"
    raise ValueError(msg)


def _problems(stats: CreStats, cost: CreMetric, conditioning: Conditioning) -> Iterator[str]:
    known = set(stats.cluster_sizes)
    for name, model in stats.models.items():
        measured = set(getattr(model, f"cluster_{cost}"))
        for key, clusters in (("errors", set(model.errors)), (f"cluster_{cost}", measured)):
            if clusters - known:
                yield f"{key} of {name!r} has the cluster {min(clusters - known)!r}, which cluster_sizes lacks."
        if known - set(model.errors):
            yield f"errors of {name!r} lacks the cluster {min(known - set(model.errors))!r} of cluster_sizes."
        if not measured and getattr(model, cost) is None:
            yield f"{name!r} has neither {cost} nor cluster_{cost}: measure it, or read another cost."
        if conditioning == "cluster" and known - measured:
            yield f"costs by cluster need cluster_{cost} of {name!r} in cluster {min(known - measured)!r}, too."


def _costs(model: CreModel, cost: CreMetric, clusters: list[str], sizes: Floats) -> Floats:
    """Cost in each cluster; one without a measurement takes the model's."""
    found = np.array([getattr(model, f"cluster_{cost}").get(cluster, np.nan) for cluster in clusters])
    known = ~np.isnan(found)
    stated = getattr(model, cost)
    return np.where(known, found, _mean(found[known], sizes[known]) if stated is None else stated)


def _mean(costs: Floats, sizes: Floats) -> Floats:
    return np.asarray((costs * sizes).sum(-1) / sizes.sum())
