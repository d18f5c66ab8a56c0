"""Data sets of objects, textures and dishes, with one folder per class."""

from dassl.data.datasets import DATASET_REGISTRY

from .base import ClassFolderDataset


@DATASET_REGISTRY.register()
class Caltech101(ClassFolderDataset):
    """L. Fei-Fei, R. Fergus, P. Perona, "Learning generative visual models from few training examples", 2004."""

    dataset_dir = "caltech-101"
    image_dir = "101_ObjectCategories"
    files = ("101_ObjectCategories/*/*.jpg",)
    task_name = "everyday object recognition"
    metric = "mean_per_class"
    n_classes = 100
    n_images = (4128, 1649, 2465)
    ignored = ("BACKGROUND_Google", "Faces_easy")
    renamed = {"airplanes": "airplane", "Faces": "face", "Leopards": "leopard", "Motorbikes": "motorbike"}


@DATASET_REGISTRY.register()
class DescribableTextures(ClassFolderDataset):
    """DTD: M. Cimpoi, S. Maji, I. Kokkinos, S. Mohamed, A. Vedaldi, "Describing Textures in the Wild", 2014."""

    dataset_dir = "dtd"
    files = ("images/*/*.jpg",)
    task_name = "texture recognition"
    template = "{} texture."
    n_classes = 47
    n_images = (2820, 1128, 1692)


@DATASET_REGISTRY.register()
class Food101(ClassFolderDataset):
    """L. Bossard, M. Guillaumin, L. Van Gool, "Food-101 - Mining Discriminative Components", 2014.

    As in CoOp, the published lists (`meta/`) are not used.
    """

    dataset_dir = "food-101"
    files = ("images/*/*.jpg",)
    task_name = "food dish recognition"
    template = "a photo of {}, a type of food."
    n_classes = 101
    n_images = (50500, 20200, 30300)
