"""scripts/data.py: list, check, download, splits, shots, stats; and the errors that lead to it."""

import hashlib
import importlib.util
import io
import json
import os
import re
import stat
import subprocess
import sys
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import layouts
import pytest
import toy
from dassl.data.datasets import DATASET_REGISTRY
from PIL import Image

import train
from datasets import prompt_checks
from datasets.tools import check, download, sources, unpack
from datasets.tools.sources import SOURCES, Archive, Source

PROJECT = Path(__file__).resolve().parents[2]
_spec = importlib.util.spec_from_file_location("data_script", PROJECT / "scripts/data.py")
data_script = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(data_script)


@pytest.fixture
def data(tmp_path, tmp_path_factory, capsys, monkeypatch):
    """Runs the script on the root `tmp_path`, from a folder of its own; gives (exit status, what it printed)."""
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))

    def run(*args):
        status = data_script.main([*map(str, args), "--root", str(tmp_path)])
        output = capsys.readouterr()
        return status, output.out + output.err

    return run


def as_published(monkeypatch, name, layout):
    """Make the miniature count as the complete data set."""
    dataset = DATASET_REGISTRY.get(name)
    monkeypatch.setattr(dataset, "n_classes", len(layout.classnames))
    monkeypatch.setattr(dataset, "n_images", (len(layout.rows),))


def test_list_shows_every_data_set_and_what_is_on_disk(data, tmp_path):
    layouts.lay_out("OxfordPets", tmp_path)
    layout = layouts.lay_out("EuroSAT", tmp_path)
    layouts.write_split("EuroSAT", layout, tmp_path / "eurosat")
    (tmp_path / "sun397").mkdir()
    status, text = data("list")
    assert status == 0
    rows = {line.split()[0]: re.split(r"\s{2,}", line.strip()) for line in text.splitlines() if line}
    assert set(DATASET_REGISTRY.registered_names()) <= set(rows)
    assert rows["OxfordPets"] == ["OxfordPets", "1", "37", "mean_per_class", "yes"]
    assert rows["EuroSAT"] == ["EuroSAT", "1", "10", "accuracy", "yes, with split file"]
    assert rows["SUN397"][-1] == "incomplete: no SUN397/*/*"
    assert rows["UCF101"][-1] == "no"
    assert rows["General10"] == ["General10", "10", "1191", "accuracy / mean_per_class", "2 of 10 tasks"]


@pytest.mark.parametrize("name", ["OxfordPets", "ImageNetA", "ImageNet", "FruitVegetable", "RSICB128"])
def test_check_passes_what_is_as_it_was_published(data, tmp_path, monkeypatch, name):
    layout = layouts.lay_out(name, tmp_path)
    as_published(monkeypatch, name, layout)
    status, text = data("check", name, "--workers", 1)
    assert status == 0 and text.rstrip().endswith("All right."), text
    assert f"{len(layout.classnames)} classes; train" in text


def test_check_names_everything_that_is_wrong(data, tmp_path, monkeypatch):
    layout = layouts.lay_out("EuroSAT", tmp_path)
    as_published(monkeypatch, "EuroSAT", layout)
    file = layouts.write_split("EuroSAT", layout, tmp_path / "eurosat")
    split = json.loads(file.read_text())
    images = [layout.image_dir / row[0] for part in ("train", "val", "test") for row in split[part]]
    images[0].write_bytes(b"no image")
    jpeg = io.BytesIO()
    Image.effect_noise((64, 64), 90).convert("RGB").save(jpeg, "JPEG")
    images[1].write_bytes(jpeg.getvalue()[:-600])  # cut off
    images[-1].write_bytes(images[2].read_bytes())  # test = train
    split["val"].append(split["train"][3])
    for part in split.values():
        for row in part:
            row[2] = {0: "sea_or lake", 1: "word " * 70, 2: "Sea or Lake"}[row[1]]
    split["test"] = [row for row in split["test"] if row[1] != 1]
    file.write_text(json.dumps(split))
    status, text = data("check", "EuroSAT", "--workers", 1, "--classes")
    assert status == 1
    wrong = [line for line in text.splitlines() if line.startswith("WRONG")]
    for start in (
        "WRONG: no test image of 1 classes: 'word",
        "WRONG: 29 images, but 30 were published",
        "WRONG: 1 images are listed twice",
        "WRONG: classes with one name: 'sea_or lake' and 'Sea or Lake'",
        "WRONG: 1 class names are longer than the 59 tokens left beside a context of 16",
        "WRONG: 2 unreadable images",
        "WRONG: 1 images are in two parts",
    ):
        assert any(line.startswith(start) for line in wrong), (start, text)
    assert any("training images are in another part, too" in line for line in wrong)
    assert len(wrong) == 8 and text.rstrip().endswith("8 problems found.")
    assert str(images[0]) in text and str(images[1]) in text
    assert re.search(r"Sea or Lake +\d+ +\d+ +\d+", text)
    assert "unreadable" not in data("check", "EuroSAT", "--no-images")[1]


