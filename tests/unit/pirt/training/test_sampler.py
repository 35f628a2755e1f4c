from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pirt.core.errors import ManifestError
from pirt.training.sampler import PKSampler

LABELS = [label for label in range(10) for _ in range(3 + label)]


def sampler(labels=LABELS, *, identities=4, instances=3, seed=0, **ranks):
    return PKSampler(labels, identities=identities, instances=instances, seed=seed, **ranks)


@settings(max_examples=50)
@given(
    st.lists(st.integers(1, 9), min_size=4, max_size=12),
    st.integers(1, 4),
    st.integers(1, 5),
    st.integers(0, 3),
    st.integers(0, 3),
)
def test_every_batch_holds_p_identities_with_k_images_each(counts, identities, instances, seed, epoch):
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    if max(counts) < instances:
        return
    batches = sampler(labels, identities=identities, instances=instances, seed=seed)
    batches.start(epoch)
    drawn = list(batches)
    assert len(drawn) == len(batches) == max(1, len(labels) // (identities * instances))
    for batch in drawn:
        found = [labels[draw.image] for draw in batch]
        assert Counter(found) == dict.fromkeys(set(found), instances)
        assert len(set(found)) == identities
        for label in set(found):
            images = [draw.image for draw in batch if labels[draw.image] == label]
            if counts[label] >= instances:
                assert len(set(images)) == instances


@pytest.mark.parametrize("ranks", [2, 4])
def test_processes_together_draw_what_one_would(ranks):
    whole = sampler()
    parts = [sampler(rank=rank, ranks=ranks) for rank in range(ranks)]
    for each in [whole, *parts]:
        each.start(epoch=5)
    for batch, *shares in zip(whole, *parts, strict=True):
        assert [draw for share in shares for draw in share] == batch
        assert all(len({LABELS[draw.image] for draw in share}) == 4 // ranks for share in shares)


def test_epochs_and_seeds_differ_and_repeat():
    def drawn(seed, epoch):
        batches = sampler(seed=seed)
        batches.start(epoch)
        return [tuple(batch) for batch in batches]

    assert drawn(0, 0) == drawn(0, 0)
    assert len({tuple(drawn(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


def test_an_epoch_can_be_entered_in_the_middle():
    whole, rest = sampler(), sampler()
    whole.start(epoch=2)
    rest.start(epoch=2, first_batch=3)
    assert list(rest) == list(whole)[3:]
    assert len(rest) == len(whole) - 3


def test_no_two_draws_of_a_training_share_a_seed():
    seeds = []
    batches = sampler()
    for epoch in range(4):
        batches.start(epoch)
        seeds += [draw.seed for batch in batches for draw in batch]
    assert len(set(seeds)) == len(seeds)


def test_an_identitys_images_come_without_repetition_while_they_last():
    labels = [0] * 12 + [1] * 12
    batches = sampler(labels, identities=2, instances=3)
    assert sorted(draw.image for batch in batches for draw in batch) == list(range(24))


def test_small_identities_are_counted_and_drawn_with_replacement():
    labels = [0, 1, 1, 1, 2, 2, 2]
    batches = sampler(labels, identities=3, instances=3)
    assert batches.small_identities == 1
    assert [draw.image for batch in batches for draw in batch].count(0) == 3


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
