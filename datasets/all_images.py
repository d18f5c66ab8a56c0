"""A final model from all images: DATASET.TRAIN_ON_ALL, which leaves no validation and no test part."""

from dassl.data.datasets import DatasetBase


def train_on_all(dataset: DatasetBase) -> None:
    """Make the validation and test images of a data set training images, too; each image of a task once."""
    parts = (dataset.train_x, dataset.val, dataset.test)
    items = {(item.impath, item.domain): item for part in parts for item in part or ()}
    dataset._train_x, dataset._val, dataset._test = list(items.values()), None, []
