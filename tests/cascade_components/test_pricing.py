import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_components.outcomes import Outcome
from cascade_components.pricing import TokenPrice, token_price


def rows(price_in, price_out, tokens):
    for number, (given_, made) in enumerate(tokens):
        yield Outcome(
            query_id=str(number),
            query="?",
            model="m",
            correct=1,
            input_tokens=given_,
            output_tokens=made,
            cost_usd=price_in * given_ + price_out * made,
        )


@given(
    st.floats(1e-8, 1e-4),
    st.floats(1e-8, 1e-4),
    st.lists(st.tuples(st.integers(1, 2000), st.integers(1, 2000)), min_size=3, max_size=20),
)
def test_a_linear_price_is_read_off_exactly(price_in, price_out, tokens):
    price = token_price(rows(price_in, price_out, tokens))
    for given_, made in tokens:
        assert price.cost_usd(given_, made) == pytest.approx(price_in * given_ + price_out * made, rel=1e-4)


def test_without_tokens_or_cost_there_is_no_price():
    assert token_price([Outcome(query_id="q", query="?", model="m", correct=1, cost_usd=1.0)]) is None


def test_cached_tokens_have_their_own_price():
    price = TokenPrice.per_million(input=1, output=10, cache_read=0.1, cache_creation=1.25)
    assert price.cost_usd(1000, 10, cache_read=600, cache_creation=200) == pytest.approx(
        (200 * 1 + 600 * 0.1 + 200 * 1.25 + 10 * 10) / 1e6
    )
    plain = TokenPrice.per_million(input=1, output=10)
    assert plain.cost_usd(1000, 10, cache_read=600) == plain.cost_usd(1000, 10)


@pytest.mark.parametrize("price", [-1.0, float("nan"), float("inf")])
def test_a_price_that_is_none_is_refused(price):
    with pytest.raises(ValueError, match=r"price of a token \(output\)"):
        TokenPrice(input=1e-6, output=price)
