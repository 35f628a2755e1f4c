"""The whole model (figure 2) and its builder."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from pirt.core.errors import DataError, ParamsError
from pirt.core.keypoints import COCO_KEYPOINTS
from pirt.models.backbone import Backbone, Grid, build_backbone
from pirt.models.confidence import ConfidenceScore
from pirt.models.heads import BNNeck
from pirt.models.initialise import init_inter_part, init_intra_part, init_weights
from pirt.models.inter_part import InterPart, mean_of_tokens, patch_tokens, stripe_tokens
from pirt.models.intra_part import IntraPart, MaskReading
from pirt.models.part_groups import Grouping, named_groups
from pirt.models.part_masks import PartGroups, human_mask, keypoint_features, pool_heatmaps
from pirt.models.refine import Refine
from pirt.models.resnet_ibn import StemPool, Strides


class Pirt(nn.Module):
    """Backbone, part masks, IRM, IRT, CSM and heads; a row of Table 3 leaves out what it does not have.

    Without IRT the global feature is the grid's average and a group's feature the average of its keypoints'.
    """

    def __init__(
        self,
        num_classes: int,
        backbone: Backbone,
        intra: IntraPart | None,
        inter: InterPart | None,
        groups: PartGroups | None,
        confidence: ConfidenceScore | None,
        tau: float,
        refine: Refine | None = None,
    ) -> None:
        super().__init__()
        self.feature_channels = backbone.feature_channels
        self.global_names: tuple[str, ...] = ("global",) if inter is None else ("stripe", "patch")
        self.has_parts = groups is not None
        self.group_names: tuple[str, ...] = () if groups is None else groups.names
        self.uses_heatmaps = groups is not None or intra is not None
        self.tau = tau
        self.backbone = backbone
        self.refine = refine
        self.intra = intra
        self.inter = inter
        self.groups = groups
        self.confidence = confidence
        self.global_neck = BNNeck(len(self.global_names), self.feature_channels, num_classes)
        self.group_neck = None if groups is None else BNNeck(len(groups.index), self.feature_channels, num_classes)

    def forward(self, images: Tensor, heatmaps: Tensor | None = None) -> dict[str, Tensor]:
        """Describe persons by name; `name` below is "global", or "stripe" and "patch" with the IRT.

        Args:
            images: B×3×Hi×Wi, normalised by the mean and deviation that the backbone was trained with.
            heatmaps: B×K×Hm×Wm in [0, 1], any size; not looked at by the baseline.

        Returns:
            In evaluation:
                name: B×C, the global features after batch norm;
                "groups": B×G×C, f_pose of each part group, neither scaled nor normalised;
                "confidence": B×G, summing to 1.
            In training:
                name_logits: B×P;
                "groups_logits": B×G×P;
                "groups_scaled": B×G×C, F̃ = confidence · f_pose (eq. 14), for the triplet loss.
            The groups' entries are there if the model has parts.
        """
        features, pooled = self._features(images, heatmaps)
        normed = self.global_neck(self._global_features(features))
        # Classifiers belong to the identities of the training, so only a training asks them.
        if self.training:
            logits = self.global_neck.classify(normed)
            outputs = {f"{name}_logits": logits[:, i] for i, name in enumerate(self.global_names)}
        else:
            outputs = {name: normed[:, i] for i, name in enumerate(self.global_names)}
        if self.groups is None:
            return outputs
        assert pooled is not None
        assert self.confidence is not None
        assert self.group_neck is not None
        scores = self.groups.scores(pooled)
        groups = self._group_features(self.groups, features, pooled)
        # A group without a keypoint above τ has nothing to teach, and layer norms of its all-zero tokens would
        # blow gradients up by 1e13.
        groups = torch.where((scores > self.tau)[:, :, None], groups, groups.detach())
        confidence = self.confidence(groups, scores)
        if not self.training:
            # Before scaling, for matching weighs a group by the confidences of both images (section 3.4).
            return outputs | {"groups": groups, "confidence": confidence}
        scaled = groups * confidence[:, :, None]
        return outputs | {
            "groups_logits": self.group_neck.classify(self.group_neck(scaled)),
            # Before batch norm, where the authors take the triplet loss.
            "groups_scaled": scaled,
        }

    def intra_features(self, images: Tensor, heatmaps: Tensor | None = None) -> Tensor:
        """Return F_irm: B×C×H×W, or the backbone's F where the model has no IRM (figure 6)."""
        return self._features(images, heatmaps)[0]

    def _features(self, images: Tensor, heatmaps: Tensor | None) -> tuple[Tensor, Tensor | None]:
        features = self.backbone(images)
        if self.refine is not None:
            features = self.refine(features)
        if not self.uses_heatmaps:
            return features, None
        if heatmaps is None or heatmaps.shape[1] != len(COCO_KEYPOINTS):
            found = "none" if heatmaps is None else f"{heatmaps.shape[1]} of them"
            raise DataError(f"this model needs the heatmaps of {len(COCO_KEYPOINTS)} keypoints, found {found}")
        pooled = pool_heatmaps(heatmaps, (features.shape[2], features.shape[3]))
        # Global and part features both read what the IRM gives, so it comes before either.
        if self.intra is not None:
            features = self.intra(features, human_mask(pooled))
        return features, pooled

    def _global_features(self, features: Tensor) -> Tensor:
        """F_irm: B×C×H×W -> B×S×C, a row for each global name."""
        if self.inter is None:
            return features.mean(dim=(2, 3))[:, None]
        return torch.stack([self.inter(stripe_tokens(features)), self.inter(patch_tokens(features))], dim=1)

    def _group_features(self, groups: PartGroups, features: Tensor, pooled: Tensor) -> Tensor:
        """F_irm: B×C×H×W and M: B×K×H×W -> f_pose: B×G×C."""
        tokens = groups.tokens(keypoint_features(features, pooled, self.tau))
        # Groups are sequences of one batch, since the IRT's weights are the same for all of them.
        B, G, M, C = tokens.shape
        sequences, valid = tokens.reshape(B * G, M, C), groups.valid.expand(B, G, M).reshape(B * G, M)
        pooled_groups = mean_of_tokens if self.inter is None else self.inter
        f_pose: Tensor = pooled_groups(sequences, valid).view(B, G, C)
        return f_pose


