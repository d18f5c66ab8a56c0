"""The base class of data sets and their registry."""

from dassl.utils import Registry
from yacs.config import CfgNode

from .base_dataset import DatasetBase, Datum

__all__ = ["DATASET_REGISTRY", "DatasetBase", "Datum", "build_dataset"]

DATASET_REGISTRY = Registry("DATASET")


def build_dataset(cfg: CfgNode) -> DatasetBase:
    """The registered data set `cfg.DATASET.NAME`; ValueError naming the key when it is unknown."""
    return DATASET_REGISTRY.build("DATASET.NAME", cfg)
