"""data.py verify: zero-shot accuracy beside the published one, on miniatures."""

import csv
import hashlib

import data as data_script
import numpy as np
import pytest
import torch
import toy
from clip import clip
from dassl.data.datasets import DATASET_REGISTRY
from dassl.utils import read_image

from datasets.benchmarks import General10
from softcpt.backbones import openai
from softcpt.backbones.openai import published_name
from softcpt.evaluation.published import TABLE, Published, published_of, read_published
from trainers.finished import load
from trainers.finished.verification import percentages

CLIP = f"{toy.GOLDEN}/tiny_vit.npz@quickgelu"
HEADER = ("dataset", "backbone", "accuracy", "metric", "template", "source")


def write_table(path, *rows):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([HEADER, *rows])
    return path


@pytest.fixture
def verify(toy_root, tmp_path, capsys, monkeypatch):
    """Runs `data.py verify` with a table of the given rows; returns (exit status, output)."""
    monkeypatch.chdir(tmp_path)

    def run(name, *rows, root=toy_root, flags=()):
        table = write_table(tmp_path / "table.csv", *rows)
        words = ["verify", name, "--backbone", CLIP, "--root", str(root), "--table", str(table), *flags]
        status = data_script.main(words)
        return status, capsys.readouterr().out

    return run


def naive(toy_root, name, template):
    """(accuracy, mean per class) of a toy data set, image by image, sentence by sentence."""
    trainer = load.zero_shot_trainer(name, CLIP, str(toy_root))
    names = trainer.tasks[0].classnames
    texts = torch.stack([trainer.clip.encode_text([template.format(c.replace("_", " "))])[0] for c in names])
    right = {label: [] for label in range(len(names))}
    for item in trainer.dm.dataset.test:
        image = trainer.test_transform(read_image(item.impath))
        feature = trainer.clip.encode_image(image.unsqueeze(0).to(trainer.device))[0]
        cosines = [torch.nn.functional.cosine_similarity(feature, text, dim=0).item() for text in texts]
        right[item.label].append(int(np.argmax(cosines)) == item.label)
    recalls = [np.mean(values) for values in right.values()]
    return 100 * np.mean(np.concatenate(list(right.values()))), 100 * np.mean(recalls)


def row(dataset, accuracy, metric="accuracy", template="a photo of a {}.", backbone=CLIP):
    return dataset, backbone, f"{accuracy:.2f}", metric, template, "a table of this test"


def test_accuracy_matches_a_naive_loop(verify, toy_root):
    with torch.no_grad():
        plain, recall = naive(toy_root, "ToyAircraft", "a photo of a {}.")
        other, _ = naive(toy_root, "ToyAircraft", "{} in the sky.")
    rows = [
        row("ToyAircraft", plain),
        row("ToyAircraft", recall, "mean_per_class"),
        row("ToyAircraft", other, template="{} in the sky."),
    ]
    status, text = verify("ToyAircraft", *rows)
    assert status == 0, text
    assert text.count("ok   ") == 3 and "3 of 3 published values are met" in text
    assert f"accuracy {plain:.2f}, published {plain:.2f} (+0.00); 15 images" in text
    assert "source: a table of this test" in text


def test_more_than_half_a_point_off_is_wrong(verify, toy_root):
    with torch.no_grad():
        accuracy, _ = naive(toy_root, "ToyFlower", "a photo of a {}.")
    assert verify("ToyFlower", row("ToyFlower", accuracy + 0.5))[0] == 0
    status, text = verify("ToyFlower", row("ToyFlower", accuracy + 0.52))
    assert status == 1
    assert "WRONG" in text and "(-0.52)" in text and "0 of 1" in text and "data.py check ToyFlower" in text


