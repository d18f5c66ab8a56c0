"""Odd prompts are found by rules of thumb."""

import layouts
import pytest
import torch
from dassl.data.datasets import DATASET_REGISTRY

from datasets import prompt_checks


@pytest.mark.parametrize(
    "template, names, expected",
    [
        ("a photo of a {}.", ["red", "rose"], ["1 prompt naming no thing"]),
        ("a photo of a {} texture.", ["red", "dotted"], []),
        ("{} texture.", ["banded", "braided"], []),
        ("a photo of a {}.", ["orange", "apple", "pear"], []),
        ("a photo of a {}.", ["one", "two", "3"], ["3 prompts naming no thing"]),
        ("a photo of the number {}.", ["0", "1"], []),
        ("a photo of a {}.", ["a dog", "the cat", "bed", "seed"], ["2 prompts with two articles"]),
        ("a photo of a {}.", ["class_01", "n01440764", "c2"], ["3 class names without a word"]),
        ("a photo of a {}, a type of aircraft.", ["707-320", "A340", "DHC-8"], []),
    ],
)
def test_odd_prompts_are_found(template, names, expected):
    found = prompt_checks.odd_prompts(template, names)
    assert [text.split(":")[0].split(",")[0] for text in found] == expected


def test_published_prompts_are_not_odd():
    templates = {DATASET_REGISTRY.get(name).template for name in layouts.LAYOUTS}
    assert not [t for t in templates if prompt_checks.odd_prompts(t, ["heron", "grey heron", "wedding", "weed"])]


def test_each_group_of_equal_features_is_one_note():
    rows = [0, 1, 0, 2, 1, 0, 3]
    features = torch.eye(4)[rows] * torch.arange(1.0, 8).unsqueeze(1)
    found = prompt_checks.alike(features, "abcdefg")
    assert [note.split(" have the same")[0] for note in found] == ["'a', 'c' and 'f'", "'b' and 'e'"]
    (note,) = prompt_checks.alike(torch.ones(30, 2), [f"c{i}" for i in range(30)])
    assert note.startswith("'c0', 'c1', 'c2', 'c3' and 26 more have the same class features (cosine 1.00000): ")
    assert prompt_checks.alike(torch.eye(3), "abc") == []
