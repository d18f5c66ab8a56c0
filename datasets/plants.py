"""Data sets of plants, fruit and mushrooms, with one folder per class."""

import os

from dassl.data.datasets import DATASET_REGISTRY
from yacs.config import CfgNode

from .base import ClassFolderDataset
from .raw import drop_copies
from .splits import Items, datum, split_train_val


class PlantFolders(ClassFolderDataset):
    def class_name(self, folder: str) -> str:
        return self.renamed.get(folder) or folder.replace("_", " ")


class ShippedParts(PlantFolders):
    """Published as train, validation and test folders that share images.

    The test folder is the test part. The other folders, without copies of test images and of each other's images, are
    split 80/20 per class. The classes are those of all folders.
    """

    files = tuple(f"images/{part}/*/*" for part in ("train", "validation", "test"))

    def read_raw(self) -> tuple[Items, Items, Items]:
        parts = {part: self.items_of(os.path.join(self.image_dir, part)) for part in ("train", "validation", "test")}
        names = sorted({item.classname for items in parts.values() for item in items})
        labels = {name: label for label, name in enumerate(names)}  # a folder may lack a class
        trainval, test = (
            [datum(item.impath, labels[item.classname], item.classname) for item in items]
            for items in (parts["train"] + parts["validation"], parts["test"])
        )
        train, val = split_train_val(drop_copies(trainval, of=test))
        return train, val, test


@DATASET_REGISTRY.register()
class FruitVegetable(ShippedParts):
    """K. Seth, "Fruits and Vegetables Image Recognition", Kaggle."""

    dataset_dir = "fruit_vegetable"
    task_name = "fruit and vegetable recognition"
    template = "a photo of a {}, a type of fruit or vegetable."
    n_classes = 36


@DATASET_REGISTRY.register()
class KaggleFlower(PlantFolders):
    """A. Mamaev, "Flowers Recognition", Kaggle."""

    dataset_dir = "kaggle_flower_recognition"
    image_dir = "flowers"
    files = ("flowers/*/*.jpg",)
    task_name = "garden flower recognition"
    template = "a photo of a {}, a type of flower."
    n_classes = 5


@DATASET_REGISTRY.register()
class KaggleMushroom(PlantFolders):
    """M. Maysee, "Mushrooms classification - Common genus's images", Kaggle."""

    dataset_dir = "kaggle_mushroom"
    image_dir = "Mushrooms"
    files = ("Mushrooms/*/*.jpg",)
    task_name = "mushroom genus recognition"
    template = "a photo of a {}, a type of mushroom."
    n_classes = 9


@DATASET_REGISTRY.register()
class KaggleVegetable(ShippedParts):
    """M. I. Ahmed, S. M. Mamun, A. Asif, "Vegetable Image Dataset", Kaggle."""

    dataset_dir = "kaggle_vegetable"
    task_name = "vegetable recognition"
    template = "a photo of a {}, a type of vegetable."
    n_classes = 15


@DATASET_REGISTRY.register()
class PlantSeedlingV1(PlantFolders):
    """T. M. Giselsson et al., "A Public Image Database for Benchmark of Plant Seedling Classification", 1711.05458."""

    dataset_dir = "PlantSeedlingV1"
    image_dir = "Nonsegmented"
    files = ("Nonsegmented/*/*.png",)
    task_name = "plant seedling recognition"
    template = "a photo of a {}, a type of seedling."
    n_classes = 12


@DATASET_REGISTRY.register()
class PlantVillage(PlantFolders):
    """G. Geetharamani, J. A. Pandian, "Identification of plant leaf diseases", 2019; D. P. Hughes, M. Salathé, 2015.

    Folders are named <plant>___<state>. Class names contain both in words, so the template adds nothing.
    DATASET.RELEASED_NAMES has the names and the template of kding1225/softcpt instead; there must be no split file.
    """

    dataset_dir = "PlantVillage"
    image_dir = "Plant_leave_diseases_dataset_without_augmentation"
    files = ("Plant_leave_diseases_dataset_without_augmentation/*/*",)
    task_name = "plant leaf disease recognition"
    template = "a photo of {}."
    n_classes = 39
    renamed = {
        "Background_without_leaves": "background without leaves",
        "Corn___Cercospora_leaf_spot Gray_leaf_spot": "corn with gray leaf spot",
        "Grape___Esca_(Black_Measles)": "grape leaf with black measles",
        "Grape___Leaf_blight_(Isariopsis_Leaf_Spot)": "grape with leaf blight",
        "Orange___Haunglongbing_(Citrus_greening)": "orange leaf with citrus greening",
        "Tomato___Spider_mites Two-spotted_spider_mite": "tomato leaf with two-spotted spider mites",
    }

    released = {  # names of the release that differ
        "Apple___Apple_scab": "apple leaf with scab disease",
        "Corn___Cercospora_leaf_spot Gray_leaf_spot": "corn leaf with cercospora leaf spot or gray leaf spot",
        "Corn___Northern_Leaf_Blight": "corn leaf with northern leaf blight",
        "Grape___Leaf_blight_(Isariopsis_Leaf_Spot)": "grape leaf with leaf blight",
        "Orange___Haunglongbing_(Citrus_greening)": "orange leaf with citrus greening disease",
        "Pepper,_bell___Bacterial_spot": "pepper with bacterial spot",
        "Pepper,_bell___healthy": "healthy pepper leaf",
        "Squash___Powdery_mildew": "squash with powdery mildew",
        "Strawberry___Leaf_scorch": "strawberry leaf with scorch disease",
        "Tomato___Leaf_Mold": "tomato leaf with mold",
        "Tomato___Septoria_leaf_spot": "tomato leaf with septoria leaf spot",
        "Tomato___Spider_mites Two-spotted_spider_mite": "tomato leaf with spider mites or two-spotted spider mite",
        "Tomato___Tomato_Yellow_Leaf_Curl_Virus": "tomato leaf with tomato yellow leaf curl virus",
        "Tomato___Tomato_mosaic_virus": "tomato leaf with tomato mosaic virus",
    }

    def set_paths(self, cfg: CfgNode) -> None:
        super().set_paths(cfg)
        if cfg.DATASET.get("RELEASED_NAMES", False):
            if os.path.exists(self.split_path):
                raise ValueError(f"DATASET.RELEASED_NAMES: True, but the class names are those of {self.split_path}")
            self.renamed = {**self.renamed, **self.released}
            self.template = "a photo of a plant leaf with {} disease."

    def class_name(self, folder: str) -> str:
        if folder in self.renamed or "___" not in folder:
            return super().class_name(folder)
        plant, state = (text.replace("_", " ").strip().lower() for text in folder.split("___", 1))
        plant = " ".join(reversed(plant.split(", ")))  # "pepper, bell"
        if state == "healthy":
            return f"healthy {plant} leaf"
        organ = "" if "leaf" in state else " leaf"
        return f"{plant}{organ} with {state.removeprefix(plant + ' ')}"