def test_check_reports_each_task_of_a_benchmark_although_others_are_missing(data, tmp_path):
    layouts.lay_out("OxfordPets", tmp_path)
    status, text = data("check", "FGVC", "--workers", 1)
    assert status == 1
    assert "== OxfordPets" in text and "3 classes, but 37 were published" in text
    assert "no folder " in text and "data.py download StanfordCars" in text


def test_check_finds_a_data_set_whatever_the_case_of_its_name(data, tmp_path):
    layouts.lay_out("EuroSAT", tmp_path)
    for name in ("eurosat", "EUROSAT"):
        assert "== EuroSAT" in data("check", name, "--no-images")[1]
    assert "did you mean 'eurosat'?" in data("check", "eurosad")[1]


def test_check_shows_all_problems_of_a_split_at_once_and_reads_on(data, tmp_path, monkeypatch):
    layout = layouts.lay_out("EuroSAT", tmp_path)
    as_published(monkeypatch, "EuroSAT", layout)
    file = layouts.write_split("EuroSAT", layout, tmp_path / "eurosat")
    split = json.loads(file.read_text())
    (layout.image_dir / split["test"][0][0]).unlink()
    split["train"] = [row for row in split["train"] if row[1] != 1]
    split["val"][0][2] = "another name"
    file.write_text(json.dumps(split))
    text = data("check", "EuroSAT", "--workers", 1)[1]
    for message in (
        "1 of its images are missing",
        "is both ",
        "no training image for ",
        "images, but 30 were published",
    ):
        assert len(re.findall(rf"^WRONG: .*{message}", text, re.M)) == 1, (message, text)


def test_check_shows_all_problems_of_a_users_own_folders_at_once(data, tmp_path):
    for task in ("colours", "shapes", "empty"):
        for name in ("red", "round"):
            for i in range(0 if task == "empty" else 4):
                layouts.write_image(tmp_path / task / name / f"{i}.png")
    (tmp_path / "colours/notes.txt").write_text("x")
    (tmp_path / "colours/red/list.doc").write_text("x")
    (tmp_path / "colours/red/2.png").write_bytes(b"cut off")
    (tmp_path / "empty").mkdir()
    status, text = data("check", "foldertasks", "--workers", 1)
    wrong = "\n".join(line for line in text.splitlines() if line.startswith("WRONG"))
    assert status == 1 and wrong.count("WRONG") == 4, text
    for message in (
        "notes.txt lies in no class folder",
        "list.doc: not an image file",
        "unreadable images",
        "no class",
    ):
        assert message in wrong, message
    assert "== shapes" in text


def test_check_warns_of_prompts_that_name_no_thing(data, tmp_path):
    for task, names in {"ink": ("red", "blue", "dotted"), "fruit": ("orange", "apple", "n01440764")}.items():
        for name in names:
            for i in range(4):
                layouts.write_image(tmp_path / task / name / f"{i}.png")
    status, text = data("check", "FolderTasks", "--workers", 1)
    assert status == 0
    assert 'note: 3 prompts name no thing: "a photo of a blue.", "a photo of a dotted.", "a photo of a red."' in text
    assert 'note: 1 class names are no words, so that CLIP cannot know them: "a photo of a n01440764."' in text
    assert text.count("name no thing") == 1


