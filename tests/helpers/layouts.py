"""Miniatures of the data sets' raw layouts: a few classes each, in the folders and annotation formats as published.

`lay_out(name, root)` writes one and returns what a reader must find in it, written down independently of the readers.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import scipy.io
from PIL import Image

PER_CLASS = 10  # images per class without official parts: 5 train, 2 val, 3 test
TRAINVAL, TEST = 10, 4  # images per class with an official test part: 8 train, 2 val, 4 test


@dataclass
class Layout:
    """What was laid out: the folder of the images, and {path below it: (label, class name)}."""

    image_dir: Path
    rows: dict[str, tuple[int, str]] = field(default_factory=dict)
    test: set[str] | None = None  # paths of the official test part
    counts: tuple[int, int, int] = (5, 2, 3)  # per class
    annotations: tuple[Path, ...] = ()  # not needed where there is a split file

    @property
    def classnames(self) -> list[str]:
        return [name for _, name in sorted(set(self.rows.values()))]


_written = 0


def write_image(path: Path, content: bytes | None = None) -> None:
    """An 8 x 8 image; its bytes differ from all others unless `content` is given."""
    global _written
    path.parent.mkdir(parents=True, exist_ok=True)
    if content is None:
        _written += 1
        content = _pixels(path.suffix.lower()) + b"%08d" % _written  # decoders ignore what follows the image
    path.write_bytes(content)


def _pixels(suffix: str, _cache: dict[str, bytes] = {}) -> bytes:  # noqa: B006
    if suffix not in _cache:
        buffer = io.BytesIO()
        kind = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".tif": "TIFF"}[suffix]
        Image.new("RGB", (8, 8), (200, 120, 40)).save(buffer, kind)
        _cache[suffix] = buffer.getvalue()
    return _cache[suffix]


def folders(image_dir: str, classes: dict[str, str], suffix: str = ".jpg", junk: tuple[str, ...] = ()) -> Callable:
    """One folder per class; `classes` maps the folders, in the order of the labels, to the class names to expect."""

    def write(root: Path) -> Layout:
        layout = Layout(root / image_dir)
        for label, (folder, name) in enumerate(classes.items()):
            for i in range(PER_CLASS):
                path = f"{folder}/{Path(folder).name}_{i:04d}{suffix}"
                write_image(layout.image_dir / path)
                layout.rows[path] = (label, name)
        for path in junk:  # what lies about in the published folders
            (layout.image_dir / path).parent.mkdir(parents=True, exist_ok=True)
            (layout.image_dir / path).write_bytes(b"no image")
        return layout

    return write


def aircraft(root: Path) -> Layout:
    layout = Layout(root / "fgvc_aircraft/images", test=set(), counts=(4, 3, 3))
    names, number = ("707-320", "Boeing 717", "DHC-8-100"), 34309
    lists: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for part, count in zip(lists, layout.counts):
        for _ in range(count):
            for label, name in enumerate(names):
                number += 7
                image = f"{number:07d}"
                write_image(layout.image_dir / f"{image}.jpg")
                layout.rows[f"{image}.jpg"] = (label, name)
                layout.test |= {f"{image}.jpg"} if part == "test" else set()
                lists[part].append(f"{image} {name}")
    folder = layout.image_dir.parent
    (folder / "variants.txt").write_text("\n".join(names) + "\n")
    for part, lines in lists.items():
        (folder / f"images_variant_{part}.txt").write_text("\n".join(lines) + "\n")
    layout.annotations = tuple(folder.glob("*.txt"))
    return layout


def flowers(root: Path) -> Layout:
    layout = Layout(root / "oxford_flowers/jpg")
    names = {"1": "pink primrose", "2": "hard-leaved pocket orchid", "3": "canterbury bells"}
    labels = [1 + i % 3 for i in range(3 * PER_CLASS)]
    for number, label in enumerate(labels, start=1):
        path = f"image_{number:05d}.jpg"
        write_image(layout.image_dir / path)
        layout.rows[path] = (label - 1, names[str(label)])
    folder = layout.image_dir.parent
    scipy.io.savemat(folder / "imagelabels.mat", {"labels": np.array([labels], dtype=np.uint8)})
    (folder / "cat_to_name.json").write_text(json.dumps(names))
    layout.annotations = (folder / "imagelabels.mat", folder / "cat_to_name.json")
    return layout


def pets(root: Path) -> Layout:
    layout = Layout(root / "oxford_pets/images", test=set(), counts=(8, 2, TEST))
    breeds = {"Abyssinian": "abyssinian", "american_bulldog": "american_bulldog", "Egyptian_Mau": "egyptian_mau"}
    annotations = root / "oxford_pets/annotations"
    annotations.mkdir(parents=True)
    for file, first, count in (("trainval", 1, TRAINVAL), ("test", 101, TEST)):
        lines = []
        for label, (breed, name) in enumerate(breeds.items()):
            for i in range(first, first + count):
                write_image(layout.image_dir / f"{breed}_{i}.jpg")
                layout.rows[f"{breed}_{i}.jpg"] = (label, name)
                layout.test |= {f"{breed}_{i}.jpg"} if file == "test" else set()
                lines.append(f"{breed}_{i} {label + 1} {1 + (label == 1)} 1")
        (annotations / f"{file}.txt").write_text("\n".join(lines) + "\n")
    (layout.image_dir / "Abyssinian_101.mat").write_bytes(b"lies about")
    layout.annotations = tuple(annotations.iterdir())
    return layout


def cars(root: Path) -> Layout:
    folder = root / "stanford_cars"
    layout = Layout(folder, test=set(), counts=(8, 2, TEST))
    published = ["AM General Hummer SUV 2000", "Acura TL Sedan 2012", "Audi TTS Coupe 2012"]
    names = ["2000 AM General Hummer SUV", "2012 Acura TL Sedan", "2012 Audi TTS Coupe"]
    (folder / "devkit").mkdir(parents=True)
    files = {"train": "devkit/cars_train_annos.mat", "test": "cars_test_annos_withlabels.mat"}
    for part, count in (("train", TRAINVAL), ("test", TEST)):
        records = []
        for i in range(count * len(names)):
            label, image = i % len(names), f"{i + 1:05d}.jpg"
            write_image(folder / f"cars_{part}" / image)
            layout.rows[f"cars_{part}/{image}"] = (label, names[label])
            layout.test |= {f"cars_{part}/{image}"} if part == "test" else set()
            records.append((1.0, 2.0, 7.0, 8.0, float(label + 1), image))
        fields = ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname"]
        array = np.array([records], dtype=object).reshape(len(records), len(fields))
        struct = np.empty((1, len(records)), dtype=[(name, object) for name in fields])
        for column, name in enumerate(fields):
            struct[name][0] = array[:, column]
        scipy.io.savemat(folder / files[part], {"annotations": struct})
    cells = np.array([published], dtype=object)
    scipy.io.savemat(folder / "devkit/cars_meta.mat", {"class_names": cells})
    layout.annotations = (*(folder / file for file in files.values()), folder / "devkit/cars_meta.mat")
    return layout


def sun(root: Path) -> Layout:
    layout = Layout(root / "sun397/SUN397", test=set(), counts=(8, 2, TEST))
    classes = {"/a/abbey": "abbey", "/a/apse/indoor": "indoor apse", "/b/bazaar/outdoor": "outdoor bazaar"}
    (root / "sun397").mkdir()
    (root / "sun397/ClassName.txt").write_text("\n".join(classes) + "\n")
    for file, first, count in (("Training_01.txt", 0, TRAINVAL), ("Testing_01.txt", 50, TEST)):
        lines = []
        for label, (folder, name) in enumerate(classes.items()):
            for i in range(first, first + count):
                path = f"{folder[1:]}/sun_{label}{i:04d}.jpg"
                write_image(layout.image_dir / path)
                layout.rows[path] = (label, name)
                layout.test |= {path} if file == "Testing_01.txt" else set()
                lines.append(f"/{path}")
        (root / "sun397" / file).write_text("\n".join(lines) + "\n")
    layout.annotations = tuple((root / "sun397").glob("*.txt"))
    return layout


def ucf(root: Path) -> Layout:
    layout = Layout(root / "ucf101/UCF-101-midframes", test=set(), counts=(8, 2, TEST))
    classes = {"ApplyEyeMakeup": "Apply_Eye_Makeup", "Archery": "Archery", "HandstandPushups": "Handstand_Pushups"}
    lists = root / "ucf101/ucfTrainTestlist"
    lists.mkdir(parents=True)
    (lists / "classInd.txt").write_text("".join(f"{i} {name}\r\n" for i, name in enumerate(classes, start=1)))
    for file, first, count in (("trainlist01", 8, TRAINVAL), ("testlist01", 1, TEST)):
        lines = []
        for label, (action, folder) in enumerate(classes.items()):
            for i in range(first, first + count):
                video = f"v_{action}_g{i:02d}_c01"
                write_image(layout.image_dir / folder / f"{video}.jpg")
                layout.rows[f"{folder}/{video}.jpg"] = (label, folder)
                layout.test |= {f"{folder}/{video}.jpg"} if file == "testlist01" else set()
                lines.append(f"{action}/{video}.avi" + (f" {label + 1}" if file == "trainlist01" else ""))
        (lists / f"{file}.txt").write_text("\n".join(lines) + "\n")
    layout.annotations = tuple(lists.iterdir())
    return layout


def shipped_parts(folder: str, classes: tuple[str, ...]) -> Callable:
    """train, validation and test folders; all of validation is also in test, and one test image also in train."""

    def write(root: Path) -> Layout:
        layout = Layout(root / folder / "images", test=set(), counts=(8, 2, TEST))
        for label, name in enumerate(classes):
            row = (label, name.replace("_", " "))
            for i in range(TEST):
                path = f"test/{name}/Image_{i}.jpg"
                write_image(layout.image_dir / path)
                layout.rows[path] = row
                layout.test.add(path)
                content = (layout.image_dir / path).read_bytes()
                write_image(layout.image_dir / f"validation/{name}/Image_{i}.jpg", content)
            write_image(layout.image_dir / f"train/{name}/Image_900.jpg", content)
            for i in range(TRAINVAL):
                write_image(layout.image_dir / f"train/{name}/Image_{i}.jpg")
                layout.rows[f"train/{name}/Image_{i}.jpg"] = row
        return layout

    return write


NAMES = "n01440764 tench\nn01443537 goldfish\nn04008634 missile\nn04355933 missile\n"  # one name twice, as in CLIP's
WORDNET = [line.split() for line in NAMES.splitlines()]


def imagenet(root: Path) -> Layout:
    layout = Layout(root / "imagenet/images", test=set(), counts=(PER_CLASS, TEST, TEST))
    for part, count in (("train", PER_CLASS), ("val", TEST)):
        for label, (folder, name) in enumerate(WORDNET):
            for i in range(count):
                path = f"{part}/{folder}/{folder}_{i}.jpg"
                write_image(layout.image_dir / path)
                layout.rows[path] = (label, name)
                layout.test |= {path} if part == "val" else set()
    (root / "imagenet/classnames.txt").write_text(NAMES)
    return layout


def imagenet_test(folder: str, image_dir: str, numbered: bool = False, skip: int = 0) -> Callable:
    def write(root: Path) -> Layout:
        layout = Layout(root / folder / image_dir, test=set(), counts=(3, 0, 3))
        for label, (wordnet, name) in enumerate(WORDNET[skip:]):
            for i in range(3):
                path = f"{label if numbered else wordnet}/{i}.jpg"
                write_image(layout.image_dir / path)
                layout.rows[path] = (label, name)
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
                write_image(layout.image_dir / f"{label}/{i}.jpg")
                layout.rows[f"{label}/{i}.jpg"] = (label, f"kind {label} of {index}")
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
        "whu_rs19/WHU-RS19",
        {"Airport": "airport", "Parking": "parking lot", "footballField": "football field"},
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
