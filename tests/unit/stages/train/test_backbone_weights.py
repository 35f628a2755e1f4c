"""Weights that do not fit, through the command line: for each family one line, exit code 2, and nothing left behind."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from published import State, in_soliders_names, swin_state, vit_state
from tiny_persons import IMAGE_SIZE, PARAMS, training_arguments

from pirt.models.backbone import build_backbone
from pirt.models.pretrained import load_published
from pirt.runs.params import load_params
from pirt_stages.train.cli import main

SWIN = "{depths: [1, 1, 1, 1], window: 2"
CHOICES = {
    "ibn": "backbone: resnet18_ibn_a\n  width: 8\n  strides: [1, 2, 1, 1]",
    "resnet": "backbone: resnet50\n  width: 4\n  strides: [1, 2, 1, 1]",
    "vit": "backbone: vit_small\n  backbone_options: {depth: 2}",
    "swin": f"backbone: swin_tiny\n  backbone_options: {SWIN}}}",
    "solider": f"backbone: swin_tiny\n  backbone_options: {SWIN}, semantic_weight: 0.2}}",
}
DAMAGE = {
    "ibn": ("layer2.0.bn1.IN.weight", "layer4.1."),
    "resnet": ("layer1.0.conv3.weight", "layer3.5."),
    "vit": ("blocks.0.attn.qkv.weight", "blocks.1."),
    "swin": ("layers.1.blocks.0.attn.relative_position_bias_table", "layers.2.blocks.0."),
    "solider": ("stages.3.blocks.0.ffn.layers.0.0.bias", "stages.2.blocks.0."),
}
"""One name, and what the names of one block begin with."""


# Swin's narrowest is wide, and takes its time.
SLOW = {"swin", "solider"}
FAMILIES = [pytest.param(family, marks=[pytest.mark.slow] * (family in SLOW)) for family in CHOICES]


def resnet(family: str, folder: Path) -> State:
    """A ResNet's own names are the published ones; a file has a classifier too."""
    model = params_of(family, folder).model
    options = {"width": model.width, "strides": model.strides}
    return build_backbone(model.backbone, IMAGE_SIZE, options).state_dict() | {"fc.weight": torch.zeros(9, 64)}


def params_of(family: str, folder: Path, weights: Path | None = None):
    text = PARAMS.replace(CHOICES["ibn"], CHOICES[family])
    assert family == "ibn" or text != PARAMS
    if weights is not None:
        text = text.replace("train:\n", f"train:\n  backbone_weights: {weights}\n")
    (folder / "params.yaml").write_text(text)
    return load_params(folder / "params.yaml", "pirt")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, State]:
    """By family, whole weights in published names."""
    folder = tmp_path_factory.mktemp("published")
    swin = swin_state(96, 3, (1, 1, 1, 1), window=2)
    return {
        **{family: resnet(family, folder) for family in ("ibn", "resnet")},
        "vit": vit_state(384, 2, 8) | {"head.weight": torch.zeros(9, 384)},
        "swin": swin | {"head.weight": torch.zeros(9, 768)},
        "solider": in_soliders_names(swin, 96),
    }


class MakesAFolder:
    """What runs when a pickle of it is read with all trust."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.fixture
def refused(persons: Path, tmp_path: Path) -> Callable[[str, object], str]:
    """Train from a file that holds this, and return the one line that comes."""

    def train(family: str, content: object) -> str:
        torch.save(content, tmp_path / "weights.pth")
        params_of(family, tmp_path, tmp_path / "weights.pth")
        arguments = training_arguments(persons, tmp_path / "out" / "run")
        arguments[1] = str(tmp_path / "params.yaml")
        ended = CliRunner().invoke(main, arguments)
        assert ended.exit_code == 2, ended.output
        assert not list(tmp_path.glob("out/*"))
        lines = ended.output.splitlines()
        assert len(lines) == 1, lines
        assert lines[0].startswith("Error: ")
        assert str(tmp_path / "weights.pth") in lines[0]
        return lines[0]

    return train


@pytest.mark.parametrize("family", FAMILIES)
def test_whole_weights_load(published, tmp_path, family):
    torch.save({"state_dict": published[family]}, tmp_path / "weights.pth")
    model = params_of(family, tmp_path).model
    options = {"width": model.width, "strides": model.strides} if model.width else model.backbone_options
    notes = load_published(build_backbone(model.backbone, IMAGE_SIZE, options), str(tmp_path / "weights.pth"))
    assert all(note.startswith("left out ") for note in notes)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_renamed_key_is_named(published, refused, family):
    name = DAMAGE[family][0]
    state = dict(published[family])
    state[f"{name}.new"] = state.pop(name)
    said = refused(family, {"state_dict": state})
    assert "does not fit the backbone: missing: " in said
    assert "; unexpected: " in said
    # SOLIDER's names are told in Microsoft's, which are the network's.
    assert name.rpartition(".")[2] in said.partition("; unexpected: ")[0]
    assert ".new" in said.partition("; unexpected: ")[2]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_missing_block_is_told_by_its_names(published, refused, family):
    prefix = DAMAGE[family][1]
    state = {name: value for name, value in published[family].items() if not name.startswith(prefix)}
    assert 0 < len(published[family]) - len(state) < 25
    said = refused(family, {"state_dict": state})
    assert f"does not fit the backbone: missing: {prefix.replace('stages.', 'layers.')}" in said
    assert " more" in said
    assert "unexpected" not in said


@pytest.mark.parametrize(
    ("family", "other"),
    [
        ("ibn", "resnet"),
        ("resnet", "vit"),
        ("vit", "swin"),
        pytest.param("swin", "ibn", marks=pytest.mark.slow),
        pytest.param("solider", "vit", marks=pytest.mark.slow),
    ],
)
def test_a_file_of_another_family_is_told(published, refused, family, other):
    said = refused(family, {"state_dict": published[other]})
    assert "does not fit the backbone: missing: " in said
    assert "; unexpected: " in said
    assert len(said) < 1500


@pytest.mark.slow
def test_soliders_file_for_a_swin_without_semantic_layers_says_what_to_set(published, refused):
    assert "set backbone_options.semantic_weight" in refused("swin", published["solider"])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_foreign_global_is_refused_and_not_run(published, refused, tmp_path, family):
    made = tmp_path / "made"
    said = refused(family, {"state_dict": published[family], "notes": MakesAFolder(made)})
    assert "names posix.mkdir, which is refused because loading it would run the file's code" in said
    assert not made.exists()
