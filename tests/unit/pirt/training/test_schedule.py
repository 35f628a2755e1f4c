import math
from itertools import pairwise

import pytest

from pirt.runs.params import TrainParams
from pirt.training.schedule import learning_rate

PAPER = TrainParams()
STEPS = 7


def rates(params):
    return [learning_rate(params, step, STEPS) for step in range(params.epochs * STEPS)]


def test_the_papers_schedule():
    found = rates(PAPER)
    assert found[0] == pytest.approx(3.5e-6)
    assert found[5 * STEPS] == pytest.approx(3.5e-4 * (0.01 + 0.99 / 2))
    assert found[10 * STEPS : 30 * STEPS] == [3.5e-4] * (20 * STEPS)
    assert found[-1] == pytest.approx(1e-6)
    middle = 30 * STEPS + (30 * STEPS - 1) // 2
    assert found[middle] == pytest.approx((3.5e-4 + 1e-6) / 2, rel=0.02)


def test_it_rises_to_the_flat_part_and_falls_from_it_without_a_jump():
    found = rates(PAPER)
    steps = [after - before for before, after in pairwise(found)]
    assert all(step > 0 for step in steps[: 10 * STEPS])
    assert all(step < 0 for step in steps[30 * STEPS :])
    assert max(map(abs, steps)) < 3.5e-4 * max(1 / (10 * STEPS), math.pi / (2 * (30 * STEPS - 1))) * 1.01


@pytest.mark.parametrize(("warmup", "cosine"), [(0, 0), (0, 60), (60, 0), (100, 100), (10, 5)])
def test_any_lengths_of_its_parts_work(warmup, cosine):
    found = rates(PAPER.model_copy(update={"warmup_epochs": warmup, "cosine_from_epoch": cosine}))
    assert all(0 < rate <= 3.5e-4 for rate in found)
    rises = [after - before for before, after in pairwise(found)]
    assert max(rises) <= 3.5e-4 / (STEPS * max(warmup, 1)), "in small steps, wherever the fall is to begin"
    # A warm-up that outlasts the training ends on its way up.
    assert max(found) == pytest.approx(3.5e-4 * min(1, 0.01 + 0.99 * 60 / max(warmup, 1)), rel=0.01)


def test_one_step_is_enough():
    only = PAPER.model_copy(update={"epochs": 1, "warmup_epochs": 0, "cosine_from_epoch": 0})
    assert learning_rate(only, 0, 1) == 3.5e-4
