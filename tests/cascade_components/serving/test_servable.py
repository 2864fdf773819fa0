import pytest

import cascade_components as cc
from cascade_components.serving.servable import check_names, check_priced, token_prices


def test_names_are_those_of_the_policy(policy):
    check_names(["large", "small"], policy())
    with pytest.raises(ValueError, match=r"missing: small; not in the policy: tiny\); it knows small, large"):
        check_names(["tiny", "large"], policy())


def test_prices(policy):
    pair = cc.TokenPrice(1e-6, 2e-6)
    assert token_prices({"small": (1e-6, 2e-6), "large": pair}, policy()) == {"small": pair, "large": pair}
    assert token_prices(None, policy()) == {}
    with pytest.raises(ValueError, match="huge is not in the policy"):
        token_prices({"huge": pair}, policy())
    with pytest.raises(ValueError, match="small must be a TokenPrice"):
        token_prices({"small": 1e-6}, policy())


def test_a_limit_needs_every_price(policy):
    class Unpriced(policy):
        def cost_usd(self, model, input_tokens, output_tokens):
            return None

    check_priced(policy(), {})
    with pytest.raises(ValueError, match="unknown: large"):
        check_priced(Unpriced(), {"small": cc.TokenPrice(1e-6, 1e-6)})
