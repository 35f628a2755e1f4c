"""Nobody whom the demo or the study shows is among those that the demo's weights were trained on."""

from pathlib import Path

import pytest

from pirt_stages.data.pedestrians.identity import LOOKALIKES, identity_of
from pirt_stages.data.pedestrians.params import RenderParams, load_render_params
from pirt_stages.data.pedestrians.plan import PROFILES, plan
from pirt_stages.data.pedestrians.skeleton import Body

ROOT = Path(__file__).parents[5]
PRETRAINING = load_render_params(ROOT / "pipelines/pretraining/params.yaml")
DEMO = load_render_params(ROOT / "params.yaml")
BENCHMARKS = {"demo": DEMO, "study": RenderParams(profile="large", seed=0)}


def bodies(params: RenderParams) -> set[Body]:
    """The bodies of a benchmark's people; look-alikes share theirs with the first of their group."""
    shown = {entry.shot.identity for entry in plan(PROFILES[params.profile], params.seed)}
    return {identity_of(params.seed, LOOKALIKES * group).body for group in {n // LOOKALIKES for n in shown}}


@pytest.mark.parametrize("name", ["demo", pytest.param("study", marks=pytest.mark.slow)])
def test_no_person_of_the_pretraining_is_in_a_benchmark(name: str) -> None:
    # Whoever walks by before a camera is drawn from the world's seed, too.
    assert BENCHMARKS[name].seed != PRETRAINING.seed
    theirs, ours = bodies(PRETRAINING), bodies(BENCHMARKS[name])
    assert len(theirs) >= PROFILES[PRETRAINING.profile].train_identities / LOOKALIKES
    assert theirs.isdisjoint(ours)
