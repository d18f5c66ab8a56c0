"""Miniatures of the data sets' raw layouts: a few classes each, in the folders and annotation formats as published.

`lay_out(name, root)` writes one and returns what a reader must find in it, written down independently of the readers.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from annotated_layouts import aircraft, cars, flowers, pets, sun, ucf
from dassl.data.datasets import DATASET_REGISTRY
from layout import PER_CLASS, TEST, TRAINVAL, Layout, write_image


def folders(image_dir: str, classes: dict[str, str], suffix: str = ".jpg", junk: tuple[str, ...] = ()) -> Callable:
    """One folder per class; `classes` maps the folders, in the order of the labels, to the class names to expect."""

    def write(root: Path) -> Layout:
        layout = Layout(root / image_dir)
        for label, (folder, name) in enumerate(classes.items()):
            for i in range(PER_CLASS):
                layout.add(f"{folder}/{Path(folder).name}_{i:04d}{suffix}", label, name)
        for path in junk:  # other files in the published folders
            (layout.image_dir / path).parent.mkdir(parents=True, exist_ok=True)
            (layout.image_dir / path).write_bytes(b"no image")
        return layout

    return write


def shipped_parts(folder: str, classes: tuple[str, ...]) -> Callable:
    """train, validation and test folders; all of validation is also in test, and one test image also in train."""

    def write(root: Path) -> Layout:
        layout = Layout(root / folder / "images", test=set(), counts=(8, 2, TEST))
        for label, name in enumerate(classes):
            title = name.replace("_", " ")
            for i in range(TEST):
                path = f"test/{name}/Image_{i}.jpg"
                layout.add(path, label, title, in_test=True)
                content = (layout.image_dir / path).read_bytes()
                write_image(layout.image_dir / f"validation/{name}/Image_{i}.jpg", content)
            write_image(layout.image_dir / f"train/{name}/Image_900.jpg", content)
            for i in range(TRAINVAL):
                layout.add(f"train/{name}/Image_{i}.jpg", label, title)
        return layout

    return write


NAMES = "n01440764 tench\nn01443537 goldfish\nn04008634 missile\nn04355933 missile\n"  # one name twice, as in CLIP's
WORDNET = [line.split() for line in NAMES.splitlines()]


def imagenet(root: Path) -> Layout:
    layout = Layout(root / "imagenet/images", test=set(), counts=(PER_CLASS, TEST, TEST))
    for part, count in (("train", PER_CLASS), ("val", TEST)):
        for label, (folder, name) in enumerate(WORDNET):
            for i in range(count):
                layout.add(f"{part}/{folder}/{folder}_{i}.jpg", label, name, part == "val")
    (root / "imagenet/classnames.txt").write_text(NAMES)
    return layout


def imagenet_test(folder: str, image_dir: str, numbered: bool = False, skip: int = 0) -> Callable:
    def write(root: Path) -> Layout:
        layout = Layout(root / folder / image_dir, test=set(), counts=(3, 0, 3))
        for label, (wordnet, name) in enumerate(WORDNET[skip:]):
            for i in range(3):
                layout.add(f"{label if numbered else wordnet}/{i}.jpg", label, name)
        layout.test = set(layout.rows)
        (layout.image_dir / "README.txt").write_text("no class")
        (root / folder / "classnames.txt").write_text(NAMES)
        return layout

    return write


FASHION_TASKS = 20


def fashion(index: int) -> Callable:
    """One task of Fashion-20, with classes of very different sizes; the list of all tasks is written each time."""

    def write(root: Path) -> Layout:
        folder = root / "fashion20"
        layout = Layout(folder / f"images/{index}")
        for label in range(2):
            for i in range(PER_CLASS):
                layout.add(f"{label}/{i}.jpg", label, f"kind {label} of {index}")
        lines = ["index\ttask_name\ttask_desc\tlabel_name"]
        lines += [f"{i}\ttask_{i}\tno use\tkind 0 of {i}, kind 1 of {i}" for i in range(FASHION_TASKS)]
        (folder / "task_info.csv").write_text("\n".join(lines) + "\n")
        layout.annotations = (folder / "task_info.csv",)
        return layout

    return write


FASHION = (
    "PantsType PantsLength WaistType CollarType SleeveType SleeveLength TopPattern ShoeMaterial ShoeStyle HeelShape "
    "HeelThickness HeelHeight UpperHeight ToeCapStyle HatStyle SocksLength SocksType SkirtLength ButtonRows "
    "UnderwearStyle"
).split()

LAYOUTS: dict[str, Callable[[Path], Layout]] = {
    "Caltech101": folders(
        "caltech-101/101_ObjectCategories",
        {"Faces": "face", "Motorbikes": "motorbike", "accordion": "accordion", "wild_cat": "wild_cat"},
        junk=("BACKGROUND_Google/image_0001.jpg", "Faces_easy/image_0001.jpg"),
    ),
    "DescribableTextures": folders("dtd/images", {"banded": "banded", "polka-dotted": "polka-dotted"}),
    "EuroSAT": folders(
        "eurosat/2750", {"AnnualCrop": "Annual Crop Land", "Forest": "Forest", "SeaLake": "Sea or Lake"}
    ),
    "FGVCAircraft": aircraft,
    "Food101": folders("food-101/images", {"apple_pie": "apple_pie", "beef_tartare": "beef_tartare", "pho": "pho"}),
    "OxfordFlowers": flowers,
    "OxfordPets": pets,
    "StanfordCars": cars,
    "SUN397": sun,
    "UCF101": ucf,
    "ImageNet": imagenet,
    "ImageNetV2": imagenet_test("imagenetv2", "imagenetv2-matched-frequency-format-val", numbered=True),
    "ImageNetSketch": imagenet_test("imagenet-sketch", "images"),
    "ImageNetA": imagenet_test("imagenet-adversarial", "imagenet-a", skip=2),
    "ImageNetR": imagenet_test("imagenet-rendition", "imagenet-r", skip=1),
    "FruitVegetable": shipped_parts("fruit_vegetable", ("apple", "bell pepper", "sweetcorn")),
    "KaggleFlower": folders(
        "kaggle_flower_recognition/flowers",
        {"daisy": "daisy", "dandelion": "dandelion", "tulip": "tulip"},
        junk=("dandelion/run_me.py", "dandelion/flickr.pyc"),
    ),
    "KaggleMushroom": folders("kaggle_mushroom/Mushrooms", {"Agaricus": "Agaricus", "Boletus": "Boletus"}),
    "KaggleVegetable": shipped_parts("kaggle_vegetable", ("Bean", "Bitter_Gourd")),
    "PlantSeedlingV1": folders(
        "PlantSeedlingV1/Nonsegmented", {"Black-grass": "Black-grass", "Common wheat": "Common wheat"}, ".png"
    ),
    "PlantVillage": folders(
        "PlantVillage/Plant_leave_diseases_dataset_without_augmentation",
        {
            "Apple___Apple_scab": "apple leaf with scab",
            "Background_without_leaves": "background without leaves",
            "Corn___Cercospora_leaf_spot Gray_leaf_spot": "corn with gray leaf spot",
            "Grape___healthy": "healthy grape leaf",
            "Pepper,_bell___Bacterial_spot": "bell pepper leaf with bacterial spot",
            "Tomato___Leaf_Mold": "tomato with leaf mold",
            "Tomato___Tomato_mosaic_virus": "tomato leaf with mosaic virus",
        },
    ),
    "AID": folders("aid/AID", {"BareLand": "bare land", "Center": "city center", "Pond": "pond"}),
    "RESISC45": folders("resisc45/NWPU-RESISC45", {"airplane": "airplane", "circular_farmland": "circular farmland"}),
    "UCMerced": folders(
        "uc_merced/UCMerced_LandUse/Images", {"beach": "beach", "storagetanks": "storage tanks"}, ".tif"
    ),
    "WHURS19": folders(
        "whu_rs19/WHU-RS19", {"Airport": "airport", "Parking": "parking lot", "footballField": "football field"}
    ),
    "RSSCN7": folders("rsscn7/RSSCN7", {"aGrass": "grassland", "dRiverLake": "river or lake"}),
    "OPTIMAL31": folders("optimal31/Images", {"baseball_diamond": "baseball diamond", "lake": "lake"}),
    "RSICB128": folders(
        "rsi_cb128/RSI-CB128",
        {
            "transportation and facilities/airport_runway": "airport runway",
            "woodland/artificial_grassland": "artificial grassland",
            "other land/bare_land": "bare land",
        },
        ".tif",
    ),
    **{f"Fashion{name}": fashion(index) for index, name in enumerate(FASHION)},
}


def lay_out(name: str, root: Path) -> Layout:
    """Write the miniature of a data set below `root`."""
    return LAYOUTS[name](root)


def write_split(name: str, layout: Layout, folder: Path) -> Path:
    """CoOp's split file for a layout, in an order and with parts that no reader would make itself."""
    split: dict[str, list] = {"train": [], "val": [], "test": []}
    for i, (path, (label, classname)) in enumerate(reversed(sorted(layout.rows.items()))):
        split[("train", "test", "train", "val", "train")[i % 5]].append([path, label, classname])
    file = folder / f"split_zhou_{name}.json"
    file.write_text(json.dumps(split))
    return file


def as_published(monkeypatch, name: str, layout: Layout) -> None:
    """Make the miniature count as the complete data set."""
    dataset = DATASET_REGISTRY.get(name)
    monkeypatch.setattr(dataset, "n_classes", len(layout.classnames))
    monkeypatch.setattr(dataset, "n_images", (len(layout.rows),))
