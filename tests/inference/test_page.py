"""The page of the demo: its answers, and the page itself in a headless chromium."""

import functools
import json
import socket
import sys

import numpy as np
import pytest
import torch
import toy
from browser import chromium
from dassl.utils import read_image
from PIL import Image
from torch.nn.functional import cosine_similarity
from toy import TASKS
from waiting import wait_for

from scripts.demo import page
from trainers.finished import load
from trainers.finished.predictors import RunPredictor


@pytest.fixture(scope="module")
def picture(toy_root):
    return next(iter(sorted((toy_root / "toy/flower/images").glob("test-1-*.png"))))


# -- the answers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["SoftCPT", "CoCoOp", "PLOT", "MaPLe", "LinearProbe"])
def test_answers_match_the_run_and_zero_shot(method, finished_run, picture):
    trainer = load.load_run(finished_run(method))
    answers = RunPredictor(trainer, zero_shot=True).answers(read_image(str(picture)))
    assert [answer.task for answer in answers] == TASKS
    x = trainer.test_transform(read_image(str(picture))).unsqueeze(0).to(trainer.device)
    logits = trainer.model_inference(x).detach()
    with torch.no_grad():
        feature = trainer.clip.encode_image(x)[0]
    for t, (answer, task) in enumerate(zip(answers, trainer.tasks)):
        tuned = logits[0, trainer.class_task == t].softmax(0).tolist()
        assert list(answer.tuned) == list(answer.zero_shot) == list(task.classnames)
        assert list(answer.tuned.values()) == pytest.approx(tuned, abs=1e-4)
        sentences = [task.template.format(name.replace("_", " ")) for name in task.classnames]
        cosines = torch.stack([cosine_similarity(feature, trainer.clip.encode_text([s])[0], dim=0) for s in sentences])
        expected = (trainer.clip.logit_scale.exp() * cosines).softmax(0).tolist()
        assert list(answer.zero_shot.values()) == pytest.approx(expected, abs=1e-4)


def test_images_of_any_mode_have_answers(finished_run):
    classifiers = RunPredictor(load.load_run(finished_run("SoftCPT")), zero_shot=True)
    for mode in ("RGB", "L", "RGBA", "P", "CMYK", "1", "I;16", "LA"):
        for answer in classifiers.answers(Image.new("RGB", (50, 40), (200, 30, 30)).convert("L").convert(mode)):
            assert sum(answer.tuned.values()) == pytest.approx(1, abs=1e-5), mode
            assert sum(answer.zero_shot.values()) == pytest.approx(1, abs=1e-5), mode


def test_file_is_read_as_predict_reads_it(finished_run, tmp_path):
    """16-bit grey, which Pillow would make white."""
    pixels = np.random.default_rng(0).integers(0, 65536, (40, 50), dtype=np.uint16)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray((pixels >> 8).astype(np.uint8)).save(tmp_path / "b.png")
    classifiers = RunPredictor(load.load_run(finished_run("SoftCPT")), zero_shot=True)
    answers = classifiers.answers(str(tmp_path / "a.png"))
    assert answers == classifiers.answers(tmp_path / "b.png") == classifiers.answers(Image.fromarray(pixels))
    assert answers != classifiers.answers(Image.new("RGB", (50, 40), "white"))


# -- the page --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    pytest.importorskip("gradio", reason="gradio is not installed: requirements-page.txt")
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


def free_port():
    with socket.socket() as some:
        some.bind(("127.0.0.1", 0))
        return some.getsockname()[1]


def test_dropped_image_is_answered_without_network(browser, finished_run, picture, monkeypatch):
    run, port, served, build = finished_run("SoftCPT"), free_port(), [], page.build_page
    monkeypatch.setattr(page, "build_page", lambda *args: served.append(build(*args)) or served[0])
    monkeypatch.setattr(page, "serve", functools.partial(page.serve, block=False))
    try:
        assert page.main([str(run), "--port", str(port)]) == 0
        browser.get(f"http://127.0.0.1:{port}/")
        file = wait_for(lambda: browser.find_elements("css selector", "#picture input[type=file]"))[0]
        text = browser.find_element("tag name", "body").text
        assert "SoftCPT NATA on ToyTasks" in text and all(task in text for task in TASKS)
        file.send_keys(str(picture))

        def shown(column):
            return [element.text for element in browser.find_elements("css selector", f".{column} .output-class")]

        wait_for(lambda: len(shown("tuned")) == len(shown("zero-shot")) == len(TASKS))
        answers = RunPredictor(load.load_run(run), zero_shot=True).answers(read_image(str(picture)))
        assert shown("tuned") == [max(answer.tuned, key=answer.tuned.get) for answer in answers]
        assert shown("zero-shot") == [max(answer.zero_shot, key=answer.zero_shot.get) for answer in answers]
        assert [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
        events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
        urls = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
        here = ("http://127.0.0.1", "data:", "blob:", "chrome:", "about:")
        assert len(urls) > 5 and [url for url in urls if not url.startswith(here)] == []
        headers = [e["params"]["response"]["headers"] for e in events if e["method"] == "Network.responseReceived"]
        assert any("default-src 'self'" in own.get("content-security-policy", "") for own in headers)
    finally:
        for some in served:
            some.close()


def test_missing_gradio_and_wrong_run_are_one_line_errors(without_package, tmp_path, capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, "gradio", raising=False)
    without_package("gradio")
    assert page.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"error: {page.HINT}\n"
    monkeypatch.setattr(page, "import_gradio", lambda: None)
    assert page.main([str(tmp_path)]) == 2
    assert "is not the folder of a run: it has no config.yaml" in capsys.readouterr().err
    assert page.main([str(tmp_path), "--backbone", "RN50"]) == 2
    assert "--backbone: it is the CLIP of an export" in capsys.readouterr().err
    (tmp_path / "model.safetensors").touch()
    assert page.main([str(tmp_path / "model.safetensors")]) == 2
    assert "model.safetensors is not an exported classifier" in capsys.readouterr().err


def test_export_answers_what_its_run_does(finished_run, model, picture):
    image = read_image(str(picture))
    ours, title = page.predictor_of(model, "", toy.CLIP)
    run, title_of_run = page.predictor_of(finished_run("SoftCPT"), "", "")
    assert title == title_of_run == "SoftCPT NATA on ToyTasks" and ours.tasks == run.tasks
    for own, expected in zip(ours.answers(image), run.answers(image), strict=True):
        assert own.task == expected.task and own.zero_shot == {} and list(own.tuned) == list(expected.tuned)
        assert list(own.tuned.values()) == pytest.approx(list(expected.tuned.values()), abs=1e-5)
