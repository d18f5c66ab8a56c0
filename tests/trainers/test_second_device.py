"""The second device of the tests refuses what a GPU refuses, and records where the host waits for it."""

import copy
import io
from collections import Counter

import host_waits
import numpy as np
import pytest
import second_device
import torch
from torch import nn

pytestmark = second_device.NEEDS
X = torch.arange(6.0).view(2, 3)


@pytest.fixture
def x():
    return X.to(second_device.DEVICE)


def waits(function):
    """The kinds of the waits of a call, in order."""
    with host_waits.recorded() as found:
        function()
    return [wait.kind for wait in found]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x + torch.ones(3),
        lambda x: torch.ones(2, 3).add_(x),
        lambda x: torch.tensor(1.0).add_(x[0, 0]),
        lambda x: torch.cat([x, torch.ones(1, 3)]),
        lambda x: torch.stack([x[0, 0], torch.tensor(1.0)]),
        lambda x: x @ torch.ones(3),
        lambda x: nn.Linear(3, 2)(x),
        lambda x: nn.functional.cross_entropy(x, torch.tensor([0, 1])),
        lambda x: torch.ones(3)[torch.zeros(1, dtype=torch.long, device=x.device)],
        lambda x: x.index_put_((torch.tensor([0]),), torch.ones(1, 3)),
        lambda x: torch.isin(x, torch.tensor([1.0])),
        lambda x: torch.where(x > 0, x, torch.ones(2, 3)),
    ],
)
def test_mixed_devices_are_refused(x, function):
    with pytest.raises(RuntimeError, match="same device"):
        function(x)


def test_numpy_and_generators_of_the_cpu_are_refused(x):
    for function in (np.asarray, lambda x: x.numpy()):
        with pytest.raises(TypeError, match=r"Use Tensor.cpu\(\)"):
            function(x)
    with pytest.raises(RuntimeError, match="generator"):
        torch.randn(3, device=x.device, generator=torch.Generator())


def test_numbers_and_indices_of_the_cpu_are_taken_as_on_a_gpu(x):
    assert (x + torch.tensor(1.0)).tolist() == (X + 1).tolist()
    assert torch.where(x > 2, x, torch.tensor(0.0)).sum().item() == 12
    assert x[torch.tensor([1])].tolist() == x[[1]].tolist() == X[[1]].tolist()
    y = x.clone()
    y[0], y[y > 4] = torch.ones(3), 0  # assigned values are copied to the device
    assert y.tolist() == [[1, 1, 1], [3, 4, 0]]


@pytest.mark.parametrize(
    "function, expected",
    [
        (lambda x: x.sum().item(), ["read"]),
        (lambda x: bool((x > 0).any()), ["read"]),
        (lambda x: x.tolist(), ["read"]),
        (lambda x: x.cpu(), ["read"]),
        (lambda x: torch.empty(2, 3).copy_(x), ["read"]),
        (lambda x: f"{x[0, 0]:.1f}", ["read"]),
        (lambda x: str(x), ["read"]),
        (lambda x: x.nonzero(), ["read"]),
        (lambda x: x[x > 1], ["read"]),
        (lambda x: x.unique(), ["read"]),
        (lambda x: x.repeat_interleave(torch.ones_like(x[:, 0]).long(), dim=0), ["read"]),
        (lambda x: x.repeat_interleave(torch.ones_like(x[:, 0]).long(), dim=0, output_size=2), []),
        (lambda x: torch.zeros_like(x).masked_fill_(x > 1, 0.5), []),
        (lambda x: x.clone().__setitem__(x > 1, 0), []),
        (lambda x: (x.softmax(1) @ x.T).argmax(1), []),
        (lambda x: torch.arange(3, device=x.device), []),
        (lambda x: torch.ones(3).to(x.device), ["copy"]),
        (lambda x: torch.tensor([1, 2], device=x.device), ["copy"]),
        (lambda x: x[[0, 1]], ["copy"]),
        (lambda x: x[torch.tensor([0])], ["copy"]),
    ],
)
def test_waits_are_recorded(x, function, expected):
    assert waits(lambda: function(x)) == expected


def test_wait_names_the_line_that_asked_for_it(x):
    with host_waits.recorded() as found:
        x.sum().item()
    (wait,) = found
    assert wait.place.startswith("tests/trainers/test_second_device.py:") and wait.operation == "_local_scalar_dense"
    assert host_waits.table(Counter({wait: 1.5})).split() == ["1.50", *wait]


def test_it_learns_what_the_cpu_learns(x):
    weights = []
    for device in ("cpu", second_device.DEVICE):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 2)).to(device)
        for optimiser in (torch.optim.SGD(model.parameters(), 0.1, 0.9), torch.optim.AdamW(model.parameters(), 0.1)):
            for _ in range(3):
                optimiser.zero_grad()
                nn.functional.cross_entropy(model(X.to(device)), torch.tensor([0, 1]).to(device)).backward()
                optimiser.step()
        weights.append([parameter.tolist() for parameter in model.parameters()])
    assert weights[0] == weights[1]


def test_tensors_are_saved_copied_and_converted(x):
    file = io.BytesIO()
    torch.save({"x": x, "view": x[1]}, file)
    file.seek(0)
    loaded = torch.load(file, map_location="cpu", weights_only=True)
    assert torch.equal(loaded["x"], X) and torch.equal(loaded["view"], X[1])
    model = nn.Linear(3, 2).half().to(x.device)
    for parameter in model.parameters():
        parameter.data = parameter.data.float()
    assert model(x).dtype == torch.float32 and copy.deepcopy(model)(x).tolist() == model(x).tolist()


def test_autocast_has_the_rules_of_a_gpu(x):
    """A CPU's autocast leaves norms and softmax in half precision."""
    with torch.autocast(second_device.NAME, torch.float16):
        half = x @ x.mT
        assert half.dtype == torch.float16
        for result in (half.softmax(1), half.sum(), half.norm(), nn.functional.layer_norm(half, (2,))):
            assert result.dtype == torch.float32
        with torch.autocast(second_device.NAME, enabled=False):
            assert (x @ x.mT).dtype == torch.float32
