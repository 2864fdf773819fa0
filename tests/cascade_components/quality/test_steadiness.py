import torch

from cascade_components.quality.steadiness import Shifts


def minimised(objective, width):
    weights = torch.zeros(1, width, dtype=torch.float64, requires_grad=True)
    exact = {"tolerance_grad": 1e-10, "tolerance_change": 1e-14}
    optimizer = torch.optim.LBFGS([weights], max_iter=1000, line_search_fn="strong_wolfe", **exact)

    def closure():
        optimizer.zero_grad()
        loss = objective(weights)
        loss.backward()
        return loss

    optimizer.step(closure)
    return weights.detach()


def test_shrunk_inputs_and_weights_are_what_the_penalty_on_shifts_leads_to():
    torch.manual_seed(0)
    rows = torch.randn(200, 20, dtype=torch.float64)
    label = (rows[:, 0] + torch.randn(200) > 0).double()
    moved = torch.randn(7, 20, dtype=torch.float64) * torch.linspace(0, 3, 7, dtype=torch.float64)[:, None]
    ridge, steadiness = 0.05, 0.3

    def loss(inputs, weights):
        fit = torch.nn.functional.binary_cross_entropy_with_logits((inputs @ weights.T)[:, 0], label)
        return fit + ridge / 2 * weights.square().sum()

    penalised = minimised(
        lambda weights: loss(rows, weights) + steadiness * (moved @ weights.T).square().sum() / len(moved), 20
    )
    shifts = Shifts.of(moved)
    narrow = shifts.shrunk(rows, steadiness / ridge)
    trained = shifts.shrunk(minimised(lambda weights: loss(narrow, weights), 20), steadiness / ridge)
    assert torch.allclose(trained, penalised, atol=1e-6)
    assert (moved @ trained.T).square().mean() < (moved @ minimised(lambda w: loss(rows, w), 20).T).square().mean() / 4


def test_without_shifts_nothing_is_shrunk():
    rows = torch.randn(3, 5)
    assert torch.equal(Shifts.of(torch.zeros(0, 5)).shrunk(rows, 1.0), rows)
