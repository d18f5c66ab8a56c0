"""report.html and report.tex: their content, and the page in a real browser without a network."""

import numpy as np
import pandas as pd
import pytest
import yaml
from browser import chromium
from PIL import Image
from records import record

from softcpt.evaluation.predictions import PREDICTIONS_FILE, Prediction, write_predictions
from softcpt.evaluation.records import write_record
from softcpt.reports import write_report
from softcpt.reports.confusion import BUDGET, of_method, of_rows, thumbnail
from softcpt.reports.html import command_of, shade
from softcpt.reports.latex import escape
from softcpt.reports.sections import BEST, SECOND, best_two

HOSTILE = "<b>owl</b> & \"jay\"<script>document.title='broken'</script>"
CLASSES = ("square", HOSTILE, "disc")
pytestmark = pytest.mark.filterwarnings("ignore:constrained_layout not applied")  # HOSTILE leaves no room in a legend


def draw(root):
    rng = np.random.default_rng(0)
    for i, mode in enumerate(("RGB", "L", "P", "RGBA", "CMYK", "I;16")):
        pixels = Image.fromarray(rng.integers(0, 256, (90, 60, 3), dtype=np.uint8))
        picture = Image.new("I;16", (60, 90), 700) if mode == "I;16" else pixels.convert(mode)
        picture.save(root / f"{i}.{'tif' if mode in ('CMYK', 'I;16') else 'png'}")
    (root / "broken.png").write_bytes(b"no image")


def predictions(seed):
    """Of two tasks; the first confuses squares with the hostile class four times, and discs with squares once."""
    files = ["0.png", "1.png", "2.png", "3.png", "4.tif", "5.tif", "broken.png", "gone.png"]
    rows = [Prediction("shape", files[i], "square", HOSTILE if i < 4 else "square", 0.5 + i / 10) for i in range(6)]
    rows += [Prediction("shape", files[6], "disc", "square", 0.9), Prediction("shape", files[7], HOSTILE, HOSTILE, 0.4)]
    return rows + [Prediction("number of objects", "0.png", f"n{i}", f"n{max(0, i - seed)}", 0.7) for i in range(30)]


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    data = folder / "data"
    data.mkdir()
    draw(data)
    runs = [record("ZeroshotCLIP", "", 0, 1, (35.0, 45.0), train_seconds=None)]
    runs += [record("SoftCPT", "NATA", shots, seed, (50.0 + seed + shots, 60.0)) for shots in (1, 4) for seed in (1, 2)]
    runs += [record("CoOp", HOSTILE, shots, 1, (40.0 + shots, 70.0), train_seconds=8000.0) for shots in (1, 4)]
    for i, run in enumerate(runs):
        path = folder / "runs" / f"run{i}"
        path.mkdir(parents=True)
        (path / "config.yaml").write_text(yaml.safe_dump({"DATASET": {"ROOT": str(data)}}))
        write_record(path / "results.json", {**run, "command": f"python train.py --seed {run['seed']} '{HOSTILE}'"})
        write_predictions(path / PREDICTIONS_FILE, predictions(run["seed"]))
    write_report(folder / "runs", folder / "out")
    return folder / "out"


# -- what is in them ---------------------------------------------------------------------------------------------------


def test_confusions_are_counted_over_all_runs():
    shape, numbers = of_rows([*predictions(1), *predictions(2)])
    row = shape.matrix()[shape.classes.index("square")]
    assert dict(zip(shape.classes, row.tolist())) == {"square": 4, HOSTILE: 8, "disc": 0}
    assert [(pair.classname, pair.predicted, pair.count, pair.of) for pair in shape.pairs] == [
        ("square", HOSTILE, 8, 12),
        ("disc", "square", 2, 2),
    ]
    assert shape.pairs[0].images == [("3.png", 0.8), ("2.png", 0.7), ("1.png", 0.6), ("0.png", 0.5)]
    n5, n3 = map(numbers.classes.index, ("n5", "n3"))
    assert numbers.matrix().sum() == 60 and numbers.counts[n5, n3] == 1


def test_thumbnails_are_made_of_any_readable_image(out):
    data = out.parent / "data"
    assert all(thumbnail(data / name).startswith("data:image/jpeg;base64,") for name in ("1.png", "2.png", "3.png"))
    assert thumbnail(data / "4.tif") and thumbnail(data / "5.tif")
    assert thumbnail(data / "broken.png") == thumbnail(data / "gone.png") == ""


def test_no_picture_from_outside_the_data_is_shown(out, tmp_path):
    """Predictions are a file that anybody can write."""
    outside = out.parent / "outside.png"
    Image.new("RGB", (40, 30)).save(outside)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"DATASET": {"ROOT": str(out.parent / "data")}}))
    run = {**record("SoftCPT", "NATA", 1, 1), "method": "m", "path": str(tmp_path / "results.json")}
    for path, shown in (("../outside.png", 0), ("x/../../outside.png", 0), (str(outside), 0), ("1.png", 1)):
        write_predictions(tmp_path / PREDICTIONS_FILE, [Prediction("shape", path, "disc", "square", 0.9)])
        assert len(of_method([run], "m", 1).tasks[0].pairs[0].thumbnails) == shown


def test_thumbnails_keep_to_the_budget(out, tmp_path):
    run = {**record("SoftCPT", "NATA", 1, 1), "method": "m", "path": str(out.parent / "runs/run1/results.json")}
    sizes = [len(of_method([run], "m", 1, budget=budget).tasks[0].pairs[0].thumbnails) for budget in (0, BUDGET)]
    assert sizes == [0, 4]
    assert f"they are not below {tmp_path}" in of_method([run], "m", 1, data=tmp_path).note
    assert of_method([{**run, "path": str(tmp_path / "results.json")}], "m", 1) is None