def build_pirt(
    num_classes: int,
    *,
    backbone: str = "resnet50_ibn_a",
    width: int | None = None,
    strides: Strides | None = None,
    stem_pool: StemPool | None = None,
    backbone_options: Mapping[str, object] | None = None,
    image_size: Grid = (384, 128),
    refine: int = 1,
    parts: bool = True,
    intra: bool = True,
    inter_layers: int = 3,
    groups: Grouping | Mapping[str, Sequence[str | int]] = "paper",
    tau: float = 0.001,
    bottleneck: int = 512,
    intra_heads: int = 4,
    intra_projection: bool = True,
    intra_dropout: float = 0.3,
    intra_mask: MaskReading = "raw",
    inter_heads: int = 8,
    feedforward: int = 512,
    inter_dropout: float = 0.1,
    confidence_hidden: int = 512,
) -> Pirt:
    """Assemble the model; the defaults are the paper's, the rows of Tables 3 and 4 are arguments.

    Args:
        num_classes: P, the identities of the training set.
        backbone: a name of `pirt.backbone_table.BACKBONES`.
        width: channels of a ResNet's stem, 64 if not told; C = width · 8, times 4 with 50 and 101 layers.
        strides: of a ResNet's four layers, (1, 2, 2, 1) if not told; the grid is the image over 4 · their product.
        stem_pool: how a ResNet's stem pools: "padded" as its ImageNet weights were trained, which is the default, or
            "ceil" as the authors' program does.
        backbone_options: what else the backbone's function takes, by name.
        image_size: Hi and Wi; transformers are built for one size.
        refine: how many times finer than the backbone's grid the parts' grid is, in both directions.
        parts: pose-guided group features and their confidence (row "+P").
        intra: the intra-part relational module (row "+Intra").
        inter_layers: N, the units of the inter-part relational transformer (row "+Inter"); 0 leaves it out.
        groups: "paper", "authors" whose head group also has the left shoulder, or names with COCO keypoints.
        tau: threshold of eq. 3.
        bottleneck: D, channels inside the IRM.
        intra_heads: heads of the IRM's attention.
        intra_projection: W_H of eq. 7, which the authors' program leaves out.
        intra_dropout: of F_φ in eq. 5.
        intra_mask: how eq. 8 reads C: "raw" as it is, "normalised" by each image's maximum, "raised" as (1 + C)/2, or
            "one" in its place.
        inter_heads: heads of the IRT's attention.
        feedforward: hidden channels of eq. 11.
        inter_dropout: of the IRT's attention, its output, and the feed-forward's hidden and output features.
        confidence_hidden: hidden channels of eq. 13.
    """
    # Of ResNets alone: a backbone that does not take one of them is only asked where it was given.
    told = {"width": width, "strides": strides, "stem_pool": stem_pool}
    options = {name: value for name, value in told.items() if value is not None} | dict(backbone_options or {})
    network = build_backbone(backbone, image_size, options)
    finer = Refine(network.grid(image_size), refine) if refine > 1 else None
    C = network.feature_channels
    _check_heads("intra_heads", intra_heads, "bottleneck", bottleneck)
    _check_heads("inter_heads", inter_heads, "the backbone's channels", C)
    irm = (
        IntraPart(C, bottleneck, intra_heads, projection=intra_projection, dropout=intra_dropout, mask=intra_mask)
        if intra
        else None
    )
    irt = InterPart(C, inter_layers, inter_heads, feedforward, inter_dropout) if inter_layers else None
    part_groups = PartGroups(named_groups(groups)) if parts else None
    csm = ConfidenceScore(C, confidence_hidden) if parts else None
    model = Pirt(num_classes, network, irm, irt, part_groups, csm, tau, finer)
    # In this order: what a seed draws for one part depends on what was drawn before.
    if irm:
        init_intra_part(irm)
    if irt:
        init_inter_part(irt)
    for neck in filter(None, (model.global_neck, model.group_neck)):
        neck.apply(init_weights)  # the backbone has drawn its own, the CSM PyTorch's
    return model


def _check_heads(heads_name: str, heads: int, channels_name: str, channels: int) -> None:
    if channels % heads:
        raise ParamsError(f"{heads_name} = {heads} does not divide {channels_name} = {channels}; choose a divisor")
