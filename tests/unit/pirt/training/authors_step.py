"""A training step of the authors' program, written down from the paper's equations and docs/method.md.

Slow and plain: loops over pixels, images, stripes, heads, groups and anchors, on named weights. No layer, loss,
optimizer or schedule of PyTorch or of this project is called; only convolution, matrix products and automatic
differentiation are PyTorch's.
"""

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d

Weights = dict[str, Tensor]

FLIPPED = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
"""COCO's keypoints with left and right exchanged."""
GROUPS = [[0, 1, 2, 3, 4, 5], [5, 6, 7, 8, 9, 10], [11, 12, 13, 14, 15, 16]]
"""The authors' head has the left shoulder, too."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TAU = 0.001
INTRA_HEADS, INTER_HEADS = 4, 8
SMOOTHING, TRIPLET_WEIGHT = 0.1, 0.5
RATE, WARMUP_EPOCHS, WARMUP_FACTOR = 3.5e-4, 10, 0.01
BETA_1, BETA_2, EPSILON, DECAY = 0.9, 0.999, 1e-8, 5e-4


def augmented(image: np.ndarray, codes: np.ndarray, seed: tuple[int, ...], pad: int) -> tuple[np.ndarray, np.ndarray]:
    """Flip, pad and crop, erase: `image` Hi×Wi×3 of bytes and `codes` K×Hm×Wm, a heatmap cell being 4×4 pixels."""
    chance = np.random.default_rng(seed)
    if chance.random() < 0.5:
        image, codes = image[:, ::-1], codes[FLIPPED][:, :, ::-1]
    down, right = (int(by) for by in chance.integers(-pad, pad, 2, endpoint=True))
    image = shifted(image, down, right)
    cells = math.floor(down / 4 + 0.5), math.floor(right / 4 + 0.5)
    codes = np.stack([shifted(channel, *cells) for channel in codes])
    if chance.random() < 0.5:
        top, left, bottom, right = box(image.shape[0], image.shape[1], chance)
        for y in range(top, bottom):
            for x in range(left, right):
                image[y, x] = [round(255 * mean) for mean in MEAN]
        for y in range(codes.shape[1]):
            for x in range(codes.shape[2]):
                if top <= 4 * y + 2 < bottom and left <= 4 * x + 2 < right:
                    codes[:, y, x] = 0
    return image, codes


def shifted(grid: np.ndarray, down: int, right: int) -> np.ndarray:
    moved = np.zeros_like(grid)
    for y in range(grid.shape[0]):
        for x in range(grid.shape[1]):
            if 0 <= y - down < grid.shape[0] and 0 <= x - right < grid.shape[1]:
                moved[y, x] = grid[y - down, x - right]
    return moved


def box(height: int, width: int, chance: np.random.Generator) -> tuple[int, int, int, int]:
    for _ in range(100):
        area = chance.uniform(0.02, 0.4) * height * width
        aspect = chance.uniform(0.3, 1 / 0.3)
        tall, wide = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if tall <= height and wide <= width:
            top, left = int(chance.integers(height - tall + 1)), int(chance.integers(width - wide + 1))
            return top, left, top + tall, left + wide
    return 0, 0, 0, 0


def normalised(image: np.ndarray) -> np.ndarray:
    return np.stack([(image[..., c] / 255 - MEAN[c]) / STD[c] for c in range(3)])


@dataclass
class Forward:
    """The model in training; batch norms leave the mean and the unbiased variance that they saw in `seen`."""

    weights: Weights
    seen: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def batch_norm(self, x: Tensor, name: str) -> Tensor:
        """x: N×C×…"""
        scale, offset = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        out, means, variances = [], [], []
        for c in range(x.shape[1]):
            values = x[:, c]
            mean = values.mean()
            variance = ((values - mean) ** 2).mean()
            out.append((values - mean) / (variance + 1e-5).sqrt() * scale[c] + offset[c])
            means.append(mean)
            variances.append(variance * values.numel() / (values.numel() - 1))
        self.seen[name] = torch.stack(means).detach(), torch.stack(variances).detach()
        return torch.stack(out, dim=1)

    def instance_norm(self, x: Tensor, name: str) -> Tensor:
        rows = []
        for image in x:
            channels = [
                (values - values.mean()) / (((values - values.mean()) ** 2).mean() + 1e-5).sqrt() for values in image
            ]
            rows.append(torch.stack(channels))
        scale, offset = (self.weights[f"{name}.{kind}"][None, :, None, None] for kind in ("weight", "bias"))
        return torch.stack(rows) * scale + offset

    def norm(self, x: Tensor, name: str) -> Tensor:
        """IBN where the weights have it: instance norm on the first half of the channels."""
        if f"{name}.IN.weight" not in self.weights:
            return self.batch_norm(x, name)
        half = x.shape[1] // 2
        one, two = self.instance_norm(x[:, :half], f"{name}.IN"), self.batch_norm(x[:, half:], f"{name}.BN")
        return torch.cat([one, two], dim=1)

    def backbone(self, images: Tensor) -> Tensor:
        """ResNet-18 with strides 1, 2, 1, 1."""
        x = conv2d(images, self.weights["backbone.conv1.weight"], stride=2, padding=3)
        x = ceil_pool(relu(self.norm(x, "backbone.bn1")))
        for layer, stride in enumerate((1, 2, 1, 1), 1):
            for block in range(2):
                name, step = f"backbone.layer{layer}.{block}", stride if block == 0 else 1
                out = conv2d(x, self.weights[f"{name}.conv1.weight"], stride=step, padding=1)
                out = conv2d(relu(self.norm(out, f"{name}.bn1")), self.weights[f"{name}.conv2.weight"], padding=1)
                out = self.norm(out, f"{name}.bn2")
                if f"{name}.downsample.0.weight" in self.weights:
                    x = conv2d(x, self.weights[f"{name}.downsample.0.weight"], stride=step)
                    x = self.norm(x, f"{name}.downsample.1")
                x = relu(out + x)
        return x

    def linear(self, x: Tensor, name: str) -> Tensor:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def convolution(self, x: Tensor, name: str) -> Tensor:
        """1×1, x: N×C×H×W."""
        weight, bias = self.weights[f"{name}.weight"][:, :, 0, 0], self.weights[f"{name}.bias"]
        return torch.einsum("nchw,dc->ndhw", x, weight) + bias[None, :, None, None]

    def attention(self, x: Tensor, name: str, heads: int) -> Tensor:
        """Eqs. 6, 7 and 9 for one sequence, T×D, without W_H."""
        matrix, bias = self.weights[f"{name}.qkv.weight"], self.weights.get(f"{name}.qkv.bias")
        joined = x @ matrix.T if bias is None else x @ matrix.T + bias
        query, key, value = joined.split(x.shape[1], dim=1)
        out = []
        for rows in torch.arange(x.shape[1]).chunk(heads):
            scores = query[:, rows] @ key[:, rows].T / math.sqrt(len(rows))
            shares = scores.exp() / scores.exp().sum(dim=1, keepdim=True)
            out.append(shares @ value[:, rows])
        return torch.cat(out, dim=1)

    def intra_part(self, features: Tensor, mask: Tensor) -> Tensor:
        """Eqs. 4 to 8."""
        encoded = relu(self.norm(self.convolution(features, "intra.encode.0"), "intra.encode.1"))
        images = []
        for image in encoded:
            rows = [self.attention(image[:, y].T, "intra.attention", INTRA_HEADS).T for y in range(image.shape[1])]
            images.append(torch.stack(rows, dim=1))
        related = relu(self.norm(torch.stack(images) + encoded, "intra.norm"))
        decoded = self.norm(self.convolution(related, "intra.decode.0"), "intra.decode.1")
        return relu(decoded + mask * features)

    def layer_norm(self, x: Tensor, name: str) -> Tensor:
        rows = [(row - row.mean()) / (((row - row.mean()) ** 2).mean() + 1e-5).sqrt() for row in x]
        return torch.stack(rows) * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def inter_part(self, tokens: list[Tensor]) -> Tensor:
        """Eqs. 9 to 12 for one sequence."""
        x = torch.stack(tokens)
        for unit in range(3):
            name = f"inter.units.{unit}"
            attended = self.attention(x, f"{name}.attention", INTER_HEADS)
            x = self.layer_norm(x + self.linear(attended, f"{name}.attention.projection"), f"{name}.norm1")
            hidden = relu(self.linear(x, f"{name}.feedforward.0"))
            x = self.layer_norm(x + self.linear(hidden, f"{name}.feedforward.3"), f"{name}.norm2")
        return sum(x) / len(x)

    def confidence(self, groups: list[Tensor], scores: list[Tensor]) -> list[Tensor]:
        """Eqs. 13 and 14."""
        trusted = []
        for feature, score in zip(groups, scores, strict=True):
            own = self.linear(relu(self.linear(feature, "confidence.mlp.0")), "confidence.mlp.2")[0]
            trusted.append(score / (1 + (-own).exp()))
        return [one / sum(trusted) for one in trusted]

    def neck(self, features: Tensor, name: str) -> Tensor:
        """B×S×C to logits B×S×P, each of the S features with a batch norm and a classifier of its own."""
        normed = self.batch_norm(features.flatten(1), f"{name}.norm").view_as(features)
        classifiers = self.weights[f"{name}.classifier"]
        return torch.stack([normed[:, s] @ classifiers[s].T for s in range(features.shape[1])], dim=1)

    def losses(self, images: Tensor, heatmaps: Tensor, labels: list[int]) -> dict[str, Tensor]:
        """Eqs. 1 to 17: images B×3×Hi×Wi, heatmaps B×K×Hm×Wm with 2×2 cells for one of the features' grid."""
        features = self.backbone(images)
        B, _, H, W = features.shape
        pooled = torch.stack(
            [heatmaps[:, :, y : y + 2, x : x + 2].flatten(2).max(dim=2).values for y in range(0, 2 * H, 2)
             for x in range(0, 2 * W, 2)], dim=2
        ).view(B, 17, H, W)  # fmt: skip
        features = self.intra_part(features, pooled.max(dim=1, keepdim=True).values)
        whole, scaled = [], []
        for b in range(B):
            stripes = [features[b, :, y].mean(dim=1) for y in range(H)]
            patches = [
                features[b, :, y : y + 4, x : x + 2].flatten(1).max(dim=1).values
                for y in range(0, H, 4)
                for x in range(0, W, 2)
            ]
            whole.append(torch.stack([self.inter_part(stripes), self.inter_part(patches)]))
            keypoints = [((pooled[b, k] > TAU) * features[b]).sum(dim=(1, 2)) / (H * W) for k in range(17)]
            groups = [self.inter_part([keypoints[k] for k in group]) for group in GROUPS]
            shares = self.confidence(groups, [pooled[b, group].max() for group in GROUPS])
            scaled.append(torch.stack([share * feature for share, feature in zip(shares, groups, strict=True)]))
        logits, group_features = self.neck(torch.stack(whole), "global_neck"), torch.stack(scaled)
        group_logits = self.neck(group_features, "group_neck")
        terms = {
            "stripe_cross_entropy": cross_entropy(logits[:, 0], labels),
            "patch_cross_entropy": cross_entropy(logits[:, 1], labels),
            "groups_cross_entropy": sum(cross_entropy(group_logits[:, g], labels) for g in range(3)) / 3,
            "groups_triplet": sum(triplet(group_features[:, g], labels) for g in range(3)) / 3,
        }
        total = sum(terms[name] for name in terms if name != "groups_triplet")
        return terms | {"total": total + TRIPLET_WEIGHT * terms["groups_triplet"]}


