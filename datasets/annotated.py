"""Data sets whose classes, and for most also the official parts, are listed in annotation files."""

import os
import re

from dassl.data.datasets import DATASET_REGISTRY

from softcpt.files import read_json

from .base import SplitDataset
from .raw import label_of, number_of, read_mat, read_rows
from .splits import Items, datum, split_train_val, split_train_val_test


class ListedDataset(SplitDataset):
    """Text files list the classes and the images of each part. Without a list of validation images, 20 % of the
    training images are these."""

    class_list = ("", ("class",))  # file of the classes in label order and its columns, of which the last is the name
    lists: tuple[str, ...] = ()  # files of the parts' images: train, val if there is one, test
    columns: tuple[str, ...] = ("image",)  # of these files
    optional = 0  # how many of the last columns may be missing

    def listed_classes(self) -> dict[int, str]:
        file, columns = self.class_list
        rows = read_rows(os.path.join(self.dataset_dir, file), columns) if file else ()
        return {label: fields[-1] for label, (_, fields) in enumerate(rows)}

    def read_raw(self) -> tuple[Items, Items, Items]:
        labels = {name: label for label, name in self.listed_classes().items()}
        *trainval, test = (self.read_list(os.path.join(self.dataset_dir, file), labels) for file in self.lists)
        train, val = trainval if len(trainval) == 2 else split_train_val(*trainval)
        return train, val, test

    def read_list(self, path: str, labels: dict[str, int]) -> Items:
        items = []
        for line, fields in read_rows(path, self.columns, optional=self.optional):
            image, key, name = self.entry(*fields)
            label = label_of(key, labels, path, line) if labels else number_of(key, path, line)
            items.append(datum(os.path.join(self.image_dir, image), label, name))
        return items

    def entry(self, *fields: str) -> tuple[str, str, str]:
        """(path below the folder of images, class in the list of classes or its number, name) of a line."""
        raise NotImplementedError


@DATASET_REGISTRY.register()
class FGVCAircraft(ListedDataset):
    """S. Maji et al., "Fine-Grained Visual Classification of Aircraft", arXiv 1306.5151: official parts."""

    dataset_dir = "fgvc_aircraft"
    files = ("images/*.jpg", "variants.txt", *(f"images_variant_{part}.txt" for part in ("train", "val", "test")))
    task_name = "aircraft model recognition"
    template = "a photo of a {}, a type of aircraft."
    metric = "mean_per_class"
    n_classes = 100
    n_images = (3334, 3333, 3333)
    class_list = ("variants.txt", ("variant",))
    lists = tuple(f"images_variant_{part}.txt" for part in ("train", "val", "test"))
    columns = ("image", "variant")

    def entry(self, *fields: str) -> tuple[str, str, str]:
        image, name = fields
        return f"{image}.jpg", name, name


@DATASET_REGISTRY.register()
class OxfordFlowers(SplitDataset):
    """M.-E. Nilsback, A. Zisserman, "Automated flower classification over a large number of classes", 2008.

    As in CoOp, the official split (10 training images per class) is not used.
    """

    dataset_dir = "oxford_flowers"
    image_dir = "jpg"
    files = ("jpg/image_*.jpg", "imagelabels.mat", "cat_to_name.json")
    task_name = "flower species recognition"
    template = "a photo of a {}, a type of flower."
    metric = "mean_per_class"
    n_classes = 102
    n_images = (4093, 1633, 2463)

    def listed_classes(self) -> dict[int, str]:
        path = os.path.join(self.dataset_dir, "cat_to_name.json")
        names = read_json(path)
        if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
            raise ValueError(f"{path}: expected an object of class numbers with their names")
        return {int(number) - 1: name for number, name in names.items() if re.fullmatch("[0-9]{1,9}", number)}

    def read_raw(self) -> tuple[Items, Items, Items]:
        names, items = self.listed_classes(), []
        for number, label in enumerate(read_mat(os.path.join(self.dataset_dir, "imagelabels.mat"), "labels")[0], 1):
            if int(label) - 1 not in names:
                path = os.path.join(self.dataset_dir, "cat_to_name.json")
                raise ValueError(f"{path}: no name for the class {label} of image {number} in imagelabels.mat")
            image = os.path.join(self.image_dir, f"image_{number:05d}.jpg")
            items.append(datum(image, int(label) - 1, names[int(label) - 1]))
        return split_train_val_test(items)


@DATASET_REGISTRY.register()
class OxfordPets(ListedDataset):
    """O. Parkhi, A. Vedaldi, A. Zisserman, C. V. Jawahar, "Cats and Dogs", 2012: 37 breeds, official test images."""

    dataset_dir = "oxford_pets"
    files = ("images/*.jpg", "annotations/trainval.txt", "annotations/test.txt")
    task_name = "pet breed recognition"
    template = "a photo of a {}, a type of pet."
    metric = "mean_per_class"
    n_classes = 37
    n_images = (2944, 736, 3669)
    lists = ("annotations/trainval.txt", "annotations/test.txt")
    columns = ("image", "class", "species", "breed")

    def entry(self, *fields: str) -> tuple[str, str, str]:
        image, number, *_ = fields
        return f"{image}.jpg", number, image.rpartition("_")[0].lower()  # "Egyptian_Mau_12" is image 12 of the breed


