"""Classes that a CLIP reads alike are named in groups."""

import torch

from datasets.alike import alike


def test_each_group_of_equal_features_is_one_note():
    rows = [0, 1, 0, 2, 1, 0, 3]
    features = torch.eye(4)[rows] * torch.arange(1.0, 8).unsqueeze(1)
    found = alike(features, "abcdefg")
    assert [note.split(" have the same")[0] for note in found] == ["'a', 'c' and 'f'", "'b' and 'e'"]
    (note,) = alike(torch.ones(30, 2), [f"c{i}" for i in range(30)])
    assert note.startswith("'c0', 'c1', 'c2', 'c3' and 26 more have the same class features (cosine 1.00000): ")
    assert alike(torch.eye(3), "abc") == []
