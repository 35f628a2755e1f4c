import pytest
import torch
from lightning_fabric import Fabric

from pirt.core.errors import DivergenceError
from pirt.training.watch import Watch


@pytest.fixture
def watch():
    return Watch(Fabric(accelerator="cpu", devices=1))


def values(total, part=1.0):
    return {"loss/part": torch.tensor(part), "loss/total": torch.tensor(total)}


def test_means_are_of_the_steps_that_were_read(watch):
    watch.start_epoch({}, 0)
    for step, total in enumerate([1.0, 3.0, 8.0]):
        watch.add(step, 0.1, values(total), stop=False)
    assert watch.means() == {"loss/part": 1.0, "loss/total": 2.0}
    watch.flush()
    watch.flush()
    assert watch.means() == {"loss/part": 1.0, "loss/total": 4.0}


def test_an_epoch_goes_on_with_what_was_summed_up_before(watch):
    watch.start_epoch({"loss/part": 4.0, "loss/total": 10.0}, 4)
    watch.add(4, 0.1, values(5.0), stop=False)
    watch.flush()
    assert watch.means() == {"loss/part": 1.0, "loss/total": 3.0}


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_told_with_step_term_and_learning_rate(watch, wrong):
    watch.add(6, 0.1, values(1.0), stop=False)
    watch.add(7, 0.00035, values(wrong, wrong), stop=False)
    with pytest.raises(DivergenceError, match=r"step 7: loss/part is .* at learning rate 0\.00035"):
        watch.add(8, 0.2, values(1.0), stop=False)


def test_a_request_to_stop_is_seen_one_step_later(watch):
    watch.add(0, 0.1, values(1.0), stop=True)
    assert not watch.stop
    watch.add(1, 0.1, values(1.0), stop=False)
    assert watch.stop
