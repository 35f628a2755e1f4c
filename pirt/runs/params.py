"""What a model and its training can be told."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, JsonValue, PlainSerializer, PlainValidator, model_validator

from pirt.core.errors import ParamsError
from pirt.core.params import (
    LARGEST_BATCH,
    BatchSize,
    Channels,
    Fraction,
    Frozen,
    Positive,
    PositiveRate,
    Rate,
    Seed,
    Size,
    checked,
    mapping,
    read_sections,
)
from pirt.models.backbone import known_backbone
from pirt.models.intra_part import MaskReading
from pirt.models.part_groups import Grouping, NamedGroups, checked_grouping, named_groups
from pirt.models.resnet_ibn import StemPool
from pirt.runs.transforms import IMAGENET_MEAN, IMAGENET_STD

Colour = tuple[Fraction, Fraction, Fraction]
Stride = Annotated[int, Field(gt=0, le=16)]
Deviation = Annotated[float, Field(gt=0, le=1)]


def _as_in_yaml(grouping: Grouping) -> str | dict[str, tuple[int, ...]]:
    return grouping if isinstance(grouping, str) else dict(grouping)


# A mapping in files alone: elsewhere it would be equal to one whose groups are in another order.
Groups = Annotated[Grouping, PlainValidator(checked_grouping), PlainSerializer(_as_in_yaml, when_used="json")]


class ModelParams(Frozen):
    """Choices of `pirt.models.build_pirt`; the defaults are the paper's."""

    backbone: Annotated[str, AfterValidator(known_backbone)] = "resnet50_ibn_a"
    width: Annotated[int, Field(ge=2, le=4096)] | None = None
    """Channels of a ResNet's first layer; half of them are normalised by instance. None is the published 64."""
    strides: tuple[Stride, Stride, Stride, Stride] | None = None
    """Of a ResNet's layers; None is (1, 2, 2, 1)."""
    stem_pool: StemPool | None = None
    """Of a ResNet; None is "padded"."""
    backbone_options: dict[str, JsonValue] = Field(default={})
    """What else the backbone's function takes, by name; it is asked when the model is built."""
    refine: Annotated[int, Field(gt=0, le=32)] = 1
    """How many times finer than the backbone's grid the parts' grid is."""
    parts: bool = True
    intra: bool = True
    inter_layers: Annotated[int, Field(ge=0, le=16)] = 3
    groups: Groups = "paper"
    tau: Fraction = 0.001
    bottleneck: Annotated[Channels, Field(ge=2)] = 512
    """Channels inside the IRM; half of them are normalised by instance."""
    intra_heads: Channels = 4
    intra_projection: bool = True
    intra_dropout: Fraction = 0.3
    intra_mask: MaskReading = "raw"
    """How eq. 8 reads the human mask C."""
    inter_heads: Channels = 8
    feedforward: Channels = 512
    inter_dropout: Fraction = 0.1
    confidence_hidden: Channels = 512

    @property
    def part_groups(self) -> NamedGroups:
        """The part groups of the model, in the order of its group features; none without parts."""
        return named_groups(self.groups) if self.parts else ()


class AugmentParams(Frozen):
    """Augmentation of image and heatmaps alike."""

    flip: Fraction = 0.5
    pad: Annotated[int, Field(ge=0, le=4096)] = 10
    erase: Fraction = 0.5
    erase_heatmaps: bool = True


Epochs = Annotated[int, Field(ge=0, lt=2**31)]
SampledBy = Literal["images", "identities"]
"""What a training walks over; see `pirt.training.sampler`."""


class TrainParams(Frozen):
    """The recipe; the defaults are the paper's, but for its ImageNet weights."""

    image_size: Size = (384, 128)
    image_mean: Colour = IMAGENET_MEAN
    """Of red, green and blue in [0, 1], as the backbone's weights were trained with."""
    image_std: tuple[Deviation, Deviation, Deviation] = IMAGENET_STD
    epochs: Positive = 60
    identities: BatchSize = 16
    instances: BatchSize = 4
    sampler: SampledBy = "images"
    learning_rate: PositiveRate = 3.5e-4
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Of SGD."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Each layer of the backbone learns at this share of the rate of the layer after it; 1 is one rate for all."""
    weight_decay: Rate = 5e-4
    warmup_epochs: Epochs = 10
    warmup_factor: Fraction = 0.01
    cosine_from_epoch: Epochs = 30
    final_learning_rate: Rate = 1e-6
    label_smoothing: Fraction = 0.1
    metric_loss: str = "triplet"
    """A file of `pirt/losses`."""
    triplet_margin: PositiveRate | None = None
    """None is the soft margin."""
    triplet_weight: Rate = 1.0
    """In the sum of the losses."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    tf32: bool = False
    """Whether a GPU rounds the products of float32 to TF32."""
    compile: bool = False
    backbone_weights: str | None = None
    """A file or URL with published weights; None trains from scratch."""
    augment: AugmentParams = AugmentParams()
    evaluate_every: Epochs = 0
    """Epochs between two evaluations on query and gallery, which keep the best weights; 0 is never."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.identities * self.instances < 2:
            raise ValueError("identities times instances is 1, but batch norm needs two images; take more of either")
        if self.identities * self.instances > LARGEST_BATCH:
            raise ValueError(
                f"identities times instances is {self.identities * self.instances}, over the limit of {LARGEST_BATCH}"
            )
        if self.augment.pad >= min(self.image_size):
            raise ValueError(
                f"augment.pad = {self.augment.pad} moves images of {self.image_size} out of sight; lower it"
            )
        return self


class Params(Frozen):
    """What makes a run: its seed, model and training."""

    seed: Seed = 0
    model: ModelParams = ModelParams()
    train: TrainParams = TrainParams()


def load_params(path: Path, variant: str | None = None) -> Params:
    """Read seed, model and training from `path`; `variant` names an entry of its `variants`.

    An entry is laid over `model`, but for its own section `train`, which is laid over `train`.
    """
    table = read_sections(path)
    known = {name: table[name] for name in table.keys() & Params.model_fields.keys()}
    if variant is not None:
        variants = mapping(table.get("variants"), f"{path}, section variants")
        if variant not in variants:
            raise ParamsError(f"{path}: no variant {variant!r}; it has {sorted(map(str, variants))}")
        model = dict(mapping(variants[variant], f"{path}, variant {variant}"))
        changes = {"train": mapping(model.pop("train", None), f"{path}, variant {variant}, train"), "model": model}
        for name, changed in changes.items():
            known[name] = {**mapping(known.get(name), f"{path}, section {name}"), **changed}
    return checked(Params, known, str(path))