@pytest.mark.parametrize(
    "template, names, expected",
    [
        ("a photo of a {}.", ["red", "rose"], ["1 prompts name no thing"]),
        ("a photo of a {} texture.", ["red", "dotted"], []),
        ("{} texture.", ["banded", "braided"], []),
        ("a photo of a {}.", ["orange", "apple", "pear"], []),
        ("a photo of a {}.", ["one", "two", "3"], ["3 prompts name no thing"]),
        ("a photo of the number {}.", ["0", "1"], []),
        ("a photo of a {}.", ["a dog", "the cat", "bed", "seed"], ["2 prompts have two articles"]),
        ("a photo of a {}.", ["class_01", "n01440764", "c2"], ["3 class names are no words"]),
        ("a photo of a {}, a type of aircraft.", ["707-320", "A340", "DHC-8"], []),
    ],
)
def test_odd_prompts_are_told_by_rule_of_thumb(template, names, expected):
    found = prompt_checks.odd_prompts(template, names)
    assert [text.split(":")[0].split(",")[0] for text in found] == expected


def test_prompts_of_the_published_data_sets_are_not_odd():
    layout_names = {name: layouts.LAYOUTS[name] for name in layouts.LAYOUTS}
    templates = {DATASET_REGISTRY.get(name).template for name in layout_names}
    assert not [t for t in templates if prompt_checks.odd_prompts(t, ["heron", "grey heron", "wedding", "weed"])]


def test_check_names_classes_whose_features_are_equal_in_a_clip(data, tmp_path):
    for name in ("rose", "Rose", "oak"):
        for i in range(4):
            layouts.write_image(tmp_path / "plants" / name / f"{i}.png")
    clip = f"{toy.GOLDEN}/tiny_vit.npz@quickgelu"
    text = data("check", "FolderTasks", "--workers", 1, "--backbone", clip)[1]
    assert text.count("same class features") == 1
    assert "note: 'Rose' and 'rose' have the same class features (cosine 1.00000)" in text
    assert "same class features" not in data("check", "FolderTasks", "--workers", 1)[1]


def test_check_reads_images_in_several_processes(tmp_path):
    paths = []
    for i in range(100):
        paths.append(str(tmp_path / f"{i}.png"))
        layouts.write_image(Path(paths[-1]))
    Path(paths[70]).write_bytes(b"")
    results = list(check.examine_all(paths, 2, "test"))
    assert [path for path, _, _ in results] == paths
    assert [path for path, _, error in results if error] == [paths[70]]
    assert len({digest for _, digest, _ in results}) == 100


def test_check_and_splits_take_a_users_own_folders(data, tmp_path):
    for name in ("red", "blue_green"):
        for i in range(10):
            layouts.write_image(tmp_path / "colours" / name / f"{i}.png")
    (tmp_path / "tasks.yaml").write_text("colours: {name: colour recognition, classes: {red: red, blue_green: cyan}}")
    status, text = data("check", "FolderTasks", "--workers", 1)
    assert status == 0 and "== colour recognition" in text, text
    before = data("shots", "FolderTasks", "--shots", 2)[1]
    status, text = data("splits", "FolderTasks")
    assert status == 0 and (tmp_path / "tasks.csv").read_text().startswith("path,task,class,split")
    assert data("shots", "FolderTasks", "--shots", 2)[1] == before
    assert "is there already" in data("splits", "FolderTasks")[1]
    (tmp_path / "colours/red/3.png").unlink()
    status, text = data("check", "FolderTasks")
    assert status == 1 and re.search(r"tasks.csv, line \d+: no file .*red/3.png", text)


