from dataclasses import fields

import pytest

from pirt_stages.data.pedestrians.identity import LOOKALIKES, Identity, identity_of


def differences(one: Identity, other: Identity) -> set[str]:
    return {field.name for field in fields(Identity) if getattr(one, field.name) != getattr(other, field.name)}


@pytest.mark.parametrize("group", range(40))
def test_look_alikes_share_all_but_one_part(group: int) -> None:
    first, *others = (identity_of(3, group * LOOKALIKES + variant) for variant in range(LOOKALIKES))
    assert [differences(first, other) for other in others] == [{"head"}, {"upper"}, {"lower"}]


def test_groups_differ_and_numbers_are_stable() -> None:
    people = [identity_of(0, number) for number in range(60)]
    assert len(set(people)) == len(people)
    assert people == [identity_of(0, number) for number in range(60)]
    assert people[0] != identity_of(1, 0)


def test_a_dress_is_worn_without_trousers() -> None:
    people = [identity_of(0, number) for number in range(400)]
    assert any(person.upper.kind == "dress" for person in people)
    assert all((person.upper.kind == "dress") == (person.lower.kind == "tights") for person in people)