def relu(x: Tensor) -> Tensor:
    return x.clamp_min(0)


def ceil_pool(x: Tensor) -> Tensor:
    """Windows of 3×3 that start at every second cell and are cut off at the edge."""
    rows = []
    for y in range(0, x.shape[2] - 1, 2):
        cells = [x[:, :, y : y + 3, z : z + 3].flatten(2).max(dim=2).values for z in range(0, x.shape[3] - 1, 2)]
        rows.append(torch.stack(cells, dim=2))
    return torch.stack(rows, dim=2)


def cross_entropy(logits: Tensor, labels: list[int]) -> Tensor:
    total = logits.new_zeros(())
    for row, label in zip(logits, labels, strict=True):
        log_sum = row.exp().sum().log()
        for p in range(len(row)):
            target = 1 - SMOOTHING if p == label else SMOOTHING / (len(row) - 1)
            total = total - target * (row[p] - log_sum)
    return total / len(labels)


def triplet(features: Tensor, labels: list[int]) -> Tensor:
    """Batch-hard with a soft margin; every identity of the batch has several images here."""
    total = features.new_zeros(())
    for a, label in enumerate(labels):
        distances = [((features[a] - other) ** 2).sum() for other in features]
        same = [d for b, d in enumerate(distances) if labels[b] == label and b != a]
        others = [d for b, d in enumerate(distances) if labels[b] != label]
        if others:
            total = total + (1 + (max(same).sqrt() - min(others).sqrt()).exp()).log()
    return total / len(labels)


def learning_rate(step: int, steps_per_epoch: int) -> float:
    """While it warms up, as it does in the first epochs."""
    return RATE * (WARMUP_FACTOR + (1 - WARMUP_FACTOR) * step / (WARMUP_EPOCHS * steps_per_epoch))


@dataclass
class Adam:
    """Adam with the weight decay added to the gradient."""

    first: Weights = field(default_factory=dict)
    second: Weights = field(default_factory=dict)

    def stepped(self, weights: Weights, gradients: Weights, step: int, rate: float) -> Weights:
        new = dict(weights)
        for name, gradient in gradients.items():
            slope = gradient + DECAY * weights[name]
            self.first[name] = BETA_1 * self.first.get(name, 0) + (1 - BETA_1) * slope
            self.second[name] = BETA_2 * self.second.get(name, 0) + (1 - BETA_2) * slope**2
            first = self.first[name] / (1 - BETA_1 ** (step + 1))
            second = self.second[name] / (1 - BETA_2 ** (step + 1))
            new[name] = weights[name] - rate * first / (second.sqrt() + EPSILON)
        return new