def test_truncated_predictions_are_named(tmp_path):
    runs = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_predictions(tmp_path / name / PREDICTIONS_FILE, predictions(1))
        path = str(tmp_path / name / "results.json")
        runs.append({**record(seed=len(runs)), "method": "m", "path": path})
    cut = tmp_path / "b" / PREDICTIONS_FILE
    cut.write_bytes(cut.read_bytes()[:40])
    found = of_method(runs, "m", 1)
    assert found.seeds == [0] and f"Left out: {cut}: not a complete gzip file" in found.note


def test_best_two_are_marked_as_printed():
    means = pd.DataFrame({"x": [1.0, 3.0, 2.0], "y": [5.01, 5.04, 4.0], "z": [1.0, None, 2.0]}, index=list("abc"))
    marks = best_two(means)
    assert marks["x"].tolist() == ["", BEST, SECOND]
    assert marks["y"].tolist() == [BEST, BEST, ""], "5.0 and 5.0 are level"
    assert marks["z"].tolist() == ["", "", ""], "two methods are not marked"


def test_latex_is_escaped_and_marks_the_best(out):
    assert escape(r"a_b & 50% {x} \y ~ ^ # $ ± -3.1 – x-y") == (
        r"a\_b \& 50\% \{x\} \textbackslash{}y \textasciitilde{} \textasciicircum{} \# \$ $\pm$ $-$3.1 -- x-y"
    )
    text = (out / "report.tex").read_text()
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") >= 4
    assert r"\toprule" in text and "<" not in text
    assert text.startswith(r"\documentclass") and text.endswith("\\end{document}\n")


def test_run_without_a_command_is_reproduced_by_its_config(tmp_path):
    run = {**record(), "path": str(tmp_path / "results.json")}
    assert command_of(run) == f"not recorded: {tmp_path}/results.json"
    (tmp_path / "config.yaml").write_text("")
    assert command_of(run) == f"python train.py --config-file {tmp_path}/config.yaml --output-dir NEW_FOLDER"


def test_shade_is_blue_above_and_red_below_zero():
    assert shade(0.5) == "rgba(0, 114, 178, 0.30)" and shade(-2) == "rgba(213, 94, 0, 0.60)"
    assert shade(0) == shade(float("nan")) == ""


# -- in a browser ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser(out, tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        driver.get((out / "report.html").as_uri())
        yield driver


def column(browser, table, place):
    script = "return Array.from(arguments[0].tBodies[0].rows, row => row.cells[arguments[1]].textContent)"
    return browser.execute_script(script, table, place)


def test_page_has_no_errors_and_needs_no_network(browser):
    assert browser.get_log("browser") == [] and browser.title == "Results: Demo"
    urls = browser.execute_script(
        "return Array.from(document.querySelectorAll('[src], [href]'), "
        "element => element.getAttribute('src') || element.getAttribute('href'))"
    )
    assert urls and all(url.startswith(("data:", "#")) for url in urls)
    entries = browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert all(entry.startswith("data:") for entry in entries)


def test_all_images_of_the_page_load(browser):
    for details in browser.find_elements("css selector", "details"):
        browser.execute_script("arguments[0].open = true", details)
    widths = browser.execute_script("return Array.from(document.images, image => image.naturalWidth)")
    assert len(widths) > 10 and min(widths) > 0
    large = browser.execute_script("return document.querySelector('.picture').naturalWidth")
    assert large > 800


def test_clicking_a_header_sorts_the_table(browser):
    table = browser.find_element("css selector", "table.sortable")
    headers = table.find_elements("css selector", "thead button")
    titles = [header.text for header in headers]
    assert titles[:4] == ["method", "zero-shot", "1 shot", "4 shots"]
    headers[2].click()
    assert column(browser, table, 2)[-1] == "–"
    first = [float(text.split()[0]) for text in column(browser, table, 2)[:-1]]
    assert first == sorted(first, reverse=True)
    headers[2].click()
    assert [float(text.split()[0]) for text in column(browser, table, 2)[:-1]] == first[::-1]
    training = titles.index("training")
    headers[training].click()
    assert column(browser, table, training) == ["2.2 h", "90 s", "–"]
    headers[0].click()
    assert column(browser, table, 0) == sorted(column(browser, table, 0), key=str.casefold)
    assert table.find_elements("css selector", "th[aria-sort]")[0].text.startswith("method")


def test_columns_of_names_begin_at_the_left_and_sort_from_a(browser):
    table = browser.find_elements("css selector", "table.sortable")[-1]  # the environment
    cell = table.find_element("css selector", "tbody td:nth-child(2)")
    assert cell.value_of_css_property("text-align") == "left", "value"
    assert table.find_element("css selector", "tbody td:nth-child(3)").value_of_css_property("text-align") == "right"
    table.find_elements("css selector", "thead button")[1].click()
    assert column(browser, table, 1)[0] < column(browser, table, 1)[-1]


def test_names_are_escaped(browser):
    cells = browser.find_elements("css selector", "table.sortable td")
    assert any(cell.get_property("textContent") == f"CoOp {HOSTILE}" for cell in cells)
    assert browser.title == "Results: Demo" and len(browser.find_elements("css selector", "script")) == 1
    commands = browser.find_elements("css selector", "pre")
    assert any(f"--seed 2 '{HOSTILE}'" in pre.get_property("textContent") for pre in commands)
