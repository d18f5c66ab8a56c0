"""Pictures with an EXIF orientation: turned in training, testing and predicting alike, or nowhere."""

import export
import numpy as np
import pytest
import torch
import toy
import yaml
from dassl.engine import build_trainer
from dassl.utils import read_image
from PIL import Image

import train
from softcpt.evaluation.predictions import PREDICTIONS_FILE, read_predictions
from softcpt.files import CHECKPOINT
from softcpt.inference import load_classifier, write_export
from softcpt.inference.images import image_batches
from trainers.finished.export import export_of
from trainers.finished.load import load_run
from trainers.finished.predictors import RunPredictor

BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}  # orientation: how the upright picture lies in the file
OWN = {"dataset": "FolderTasks"}
OPTS = ("DATASET.NUM_SHOTS", 2, "OPTIM.MAX_EPOCH", 2)


def lay_down(root):
    """Store every picture as a phone does, in all eight orientations, with the EXIF entry that makes it upright."""
    for number, path in enumerate(sorted(root.rglob("*.png"))):
        orientation, image = 1 + number % 8, Image.open(path)
        exif = Image.Exif()
        exif[0x0112] = orientation
        image = image.transpose(BACK[orientation]) if orientation > 1 else image
        image.save(path, exif=exif)


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """The same own pictures twice: upright, and turned with an EXIF entry."""
    folders = [tmp_path_factory.mktemp(name) / "data" for name in ("upright", "turned")]
    for folder in folders:
        toy.draw_folders(folder)
    for path in folders[0].rglob("*.png"):  # of another width than height
        for folder in folders:
            image = Image.open(folder / path.relative_to(folders[0])).resize((48, 64))
            image.save(folder / path.relative_to(folders[0]))
    lay_down(folders[1])
    return folders


def finish(root, out, method, *opts):
    toy.finish(toy.arguments(root, out, method, *OPTS, *opts, **OWN))
    return out


@pytest.fixture(scope="module")
def runs(roots, tmp_path_factory):
    """A run of a linear probe on each: its probabilities depend on the pictures alone."""
    return [finish(root, tmp_path_factory.mktemp("runs") / "run", "LinearProbe") for root in roots]


def learned(run):
    return torch.load(run / "prompt_learner" / (run / CHECKPOINT).read_text().strip(), weights_only=True)["state_dict"]


@pytest.mark.parametrize(
    ("method", "opts"),
    [
        ("CoOp", ()),
        ("SoftCPT", ("FEATURES.TRAIN_VIEWS", 2)),
        ("TipAdapterF", ()),
        ("LinearProbe", ("FEATURES.TEST_CACHE", False)),
    ],
)
def test_training_and_testing_see_upright_pictures(method, opts, roots, tmp_path):
    """To the last bit the numbers of upright twins, in augmented, cached and plain reading."""
    upright, turned = (finish(root, tmp_path / root.parent.name / "run", method, *opts) for root in roots)
    ours, theirs = learned(turned), learned(upright)
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert read_predictions(turned / PREDICTIONS_FILE) == read_predictions(upright / PREDICTIONS_FILE)
    assert yaml.safe_load((turned / "config.yaml").read_text())["INPUT"]["UPRIGHT"] is True


def test_predictions_are_those_of_the_test(roots, runs, tmp_path):
    paths = sorted((roots[1] / "warm things").rglob("*.png"))
    predictor = RunPredictor(load_run(runs[1]))
    batches = image_batches(paths, predictor.transform, predictor.upright)
    found = torch.cat([predictor.scores(batch.images, "warm things")[""] for batch in batches])
    tested = {row.image: row.probability for row in read_predictions(runs[1] / PREDICTIONS_FILE)}
    rows = [(path.relative_to(roots[1]).as_posix(), p.max().item()) for path, p in zip(paths, found)]
    both = [(p, tested[path]) for path, p in rows if path in tested]
    assert len(both) == 2
    np.testing.assert_allclose(*zip(*both), atol=1e-4)

    model = tmp_path / "model.safetensors"
    assert export.main([str(runs[1]), str(model)]) == 0
    classifier, twins = (
        load_classifier(model, toy.CLIP, "cpu"),
        [roots[0] / path.relative_to(roots[1]) for path in paths],
    )
    np.testing.assert_allclose(classifier.predict_proba(paths, "warm things"), found, atol=1e-5)
    for same in (twins, [Image.open(path) for path in paths], [np.asarray(Image.open(path)) for path in twins]):
        again = classifier.predict_proba(same, "warm things")
        assert (again == classifier.predict_proba(paths, "warm things")).all()
    page = RunPredictor(predictor.trainer, zero_shot=True)
    for path, twin in zip(paths, twins):
        assert page.answers(path) == page.answers(twin)


