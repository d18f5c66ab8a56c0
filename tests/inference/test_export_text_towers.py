"""Runs on CLIPs whose text towers are CoCa's or a model of transformers: exports, and tasks that were not trained."""

import export
import miniatures
import pandas as pd
import predict
import pytest
import torch
from dassl.utils import read_image
from toy import TASKS

from softcpt.inference import load_classifier
from trainers.finished.load import load_run
from trainers.finished.predictors import RunPredictor


@pytest.mark.parametrize("family", ["open_clip-coca", "open_clip-bert"])
def test_run_exports_its_predictions_and_serves_a_new_task(family, finished_run, pictures, tmp_path_factory, tmp_path):
    library = miniatures.make(family, tmp_path_factory.getbasetemp() / "miniatures")
    name = library.name
    run, path = finished_run("SoftCPT", "MODEL.BACKBONE.NAME", name), tmp_path / "model.safetensors"
    assert export.main([str(run), str(path)]) == 0
    predictor, classifier = RunPredictor(load_run(run)), load_classifier(path, name, "cpu")
    images = torch.stack([predictor.transform(read_image(str(picture))) for picture in pictures])
    for task in TASKS:
        found = torch.from_numpy(classifier.predict_proba(pictures, task))
        torch.testing.assert_close(found, predictor.scores(images, task)[""], atol=1e-5, rtol=0)

    (tmp_path / "names.txt").write_text("ink cap\nfly agaric\n")
    table = tmp_path / "table.csv"
    task = ["--classes", str(tmp_path / "names.txt"), "--task", "mushroom species recognition", "--template", "a {}."]
    assert predict.main([str(run), *map(str, pictures), *task, "--csv", str(table)]) == 0
    rows = pd.read_csv(table)
    images = torch.stack([load_run(run).test_transform(read_image(path)) for path in rows["path"].unique()])
    with torch.no_grad():  # zero-shot, by the library
        x, text = library.encode_image(images), library.encode_text(library.tokenize(["a ink cap.", "a fly agaric."]))
        cosines = torch.nn.functional.normalize(x) @ torch.nn.functional.normalize(text).T
        expected = (library.model.logit_scale.exp() * cosines).softmax(1)
    found = torch.tensor(rows["zero-shot"].to_numpy()).view(-1, 2).float()
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
