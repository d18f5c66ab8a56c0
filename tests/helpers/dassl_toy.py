"""A toy method on generated images, for the tests of the trainer's loop."""

import numpy as np
import torch
from dassl.config import get_cfg_default
from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum
from dassl.engine import TRAINER_REGISTRY, TrainerX, build_trainer
from dassl.metrics import compute_accuracy
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.utils import set_random_seed
from PIL import Image
from torch import nn

EPOCHS = 4


class Killed(Exception):
    pass


class Toy(TrainerX):
    """A linear classifier with dropout; may be killed in an epoch (`kill_epoch`) or lack a second model."""

    kill_epoch: int | None = None
    names: tuple[str, ...] = ("toy",)

    def build_model(self):
        self.model = nn.Sequential(nn.Flatten(), nn.Dropout(0.3), nn.Linear(3 * 8 * 8, self.num_classes))
        self.model.to(self.device)
        self.optim = build_optimizer(self.model, self.cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, self.cfg.OPTIM)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=3)
        self.rates, self.verbs = [], []
        for number, name in enumerate(self.names):
            model = self.model if number == 0 else nn.Linear(1, 1)
            self.register_model(name, model, *((self.optim, self.sched) if number == 0 else ()))

    def before_epoch(self):
        self.verbs.append("before_epoch")
        self.rates.append(self.get_current_lr())

    def forward_backward(self, batch):
        image, label, domain = self.parse_batch_train(batch)
        assert image.device == label.device == domain.device == self.device
        if self.epoch == self.kill_epoch and self.batch_idx == 1:
            raise Killed
        output = self.model(image)
        loss = nn.functional.cross_entropy(output, label)
        self.optim.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optim)
        self.scaler.update()
        if self.batch_idx + 1 == self.num_batches:
            self.update_lr()
        return {"loss": loss, "acc": compute_accuracy(output, label)[0]}

    def after_epoch(self):
        self.verbs.append("after_epoch")
        super().after_epoch()


def draw_images(folder):
    """Paths of 24 noise images, brighter by class."""
    folder.mkdir()
    rng, paths = np.random.default_rng(0), []
    for index in range(24):
        paths.append(str(folder / f"{index}.png"))
        level = 90 * (index % 3)
        pixels = np.clip(rng.normal(level, 60, (10, 10, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(paths[-1])
    return paths


def toy_cfg(tmp_path):
    """The config of a run of four epochs of three batches in `tmp_path`/run."""
    images = draw_images(tmp_path / "images")

    @DATASET_REGISTRY.register(force=True)
    class ToyImages(DatasetBase):
        def __init__(self, cfg):
            items = [Datum(path, i % 3, i // 12, "abc"[i % 3]) for i, path in enumerate(images)]
            super().__init__(train_x=items[:18], val=items[18:21], test=items[18:])

    TRAINER_REGISTRY.register(Toy, force=True)
    cfg = get_cfg_default()
    cfg.TRAINER.NAME, cfg.DATASET.NAME, cfg.OUTPUT_DIR = "Toy", "ToyImages", str(tmp_path / "run")
    cfg.VERBOSE = False
    cfg.INPUT.SIZE, cfg.INPUT.TRANSFORMS = (8, 8), ["random_resized_crop", "random_flip", "normalize"]
    cfg.DATALOADER.NUM_WORKERS, cfg.DATALOADER.TRAIN_X.BATCH_SIZE = 0, 6
    cfg.OPTIM.NAME, cfg.OPTIM.LR, cfg.OPTIM.MAX_EPOCH = "sgd", 0.05, EPOCHS
    cfg.OPTIM.LR_SCHEDULER, cfg.OPTIM.WARMUP_EPOCH, cfg.OPTIM.WARMUP_TYPE = "cosine", 1, "constant"
    cfg.TRAIN.CHECKPOINT_FREQ = 1
    return cfg


def build(cfg, seed=1):
    set_random_seed(seed)
    return build_trainer(cfg)


def weights(trainer):
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])
