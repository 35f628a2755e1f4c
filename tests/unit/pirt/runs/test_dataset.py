import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from pirt.core.errors import DataError
from pirt.core.manifest import ImageRow, write_manifest
from pirt.runs.cache import HeatmapCache
from pirt.runs.dataset import PersonDataset, batches_of
from pirt.runs.transforms import EvalTransform
from pirt.training.augmentation import TrainTransform
from pirt.training.sampler import PKSampler

SIZE = (24, 12)


@pytest.fixture
def manifest(tmp_path):
    chance = np.random.default_rng(0)
    rows = []
    for number in range(12):
        name = f"{number}.png"
        Image.fromarray(chance.integers(0, 256, (30, 15, 3), np.uint8)).save(tmp_path / name)
        rows.append(ImageRow(name, name, "train", 70 - number % 3, 0, ""))
    return write_manifest(tmp_path / "manifest.csv", rows, tmp_path)


@pytest.fixture
def cache(manifest):
    codes = torch.from_numpy(np.random.default_rng(1).random((len(manifest.rows), 17, 6, 3), np.float32))
    return HeatmapCache(codes, None, "fingerprint")


def epoch_of(dataset, workers):
    sampler = PKSampler(dataset.labels, by="images", identities=2, instances=2, seed=7)
    sampler.start(epoch=1)
    loader = DataLoader(dataset, batch_sampler=sampler, num_workers=workers)
    return list(loader)


def test_items_are_what_the_model_takes(manifest, cache):
    dataset = PersonDataset(manifest, manifest.rows, cache, EvalTransform(SIZE))
    item = dataset[5]
    pixels = Image.open(manifest.image_path(manifest.rows[5])).resize(SIZE[::-1], Image.Resampling.BICUBIC)
    assert torch.equal(item["image"], dataset.transform.normalise(torch.from_numpy(np.array(pixels))))
    torch.testing.assert_close(item["heatmaps"], cache.codes[5])
    # pids 70, 69, 68 in turn; labels follow the order of the pids.
    assert (item["label"], item["index"], dataset.num_classes) == (0, 5, 3)
    assert len(dataset) == 12


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("workers", [1, 2])
def test_workers_and_held_pixels_change_nothing(manifest, cache, workers, held):
    transform = TrainTransform(SIZE, pad=3)
    plain = epoch_of(PersonDataset(manifest, manifest.rows, cache, transform), 0)
    dataset = PersonDataset(manifest, manifest.rows, cache, transform)
    if held:
        dataset.hold_pixels()
    other = epoch_of(dataset, workers)
    assert len(plain) == len(other) == 3
    for one, two in zip(plain, other, strict=True):
        for name in one:
            assert torch.equal(one[name], two[name])


def test_augmentation_leaves_cache_and_held_pixels_alone(manifest, cache):
    dataset = PersonDataset(manifest, manifest.rows, cache, TrainTransform(SIZE, pad=3, erase=1.0))
    dataset.hold_pixels()
    before = cache.codes.clone()
    first = epoch_of(dataset, 0)
    again = epoch_of(dataset, 0)
    assert torch.equal(cache.codes, before)
    assert all(torch.equal(one["image"], two["image"]) for one, two in zip(first, again, strict=True))


def test_without_a_cache_heatmaps_are_blank(manifest):
    dataset = PersonDataset(manifest, manifest.rows, None, EvalTransform(SIZE))
    assert dataset[0]["heatmaps"].shape == (17, 1, 1)
    assert not dataset[0]["heatmaps"].any()


def test_a_damaged_image_is_named(manifest, cache):
    manifest.image_path(manifest.rows[4]).write_bytes(b"")
    dataset = PersonDataset(manifest, manifest.rows, cache, EvalTransform(SIZE))
    with pytest.raises(DataError, match=r"4\.png has zero bytes"):
        dataset.hold_pixels()


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_carry_bytes_and_are_decoded_as_single_items_are(manifest, workers):
    codes = torch.from_numpy(np.random.default_rng(2).integers(0, 256, (12, 17, 6, 3), np.uint8))
    cache = HeatmapCache(codes, torch.arange(256) / 255, "fingerprint")
    dataset = PersonDataset(manifest, manifest.rows, cache, TrainTransform(SIZE, pad=3))
    sampler = PKSampler(dataset.labels, by="images", identities=2, instances=2, seed=7)
    loader = DataLoader(dataset, batch_sampler=sampler, num_workers=workers)
    raw = next(iter(loader))
    assert raw["heatmaps"].dtype == raw["image"].dtype == torch.uint8
    assert dataset.item_bytes * 4 == raw["heatmaps"].nbytes + raw["image"].nbytes
    for batch, draws in zip(batches_of(loader), sampler, strict=True):
        for name in ("image", "heatmaps"):
            assert torch.equal(batch[name], torch.stack([dataset[draw][name] for draw in draws]))
