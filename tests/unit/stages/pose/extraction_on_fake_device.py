"""A batch of an extraction on a pretended device; prints what it was refused for in each form as JSON."""

import inspect
import json
import warnings

import numpy as np
import torch
from pretended_device import DEVICE, NothingWaits, on_device, pretend
from torch._subclasses.fake_tensor import FakeTensorMode

from pirt_stages.pose.extraction.geometry import Geometry, GeometryName
from pirt_stages.pose.extraction.inference import coming_heatmaps
from pirt_stages.pose.networks.network import build_network
from pirt_stages.pose.training.small_hrnet import small_hrnet_config

INPUT_SIZE = (64, 32)


def found(name: GeometryName, flip_test: bool, waits: bool = False) -> str:
    """Take a batch through the network and say what was refused; `waits` plants a value that is read."""
    network = build_network(small_hrnet_config(INPUT_SIZE, channels=4, sigma=1.0), "tiny").requires_grad_(False).eval()
    geometry = Geometry(name, INPUT_SIZE, padding=1.25, udp=False)
    inputs, sizes = np.zeros((2, *INPUT_SIZE, 3), np.uint8), np.array([(32, 64), (40, 60)])
    with FakeTensorMode(allow_non_fake_inputs=True):
        on_device(network)
        if waits:
            network.register_forward_hook(lambda module, given, heatmaps: heatmaps.to("cpu").to(DEVICE))
        try:
            # Not in inference mode, in which operations come here before PyTorch takes them apart.
            with torch.no_grad(), NothingWaits():
                inspect.unwrap(coming_heatmaps)(network, geometry, inputs, sizes, flip_test)
        except (RuntimeError, NotImplementedError) as error:
            return f"{type(error).__name__}: {error}"[:200]
    return ""


def main() -> None:
    """Print by name what each form was refused for."""
    warnings.simplefilter("ignore")
    pretend()
    forms = {
        "resize": found("resize", False),
        "topdown": found("topdown", False),
        "flip test": found("resize", True),
        "planted": found("resize", False, waits=True),
    }
    print(json.dumps(forms, indent=1))


if __name__ == "__main__":
    main()
