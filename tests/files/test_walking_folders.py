"""Walking folders through symbolic links."""

import pytest

from softcpt.files.folders import folders_below
from softcpt.inference.images import find_images


@pytest.fixture
def pictures(tmp_path):
    root = tmp_path / "pictures"
    for name in ("b/1.png", "b/deep/2.png", "c/3.png", ".hidden/4.png", "b.png"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/5.png").touch()
    return root


def test_each_real_folder_is_visited_once_whatever_links_lead_to_it(pictures, tmp_path):
    for name, target in (("x", "."), ("b/y", ".."), ("b/deep/z", "../.."), ("a", "b"), ("gone", "nowhere")):
        (pictures / name).symlink_to(target, target_is_directory=True)
    for name in ("e", "f"):
        (pictures / name).symlink_to(tmp_path / "elsewhere")
    found = [path.relative_to(pictures).as_posix() for path in folders_below(pictures)]
    assert sorted(found[:-1]) == [".", "b", "b/deep", "c"] and found[-1] in ("e", "f"), "real names, and the link"


def test_links_to_the_same_folder_give_each_picture_once(pictures):
    before = [path.relative_to(pictures).as_posix() for path in find_images([pictures])]
    assert before == ["b.png", "b/1.png", "b/deep/2.png", "c/3.png"]
    for name in ("x", "b/y", "c/z"):
        (pictures / name).symlink_to(pictures, target_is_directory=True)
    assert [path.relative_to(pictures).as_posix() for path in find_images([pictures])] == before
