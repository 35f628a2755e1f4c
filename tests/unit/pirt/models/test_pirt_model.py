import pytest
import torch
from model_oracles import (
    SMALL,
    TABLE_3,
    batch_norm,
    confidences,
    global_features,
    group_features,
    intra_part,
    pooled_heatmaps,
    randomise,
)

from pirt.core.errors import DataError, ParamsError
from pirt.losses.triplet import batch_hard_triplet
from pirt.models import build_pirt
from pirt.runs.params import ModelParams, TrainParams
from pirt.training.losses import pirt_losses

HEAD_TO_LOWER = [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9, 10], [11, 12, 13, 14, 15, 16]]
AUTHORS = [[0, 1, 2, 3, 4, 5], *HEAD_TO_LOWER[1:]]


@pytest.fixture(params=TABLE_3)
def row(request):
    return TABLE_3[request.param]


def small_pirt(row, num_classes=5, **choices):
    torch.manual_seed(0)
    return build_pirt(num_classes, **(SMALL | row | choices))


def batch(B=3, dtype=torch.float32, seed=1):
    """Images of 64×32 give a grid of 8×4; one image has no person at all."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(B, 3, 64, 32, generator=generator, dtype=dtype)
    heatmaps = torch.rand(B, 17, 16, 8, generator=generator, dtype=dtype)
    heatmaps *= torch.rand(B, 17, 16, 8, generator=generator) < 0.05
    heatmaps[-1] = 0
    return images, heatmaps


def test_the_defaults_are_those_of_the_parameter_file():
    defaults = build_pirt.__kwdefaults__
    parameters = ModelParams().model_dump() | {"image_size": TrainParams().image_size}
    assert defaults | {"backbone_options": {}} == parameters


def test_evaluation_equals_the_equations(row):
    assert_evaluation_equals_the_equations(row, "paper", HEAD_TO_LOWER)


def test_the_authors_groups_equal_the_equations():
    assert_evaluation_equals_the_equations(TABLE_3["P+Intra"], "authors", AUTHORS)


@pytest.mark.parametrize("groups", [[[0, 1, 2], [5, 7, 9], [6, 8, 10], [11, 12]], [[0], list(range(17))]])
def test_any_groups_equal_the_equations(groups):
    grouping = {f"part {number}": group for number, group in enumerate(groups)}
    assert_evaluation_equals_the_equations(TABLE_3["P+Intra+Inter"], grouping, groups)


@pytest.mark.parametrize(
    ("reading", "kept"), [("one", lambda c: torch.ones_like(c)), ("raised", lambda c: (1 + c) / 2)]
)
def test_the_model_reads_the_mask_as_told(reading, kept):
    row, (images, heatmaps) = TABLE_3["P+Intra"], batch(dtype=torch.float64)
    model = randomise(small_pirt(row, intra_mask=reading)).eval()
    with torch.no_grad():
        mask = pooled_heatmaps(heatmaps, 8, 4).amax(dim=1, keepdim=True)
        expected = intra_part(model.backbone(images), kept(mask), model.intra)
        assert (model.intra_features(images, heatmaps) - expected).abs().max() <= 1e-9


def assert_evaluation_equals_the_equations(row, grouping, groups):
    model = randomise(small_pirt(row, groups=grouping)).eval()
    assert_outputs_equal_the_equations(model, *batch(dtype=torch.float64), (8, 4), groups)


def assert_outputs_equal_the_equations(model, images, heatmaps, grid, groups):
    with torch.no_grad():
        found = model(images, heatmaps)
        features = model.backbone(images)
        assert features.shape[2:] == grid
        pooled = pooled_heatmaps(heatmaps, *grid)
        if model.intra is not None:
            features = intra_part(features, pooled.amax(dim=1, keepdim=True), model.intra)
        assert (model.intra_features(images, heatmaps) - features).abs().max() <= 1e-9
        unnormed = global_features(model, features)
        normed = batch_norm(unnormed.reshape(len(images), -1, 1), model.global_neck.norm).view_as(unnormed)
        expected = {name: normed[:, i] for i, name in enumerate(model.global_names)}
        if model.has_parts:
            expected["groups"] = group_features(model, features, pooled, groups)
            expected["confidence"] = confidences(model, expected["groups"], pooled, groups)
    assert found.keys() == expected.keys()
    for name in expected:
        assert (found[name] - expected[name]).abs().max() <= 1e-9, name


def test_training_equals_the_equations(row):
    model = randomise(small_pirt(row, intra_dropout=0.0, inter_dropout=0.0)).train()
    images, heatmaps = batch(dtype=torch.float64)
    with torch.no_grad():
        found = model(images, heatmaps)
        features = model.backbone(images)
        pooled = pooled_heatmaps(heatmaps, 8, 4)
        if row["intra"]:
            features = intra_part(features, pooled.amax(dim=1, keepdim=True), model.intra)
        unnormed = global_features(model, features)
        normed = batch_norm(unnormed.reshape(3, -1, 1), model.global_neck.norm).view_as(unnormed)
        expected = {
            f"{name}_logits": normed[:, i] @ model.global_neck.classifier[i].T
            for i, name in enumerate(model.global_names)
        }
        if row["parts"]:
            f_pose = group_features(model, features, pooled, HEAD_TO_LOWER)
            scaled = f_pose * confidences(model, f_pose, pooled, HEAD_TO_LOWER)[:, :, None]
            expected["groups_scaled"] = scaled
            normed = batch_norm(scaled.reshape(3, -1, 1), model.group_neck.norm).view_as(scaled)
            expected["groups_logits"] = torch.stack(
                [normed[:, g] @ model.group_neck.classifier[g].T for g in range(3)], dim=1
            )
    assert found.keys() == expected.keys()
    for name in expected:
        assert (found[name] - expected[name]).abs().max() <= 1e-9, name


def test_what_should_learn_gets_a_gradient_and_what_should_not_gets_none(row):
    model = small_pirt(row)
    images, heatmaps = batch(B=6)
    outputs = model(images, heatmaps)
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    pirt_losses(outputs, labels, label_smoothing=0.1, triplet_margin=None, metric_loss=batch_hard_triplet)[
        "total"
    ].backward()
    frozen = {name for name, value in model.named_parameters() if not value.requires_grad}
    assert frozen == {f"{neck}.norm.bias" for neck in ("global_neck", "group_neck") if hasattr(model, neck)} & {
        name for name, _ in model.named_parameters()
    }
    # A norm takes away the bias of the convolution before it; its gradient is there, but only rounding.
    cancelled = {"intra.encode.0.bias", "intra.decode.0.bias"}
    for name, value in model.named_parameters():
        if name in frozen:
            assert value.grad is None, name
            continue
        assert value.grad.isfinite().all(), name
        assert name in cancelled or value.grad.abs().max() > 0, name


def test_a_row_has_no_weights_that_it_does_not_use():
    names = {row: {name.split(".")[0] for name in small_pirt(TABLE_3[row]).state_dict()} for row in TABLE_3}
    assert names == {
        "baseline": {"backbone", "global_neck"},
        "P": {"backbone", "global_neck", "group_neck", "confidence"},
        "P+Intra": {"backbone", "global_neck", "group_neck", "confidence", "intra"},
        "P+Intra+Inter": {"backbone", "global_neck", "group_neck", "confidence", "intra", "inter"},
    }


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
def test_the_depth_of_table_4_is_an_argument(layers):
    assert len(small_pirt(TABLE_3["P+Intra+Inter"], inter_layers=layers).inter.units) == layers


def test_the_baseline_does_not_look_at_heatmaps():
    model = small_pirt(TABLE_3["baseline"]).eval()
    images, heatmaps = batch()
    assert torch.equal(model(images, heatmaps)["global"], model(images)["global"])
    assert not model.uses_heatmaps


def test_an_unseen_group_does_not_blow_up_gradients():
    model = small_pirt(TABLE_3["P+Intra+Inter"])
    images, heatmaps = batch(B=4)
    heatmaps[:3, :, 0, 0] = 0.5
    losses = {}
    for seen in (True, False):
        heatmaps[3, :, 0, 0] = 0.5 if seen else 0.0
        model.zero_grad()
        outputs = model(images, heatmaps)
        pirt_losses(
            outputs,
            torch.tensor([0, 0, 1, 1]),
            label_smoothing=0.1,
            triplet_margin=None,
            metric_loss=batch_hard_triplet,
        )["total"].backward()
        losses[seen] = max(value.grad.abs().max() for value in model.inter.parameters())
    assert losses[False] < 100 * losses[True]


def test_one_image_alone_gives_what_it_gives_in_a_batch(row):
    model = small_pirt(row).eval()
    images, heatmaps = batch()
    with torch.no_grad():
        together = model(images, heatmaps)
        for i in range(3):
            alone = model(images[i : i + 1], heatmaps[i : i + 1])
            for name, value in alone.items():
                torch.testing.assert_close(value[0], together[name][i], rtol=1e-4, atol=1e-5)


def test_no_keypoint_at_all_gives_finite_outputs_and_gradients(row):
    model = small_pirt(row)
    images, heatmaps = batch(B=4)
    outputs = model(images, heatmaps * 0)
    losses = pirt_losses(
        outputs, torch.tensor([0, 0, 1, 1]), label_smoothing=0.1, triplet_margin=None, metric_loss=batch_hard_triplet
    )
    losses["total"].backward()
    assert all(value.isfinite().all() for value in (*outputs.values(), *losses.values()))
    assert all(value.grad.isfinite().all() for value in model.parameters() if value.grad is not None)
    found = model.eval()(images, heatmaps * 0)
    assert all(value.isfinite().all() for value in found.values())
    if row["parts"]:
        assert torch.equal(found["confidence"], torch.full((4, 3), 1 / 3))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_works_under_autocast(row, dtype):
    model = small_pirt(row)
    images, heatmaps = batch(B=4)
    with torch.autocast("cpu", dtype):
        outputs = model(images, heatmaps)
    losses = pirt_losses(
        outputs, torch.tensor([0, 0, 1, 1]), label_smoothing=0.1, triplet_margin=None, metric_loss=batch_hard_triplet
    )
    losses["total"].backward()
    assert losses["total"].dtype == torch.float32
    assert all(value.grad.isfinite().all() for value in model.parameters() if value.grad is not None)
    model.eval()
    with torch.no_grad(), torch.autocast("cpu", dtype):
        found = model(images, heatmaps)
    with torch.no_grad():
        exact = model(images, heatmaps)
    for name, value in found.items():
        error = (value.float() - exact[name]).norm() / exact[name].norm()
        assert error < 0.1, name


FULL = "P+Intra+Inter"


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLE_3)
@pytest.mark.parametrize("training", [True, False])
def test_compiles_to_one_graph(name, training):
    assert_compiles_to_one_graph(name, "eager", training)


# PyTorch's own compiler uses what PyTorch deprecates.
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.timeout(900)
@pytest.mark.slow
@pytest.mark.parametrize("training", [True, False])
def test_compiled_code_computes_the_same(training):
    assert_compiles_to_one_graph(FULL, "inductor", training)


def assert_compiles_to_one_graph(name, backend, training):
    model = small_pirt(TABLE_3[name], intra_dropout=0.0, inter_dropout=0.0).train(training)
    images, heatmaps = batch(B=4)
    torch._dynamo.reset()
    found = torch.compile(model, fullgraph=True, backend=backend)(images, heatmaps)
    for output, value in model(images, heatmaps).items():
        torch.testing.assert_close(found[output], value, rtol=1e-4, atol=1e-4)


SLOWER_ROWS = [pytest.param(name, marks=pytest.mark.slow) for name in TABLE_3 if name != "P"]


@pytest.mark.parametrize("name", ["P", *SLOWER_ROWS])
def test_exports_with_a_free_batch_size(name):
    model = small_pirt(TABLE_3[name]).eval()
    free = {0: torch.export.Dim.DYNAMIC}
    program = torch.export.export(model, batch(B=3), dynamic_shapes={"images": free, "heatmaps": free})
    for B in (1, 5):
        images, heatmaps = batch(B=B)
        with torch.no_grad():
            found, expected = program.module()(images, heatmaps), model(images, heatmaps)
        for output, value in expected.items():
            torch.testing.assert_close(found[output], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("image", "heatmap", "grid"),
    [
        ((64, 32), (64, 48), (8, 4)),
        ((72, 40), (18, 10), (9, 5)),
        ((32, 16), (8, 4), (4, 2)),
        ((16, 8), (9, 7), (2, 1)),
        ((64, 32), (5, 3), (8, 4)),
    ],
)
def test_any_heatmap_grid_and_image_size_equals_the_equations(image, heatmap, grid):
    model = randomise(small_pirt(TABLE_3["P+Intra+Inter"])).eval()
    generator = torch.Generator().manual_seed(2)
    images = torch.randn(2, 3, *image, generator=generator, dtype=torch.float64)
    heatmaps = torch.rand(2, 17, *heatmap, generator=generator, dtype=torch.float64).pow(8)
    assert_outputs_equal_the_equations(model, images, heatmaps, grid, HEAD_TO_LOWER)


def test_the_paper_s_size_and_number_of_parameters():
    with torch.device("meta"):
        model = build_pirt(702)
    assert model.feature_channels == 2048
    # φ and θ with biases and norms, q, k, v and W_H.
    irm = (2048 * 512 + 512) + 2 * 512 + (512 * 2048 + 2048) + 2 * 2048 + 2 * 512 + 4 * 512**2
    unit = 4 * 2048**2 + 4 * 2048 + 2 * 2048 * 512 + 512 + 2048 + 4 * 2048
    assert sum(value.numel() for value in model.intra.parameters()) == irm
    assert sum(value.numel() for value in model.inter.parameters()) == 3 * unit
    assert sum(value.numel() for value in model.confidence.parameters()) == 2048 * 512 + 512 + 513


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"backbone": "vgg"}, "unknown backbone 'vgg'; expected one of resnet18_ibn_a"),
        ({"intra_heads": 3}, "intra_heads = 3 does not divide bottleneck = 8"),
        ({"inter_heads": 5}, "inter_heads = 5 does not divide the backbone's channels = 32"),
    ],
)
def test_choices_that_do_not_fit_are_named(choice, message):
    with pytest.raises(ParamsError, match=message):
        small_pirt(TABLE_3["P+Intra+Inter"], **choice)


def test_other_keypoints_are_refused():
    model = small_pirt(TABLE_3["P"])
    with pytest.raises(DataError, match="needs the heatmaps of 17 keypoints, found 14 of them"):
        model(torch.randn(2, 3, 64, 32), torch.rand(2, 14, 16, 8))
    with pytest.raises(DataError, match="found none"):
        model(torch.randn(2, 3, 64, 32))
