"""Data sets, samplers, transforms and loaders on a folder of small generated PNGs."""

import random

import numpy as np
import pytest
import torch
from dassl.config import get_cfg_default
from dassl.data import DataManager, DatasetWrapper
from dassl.data.data_manager import build_data_loader
from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum
from dassl.data.samplers import build_sampler
from dassl.data.transforms import AVAI_CHOICES, INTERPOLATION_MODES, build_transform
from PIL import Image


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Paths of 30 noise images of 20 x 16 pixels."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    paths = []
    for index in range(30):
        paths.append(str(folder / f"{index}.png"))
        Image.fromarray(rng.integers(0, 256, (16, 20, 3), dtype=np.uint8)).save(paths[-1])
    return paths


@pytest.fixture
def items(images):
    """Thirty images: three classes in turn, two domains in blocks of ten and twenty."""
    return [Datum(path, i % 3, int(i >= 10), "abc"[i % 3]) for i, path in enumerate(images)]


@pytest.fixture
def cfg(items):
    @DATASET_REGISTRY.register(force=True)
    class Generated(DatasetBase):
        def __init__(self, cfg):
            super().__init__(train_x=items[:21], val=items[21:24], test=items[24:])

    cfg = get_cfg_default()
    cfg.DATASET.NAME = "Generated"
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.DATALOADER.TRAIN_X.BATCH_SIZE = 4
    cfg.INPUT.SIZE = (8, 12)
    cfg.INPUT.TRANSFORMS = ["random_resized_crop", "random_flip", "normalize"]
    return cfg