def test_splits_writes_coops_format_once(data, tmp_path):
    layouts.lay_out("OxfordPets", tmp_path)
    shots = data("shots", "OxfordPets", "--shots", 2)[1]
    file = tmp_path / "oxford_pets/split_zhou_OxfordPets.json"
    assert not file.exists()  # reading writes nothing
    status, text = data("splits", "OxfordPets")
    assert status == 0 and "24 train, 6 val, 12 test" in text
    split = json.loads(file.read_text())
    assert {part: len(rows) for part, rows in split.items()} == {"train": 24, "val": 6, "test": 12}
    assert all(len(row) == 3 and (tmp_path / "oxford_pets/images" / row[0]).is_file() for row in split["train"])
    assert data("shots", "OxfordPets", "--shots", 2)[1] == shots
    assert "is there already" in data("splits", "OxfordPets")[1]


def test_shots_are_shown_and_saved(data, tmp_path):
    layouts.lay_out("OxfordPets", tmp_path)
    status, text = data("shots", "OxfordPets", "--shots", 3, "--seed", 2, "--out", tmp_path / "mine.json", "--all")
    assert status == 0
    drawn = json.loads((tmp_path / "mine.json").read_text())["pet breed recognition"]
    assert [len(drawn[part]) for part in ("train", "val")] == [9, 6]
    assert all(path in text for path in drawn["train"])
    data("shots", "OxfordPets", "--shots", 3)
    assert Path("output/shots/OxfordPets_3shots_seed1.json").is_file()


def test_stats_draws_counts_and_samples(data, tmp_path):
    for name in ("OxfordPets", "FGVCAircraft", "StanfordCars", "OxfordFlowers", "Food101"):
        layouts.lay_out(name, tmp_path)
    status, text = data("stats", "FGVC", "--plot", tmp_path / "pictures")
    assert status == 0
    assert "pet breed recognition: 3 classes; train 24 (8 per class)" in text
    assert "'a photo of a {}, a type of pet.'" in text
    for name in ("counts", "samples"):
        with Image.open(tmp_path / f"pictures/{name}.png") as image:
            assert min(image.size) > 300


def test_an_unknown_data_set_names_the_nearest(data):
    status, text = data("check", "OxfordPet")
    assert status == 1 and "no data set 'OxfordPet' (did you mean 'OxfordPets'?)" in text


# --- download -------------------------------------------------------------------------------------------------------


class Server(ThreadingHTTPServer):
    """Serves `files`; `breaks` counts the answers that end in the middle."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.requests, self.breaks, self.ranges = {}, [], 0, True

    def url(self, name):
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        asked = self.headers.get("Range") if self.server.ranges else None
        self.server.requests.append((self.path[1:], asked))
        content = self.server.files.get(self.path[1:])
        if content is None:
            self.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if start >= len(content) and asked:
            self.send_error(416)
            return
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("Content-Type", "text/html" if content.startswith(b"<html") else "application/octet-stream")
        self.end_headers()
        if self.server.breaks:
            self.server.breaks -= 1
            content = content[: start + (len(content) - start) // 2]
        self.wfile.write(content[start:])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def md5(content):
    return hashlib.md5(content).hexdigest()


def packed(folder, kind, below="", only=None):
    """An archive of a folder's files: "zip", "gz" or "" (plain tar)."""
    buffer = io.BytesIO()
    files = sorted(path for path in folder.rglob(only or "*") if path.is_file())
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as archive:
            for path in files:
                archive.write(path, below + str(path.relative_to(folder)))
    else:
        with tarfile.open(fileobj=buffer, mode=f"w:{kind}") as archive:
            for path in files:
                archive.add(path, below + str(path.relative_to(folder)))
    return buffer.getvalue()


