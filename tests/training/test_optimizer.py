"""How weights move: AdamW as its paper has it, gradients cut, rates as LLaVA's recipes and the tiny model have them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.training.test_trainer import LineStage, weights
from training.config import Cosine, FlatThenLinear, Optim, Run, optim_of_rows
from training.figures import NONE, Figures
from training.trainer import ParameterGroup, train


def test_the_tiny_models_rate_rises_stays_and_falls() -> None:
    schedule = FlatThenLinear(warmup=10, flat=0.5, floor=0.01)
    assert schedule.factor(0, 0.0, None) == pytest.approx(0.1)
    assert schedule.factor(100, 0.3, None) == 1
    assert schedule.factor(100, 0.75, None) == pytest.approx(0.505)
    assert schedule.factor(100, 1.0, None) == pytest.approx(0.01)


@pytest.mark.parametrize("steps", [7, 100, 1001])
def test_the_recipes_rate_is_transformers_cosine_but_for_a_first_step_that_moves(steps: int) -> None:
    from transformers import get_cosine_schedule_with_warmup

    warm = math.ceil(0.03 * steps)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = get_cosine_schedule_with_warmup(optimizer, warm, steps)
    for step in range(steps):
        expected = (step + 1) / warm if step < warm else theirs.get_last_lr()[0]
        assert Cosine(0.03).factor(step, step / steps, steps) == pytest.approx(expected, abs=1e-9)
        optimizer.step()
        theirs.step()


def test_by_the_clock_the_rate_rises_and_falls_too() -> None:
    rates = [Cosine(0.1).factor(step, step / 1000, None) for step in range(1001)]
    assert rates[0] > 0
    assert max(rates) == pytest.approx(1.0)
    assert rates[100] == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(0.0)


def test_rows_are_trained_as_llava_was() -> None:
    """Liu et al. 2023 and 2023b, appendix A and table 9: rates of both stages, of the linear and the MLP projector."""
    rates = [optim_of_rows("pretrain", linear_projector=linear).learning_rate for linear in (True, False)]
    assert rates == [2e-3, 1e-3]
    tuned = optim_of_rows("finetune", linear_projector=False)
    assert (tuned.learning_rate, tuned.betas, tuned.weight_decay, tuned.clip) == (2e-5, (0.9, 0.999), 0.0, 1.0)
    assert tuned.schedule == Cosine(warmup=0.03)


class TwoLayers(LineStage):
    """A matrix and a vector that learn at the run's rate, and a matrix at another; gradients large enough to be cut."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.line, self.frozen = nn.Linear(3, 2), nn.Linear(2, 1, bias=False)

    def loss(self, batch: tuple[Tensor, Tensor], step: int, progress: float) -> tuple[Tensor, Figures]:
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(step))
        return 30 * (self.frozen(torch.tanh(self.line(x))) - 1).square().mean(), NONE

    def groups(self) -> list[ParameterGroup]:
        return [ParameterGroup(tuple(self.line.parameters())), ParameterGroup(tuple(self.frozen.parameters()), 0.25)]


@pytest.mark.parametrize("clip", [0.5, 1e6])
@pytest.mark.parametrize("weight_decay", [0.0, 0.2])
def test_three_steps_are_those_of_adamw_written_by_hand(tmp_path: Path, clip: float, weight_decay: float) -> None:
    """Loshchilov & Hutter 2019, algorithm 2; the norm of all gradients together is cut; vectors do not decay."""
    rate, (beta1, beta2), eps = 0.03, (0.8, 0.95), 1e-8
    optim = Optim(rate, (beta1, beta2), weight_decay, clip, FlatThenLinear(warmup=2, flat=1.0))
    stage, twin = TwoLayers(), TwoLayers()
    train(stage, Run(tmp_path, steps=3, workers=0, precision="fp32"), optim)

    parameters = [p for module in twin.modules().values() for p in module.parameters()]
    factors = [1.0, 1.0, 0.25]
    first, second = ([torch.zeros_like(p) for p in parameters] for _ in range(2))
    for step in range(3):
        loss, _ = twin.loss((torch.empty(0), torch.empty(0)), step, step / 3)
        gradients = torch.autograd.grad(loss, parameters)
        norm = float(torch.stack([g.square().sum() for g in gradients]).sum().sqrt())
        assert norm > 0.5
        for at, (p, gradient) in enumerate(zip(parameters, gradients, strict=True)):
            g = gradient * min(1.0, clip / norm)
            lr = rate * factors[at] * min(1.0, (step + 1) / 2)
            first[at] = beta1 * first[at] + (1 - beta1) * g
            second[at] = beta2 * second[at] + (1 - beta2) * g * g
            mean, spread = first[at] / (1 - beta1 ** (step + 1)), second[at] / (1 - beta2 ** (step + 1))
            with torch.no_grad():
                p.mul_(1 - lr * (weight_decay if p.ndim > 1 else 0.0)).sub_(lr * mean / (spread.sqrt() + eps))
    for ours, by_hand in zip(weights(stage), parameters, strict=True):
        torch.testing.assert_close(ours, by_hand.detach(), rtol=2e-5, atol=2e-6)
