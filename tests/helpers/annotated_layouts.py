"""Miniatures of data sets whose classes or parts are in annotation files: .mat, .txt or .json, as published."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import scipy.io
from layout import PER_CLASS, TEST, TRAINVAL, Layout


def aircraft(root: Path) -> Layout:
    layout = Layout(root / "fgvc_aircraft/images", test=set(), counts=(4, 3, 3))
    names, number = ("707-320", "Boeing 717", "DHC-8-100"), 34309
    lists: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for part, count in zip(lists, layout.counts):
        for _ in range(count):
            for label, name in enumerate(names):
                number += 7
                image = f"{number:07d}"
                layout.add(f"{image}.jpg", label, name, part == "test")
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
        layout.add(f"image_{number:05d}.jpg", label - 1, names[str(label)])
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
                layout.add(f"{breed}_{i}.jpg", label, name, file == "test")
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
            layout.add(f"cars_{part}/{image}", label, names[label], part == "test")
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
                layout.add(path, label, name, file == "Testing_01.txt")
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
                layout.add(f"{folder}/{video}.jpg", label, folder, file == "testlist01")
                lines.append(f"{action}/{video}.avi" + (f" {label + 1}" if file == "trainlist01" else ""))
        (lists / f"{file}.txt").write_text("\n".join(lines) + "\n")
    layout.annotations = tuple(lists.iterdir())
    return layout
