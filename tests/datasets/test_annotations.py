"""Errors in annotation files name the file and the line."""

import layouts
import pytest
from dassl.data.datasets import DATASET_REGISTRY
from data_sets import build

NOT_NAMES = "cat_to_name.json: expected an object of class numbers with their names"


@pytest.mark.parametrize(
    ("name", "file", "change", "message"),
    [
        ("OxfordPets", "annotations/test.txt", lambda s: s + "beagle_1 5\n", "test.txt, line 13: 'beagle_1 5'"),
        ("OxfordPets", "annotations/test.txt", lambda s: s + "beagle_1 x 1 1\n", "line 13: 'x' is not a class number"),
        ("FGVCAircraft", "images_variant_val.txt", lambda s: s + "0034309 Boeing 727\n", "line 10: unknown class"),
        ("SUN397", "Testing_01.txt", lambda s: s + "/a/abbeys/x.jpg\n", "unknown class '/a/abbeys' .*'/a/abbey'"),
        ("UCF101", "ucfTrainTestlist/testlist01.txt", lambda s: s + "Jump/v.avi\n", "line 13: unknown class 'Jump'"),
        ("OxfordFlowers", "cat_to_name.json", lambda s: "{", "cat_to_name.json: not a JSON file"),
        ("OxfordFlowers", "cat_to_name.json", lambda s: '{"1": "a", "3": "b"}', "no name for the class 2"),
        ("OxfordFlowers", "cat_to_name.json", lambda s: "[]", NOT_NAMES),
        ("OxfordFlowers", "cat_to_name.json", lambda s: '{"1": ["a"]}', NOT_NAMES),
        ("OxfordFlowers", "imagelabels.mat", lambda s: "x", "imagelabels.mat: not a MATLAB file"),
        ("StanfordCars", "devkit/cars_meta.mat", lambda s: "x", "cars_meta.mat: not a MATLAB file"),
        ("FashionPantsType", "task_info.csv", lambda s: s.replace("\t", ","), "task_info.csv, line 1"),
        ("FashionPantsType", "task_info.csv", lambda s: s[:200], "expected a header and 20 tasks"),
        ("ImageNet", "classnames.txt", lambda s: s[:15], "n01443537 is not in .*classnames.txt"),
    ],
)
def test_wrong_annotation_error_names_file_and_line(tmp_path, name, file, change, message):
    layouts.lay_out(name, tmp_path)
    path = tmp_path / DATASET_REGISTRY.get(name).dataset_dir / file
    path.write_text(change("x" if path.suffix == ".mat" else path.read_text()))
    with pytest.raises(ValueError, match=message):
        build(tmp_path, name)


def test_missing_annotated_image_is_an_error(tmp_path):
    layout = layouts.lay_out("OxfordPets", tmp_path)
    (layout.image_dir / "Abyssinian_101.jpg").unlink()
    with pytest.raises(FileNotFoundError, match="1 image missing.*Abyssinian_101"):
        build(tmp_path, "OxfordPets")


def test_folder_that_is_no_class_is_refused(tmp_path):
    layout = layouts.lay_out("FashionPantsType", tmp_path)
    (layout.image_dir / "0").rename(layout.image_dir / "²")
    with pytest.raises(ValueError, match="not one of the"):
        build(tmp_path, "FashionPantsType")
