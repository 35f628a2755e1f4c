"""The learning rate of a step."""

import math

from pirt.runs.params import TrainParams


def learning_rate(params: TrainParams, step: int, steps_per_epoch: int) -> float:
    """Warm up linearly, stay flat, then fall by a cosine to the final learning rate of the last step.

    A training of no more epochs than warm-up and flat part have ends before it falls.
    Counted in steps, so that an epoch of few batches warms up as smoothly as one of many. `step` starts at 0.
    """
    warmup = params.warmup_epochs * steps_per_epoch
    if step < warmup:
        return params.learning_rate * (params.warmup_factor + (1 - params.warmup_factor) * step / warmup)
    # A warm-up that outlasts the flat part goes straight over into the fall.
    fall_from = max(params.cosine_from_epoch, params.warmup_epochs) * steps_per_epoch
    last = params.epochs * steps_per_epoch - 1
    if step < fall_from:
        return params.learning_rate
    fallen = (step - fall_from) / max(last - fall_from, 1)
    height = 0.5 * (1 + math.cos(math.pi * fallen))
    return params.final_learning_rate + (params.learning_rate - params.final_learning_rate) * height