def test_coops_data_sets_are_read_as_coop_reads_them(tmp_path):
    root = toy.draw(tmp_path / "data")
    lay_down(root)
    trainer = build_trainer(toy.config(root, tmp_path / "run", "CoOp"))
    assert trainer.cfg.INPUT.UPRIGHT is False and "upright" not in trainer.caching[2]
    items = trainer.dm.dataset.test
    x = torch.stack([trainer.test_transform(read_image(item.impath)) for item in items])
    assert torch.equal(torch.cat([batch["img"] for batch in trainer.test_loader]), trainer.encode_batch(x))
    assert torch.equal(trainer.features_of(items)[0], trainer.encode_batch(x).float())
    predictor = RunPredictor(trainer)
    batch = next(image_batches([items[1].impath], predictor.transform, predictor.upright))
    assert torch.equal(batch.images[0], x[1])


def test_key_decides_for_any_data_set_and_is_part_of_the_cached_features(roots, tmp_path):
    given = {}
    for value in ("True", "False", "None"):
        trainer = build_trainer(toy.config(roots[1], tmp_path / "run", "CoOp", "INPUT.UPRIGHT", value, **OWN))
        given[value] = torch.cat([batch["img"] for batch in trainer.test_loader])
        assert trainer.caching[2].get("upright", False) == trainer.cfg.INPUT.UPRIGHT == (value != "False")
    assert torch.equal(given["True"], given["None"]) and not torch.equal(given["True"], given["False"])
    for value in ("yes", 1, 3):
        with pytest.raises(ValueError, match=f"INPUT.UPRIGHT: {value!r} is not legal; one of True, False, or None"):
            build_trainer(toy.config(roots[1], tmp_path / "run", "CoOp", "INPUT.UPRIGHT", value, **OWN))


def forget(run):
    """Make a run one of an older version, whose config does not have the key."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    del config["INPUT"]["UPRIGHT"]
    (run / "config.yaml").write_text(yaml.safe_dump(config))


def test_older_run_goes_on_as_it_began(roots, tmp_path, capsys):
    """It turned no picture: it is predicted with, evaluated and resumed so, or not at all."""
    run = finish(roots[1], tmp_path / "run", "CoOp", "INPUT.UPRIGHT", "False")
    tested = read_predictions(run / PREDICTIONS_FILE)
    forget(run)
    predictor = RunPredictor(load_run(run))
    assert predictor.upright is False
    arguments = toy.arguments(roots[1], tmp_path / "again", "CoOp", *OPTS, **OWN)
    toy.finish([*arguments, "--eval-only", "--model-dir", str(run)])
    assert read_predictions(tmp_path / "again" / PREDICTIONS_FILE) == tested
    same = toy.arguments(roots[1], run, "CoOp", *OPTS, **OWN)
    capsys.readouterr()
    with toy.as_a_process():
        assert train.main(same) == 2
    assert "INPUT.UPRIGHT (False there, True here)" in capsys.readouterr().err
    with toy.as_a_process():
        assert train.main([*same, "INPUT.UPRIGHT", "False"]) == 0


def test_export_follows_its_run(roots, runs, tmp_path):
    found = []
    for upright in (True, False):
        file = tmp_path / f"{upright}.safetensors"
        write_export(file, export_of(load_run(runs[1], settings={"INPUT.UPRIGHT": upright}), runs[1]))
        classifier = load_classifier(file, toy.CLIP, "cpu")
        assert classifier.export.upright is upright
        found.append(classifier.predict_proba(sorted((roots[1] / "warm things").rglob("*.png")), "warm things"))
    assert (found[0] != found[1]).any()
