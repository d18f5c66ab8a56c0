"""Training on all images of a data set, DATASET.TRAIN_ON_ALL: what it allows, and the loaders."""

from typing import Any

from dassl.data import DataManager
from dassl.data.data_manager import build_data_loader
from torchvision.transforms import ToTensor
from yacs.config import CfgNode

from datasets.all_images import train_on_all


def trains_on_all(cfg: CfgNode) -> bool:
    """Whether a run has neither validation nor test images."""
    return bool(cfg.DATASET.get("TRAIN_ON_ALL", False))


def check_all_images(cfg: CfgNode, method: Any) -> None:
    """Raise ValueError for settings that do not go with DATASET.TRAIN_ON_ALL."""
    if not trains_on_all(cfg):
        return
    what = "DATASET.TRAIN_ON_ALL: True trains on all images, and none are left to test or to validate on"
    if not method.uses_shots:
        raise ValueError(f"{what}; {method.__name__} learns from no images, so it must be False")
    if cfg.DATASET.NUM_SHOTS >= 1:
        raise ValueError(f"{what}; DATASET.NUM_SHOTS must be -1, found {cfg.DATASET.NUM_SHOTS}")
    if cfg.TEST.FINAL_MODEL == "best_val":
        raise ValueError(f"{what}; TEST.FINAL_MODEL must be last_step, found best_val")


def take_all_images(data: DataManager, cfg: CfgNode) -> None:
    """Replace the loaders: one of all images, whose transform is to be set, and none to validate or test on."""
    train_on_all(data.dataset)
    own = cfg.DATALOADER.TRAIN_X
    data.train_loader_x = build_data_loader(
        cfg,
        sampler_type=own.SAMPLER,
        data_source=data.dataset.train_x,
        batch_size=own.BATCH_SIZE,
        n_domain=own.N_DOMAIN,
        tfm=ToTensor(),
        is_train=True,
    )
    data.val_loader = data.test_loader = None
