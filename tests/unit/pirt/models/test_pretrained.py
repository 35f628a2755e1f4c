import hashlib
import io
import pickle

import pytest
import torch

from pirt.core.errors import CheckpointError
from pirt.models import load_published
from pirt.models.resnet_ibn import resnet18_ibn_a, resnet50, resnet50_ibn_a

PUBLISHED = "resnet50_ibn_a-d9d0bb7b.pth"


def batch_norm_shapes(name, channels):
    shapes = {f"{name}.{kind}": (channels,) for kind in ("weight", "bias", "running_mean", "running_var")}
    return shapes | {f"{name}.num_batches_tracked": ()}


def published_shapes(depths=(3, 4, 6, 3)):
    """Names and shapes of the published bottleneck networks, by rule."""
    shapes = {"conv1.weight": (64, 3, 7, 7), **batch_norm_shapes("bn1", 64)}
    fed = 64
    for layer, depth in enumerate(depths, start=1):
        planes = 64 * 2 ** (layer - 1)
        for i in range(depth):
            block = f"layer{layer}.{i}"
            shapes[f"{block}.conv1.weight"] = (planes, fed, 1, 1)
            if layer < 4:
                shapes[f"{block}.bn1.IN.weight"] = shapes[f"{block}.bn1.IN.bias"] = (planes // 2,)
                shapes |= batch_norm_shapes(f"{block}.bn1.BN", planes // 2)
            else:
                shapes |= batch_norm_shapes(f"{block}.bn1", planes)
            shapes[f"{block}.conv2.weight"] = (planes, planes, 3, 3)
            shapes |= batch_norm_shapes(f"{block}.bn2", planes)
            shapes[f"{block}.conv3.weight"] = (planes * 4, planes, 1, 1)
            shapes |= batch_norm_shapes(f"{block}.bn3", planes * 4)
            if i == 0:
                shapes[f"{block}.downsample.0.weight"] = (planes * 4, fed, 1, 1)
                shapes |= batch_norm_shapes(f"{block}.downsample.1", planes * 4)
            fed = planes * 4
    return shapes | {"fc.weight": (1000, fed), "fc.bias": (1000,)}


def published_state():
    return {
        name: torch.tensor(7) if name.endswith("num_batches_tracked") else torch.rand(shape)
        for name, shape in published_shapes().items()
    }


@pytest.fixture(scope="module")
def state():
    return published_state()


@pytest.fixture
def saved(tmp_path):
    def save(weights, name=PUBLISHED):
        path = tmp_path / name
        torch.save(weights, path)
        return path

    return save


def test_the_published_names_load_unchanged(state, saved):
    backbone = resnet50_ibn_a()
    load_published(backbone, str(saved(state)))
    loaded = backbone.state_dict()
    assert loaded.keys() | {"fc.weight", "fc.bias"} == state.keys()
    assert all(torch.equal(loaded[name], state[name]) for name in loaded)


def test_files_that_do_not_count_batches_load(state, saved):
    old = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    backbone = resnet50_ibn_a()
    load_published(backbone, str(saved({"state_dict": {f"module.{name}": value for name, value in old.items()}})))
    assert torch.equal(backbone.layer3[0].bn1.IN.weight, state["layer3.0.bn1.IN.weight"])


def test_weights_that_are_not_finite_are_refused(state, saved):
    broken = state | {"layer4.0.conv1.weight": torch.full((512, 1024, 1, 1), torch.nan)}
    with pytest.raises(CheckpointError, match=r"NaN or infinity in layer4\.0\.conv1\.weight"):
        load_published(resnet50_ibn_a(), str(saved(broken)))


def test_a_renamed_key_is_named_and_nothing_is_loaded(state, saved):
    renamed = dict(state)
    renamed["layer3.5.bn1.IN.wait"] = renamed.pop("layer3.5.bn1.IN.weight")
    backbone = resnet50_ibn_a()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    with pytest.raises(
        CheckpointError, match=r"missing: layer3\.5\.bn1\.IN\.weight; unexpected: layer3\.5\.bn1\.IN\.wait$"
    ):
        load_published(backbone, str(saved(renamed)))
    assert all(torch.equal(before[name], value) for name, value in backbone.state_dict().items())


def test_a_reshaped_tensor_is_named_with_both_shapes(state, saved):
    reshaped = state | {"conv1.weight": torch.rand(64, 3, 3, 3)}
    with pytest.raises(CheckpointError, match=r"another shape: conv1\.weight \(64×3×3×3 instead of 64×3×7×7\)$"):
        load_published(resnet50_ibn_a(), str(saved(reshaped)))


def test_another_depth_is_refused_in_one_short_line(state, saved):
    with pytest.raises(CheckpointError, match=r"and \d+ more") as caught:
        load_published(resnet18_ibn_a(), str(saved(state)))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1500


class Evil:
    def __reduce__(self):
        return print, ("code ran",)


def pickled(value):
    buffer = io.BytesIO()
    pickle.dump(value, buffer, protocol=2)
    return buffer.getvalue()


@pytest.mark.parametrize("damage", [b"", b"not weights", pickled({"conv1.weight": 1}), pickled(Evil())])
def test_what_is_not_weights_is_one_line(tmp_path, damage, capsys):
    path = tmp_path / PUBLISHED
    path.write_bytes(damage)
    with pytest.raises(CheckpointError, match=PUBLISHED) as caught:
        load_published(resnet18_ibn_a(width=4), str(path))
    assert "\n" not in str(caught.value)
    assert "code ran" not in capsys.readouterr().out


def test_objects_and_lists_in_a_checkpoint_are_refused(saved):
    with pytest.raises(CheckpointError, match=r"names builtins\.print, which is refused"):
        load_published(resnet18_ibn_a(width=4), str(saved({"conv1.weight": Evil()})))
    with pytest.raises(CheckpointError, match="has no state dict"):
        load_published(resnet18_ibn_a(width=4), str(saved([torch.rand(3)])))


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(CheckpointError, match=r"none\.pth does not exist"):
        load_published(resnet18_ibn_a(), str(tmp_path / "none.pth"))


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


def test_a_url_is_downloaded_once_and_checked_against_its_name(tmp_path, hub):
    backbone = resnet18_ibn_a(width=4)
    source = tmp_path / "source.pth"
    torch.save(backbone.state_dict(), source)
    named = source.rename(tmp_path / f"small-{hashlib.sha256(source.read_bytes()).hexdigest()[:8]}.pth")
    other = resnet18_ibn_a(width=4)
    load_published(other, named.as_uri())
    assert torch.equal(other.conv1.weight, backbone.conv1.weight)
    named.unlink()
    load_published(other, named.as_uri())
    (hub / named.name).write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="its SHA-256 does not begin with"):
        load_published(other, named.as_uri())


def test_a_hash_in_a_folder_is_not_the_files(tmp_path, hub):
    (tmp_path / "weights-0123456789ab.s3").mkdir()
    torch.save({}, tmp_path / "weights-0123456789ab.s3" / "resnet18.pth")
    with pytest.raises(CheckpointError, match="the file name must carry its SHA-256"):
        load_published(resnet18_ibn_a(), (tmp_path / "weights-0123456789ab.s3" / "resnet18.pth").as_uri())


def test_a_download_of_other_bytes_leaves_nothing(tmp_path, hub):
    source = tmp_path / PUBLISHED
    torch.save({}, source)
    with pytest.raises(CheckpointError, match="SHA-256 does not begin with"):
        load_published(resnet18_ibn_a(), source.as_uri())
    assert not hub.exists()


def test_offline_the_message_says_where_to_put_the_file(tmp_path, hub):
    url = (tmp_path / "nowhere" / PUBLISHED).as_uri()
    with pytest.raises(CheckpointError) as caught:
        load_published(resnet18_ibn_a(), url)
    assert url in str(caught.value)
    assert str(hub / PUBLISHED) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_url_without_a_hash_is_refused():
    with pytest.raises(CheckpointError, match="must carry its SHA-256"):
        load_published(resnet18_ibn_a(), "https://example.org/resnet50.pth")


PLAIN = {"torchvision": "", "MoCo": "module.encoder_q."}


@pytest.mark.parametrize("prefix", PLAIN.values(), ids=PLAIN)
def test_plain_resnet_50_loads_torchvisions_and_mocos_names(saved, prefix):
    torch.manual_seed(0)
    source, network = resnet50(width=4), resnet50(width=4)
    file = {f"{prefix}{name}": value for name, value in source.state_dict().items()}
    file |= {f"{prefix}fc.0.weight": torch.rand(2), f"{prefix}fc.2.bias": torch.rand(2)}
    if prefix:
        file |= {"module.encoder_k.conv1.weight": torch.rand(2), "module.queue": torch.rand(2, 3)}
        file = {"epoch": 200, "arch": "resnet50", "state_dict": file, "optimizer": {"state": {}}}
    (note,) = load_published(network, str(saved(file)))
    assert all(torch.equal(value, source.state_dict()[name]) for name, value in network.state_dict().items())
    assert "fc.0.weight" in note
    assert ("encoder_k.conv1.weight" in note) == bool(prefix)


def test_a_file_of_another_family_is_one_line(saved, state):
    with pytest.raises(CheckpointError, match=r"does not fit the backbone: missing: bn1\.bias") as caught:
        load_published(resnet50(), str(saved({"blocks.0.norm1.weight": torch.rand(3), "cls_token": torch.rand(1)})))
    assert "unexpected: blocks.0.norm1.weight, cls_token" in str(caught.value)
    assert "\n" not in str(caught.value)