@pytest.fixture
def pets(server, tmp_path, tmp_path_factory, monkeypatch):
    """Oxford Pets, served in three files as it is published; gives the layout."""
    folder = tmp_path_factory.mktemp("published")
    layout = layouts.lay_out("OxfordPets", folder)
    as_published(monkeypatch, "OxfordPets", layout)
    split = layouts.write_split("OxfordPets", layout, folder).read_bytes()
    server.files = {
        "images.tar.gz": packed(folder / "oxford_pets/images", "gz", "images/"),
        "annotations.zip": packed(folder / "oxford_pets/annotations", "zip", "pets/annotations/"),
        "split.json": split,
    }
    images, annotations = server.files["images.tar.gz"], server.files["annotations.zip"]
    archives = (
        Archive(server.url("images.tar.gz"), gives="images/*.jpg", md5=md5(images)),
        Archive(server.url("annotations.zip"), gives="annotations/*.txt", md5=md5(annotations), prefix="pets"),
        Archive(server.url("split.json"), gives="split_zhou_OxfordPets.json", file="split_zhou_OxfordPets.json"),
    )
    monkeypatch.setitem(SOURCES, "OxfordPets", Source(archives, "Ask the authors."))
    return layout


def test_download_arranges_a_data_set_in_coops_layout(data, server, pets, tmp_path):
    status, text = data("download", "OxfordPets")
    assert status == 0 and "complete in" in text, text
    folder = tmp_path / "oxford_pets"
    assert sorted(path.name for path in folder.iterdir()) == ["annotations", "images", "split_zhou_OxfordPets.json"]
    status, text = data("check", "OxfordPets", "--workers", 1)
    assert "3 classes" in text and "unreadable" not in text
    asked = len(server.requests)
    assert data("download", "OxfordPets")[0] == 0
    assert len(server.requests) == asked  # nothing is fetched twice


def test_a_download_that_breaks_is_continued(data, server, pets, tmp_path):
    server.breaks = 2
    assert data("download", "OxfordPets")[0] == 0
    ranges = [asked for name, asked in server.requests if name == "images.tar.gz"]
    assert len(ranges) == 3 and ranges[0] is None and all(ranges[1:])


def test_a_download_goes_on_where_the_last_call_stopped(server, tmp_path):
    content = os.urandom(3000)
    server.files["file"] = content
    (tmp_path / "file.part").write_bytes(content[:1000])
    download.fetch(server.url("file"), str(tmp_path / "file"), md5(content))
    assert (tmp_path / "file").read_bytes() == content
    assert server.requests == [("file", "bytes=1000-")]
    (tmp_path / "other.part").write_bytes(b"from another time")  # not a beginning of it: fetched anew
    download.fetch(server.url("file"), str(tmp_path / "other"), md5(content))
    assert (tmp_path / "other").read_bytes() == content
    server.ranges = False
    (tmp_path / "third.part").write_bytes(content[:10])  # a server without ranges sends everything
    download.fetch(server.url("file"), str(tmp_path / "third"), md5(content))
    assert (tmp_path / "third").read_bytes() == content
    server.ranges = True
    (tmp_path / "fourth.part").write_bytes(content + b"too long")
    download.fetch(server.url("file"), str(tmp_path / "fourth"), md5(content))
    assert (tmp_path / "fourth").read_bytes() == content


def test_a_file_with_another_sum_is_refused_and_removed(data, server, pets, tmp_path):
    server.files["images.tar.gz"] += b"changed"
    status, text = data("download", "OxfordPets")
    assert status == 1 and "the MD5 sum is" in text and "Ask the authors." in text
    assert not list((tmp_path / "oxford_pets").glob(".images*"))
    assert not (tmp_path / "oxford_pets/images").exists()
    assert (tmp_path / "oxford_pets/annotations").is_dir()  # the rest is there


def test_a_page_or_an_error_instead_of_a_file_is_named(data, server, pets, tmp_path):
    server.files["split.json"] = b"<html>quota"
    del server.files["annotations.zip"]
    status, text = data("download", "OxfordPets")
    assert status == 1
    assert "a web page came instead of the file" in text and "404" in text
    server.files["split.json"] = b"{"
    status, text = data("download", "OxfordPets")
    assert "what came is not a JSON file" in text
    assert not (tmp_path / "oxford_pets/split_zhou_OxfordPets.json").exists()


