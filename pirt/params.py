"""The parameter file, checked once into frozen objects.

Only the programs' `cli.py` read it; everything below takes plain arguments.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pirt.errors import ParamsError
from pirt.keypoints import Grouping

Positive = Annotated[int, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Size = tuple[Positive, Positive]
"""Height and width."""


class Frozen(BaseModel):
    """Base of all parameters: immutable, and an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelParams(Frozen):
    """Choices of `pirt.models.build_pirt`; the defaults are the paper's."""

    backbone: Literal["resnet18_ibn_a", "resnet34_ibn_a", "resnet50_ibn_a", "resnet101_ibn_a"] = "resnet50_ibn_a"
    width: Annotated[int, Field(ge=2)] = 64
    """Channels of the first layer; half of them are normalised by instance."""
    strides: tuple[Positive, Positive, Positive, Positive] = (1, 2, 2, 1)
    parts: bool = True
    intra: bool = True
    inter_layers: Annotated[int, Field(ge=0)] = 3
    groups: Grouping = "paper"
    tau: Fraction = 0.001
    bottleneck: Positive = 512
    intra_heads: Positive = 4
    intra_projection: bool = True
    intra_dropout: Fraction = 0.3
    inter_heads: Positive = 8
    feedforward: Positive = 512
    inter_dropout: Fraction = 0.1
    confidence_hidden: Positive = 512


class AugmentParams(Frozen):
    """Augmentation of image and heatmaps alike."""

    flip: Fraction = 0.5
    pad: Annotated[int, Field(ge=0)] = 10
    erase: Fraction = 0.5
    erase_heatmaps: bool = True


class TrainParams(Frozen):
    """The recipe; the defaults are the paper's, but for its ImageNet weights."""

    image_size: Size = (384, 128)
    epochs: Positive = 60
    identities: Positive = 16
    instances: Positive = 4
    learning_rate: Annotated[float, Field(gt=0)] = 3.5e-4
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    warmup_epochs: Annotated[int, Field(ge=0)] = 10
    warmup_factor: Fraction = 0.01
    cosine_from_epoch: Annotated[int, Field(ge=0)] = 30
    final_learning_rate: Annotated[float, Field(ge=0)] = 1e-6
    label_smoothing: Fraction = 0.1
    triplet_margin: Annotated[float, Field(gt=0)] | None = None
    """None is the soft margin."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    compile: bool = False
    backbone_weights: str | None = None
    """A file or URL with ImageNet weights; None trains from scratch."""
    augment: AugmentParams = AugmentParams()
    evaluate_every: Annotated[int, Field(ge=0)] = 0
    """Epochs between two evaluations on query and gallery, which keep the best weights; 0 is never."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.identities * self.instances < 2:
            raise ValueError("identities times instances is 1, but batch norm needs two images; take more of either")
        if self.augment.pad >= min(self.image_size):
            raise ValueError(
                f"augment.pad = {self.augment.pad} moves images of {self.image_size} out of sight; lower it"
            )
        return self


class RerankParams(Frozen):
    """Re-ranking by k-reciprocal encoding; the defaults are its authors'."""

    k1: Positive = 20
    """Neighbours that must name each other."""
    k2: Positive = 6
    """Neighbours whose codes are averaged."""
    original: Fraction = 0.3
    """Share of the global distance."""


class EvaluateParams(Frozen):
    """Matching and metrics; the defaults are the paper's."""

    matching: Literal["coarse-to-fine", "full"] = "coarse-to-fine"
    top_n: Positive = 100
    max_rank: Positive = 50
    average_precision: Literal["step", "trapezoid"] = "step"
    unmatched: Literal["skip", "zero"] = "skip"
    junk: Literal["drop", "keep"] = "drop"
    rerank: RerankParams | None = None


class Params(Frozen):
    """Everything that stage 2 can be told."""

    seed: Seed = 0
    model: ModelParams = ModelParams()
    train: TrainParams = TrainParams()
    evaluate: EvaluateParams = EvaluateParams()


_Section = TypeVar("_Section", bound=Frozen)


def load_params(path: Path, variant: str | None = None) -> Params:
    """Read stage 2's parameters from `path`; `variant` names an entry of its `variants`, laid over `model`.

    Sections of other programs (`data`, `pose`, `report`, `seeds`, `variants`) are passed over.
    """
    table = read_yaml(path)
    known = {name: table[name] for name in table.keys() & Params.model_fields.keys()}
    if unknown := table.keys() - known.keys() - {"data", "pose", "report", "seeds", "variants"}:
        raise ParamsError(
            f"{path}: unknown section {sorted(map(str, unknown))}; expected {sorted(Params.model_fields)}"
        )
    if variant is not None:
        variants = mapping(table.get("variants"), f"{path}, section variants")
        if variant not in variants:
            raise ParamsError(f"{path}: no variant {variant!r}; it has {sorted(variants)}")
        known["model"] = {
            **mapping(known.get("model"), f"{path}, section model"),
            **mapping(variants[variant], f"{path}, variant {variant}"),
        }
    return checked(Params, known, str(path))


def mapping(table: object, where: str) -> dict[str, Any]:
    """Return a section of a YAML file, empty where it says nothing."""
    if not isinstance(table or {}, dict):
        raise ParamsError(f"{where} must be a mapping, found {type(table).__name__} {table!r}")
    return cast(dict[str, Any], table or {})


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML 1.2 mapping, as DVC does."""
    try:
        table = YAML(typ="safe").load(path)
    except FileNotFoundError:
        raise ParamsError(f"parameter file {path} does not exist") from None
    except OSError as error:
        raise ParamsError(f"parameter file {path} cannot be read: {error.strerror}") from None
    except YAMLError as error:
        raise ParamsError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(table, dict):
        raise ParamsError(f"{path} must hold a mapping of sections, found {type(table).__name__}")
    return table


def checked(section: type[_Section], table: object, where: str) -> _Section:
    """Turn a table of values into a section; the first wrong value is named in one line."""
    try:
        return section.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise ParamsError(f"{where}: unknown parameter {name!r}") from error
        if first["type"] == "value_error":
            raise ParamsError(f"{where}: {name}: {first['ctx']['error']}") from error
        raise ParamsError(f"{where}: {name} = {first['input']!r}: {first['msg']}") from error