def test_unpublished_accuracy_is_measured_and_nothing_written(verify, tmp_path):
    status, text = verify("ToyTexture", row("ToyTexture", 50, backbone="RN50"), row("ToyFlower", 50))
    assert status == 3
    assert "prompt '{} texture.'" in text and "mean_per_class" in text
    assert "nothing is published for ToyTexture with this CLIP" in text and "Nothing to compare with" in text
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_each_data_set_of_a_benchmark_is_compared(verify, toy_root, tmp_path):
    root = tmp_path / "data"
    (root / "toy").mkdir(parents=True)
    for name in ("flower", "aircraft"):
        (root / "toy" / name).symlink_to(toy_root / "toy" / name)
    with torch.no_grad():
        accuracy, _ = naive(toy_root, "ToyAircraft", "a photo of a {}.")
    status, text = verify("ToyTasks", row("ToyAircraft", accuracy), root=root)
    assert status == 1
    assert [line for line in text.splitlines() if line.startswith("==")] == [
        "== ToyFlower", "== ToyTexture", "== ToyAircraft",
    ]  # fmt: skip
    assert "WRONG  ToyTexture: no folder" in text and "1 of 1 published values are met" in text


def test_folders_are_measured_per_task(verify, toy_root, tmp_path):
    root = tmp_path / "own"
    for name in ("flower", "texture"):
        for path in sorted((toy_root / "toy" / name / "images").iterdir()):
            folder = root / name / f"class {path.name.split('-')[1]}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / path.name).symlink_to(path)
    status, text = verify("FolderTasks", root=root)
    assert status == 3
    assert "images, flower, prompt" in text and "images, texture, prompt" in text


def test_file_is_identified_by_hash_or_flag(verify, toy_root, tmp_path, monkeypatch):
    path = tmp_path / "anything.pt"
    path.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    monkeypatch.setitem(openai.PUBLISHED, digest, "RN50")
    assert published_name(path) == "RN50"
    path.write_bytes(b"other weights")
    assert published_name(path) == "" and published_name(tmp_path / "nothing.pt") == ""
    with torch.no_grad():
        accuracy, _ = naive(toy_root, "ToyFlower", "a photo of a {}.")
    assert verify("ToyFlower", row("ToyFlower", accuracy, backbone="RN50"))[0] == 3
    assert verify("ToyFlower", row("ToyFlower", accuracy, backbone="RN50"), flags=("--published-as", "RN50"))[0] == 0


def test_percentages_by_hand():
    counts = torch.tensor([[3, 1, 0], [0, 0, 0], [2, 0, 4]])
    assert percentages(counts) == {"accuracy": 70.0, "mean_per_class": pytest.approx(100 * (3 / 4 + 4 / 6) / 2)}
    assert percentages(torch.zeros(3, 3, dtype=torch.int64)) == {}


@pytest.mark.parametrize(
    "line, message",
    [
        ("Food101,RN50,many,accuracy,{}.,a", "line 2: accuracy is 'many', not a percentage"),
        ("Food101,RN50,nan,accuracy,{}.,a", "line 2: accuracy is 'nan'"),
        ("Food101,RN50,50,recall,{}.,a", "line 2: metric is 'recall', use one of accuracy, mean_per_class"),
        ("Food101,RN50,50,accuracy,a photo,a", "line 2: template 'a photo' must have one {}"),
        ("Food101,RN50,50,accuracy,{}.,", "line 2: no source"),
        ("Food101,RN50,50,accuracy,{}.,a,b", "line 2: too many fields"),
        ("Food101,RN50,50,accuracy,{}.,a\nFood101,RN50,51,accuracy,{}.,b", "two lines for Food101, RN50"),
    ],
)
def test_invalid_row_is_an_error(line, message, tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(f"{','.join(HEADER)}\n{line}\n")
    with pytest.raises(ValueError, match="table.csv") as error:
        read_published(path)
    assert message in str(error.value)


def test_wrong_header_is_an_error(tmp_path):
    (tmp_path / "table.csv").write_text("dataset,accuracy\nFood101,50\n")
    with pytest.raises(ValueError, match="line 1: the header must be dataset,backbone"):
        read_published(tmp_path / "table.csv")


def test_published_table_is_valid():
    rows = read_published()
    assert len(rows) >= 30 and all(row.source and isinstance(row, Published) for row in rows)
    assert {row.dataset for row in rows} <= set(DATASET_REGISTRY.registered_names())
    assert {row.backbone for row in rows} <= set(clip.available_models())
    # The means that the papers print beside the same rows.
    for backbone, mean in (("RN50", 55.82), ("ViT-B/16", 63.58)):
        ten = [published_of(rows, spec.dataset, backbone)[0].accuracy for spec in General10.specs]
        assert sum(ten) / 10 == pytest.approx(mean, abs=0.006)
    assert TABLE.is_file()