@DATASET_REGISTRY.register()
class StanfordCars(SplitDataset):
    """J. Krause, M. Stark, J. Deng, L. Fei-Fei, "3D Object Representations for Fine-Grained Categorization", 2013."""

    dataset_dir = "stanford_cars"
    image_dir = ""
    files = (
        "cars_train/*.jpg",
        "cars_test/*.jpg",
        "devkit/cars_meta.mat",
        "devkit/cars_train_annos.mat",
        "cars_test_annos_withlabels.mat",
    )
    task_name = "car model recognition"
    n_classes = 196
    n_images = (6509, 1635, 8041)

    def listed_classes(self) -> dict[int, str]:
        meta = read_mat(os.path.join(self.dataset_dir, "devkit", "cars_meta.mat"), "class_names")
        return {label: self.year_first(str(name[0])) for label, name in enumerate(meta[0])}

    def read_raw(self) -> tuple[Items, Items, Items]:
        names = list(self.listed_classes().values())
        train, val = split_train_val(self.read_list("cars_train", "devkit/cars_train_annos.mat", names))
        return train, val, self.read_list("cars_test", "cars_test_annos_withlabels.mat", names)

    @staticmethod
    def year_first(name: str) -> str:
        """'Audi TTS Coupe 2012' is '2012 Audi TTS Coupe'."""
        model, _, year = name.rpartition(" ")
        return f"{year} {model}".strip()

    def read_list(self, folder: str, file: str, names: list[str]) -> Items:
        path = os.path.join(self.dataset_dir, file)
        rows = read_mat(path, "annotations")[0]
        if not {"class", "fname"} <= set(rows.dtype.names or ()):
            raise ValueError(f"{path}: the annotations must have the fields class and fname, found {rows.dtype.names}")
        items = []
        for index, (number, image) in enumerate(zip(rows["class"], rows["fname"])):
            label = int(number.item()) - 1
            if not 0 <= label < len(names):
                raise ValueError(f"{path}: annotation {index} has class {label + 1} of {len(names)}")
            items.append(datum(os.path.join(self.dataset_dir, folder, str(image.item())), label, names[label]))
        return items


@DATASET_REGISTRY.register()
class SUN397(ListedDataset):
    """J. Xiao, J. Hays, K. Ehinger, A. Oliva, A. Torralba, "SUN Database", 2010: partition 1."""

    dataset_dir = "sun397"
    image_dir = "SUN397"
    files = ("SUN397/*/*", "ClassName.txt", "Training_01.txt", "Testing_01.txt")
    task_name = "scene recognition"
    n_classes = 397
    n_images = (15880, 3970, 19850)
    class_list = ("ClassName.txt", ("class",))
    lists = ("Training_01.txt", "Testing_01.txt")

    def entry(self, *fields: str) -> tuple[str, str, str]:
        (image,) = fields
        folder = os.path.dirname(image)  # "/a/arch" or "/a/apse/indoor": the second level comes first in the name
        return image[1:], folder, " ".join(reversed(folder.split("/")[2:]))


@DATASET_REGISTRY.register()
class UCF101(ListedDataset):
    """K. Soomro, A. R. Zamir, M. Shah, "UCF101", arXiv 1212.0402: middle frames of the videos, official partition 1."""

    dataset_dir = "ucf101"
    image_dir = "UCF-101-midframes"
    files = (
        "UCF-101-midframes/*/*.jpg",
        *(f"ucfTrainTestlist/{name}.txt" for name in ("classInd", "trainlist01", "testlist01")),
    )
    task_name = "human action recognition"
    template = "a photo of a person doing {}."
    n_classes = 101
    n_images = (7639, 1898, 3783)
    lists = ("ucfTrainTestlist/trainlist01.txt", "ucfTrainTestlist/testlist01.txt")
    columns = ("video", "class")
    optional = 1

    def listed_classes(self) -> dict[int, str]:
        path = os.path.join(self.dataset_dir, "ucfTrainTestlist", "classInd.txt")
        return {number_of(number, path, line): name for line, (number, name) in read_rows(path, ("number", "class"))}

    def entry(self, *fields: str) -> tuple[str, str, str]:
        action, _, video = fields[0].partition("/")
        folder = "_".join(re.findall("[A-Z][^A-Z]*", action))  # "ApplyLipstick" lies in "Apply_Lipstick"
        return os.path.join(folder, f"{os.path.splitext(video)[0]}.jpg"), action, folder
