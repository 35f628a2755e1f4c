from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pirt.core.errors import ManifestError
from pirt.training.sampler import PKSampler

LABELS = [label for label in range(10) for _ in range(3 + label)]
MODES = ("images", "identities")


def sampler(labels=LABELS, *, by="images", identities=4, instances=3, seed=0, **ranks):
    return PKSampler(labels, by=by, identities=identities, instances=instances, seed=seed, **ranks)


def drawn_images(batches, epochs):
    """Image numbers, epochs × batches × draws."""
    images = []
    for epoch in range(epochs):
        batches.start(epoch)
        images.append([[draw.image for draw in batch] for batch in batches])
    return np.array(images)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=4, max_size=12),
    st.sampled_from(MODES),
    st.integers(1, 4),
    st.integers(1, 5),
    st.integers(0, 3),
    st.integers(0, 3),
)
def test_every_batch_holds_p_times_k_images_of_one_identity(counts, by, identities, instances, seed, epoch):
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    if max(counts) < instances:
        return
    batches = sampler(labels, by=by, identities=identities, instances=instances, seed=seed)
    batches.start(epoch)
    drawn = list(batches)
    assert len(drawn) == len(batches) == max(1, len(labels) // (identities * instances))
    for batch in drawn:
        places = np.array([draw.image for draw in batch]).reshape(identities, instances)
        for images in places.tolist():
            (label,) = {labels[image] for image in images}
            if counts[label] >= instances:
                assert len(set(images)) == instances
        if by == "identities":
            assert len({labels[images[0]] for images in places}) == identities


LONG_TAIL = [label for label, count in enumerate([40, 20, 10, 8, 6, 4, 4, 4, 2, 2]) for _ in range(count)]
EPOCHS = 400


@pytest.mark.parametrize("by", MODES)
def test_identities_are_visited_as_often_as_the_mode_says(by):
    batches = sampler(LONG_TAIL, by=by, identities=5, instances=2)
    places = drawn_images(batches, EPOCHS).reshape(-1, 2)
    visits = Counter(LONG_TAIL[images[0]] for images in places)
    sizes = Counter(LONG_TAIL)
    for label in sizes:
        share = sizes[label] / len(LONG_TAIL) if by == "images" else 1 / len(sizes)
        # These epochs are whole rounds of the walk, and whole permutations of the identities.
        assert visits[label] == pytest.approx(share * len(places), abs=1)


def test_each_image_leads_once_a_round_and_others_follow_evenly():
    batches = sampler(LONG_TAIL, by="images", identities=5, instances=2)
    places = drawn_images(batches, EPOCHS).reshape(-1, 2)
    rounds = len(places) // len(LONG_TAIL)
    assert rounds == EPOCHS * 10 * 5 // 100
    for first in range(0, len(places), len(LONG_TAIL)):
        assert sorted(places[first : first + len(LONG_TAIL), 0].tolist()) == list(range(len(LONG_TAIL)))
    followed = Counter(places[:, 1].tolist())
    for image in range(len(LONG_TAIL)):
        assert followed[image] == pytest.approx(rounds, abs=5 * rounds**0.5)


@pytest.mark.parametrize("by", MODES)
@pytest.mark.parametrize("ranks", [2, 4])
def test_processes_together_draw_what_one_would(by, ranks):
    whole = sampler(by=by)
    parts = [sampler(by=by, rank=rank, ranks=ranks) for rank in range(ranks)]
    for each in [whole, *parts]:
        each.start(epoch=5)
    for batch, *shares in zip(whole, *parts, strict=True):
        assert [draw for share in shares for draw in share] == batch
        for share in shares:
            places = np.array([LABELS[draw.image] for draw in share]).reshape(4 // ranks, 3)
            assert (places == places[:, :1]).all()


@pytest.mark.parametrize("by", MODES)
def test_epochs_and_seeds_differ_and_repeat(by):
    def drawn(seed, epoch):
        batches = sampler(by=by, seed=seed)
        batches.start(epoch)
        return [tuple(batch) for batch in batches]

    assert drawn(0, 0) == drawn(0, 0)
    assert len({tuple(drawn(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


@pytest.mark.parametrize("by", MODES)
def test_an_epoch_can_be_entered_in_the_middle(by):
    whole, rest = sampler(by=by), sampler(by=by)
    whole.start(epoch=2)
    rest.start(epoch=2, first_batch=3)
    assert list(rest) == list(whole)[3:]
    assert len(rest) == len(whole) - 3


@pytest.mark.parametrize("by", MODES)
def test_no_two_draws_of_a_training_share_a_seed(by):
    seeds = []
    batches = sampler(by=by)
    for epoch in range(4):
        batches.start(epoch)
        seeds += [draw.seed for batch in batches for draw in batch]
    assert len(set(seeds)) == len(seeds)


def test_an_identitys_images_come_without_repetition_while_they_last():
    labels = [0] * 12 + [1] * 12
    batches = sampler(labels, by="identities", identities=2, instances=3)
    assert sorted(draw.image for batch in batches for draw in batch) == list(range(24))


@pytest.mark.parametrize("by", MODES)
def test_small_identities_are_counted_and_drawn_with_replacement(by):
    labels = [0, 1, 1, 1, 2, 2, 2]
    batches = sampler(labels, by=by, identities=3, instances=3)
    assert batches.small_identities == 1
    of_the_small = [image for image in drawn_images(batches, 7).flatten() if image == 0]
    assert len(of_the_small) == 3 * (7 if by == "identities" else 3)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"identities": 11}, "11 identities cannot be drawn from 10; lower train.identities"),
        ({"instances": 13}, "no identity has 13 images, the largest has 12; lower train.instances"),
        ({"ranks": 3}, "4 identities cannot be shared by 3 processes"),
    ],
)
def test_what_cannot_be_drawn_is_refused(wrong, words):
    with pytest.raises(ManifestError, match=words):
        sampler(**wrong)
