"""Faults of public code that no other test would catch; docs/reliability.md lists all known ones."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
import toy
from dassl.data.datasets import build_dataset
from dassl.engine import build_trainer
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import Normalize

import train
from datasets.splits import datum
from softcpt.files import read_config
from softcpt.images.feature_cache import FeatureCache, FeatureLoader, image_list


@pytest.fixture
def flowers(toy_root, tmp_path):
    shutil.copytree(toy_root / "toy/flower", tmp_path / "toy/flower")
    return tmp_path


def dataset_of(root, *opts, name="ToyTasks"):
    return build_dataset(toy.config(root, root / "out", "CoOp", *opts, dataset=name))


def paths_and_contents(items):
    return {item.impath for item in items}, {Path(item.impath).read_bytes() for item in items}


@pytest.mark.parametrize("subset", ["all", "base", "new"])
def test_no_test_image_is_among_the_shots(subset, toy_root):
    dataset = dataset_of(toy_root, "DATASET.NUM_SHOTS", 4, "DATASET.SUBSAMPLE_CLASSES", subset)
    tested = paths_and_contents(dataset.test)
    for shots in (dataset.train_x, dataset.val):
        assert shots and not any(mine & theirs for mine, theirs in zip(paths_and_contents(shots), tested))


@pytest.mark.parametrize(("mine", "other"), [("train", "test"), ("test", "train"), ("train", "val"), ("val", "test")])
def test_training_image_in_another_part_is_refused(mine, other, flowers):
    path = flowers / "toy/flower/split_zhou_ToyFlower.json"
    split = json.loads(path.read_text())
    row = split[other][0]
    split[mine].append([f"./{row[0]}", *row[1:]])
    path.write_text(json.dumps(split))
    if "train" not in (mine, other):  # data sets without validation images list their test images as such
        dataset_of(flowers, name="ToyFlower")
        return
    part = other if mine == "train" else mine
    with pytest.raises(ValueError, match=f"ToyFlower.json: 1 training image in another part.*{row[0]} in {part}"):
        dataset_of(flowers, name="ToyFlower")


def test_checkpoint_holds_only_prompts_and_optimiser(finished_run):
    """With an optimiser over the whole model, each checkpoint would store all of CLIP."""
    file = finished_run("SoftCPT") / "prompt_learner/model.pth.tar-1"
    checkpoint = torch.load(file, weights_only=True)
    own = sum(value.numel() for value in checkpoint["state_dict"].values())
    assert not any("clip" in key or "visual" in key or "token_" in key for key in checkpoint["state_dict"])
    states = checkpoint["optimizer"]["state"].values()
    assert sum(value.numel() for state in states for value in state.values() if torch.is_tensor(value)) <= own
    assert file.stat().st_size < 4 * 2.2 * own + 100_000


def test_initial_weights_are_loaded(finished_run, toy_root, tmp_path):
    file = finished_run("CoOp") / "prompt_learner/model.pth.tar-1"
    trainer = build_trainer(toy.config(toy_root, tmp_path, "CoOp", "MODEL.INIT_WEIGHTS", file))
    assert torch.equal(trainer.learned.ctx, torch.load(file, weights_only=True)["state_dict"]["ctx"])


def test_class_sampling_encodes_only_the_sampled_classes(toy_root, tmp_path, monkeypatch):
    options = ("TRAINER.SOFTCPT.VARIANT", "CATS", "TRAINER.SOFTCPT.CLASS_SAMPLE_RATE", 0.3)
    trainer = build_trainer(toy.config(toy_root, tmp_path, "SoftCPT", *options))
    encoded, encode_names = [], trainer.learned.encode_names

    def recorded(template, context, rows):
        if template is trainer.learned.class_template:
            encoded.append(rows.tolist())
        return encode_names(template, context, rows)

    monkeypatch.setattr(trainer.learned, "encode_names", recorded)
    trainer.compute_loss(torch.randn(2, trainer.clip.embed_dim), torch.tensor([5, 7]))
    [rows] = encoded
    assert {5, 7} <= set(rows) < {5, 6, 7, 8, 9}  # some classes of the third task


def test_every_config_saves_checkpoints_during_training():
    """By Dassl's default a run is saved only at its end, so a killed one starts over."""
    configs = map(read_config, (train.PROJECT_ROOT / "configs/trainers").glob("*/*.yaml"))
    configs = [config for config in configs if "MAX_EPOCH" in config.get("OPTIM", {})]
    assert len(configs) > 40
    assert all(0 < config["TRAIN"]["CHECKPOINT_FREQ"] < config["OPTIM"]["MAX_EPOCH"] for config in configs)


# -- cached features ---------------------------------------------------------------------------------------------------


class Pictures(Dataset):
    """Images of one value, the first byte of a file, through a transform."""

    def __init__(self, items, transform):
        self.data_source, self.transform = items, transform

    def __len__(self):
        return len(self.data_source)

    def __getitem__(self, i):
        content = Path(self.data_source[i].impath).read_bytes()
        return {"img": self.transform(torch.full((1, 1, 1), float(content[0]))), "label": 0}


@pytest.fixture
def items(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(name.encode())
    return [datum(str(tmp_path / name), 0, "x") for name in ("a", "b")]


def features(items, folder, factor=1, tower="t"):
    loader = DataLoader(Pictures(items, Normalize([0.0], [1 / factor])), batch_size=2)
    batches = FeatureLoader(loader, lambda image: image, FeatureCache(folder), {"tower": tower})
    return [value for batch in batches for value in batch["img"].flatten().tolist()]


def test_cached_features_depend_on_transform_tower_and_images(items, tmp_path):
    cache = tmp_path / "cache"
    assert features(items, cache) == [97, 98]
    assert features(items, cache, factor=2) == [194, 196]
    assert features(items[::-1], cache) == [98, 97]
    features(items, cache, tower="another")
    assert len(list(cache.iterdir())) == 4
    assert features(items, cache) == [97, 98] and len(list(cache.iterdir())) == 4


def test_image_is_identified_by_path_size_and_time(items, tmp_path):
    """An image of another size or time is noticed; one that was replaced with both kept is not."""
    path, cache = Path(items[0].impath), tmp_path / "cache"
    assert features(items, cache) == [97, 98]
    before, stat = image_list(items), path.stat()
    path.write_bytes(b"z")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))  # a nanosecond later
    assert image_list(items) != before and features(items, cache) == [122, 98]
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert image_list(items) == before and features(items, cache) == [97, 98]
    shutil.rmtree(cache)  # the remedy
    assert features(items, cache) == [122, 98]


def test_tower_is_part_of_the_feature_key(toy_root, tmp_path):
    trainer = build_trainer(toy.config(toy_root, tmp_path, "CoOp"))
    assert trainer.test_loader.key["tower"] == trainer.clip.image_digest
