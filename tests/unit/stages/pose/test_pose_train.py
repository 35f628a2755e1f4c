"""The small network learns, the same way twice, and what it leaves is ordinary MMPose."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from pose_people import People, make_people

from pirt.core.errors import DataError, DivergenceError, ParamsError, PirtError
from pirt_stages.pose.cli import main
from pirt_stages.pose.training.accuracy import PoseMetrics
from pirt_stages.pose.training.params import PoseTrainParams
from pirt_stages.pose.training.train import train

SHORT = PoseTrainParams(epochs=1, input_size=(64, 32), channels=4, batch_size=4, held_out=0.34)


def test_two_runs_leave_the_same_bytes(people: People, tmp_path: Path) -> None:
    for name in ("one", "two", "two"):
        train(people.manifest, people.keypoints, SHORT, tmp_path / name, "cpu")
    for file in ("config.py", "checkpoint.pth", "metrics.json", "scores.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    metrics = PoseMetrics.model_validate_json((tmp_path / "one" / "metrics.json").read_bytes())
    scores = json.loads((tmp_path / "one" / "scores.json").read_text())
    assert scores == {name: getattr(metrics, name) for name in ("pck", "pck_unoccluded", "visibility_auc")}
    assert metrics.format_version == 1
    assert (metrics.images.trained, metrics.images.held_out) == (8, 4)


def test_every_step_takes_repeatable_operations(
    people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backward, repeatable = torch.autograd.backward, []

    def noted(*tensors: torch.Tensor) -> None:
        repeatable.append(torch.are_deterministic_algorithms_enabled())
        backward(*tensors)

    monkeypatch.setattr(torch.autograd, "backward", noted)
    train(people.manifest, people.keypoints, SHORT, tmp_path / "one", "cpu")
    assert len(repeatable) == 2
    assert all(repeatable)
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_training_that_diverges_leaves_nothing(people: People, tmp_path: Path) -> None:
    wild = SHORT.model_copy(update={"learning_rate": 1e30, "epochs": 4})
    with pytest.raises(DivergenceError, match=r"the loss is \S+ in epoch \d; lower pose.train.learning_rate"):
        train(people.manifest, people.keypoints, wild, tmp_path / "one", "cpu")
    assert not (tmp_path / "one").exists()


@pytest.mark.parametrize("batch_size", [1, 7])
def test_a_batch_that_cannot_be_normalised_is_told(people: People, tmp_path: Path, batch_size: int) -> None:
    smallest = SHORT.model_copy(update={"input_size": (32, 32), "batch_size": batch_size})
    with pytest.raises(ParamsError, match=f"batch_size = {batch_size} leaves a batch of one of 8 images"):
        train(people.manifest, people.keypoints, smallest, tmp_path / "one", "cpu")
    train(people.manifest, people.keypoints, smallest.model_copy(update={"batch_size": 3}), tmp_path / "one", "cpu")


def test_a_folder_that_something_else_made_is_left(people: People, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "scores.json").write_text("{}")
    (tmp_path / "one" / "thesis.tex").write_text("years")
    with pytest.raises(PirtError, match=r"one holds thesis\.tex"):
        train(people.manifest, people.keypoints, SHORT, tmp_path / "one", "cpu")
    assert (tmp_path / "one" / "thesis.tex").read_text() == "years"


@pytest.mark.parametrize("metrics", [None, '{"AP": 0.7}'])
def test_another_network_of_the_same_names_is_left(people: People, tmp_path: Path, metrics: str | None) -> None:
    """MMPose's own work folders have a config and a checkpoint too."""
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "checkpoint.pth").write_text("weeks")
    if metrics:
        (tmp_path / "one" / "metrics.json").write_text(metrics)
    with pytest.raises(PirtError, match=r"checkpoint\.pth is not of `pirt-pose train` and would be lost"):
        train(people.manifest, people.keypoints, SHORT, tmp_path / "one", "cpu")
    assert (tmp_path / "one" / "checkpoint.pth").read_text() == "weeks"


def test_what_dvc_lets_git_ignore_stays_so(people: People, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / ".gitignore").write_text("/checkpoint.pth\n")
    train(people.manifest, people.keypoints, SHORT, tmp_path / "one", "cpu")
    assert (tmp_path / "one" / ".gitignore").read_text() == "/checkpoint.pth\n"
    assert (tmp_path / "one" / "checkpoint.pth").is_file()


