"""What the heatmaps select: expansion, human mask, keypoint features, groups (section 3.2, eqs. 1 to 3)."""

import torch
from torch import Tensor, nn

from pirt.models.part_groups import NamedGroups
from pirt.models.pooling import max_pool_to


def pool_heatmaps(heatmaps: Tensor, grid: tuple[int, int]) -> Tensor:
    """Expand heatmaps and bring them to the feature grid by max pooling (eq. 1): B×K×Hm×Wm -> M: B×K×H×W."""
    return max_pool_to(heatmaps, grid)


def human_mask(pooled: Tensor) -> Tensor:
    """Merge all keypoints into the human mask (eq. 2): M: B×K×H×W -> C: B×1×H×W."""
    return pooled.amax(dim=1, keepdim=True)


def keypoint_features(features: Tensor, pooled: Tensor, tau: float) -> Tensor:
    """Average (M_k > τ)·F over the whole grid (eq. 3): F: B×C×H×W, M: B×K×H×W -> B×K×C.

    Divided by the size of the grid, not of the mask: a keypoint seen on few cells weighs little.
    """
    # Strictly above, as the store's code 0 stands for all values up to τ.
    masks = (pooled > tau).to(features.dtype)
    cells = features.shape[2] * features.shape[3]
    # One matrix product: features masked by each keypoint would take K times the memory of F.
    return torch.einsum("bkhw,bchw->bkc", masks, features) / cells


class PartGroups(nn.Module):
    """Keypoints by part group, padded to the largest group so that all groups are one tensor.

    A padded slot repeats its group's first keypoint: maxima do not change, and `valid` keeps it out of means and
    attention.
    """

    index: Tensor
    """G×M keypoint numbers."""
    valid: Tensor
    """G×M, true where the slot is a keypoint of the group."""

    def __init__(self, groups: NamedGroups) -> None:
        super().__init__()
        self.names = tuple(name for name, _ in groups)
        longest = max(len(group) for _, group in groups)
        index = [[*group, *[group[0]] * (longest - len(group))] for _, group in groups]
        valid = [[slot < len(group) for slot in range(longest)] for _, group in groups]
        # Not in a run's weights: they follow from its parameters.
        self.register_buffer("index", torch.tensor(index), persistent=False)
        self.register_buffer("valid", torch.tensor(valid), persistent=False)

    def scores(self, pooled: Tensor) -> Tensor:
        """Take each group's maximum over grid and keypoints: M: B×K×H×W -> S: B×G."""
        return pooled.amax(dim=(2, 3))[:, self.index].amax(dim=2)

    def tokens(self, keypoints: Tensor) -> Tensor:
        """Sort keypoint features into groups: B×K×C -> B×G×M×C, to be read with `valid`."""
        return keypoints[:, self.index]
