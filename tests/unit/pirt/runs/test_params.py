from pathlib import Path

import pytest

from pirt.core.errors import ParamsError
from pirt.runs.params import Params, load_params

ROOT = Path(__file__).parents[4]


def write(folder: Path, text: str) -> Path:
    path = folder / "params.yaml"
    path.write_text(text)
    return path


def test_an_empty_file_gives_the_papers_recipe(tmp_path: Path) -> None:
    params = load_params(write(tmp_path, "{}"))
    assert params == Params()
    assert params.train.image_size == (384, 128)
    assert params.train.identities * params.train.instances == 64
    assert params.train.learning_rate == 3.5e-4
    assert params.model.tau == 0.001
    assert params.model.inter_layers == 3


def test_a_variant_is_laid_over_the_model(tmp_path: Path) -> None:
    path = write(tmp_path, "model: {width: 16}\nvariants: {intra: {inter_layers: 0}}\npose: {train: {}}\n")
    params = load_params(path, "intra")
    assert (params.model.width, params.model.inter_layers) == (16, 0)
    assert load_params(path).model.inter_layers == 3


def test_exponents_without_a_dot_are_numbers(tmp_path: Path) -> None:
    assert load_params(write(tmp_path, "train: {final_learning_rate: 1e-6}")).train.final_learning_rate == 1e-6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: {epoch: 3}", r"unknown parameter 'train.epoch'"),
        ("trian: {}", r"unknown section \['trian'\]"),
        ("train: {epochs: 0}", r"train.epochs = 0: .*greater than 0"),
        ("train: {epochs: many}", r"train.epochs = 'many'"),
        ("model: {backbone: vgg}", r"model.backbone: unknown backbone 'vgg'; .*resnet50_ibn_a"),
        ("- 1", "must hold a mapping"),
        ("a: [", "not valid YAML"),
    ],
)
def test_a_wrong_value_is_named_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ParamsError, match=message) as caught:
        load_params(write(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_variant_may_train_otherwise(tmp_path: Path) -> None:
    text = "train: {epochs: 5, backbone_weights: w.pth}\n"
    text += "variants: {scratch: {parts: false, train: {backbone_weights: null}}}"
    params = load_params(write(tmp_path, text), "scratch")
    assert (params.model.parts, params.train.epochs, params.train.backbone_weights) == (False, 5, None)
    with pytest.raises(ParamsError, match="variant odd, train must be a mapping, found int 3"):
        load_params(write(tmp_path, "variants: {odd: {train: 3}}"), "odd")
    with pytest.raises(ParamsError, match="train must be a mapping, found bool False"):
        load_params(write(tmp_path, "train: false\nvariants: {odd: {}}"), "odd")


def test_missing_file_and_variant_are_named(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"nowhere\.yaml does not exist"):
        load_params(tmp_path / "nowhere.yaml")
    with pytest.raises(ParamsError, match=r"no variant 'huge'; it has \['small'\]"):
        load_params(write(tmp_path, "variants: {small: {}}"), "huge")


def test_every_variant_of_the_default_pipeline_is_valid() -> None:
    shapes = {}
    for name in ("baseline", "parts", "intra", "pirt"):
        model = load_params(ROOT / "params.yaml", name).model
        shapes[name] = (model.parts, model.intra, model.inter_layers)
    assert shapes["baseline"] == (False, False, 0)
    assert shapes["parts"] == (True, False, 0)
    assert shapes["intra"] == (True, True, 0)
    assert shapes["pirt"] == (True, True, 3)