def test_images_without_keypoints_are_counted(
    people: People, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = json.loads(people.keypoints.read_text())
    table["annotations"] = table["annotations"][:-1]
    (tmp_path / "k.json").write_text(json.dumps(table))
    train(people.manifest, tmp_path / "k.json", SHORT, tmp_path / "one", "cpu")
    assert f"1 of 8 images of the train split have no keypoints in {tmp_path / 'k.json'}" in capsys.readouterr().err


def test_the_loss_falls_and_occluded_keypoints_stay_low(people: People) -> None:
    from pirt_stages.pose.networks.network import build_network
    from pirt_stages.pose.training.labels import read_keypoints
    from pirt_stages.pose.training.small_hrnet import small_hrnet_config
    from pirt_stages.pose.training.train import fit, heatmap_loss, load_labelled

    torch.manual_seed(0)
    labels = read_keypoints(people.keypoints)
    data = load_labelled(people.manifest, people.manifest.rows[:1], labels, people.keypoints, (64, 32))
    network = build_network(small_hrnet_config((64, 32), 8, 1.0), "tiny").train()
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    losses = []
    for _ in range(150):
        loss = heatmap_loss(network, network(data.images.float()), data.keypoints)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
    flags = data.keypoints[0, :, 2]
    highest = network(data.images.float())[0].detach().amax(dim=(1, 2))
    assert highest[flags == 2].min() > 0.3
    assert highest[flags == 1].max() < 0.2
    fit(network, data, SHORT, "cpu")


def test_what_is_not_labelled_does_not_count(people: People) -> None:
    from pirt_stages.pose.networks.network import build_network
    from pirt_stages.pose.training.small_hrnet import small_hrnet_config
    from pirt_stages.pose.training.train import heatmap_loss

    network = build_network(small_hrnet_config((64, 32), 4, 1.0), "tiny").eval()
    heatmaps, keypoints = torch.rand(2, 17, 16, 8), torch.rand(2, 17, 3) * 20
    keypoints[..., 2] = 0
    assert heatmap_loss(network, heatmaps, keypoints).item() == 0
    keypoints[:, 3, 2] = 1
    assert heatmap_loss(network, heatmaps, keypoints).item() > 0


@pytest.mark.parametrize(("epochs", "highest_at"), [(5, 1), pytest.param(10, 1, marks=pytest.mark.slow), (15, 2)])
def test_the_learning_rate_rises_and_falls_however_short_the_training(
    people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epochs: int, highest_at: int
) -> None:
    """Of ten steps a tenth is one, over which no rate can rise; two steps an epoch."""
    step, rates = torch.optim.AdamW.step, []

    def noted(optimizer: torch.optim.AdamW, *given: Any) -> Any:
        rates.append(optimizer.param_groups[0]["lr"])
        return step(optimizer, *given)

    monkeypatch.setattr(torch.optim.AdamW, "step", noted)
    train(people.manifest, people.keypoints, SHORT.model_copy(update={"epochs": epochs}), tmp_path / "net", "cpu")
    assert len(rates) == 2 * epochs
    assert rates[highest_at] == pytest.approx(SHORT.learning_rate)
    assert rates[: highest_at + 1] == sorted(rates[: highest_at + 1])
    assert rates[highest_at:] == sorted(rates[highest_at:], reverse=True)
    assert rates[0] == pytest.approx(SHORT.learning_rate / 25)
    assert rates[-1] < SHORT.learning_rate / 1000


def test_a_gpu_that_is_not_there_is_told(people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ParamsError, match="device cuda is not available here"):
        train(people.manifest, people.keypoints, SHORT, tmp_path / "net", "cuda")


def test_a_network_that_does_not_follow_its_image_pays_for_it() -> None:
    from pirt_stages.pose.networks.network import build_network
    from pirt_stages.pose.training.augment import second_view
    from pirt_stages.pose.training.small_hrnet import small_hrnet_config
    from pirt_stages.pose.training.train import heatmap_loss, two_views_loss

    torch.manual_seed(0)
    network: Any = build_network(small_hrnet_config((64, 32), 4, 1.0), "tiny").eval()
    images, keypoints = torch.rand(4, 3, 64, 32) * 255, torch.rand(4, 17, 3) * 20
    keypoints[..., 2] = 2

    def losses() -> tuple[float, float]:
        moved, places, _ = second_view(images, keypoints, 4, torch.Generator().manual_seed(0))
        both, labels = torch.cat([images, moved]), torch.cat([keypoints, places])
        whole = two_views_loss(network, images, keypoints, torch.Generator().manual_seed(0), "cpu")
        return whole.item(), heatmap_loss(network, network(both), labels).item()

    whole, labelled = losses()
    assert whole > labelled
    for weights in network.estimator.head.final_layer.parameters():
        weights.data.zero_()  # the same heatmaps of any image, mirrored or not
    whole, labelled = losses()
    assert whole == labelled


def test_mmpose_itself_runs_the_result(people: People, tmp_path: Path) -> None:
    train(people.manifest, people.keypoints, SHORT, tmp_path / "net", "cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mmpose.apis import inference_topdown, init_model

        model = init_model(str(tmp_path / "net/config.py"), str(tmp_path / "net/checkpoint.pth"), device="cpu")
        found = inference_topdown(model, str(people.manifest.image_path(people.manifest.rows[0])))
    assert found[0].pred_instances.keypoints.shape == (1, 17, 2)


def test_the_program(people: People, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("pose: {train: {epochs: 1, input_size: [64, 32], channels: 4}, extract: {tau: 1}}")
    command = ["train", "--manifest", people.manifest_path, "--keypoints", people.keypoints, "--out", tmp_path / "net"]
    done = CliRunner().invoke(main, [*map(str, command), "--params", str(tmp_path / "p.yaml")])
    assert done.exit_code == 0, done.output
    assert "PCK@0.2" in done.output
    written = ["checkpoint.pth", "config.py", "metrics.json", "scores.json"]
    assert sorted(file.name for file in (tmp_path / "net").iterdir()) == written


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pose: {train: {epoch: 3}}", "unknown parameter 'epoch'"),
        ("pose: {train: {epochs: 0}}", "epochs = 0"),
        ("pose: {train: {held_out: 0}}", "held_out = 0"),  # of which one would be held out all the same
        # Each would train with the defaults.
        ("pose: {trian: {epochs: 3}}", "section pose: unknown section ['trian']; expected ['extract', 'train']"),
        ("poze: {train: {epochs: 3}}", "unknown section ['poze']"),
    ],
)
def test_wrong_parameters_are_one_line(people: People, tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "p.yaml").write_text(text)
    command = ["train", "--manifest", people.manifest_path, "--keypoints", people.keypoints, "--out", tmp_path / "net"]
    done = CliRunner().invoke(main, [*map(str, command), "--params", str(tmp_path / "p.yaml")])
    assert (done.exit_code, said in done.output) == (2, True)
    assert not (tmp_path / "net").exists()


def test_what_cannot_be_trained_on_is_told(people: People, tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="multiples of 32"):
        train(people.manifest, people.keypoints, PoseTrainParams(input_size=(60, 30)), tmp_path / "net", "cpu")
    people.keypoints.write_text('{"images": [], "annotations": []}')
    with pytest.raises(DataError, match="labels none of the 8 training images"):
        train(people.manifest, people.keypoints, SHORT, tmp_path / "net", "cpu")
    one = make_people(tmp_path / "one", identities=1)
    with pytest.raises(DataError, match="two are needed"):
        train(one.manifest, one.keypoints, SHORT, tmp_path / "net", "cpu")


def test_a_training_goes_on_from_other_weights(people: People, tmp_path: Path) -> None:
    from pirt.core.files import sha256_of
    from pirt.core.weights import read_weights

    train(people.manifest, people.keypoints, SHORT, tmp_path / "first", "cpu")
    first = tmp_path / "first" / "checkpoint.pth"
    # So small a rate leaves the weights where they were.
    still = SHORT.model_copy(update={"init_from": str(first), "learning_rate": 1e-12, "seed": 5})
    train(people.manifest, people.keypoints, still, tmp_path / "second", "cpu")
    second = tmp_path / "second" / "checkpoint.pth"
    before, after = read_weights(first), read_weights(second)
    trained = [name for name in before if "running_" not in name and "num_batches" not in name]
    assert max((before[name] - after[name]).abs().max().item() for name in trained) < 1e-9
    meta = torch.load(second, weights_only=True)["meta"]
    assert meta["initial_weights_sha256"] == sha256_of(first)
    with pytest.raises(PirtError, match=r"first/checkpoint\.pth is read by this command and would be replaced"):
        train(people.manifest, people.keypoints, still, tmp_path / "first", "cpu")
    assert meta["initial_weights_sha256"] == sha256_of(first)


@pytest.mark.parametrize("fault", ["missing", "of another size"])
def test_weights_that_do_not_fit_are_told_before_anything_is_read(people: People, tmp_path: Path, fault: str) -> None:
    source = tmp_path / "other.pth"
    if fault == "of another size":
        train(people.manifest, people.keypoints, SHORT.model_copy(update={"channels": 8}), tmp_path / "other", "cpu")
        source = tmp_path / "other" / "checkpoint.pth"
    wrong = SHORT.model_copy(update={"init_from": str(source)})
    said = "does not exist" if fault == "missing" else "is not of network pose.train with 4 channels"
    with pytest.raises(PirtError, match=said):
        train(people.manifest, people.manifest.root / "not read", wrong, tmp_path / "net", "cpu")
    assert not (tmp_path / "net").exists()
