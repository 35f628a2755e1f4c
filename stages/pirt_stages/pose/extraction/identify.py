"""The recipe of `pirt-pose identify`: the network that an extraction will run, in a file that DVC can watch."""

from pathlib import Path

from pirt.core.files import sha256_or_url
from pirt.core.texts import write_json
from pirt_stages.pose.extraction.inference import DEFAULT_CHECKPOINT, DEFAULT_CONFIG
from pirt_stages.pose.extraction.params import ExtractParams
from pirt_stages.pose.networks.network import config_sha256, read_config


def identify(params: ExtractParams, out: Path) -> None:
    """Write the fingerprints of config and weights; the same network gives the same bytes wherever its files lie."""
    named = {
        "config_sha256": config_sha256(read_config(params.config or DEFAULT_CONFIG)),
        # A URL stands for its content: nothing is fetched to see that nothing has changed.
        "weights": sha256_or_url(params.checkpoint or DEFAULT_CHECKPOINT),
    }
    write_json(out, named, indent=1)
