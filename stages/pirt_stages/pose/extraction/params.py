"""The parameters of an extraction; None is a default that depends on the others."""

from pathlib import Path

from pirt.core.params import BatchSize, Fraction, Frozen, Size, checked, mapping, read_sections
from pirt.heatmaps.codec import CodecName
from pirt_stages.pose.extraction.geometry import GeometryName
from pirt_stages.pose.extraction.inference import Precision


class ExtractParams(Frozen):
    """The section `pose.extract`: all that decides what a store holds, beside the images."""

    config: str | None = None
    """MMPose config, by name or file."""
    checkpoint: str | None = None
    """Its weights, by file or URL."""
    input_size: Size | None = None
    # The whole image, as in the authors' program and as stage 2 sees it.
    geometry: GeometryName = "resize"
    # It changes no mask cell, in little more than half of float16's bytes.
    codec: CodecName = "tau8"
    # The paper's, §4.2.
    tau: Fraction = 0.001
    precision: Precision = "float32"
    batch_size: BatchSize | None = None
    # With MMPose's shift of the mirrored heatmaps it moves them off the image.
    flip_test: bool = False


def load_extract_params(path: Path) -> ExtractParams:
    """Read the section `pose.extract` of a parameter file."""
    where = f"{path}, section pose"
    section = mapping(read_sections(path).get("pose"), where)
    return checked(ExtractParams, mapping(section.get("extract"), f"{where}.extract"), f"{where}.extract")