def test_an_archive_in_an_archive_is_unpacked(server, tmp_path, tmp_path_factory, monkeypatch, data):
    folder = tmp_path_factory.mktemp("published")
    layout = layouts.lay_out("Caltech101", folder)
    (folder / "zip").mkdir()
    (folder / "zip/101_ObjectCategories.tar.gz").write_bytes(packed(folder / "caltech-101", "gz"))
    (folder / "zip/Annotations.tar").write_bytes(b"not wanted")
    server.files["caltech-101.zip"] = packed(folder / "zip", "zip", "caltech-101/")
    published = SOURCES["Caltech101"].archives[0]
    archive = Archive(
        server.url("caltech-101.zip"), gives=published.gives, prefix=published.prefix, inner=published.inner
    )
    monkeypatch.setitem(SOURCES, "Caltech101", Source((archive,)))
    assert data("download", "Caltech101", "--keep")[0] == 0
    assert {path.name for path in (tmp_path / "caltech-101").iterdir()} == {"101_ObjectCategories", "caltech-101.zip"}
    assert all((tmp_path / "caltech-101/101_ObjectCategories" / path).is_file() for path in layout.rows)


@pytest.mark.parametrize(("name", "words"), [("StanfordCars", "pytorch/vision/issues/7545"), ("SUN397", "sun397")])
def test_dead_sources_name_alternatives(data, monkeypatch, name, words):
    source = SOURCES[name]
    monkeypatch.setitem(SOURCES, name, Source((), source.by_hand))
    status, text = data("download", name)
    assert status == 1 and "dead" in text and words in text and "docs/datasets.md" in text
    assert source.by_hand.split("Alternatives: ")[1][:20] in text


def test_what_must_be_fetched_by_hand_is_told_once(data):
    status, text = data("download", "Fashion20")
    assert status == 1 and text.count("67c4 (code") <= 1 and text.count("Baidu") == 1


def test_every_data_set_has_a_source():
    for name in layouts.LAYOUTS:
        source = sources.source_of(name)
        assert source.archives or source.by_hand, name
        for archive in source.archives:
            assert archive.url.startswith(("https://", "http://")) and archive.gives
            assert not archive.md5 or re.fullmatch("[0-9a-f]{32}", archive.md5)


def tar_with(path, *members, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, content in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def zip_with(path, *members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)


@pytest.mark.parametrize("make", [tar_with, zip_with])
@pytest.mark.parametrize("name", ["../evil.txt", "/tmp/evil.txt", "a/../../evil.txt", "C:/evil.txt", "..\\evil.txt"])
def test_entries_outside_the_folder_are_refused(tmp_path, make, name):
    make(tmp_path / "archive", ("good.txt", b"good"), (name, b"evil"))
    with pytest.raises(unpack.UnsafeArchive, match="points outside the folder"):
        unpack.unpack(str(tmp_path / "archive"), str(tmp_path / "target"))
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]  # nothing was written


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_special_files_are_refused(tmp_path, kind):
    info = tarfile.TarInfo("images")
    info.type, info.linkname = kind, "/etc"
    tar_with(tmp_path / "archive", ("good.txt", b"good"), (info, b""), ("images/passwd", b"evil"))
    with pytest.raises(unpack.UnsafeArchive, match="'images' is a link or a special file"):
        unpack.unpack(str(tmp_path / "archive"), str(tmp_path / "target"))
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    zip_with(tmp_path / "archive", (info, b"/etc"))
    with pytest.raises(unpack.UnsafeArchive, match="'link' is a link or a special file"):
        unpack.unpack(str(tmp_path / "archive"), str(tmp_path / "target"))
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("make", [zip_with, lambda path, *members: tar_with(path, *members, mode="w:gz")])
def test_bombs_are_refused(tmp_path, make):
    make(tmp_path / "archive", ("zeros", bytes(3_000_000)))
    assert (tmp_path / "archive").stat().st_size < 30_000
    with pytest.raises(unpack.UnsafeArchive, match="more than 100 times its size"):
        unpack.unpack(str(tmp_path / "archive"), str(tmp_path / "target"))
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


