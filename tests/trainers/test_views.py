"""Training views: what they depend on, and that they leave the global generators alone."""

import multiprocessing
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import toy
from dassl.data.data_manager import build_data_loader
from dassl.engine import build_trainer
from warm_python import python

import train
from softcpt.images.sharding import part_of
from softcpt.images.views import ViewFeatures, ViewImages, seeded_loader, view_generators
from trainers.base import PromptTrainer
from trainers.engine.preprocessing import OPENAI, filled


class Item:
    """The attributes of a Datum that the views read."""

    label, domain = 3, 0

    def __init__(self, impath="x"):
        self.impath = impath


def images(root: Path) -> list[Item]:
    return [Item(str(path)) for path in sorted((root / "toy/flower/images").glob("train-*"))]


def draw(image) -> torch.Tensor:
    """A transform that draws from both generators."""
    return torch.rand(2) + random.random()


def test_view_generators_are_seeded_and_local():
    def drawn(*key):
        with view_generators(*key):
            return torch.rand(1).item(), random.random()

    torch.manual_seed(3)
    random.seed(3)
    expected = torch.rand(1), random.random()
    torch.manual_seed(3)
    random.seed(3)
    keys = [(1, "a", 0), (1, "a", 1), (1, "b", 0), (2, "a", 0)]
    assert len({drawn(*key) for key in keys}) == 4 and drawn(*keys[0]) == drawn(*keys[0])
    assert (torch.rand(1), random.random()) == expected


def test_views_do_not_depend_on_the_other_images(toy_root):
    items = images(toy_root)
    whole, part = (ViewImages(some, draw, False, 3, 1, str(toy_root)) for some in (items, items[4:]))
    assert torch.equal(whole[5], part[1]) and whole[5].shape == (3, 2)
    assert len(torch.cat([whole[i] for i in range(len(items))]).unique(dim=0)) == 3 * len(items)


def test_views_do_not_depend_on_the_data_folder(toy_root, tmp_path):
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (moved / "toy").symlink_to(toy_root / "toy")
    views = [ViewImages(images(root), draw, False, 2, 1, str(root))[0] for root in (toy_root, moved)]
    assert torch.equal(*views)


@pytest.mark.parametrize("workers", [1, 2])
def test_views_do_not_depend_on_the_workers(toy_root, tmp_path, workers):
    batches = []
    for n in (0, workers):
        cfg = filled(toy.config(toy_root, tmp_path, "CoOp", "DATALOADER.NUM_WORKERS", n), OPENAI)
        options = dict(data_source=images(toy_root), batch_size=4, tfm=draw, is_train=True)
        loader = seeded_loader(build_data_loader(cfg, "RandomSampler", **options), 1, str(toy_root))
        torch.manual_seed(0)
        epochs = []
        for epoch in range(3):
            loader.dataset.set_epoch(epoch)
            epochs += [torch.cat([batch["img"] for batch in loader])]
        batches.append(torch.stack(epochs))
    assert torch.equal(*batches) and len(batches[0].unique(dim=1).flatten(0, 1).unique(dim=0)) > 30


@pytest.mark.parametrize("cores, workers", [(128, 8), (3, 3)])
def test_one_worker_per_core_is_saved_as_such(toy_root, tmp_path, monkeypatch, cores, workers):
    """128 of them would fill the shared memory, and on a machine with other cores the run would have another config."""
    monkeypatch.setattr("softcpt.distributed.cores_per_process", lambda: cores)
    trainer = build_trainer(toy.config(toy_root, tmp_path, "CoOp", "DATALOADER.NUM_WORKERS", -1))
    loaders = trainer.train_loader_x, trainer.test_loader.loader, trainer.val_loader.loader
    assert [loader.num_workers for loader in loaders] == 3 * [workers]
    assert trainer.cfg.DATALOADER.NUM_WORKERS == -1


@pytest.mark.skipif(sys.platform != "linux", reason="forks are safe on Linux alone")
def test_workers_are_forks_whatever_the_default(toy_root, tmp_path, monkeypatch):
    """On Python 3.14 the default is a server that imports all modules anew."""
    code = (
        "import multiprocessing, sys\n"
        "multiprocessing.set_start_method(sys.argv[1])\n"
        "from PIL import Image\nfrom torchvision.transforms import ToTensor\n"
        "from softcpt.inference.images import image_batches\n"
        "unknown = type('Unpicklable', (ToTensor,), {})()\n"
        "print(sum(len(b.positions) for b in image_batches([Image.new('RGB', (2, 2))] * 3, unknown, 2, 1)))\n"
    )
    command = [python(), "-c", code, "forkserver"]
    done = subprocess.run(command, cwd=train.PROJECT_ROOT, capture_output=True, text=True)
    assert done.stdout == "3\n", done.stderr
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda: "forkserver")
    methods = []
    for workers in (1, 0):
        cfg = filled(toy.config(toy_root, tmp_path, "CoOp", "DATALOADER.NUM_WORKERS", workers), OPENAI)
        plain = build_data_loader(cfg, data_source=images(toy_root), batch_size=4, tfm=draw, is_train=True)
        for loader in (plain, seeded_loader(plain, 1, str(toy_root)), part_of(plain)):
            methods.append(loader.multiprocessing_context and loader.multiprocessing_context.get_start_method())
    assert methods == 3 * ["fork"] + 3 * [None]


def test_epoch_uses_its_view_modulo_the_number_of_views():
    data = ViewFeatures([Item()], torch.arange(4.0).view(1, 4, 1), torch.device("cpu"))
    seen = []
    for epoch in range(6):
        data.set_epoch(epoch)
        seen.append(data.__getitems__([0])["img"].item())
    assert seen == [0, 1, 2, 3, 0, 1]


def test_caching_is_not_training_time(toy_root, tmp_path, monkeypatch):
    """Measured with a clock that only the encoding of images moves."""
    clock, encode_image = [0.0], PromptTrainer.encode_image

    def encoded(self, image):
        clock[0] += 1
        return encode_image(self, image)

    trainer = build_trainer(toy.config(toy_root, tmp_path / "run", "CoOp", "FEATURES.TRAIN_VIEWS", 1))
    monkeypatch.setattr(PromptTrainer, "encode_image", encoded)
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    trainer.train()
    assert trainer.caching[1].seconds == clock[0] > 0 and trainer.train_seconds == 0
