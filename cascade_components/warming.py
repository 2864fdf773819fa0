"""Everything that a first call would wait for, loaded and tried before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cascade_components.answers import Answer

if TYPE_CHECKING:
    from cascade_components.policy import CascadePolicy

_QUERY = "What is 2 + 2? Give the sum and say in a sentence why it is right."
_ANSWER = "The sum is 4, for counting two further from two comes to four. " * 20
"""As long as an encoder reads: its buffers grow to what they will be."""


def warm_up(policy: CascadePolicy) -> None:
    """Encode a query and an answer, solve the plans with a model out, and ask every estimator once."""
    for model in policy.models:
        policy.plans(frozenset({model}) if len(policy.models) > 1 else frozenset())
    policy.route(_QUERY, frozenset(policy.models))
    policy.encoder([_ANSWER])
    for model, estimator in policy.estimators.items():
        answer = Answer(_ANSWER, model=model, output_tokens=300)
        estimator.predict_proba([_QUERY], [answer])
        estimator.handicap([_QUERY], [answer])
    for model, rule in policy.releases.items():
        rule.read(_QUERY, Answer(_ANSWER[:40], model=model), 0.5)