def test_a_damaged_archive_leaves_nothing_and_is_named(tmp_path):
    for make, name in ((zip_with, "a.zip"), (lambda p, *m: tar_with(p, *m, mode="w:gz"), "a.tgz")):
        make(tmp_path / name, ("noise", os.urandom(50_000)))
        content = bytearray((tmp_path / name).read_bytes())
        content[20_000] ^= 255
        (tmp_path / name).write_bytes(bytes(content) if name == "a.zip" else bytes(content[:30_000]))
        with pytest.raises(ValueError, match="not a complete zip or tar archive"):
            unpack.unpack(str(tmp_path / name), str(tmp_path / "target"))
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ValueError, match="not a complete zip or tar archive"):
        unpack.unpack(str(tmp_path / "text"), str(tmp_path / "target"))
    zip_with(tmp_path / "a.zip", ("other/file", b"x"))
    with pytest.raises(ValueError, match="no files below images"):
        unpack.unpack(str(tmp_path / "a.zip"), str(tmp_path / "target"), prefix="images")
    assert not (tmp_path / "target").exists()


def test_unpacking_keeps_what_is_there(tmp_path):
    (tmp_path / "target/images").mkdir(parents=True)
    (tmp_path / "target/images/mine.txt").write_text("mine")
    zip_with(tmp_path / "a.zip", ("set/images/one.txt", b"1"), ("set/readme", b"r"), ("else/x", b"x"))
    unpack.unpack(str(tmp_path / "a.zip"), str(tmp_path / "target"), prefix="set")
    names = {str(path.relative_to(tmp_path / "target")) for path in (tmp_path / "target").rglob("*") if path.is_file()}
    assert names == {"images/mine.txt", "images/one.txt", "readme"}


# --- from the data to a run -----------------------------------------------------------------------------------------


def test_the_method_script_says_what_is_missing_and_how_to_get_it(tmp_path):
    environment = {**os.environ, "DATA": str(tmp_path / "data"), "OUT": str(tmp_path / "out"), "SEEDS": "1"}
    command = ["bash", str(PROJECT / "scripts/softcpt/main.sh"), "fgvc", "16"]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**environment, "PYTHON": sys.executable}, cwd=tmp_path
    )
    assert done.returncode != 0
    for name in ("FGVCAircraft", "StanfordCars", "OxfordPets", "OxfordFlowers", "Food101"):
        assert f"python scripts/data.py download {name} --root {tmp_path / 'data'}" in done.stderr
    assert "DATASET.ROOT: no folder" in done.stderr and "oxford_pets/images/*.jpg" in done.stderr
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").rglob("results.json"))


def test_a_miniature_of_fgvc_trains_and_reports(tmp_path):
    for name in ("FGVCAircraft", "StanfordCars", "OxfordPets", "OxfordFlowers", "Food101"):
        layouts.lay_out(name, tmp_path / "data")
    config = ["--dataset-config-file", str(PROJECT / "configs/datasets/fgvc.yaml")]
    arguments = toy.arguments(tmp_path / "data", tmp_path / "run", "SoftCPT", "DATASET.NUM_SHOTS", 2, dataset="FGVC")
    assert train.main(config + arguments) == 0
    record = json.loads((tmp_path / "run/results.json").read_text())
    assert record["dataset"] == "FGVC" and len(record["tasks"]) == 5
    metrics = [task["metric"] for task in record["tasks"]]
    assert metrics == ["mean_per_class", "accuracy", "mean_per_class", "mean_per_class", "accuracy"]
    assert [task["n"] for task in record["tasks"]] == [9, 12, 12, 9, 9]


def test_a_users_own_folders_train_and_report(tmp_path):
    for task, names in (("leaves", ("oak", "elm")), ("cups", ("red", "blue", "green"))):
        for name in names:
            for i in range(8):
                layouts.write_image(tmp_path / "data" / task / name / f"{i}.png")
    config = ["--dataset-config-file", str(PROJECT / "configs/datasets/folder.yaml")]
    arguments = toy.arguments(tmp_path / "data", tmp_path / "run", "SoftCPT", dataset="FolderTasks")
    assert train.main(config + arguments) == 0
    record = json.loads((tmp_path / "run/results.json").read_text())
    assert [task["name"] for task in record["tasks"]] == ["cups", "leaves"]