def test_datum_needs_an_existing_file(images, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.png"):
        Datum(str(tmp_path / "nowhere.png"), 3, classname="cat")
    with pytest.raises(TypeError, match="impath"):
        Datum(tmp_path / "a.png")
    assert Datum(images[0]).label == 0


def test_classes_come_from_the_training_images(items):
    dataset = DatasetBase(train_x=items[:6], test=items)
    assert dataset.num_classes == 3 and dataset.classnames == ["a", "b", "c"] and dataset.val is None
    assert dataset.lab2cname == {0: "a", 1: "b", 2: "c"}


def test_class_without_training_images_is_an_error(items):
    with pytest.raises(ValueError, match=r"DatasetBase.*label\(s\) \[1\]"):
        DatasetBase(train_x=[item for item in items if item.label != 1], test=items)
    with pytest.raises(ValueError, match="train_x is empty"):
        DatasetBase(train_x=[], test=items)


@pytest.mark.parametrize("shots", [1, 4, 10])
def test_few_shot_draws_match_random_sample(items, shots):
    dataset = DatasetBase(train_x=items, test=items)
    random.seed(1)
    drawn = dataset.generate_fewshot_dataset(items, num_shots=shots)
    random.seed(1)
    expected = [item for label in range(3) for item in random.sample(items[label::3], shots)]
    assert drawn == expected


def test_too_many_shots_use_all_images(items, caplog):
    dataset = DatasetBase(train_x=items, test=items)
    drawn = dataset.generate_fewshot_dataset(items[:4], num_shots=4)
    assert drawn == [items[0], items[3], items[1], items[2]]
    assert "class 0 (a): 2 images for 4 shots" in caplog.text
    assert dataset.generate_fewshot_dataset(items, num_shots=0) is items


def test_domain_sampler_balances_every_batch(items):
    random.seed(0)
    for n_domain in (0, 1):
        sampler = build_sampler("RandomDomainSampler", items, batch_size=4, n_domain=n_domain)
        for _ in range(20):
            indices = list(sampler)
            assert len(indices) == len(sampler) and len(indices) % 4 == 0
            for start in range(0, len(indices), 4):
                domains = [items[index].domain for index in indices[start : start + 4]]
                assert len(set(indices[start : start + 4])) == 4
                assert sorted(domains) == [0, 0, 1, 1] if n_domain == 0 else len(set(domains)) == 1
    even = build_sampler("RandomDomainSampler", items, batch_size=4)
    assert len(set(even)) == len(even) == 20  # ends when the ten images of domain 0 are used


@pytest.mark.parametrize(
    ("name", "sizes", "message"),
    [
        ("RandomSamplr", {}, "SAMPLER.*'RandomSamplr'.*nearest: 'RandomSampler'"),
        ("RandomDomainSampler", {"batch_size": 5}, "BATCH_SIZE 5.*N_DOMAIN 2"),
        ("RandomDomainSampler", {"batch_size": 22}, "domain 0 has only 10 of the 11 images per batch"),
    ],
)
def test_unusable_sampler_is_an_error(items, name, sizes, message):
    with pytest.raises(ValueError, match=message):
        build_sampler(name, items, **sizes)


@pytest.mark.parametrize("name", AVAI_CHOICES)
def test_every_transform_gives_the_input_size(cfg, images, name):
    cfg.INPUT.TRANSFORMS = [name]
    torch.manual_seed(0)
    random.seed(0)
    for is_train in (True, False):
        transform = build_transform(cfg, is_train=is_train)
        for path in images[:8]:
            view = transform(Image.open(path).convert("RGB"))
            assert view.shape == (3, 8, 12) and view.dtype == torch.float32 and torch.isfinite(view).all()


@pytest.mark.parametrize("mode", INTERPOLATION_MODES)
def test_images_are_resized_cropped_and_normalised(cfg, mode):
    cfg.INPUT.INTERPOLATION, cfg.INPUT.TRANSFORMS = mode, ["normalize"]
    cfg.INPUT.SIZE, cfg.INPUT.PIXEL_MEAN, cfg.INPUT.PIXEL_STD = (4, 4), [0.5, 0.5, 0.5], [0.25, 0.25, 0.25]
    pixels = np.zeros((4, 8, 3), np.uint8)
    pixels[:, 2:6] = 255  # what the centre crop keeps of an image whose short edge fits already
    view = build_transform(cfg, is_train=False)(Image.fromarray(pixels))
    assert torch.equal(view, torch.full((3, 4, 4), 2.0))


def test_no_transform_returns_images(cfg, items):
    cfg.INPUT.NO_TRANSFORM = True
    assert build_transform(cfg) is None
    assert DatasetWrapper(cfg, items)[0]["img"].size == (20, 16)


def test_unknown_transform_suggests_the_nearest(cfg):
    cfg.INPUT.TRANSFORMS = ["random_flp"]
    with pytest.raises(ValueError, match="INPUT.TRANSFORMS.*'random_flp'.*nearest: 'random_flip'"):
        build_transform(cfg)
    cfg.INPUT.INTERPOLATION, cfg.INPUT.TRANSFORMS = "cubic", []
    with pytest.raises(ValueError, match="INPUT.INTERPOLATION.*'cubic'.*nearest: 'bicubic'"):
        build_transform(cfg)


def test_data_manager_follows_the_config(cfg, items):
    manager = DataManager(cfg)
    assert manager.num_classes == 3 and manager.lab2cname == {0: "a", 1: "b", 2: "c"}
    assert manager.num_source_domains == 0 and manager.train_loader_u is None
    assert len(manager.train_loader_x) == 5  # the 21st image does not fill a batch
    batches = list(manager.test_loader)
    assert [len(batch["label"]) for batch in batches] == [6] and len(manager.val_loader) == 1
    batch = batches[0]
    assert set(batch) == {"label", "domain", "impath", "index", "img"}
    assert batch["img"].shape == (6, 3, 8, 12)
    assert batch["label"].tolist() == [item.label for item in items[24:]]
    assert batch["domain"].tolist() == [1] * 6 and batch["impath"] == [item.impath for item in items[24:]]
    assert batch["index"].tolist() == list(range(6))


def test_small_training_set_is_one_batch(cfg, items):
    loader = build_data_loader(cfg, data_source=items[:3], batch_size=4, tfm=build_transform(cfg), is_train=True)
    assert [len(batch["label"]) for batch in loader] == [3]
    with pytest.raises(ValueError, match="no images"):
        build_data_loader(cfg, data_source=[], is_train=True)


@pytest.mark.parametrize("workers", [0, 1])
def test_corrupt_image_error_names_the_file(cfg, images, tmp_path, workers):
    broken = tmp_path / "broken.png"
    with open(images[0], "rb") as file:
        broken.write_bytes(file.read()[:200])
    cfg.DATALOADER.NUM_WORKERS = workers
    loader = build_data_loader(cfg, data_source=[Datum(str(broken))], tfm=build_transform(cfg), is_train=False)
    with pytest.raises(OSError, match="broken.png"):
        next(iter(loader))
