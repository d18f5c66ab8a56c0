"""What ranks tell each other, tensors bit for bit and which of them failed first, and what they draw apart."""

import logging
import math
import pickle
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from two_ranks import on_two_ranks

from softcpt import distributed
from softcpt.distributed import found_by_first_rank, from_first_rank, gather_parts, rank
from trainers.engine.rank_draws import draw_apart, seed_run, states_of_ranks


@pytest.fixture
def small_pieces(monkeypatch):
    """Tensors are sent in pieces of a few bytes."""
    monkeypatch.setattr(distributed, "PIECE", 7)


def odd(dtype):
    """(5, 3) with a negative zero and, where there are such, what is no number."""
    value = torch.arange(-7.0, 8).view(5, 3)
    value[0, 0], value[4, 2] = (-0.0, math.nan) if dtype.is_floating_point else (1, 0)
    return value.to(dtype)


def bits(value):
    return value.contiguous().view(-1).view(torch.uint8).tolist()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.bool])
def test_parts_of_any_lengths_and_types_are_gathered_bit_for_bit(tmp_path, small_pieces, dtype):
    def gathered():
        parts = [odd(dtype)[:2], odd(dtype)[2:3].clone()], [odd(dtype)[3:]]
        return gather_parts(parts[rank()]), gather_parts(parts[0] if rank() else [])

    for whole, of_the_second in on_two_ranks(gathered, tmp_path):
        assert whole.dtype == dtype and bits(whole) == bits(odd(dtype))
        assert bits(of_the_second) == bits(odd(dtype)[:3])


def test_no_tensor_is_pickled(tmp_path, monkeypatch):
    def refused(*arguments):
        raise AssertionError("a tensor is pickled")

    def called():
        torch.Tensor.__reduce_ex__ = refused
        value = torch.ones(2) * rank()
        found = found_by_first_rank(value), found_by_first_rank(None), from_first_rank(value), gather_parts([value])
        return [None if one is None else one.tolist() for one in found]

    with pytest.raises(AssertionError), monkeypatch.context() as patched:
        patched.setattr(torch.Tensor, "__reduce_ex__", refused)
        pickle.dumps(torch.ones(1))
    assert on_two_ranks(called, tmp_path) == 2 * [[[0, 0], None, [0, 0], [0, 0, 1, 1]]]


def test_modules_are_those_of_the_first_rank_whatever_their_strides(tmp_path, small_pieces):
    def copied():
        module = nn.BatchNorm1d(3)
        module.weight = nn.Parameter(torch.randn(4, 3).T + rank())
        module.bias.data += rank()
        before = {key: value.clone() for key, value in module.state_dict().items()}
        distributed.copy_from_first_rank(module)
        return before, module.state_dict()

    (before, first), (other, second) = on_two_ranks(copied, tmp_path)
    assert not torch.equal(before["weight"], other["weight"])
    for key, value in before.items():
        assert torch.equal(first[key], value) and torch.equal(second[key], value), key


@pytest.mark.parametrize(
    "steps, failed", [((math.inf, math.inf), None), ((math.inf, 5), 1), ((5, 5), 0), ((9, 8), 1), ((0, math.inf), 0)]
)
def test_all_ranks_know_which_one_failed_first(tmp_path, steps, failed):
    assert on_two_ranks(lambda: distributed.first_failure(steps[rank()]), tmp_path) == 2 * [failed]


def test_one_process_knows_of_its_own_failure():
    assert distributed.first_failure() is None and distributed.first_failure(3) == 0


def test_what_one_rank_cannot_do_stops_the_others(tmp_path):
    def tried(fails):
        try:
            with distributed.together():
                if rank() == 0 and fails:
                    raise OSError("the disk is full")
        except (OSError, distributed.OtherRankError) as error:
            return f"{type(error).__name__}: {error}"

    assert on_two_ranks(lambda: (tried(True), tried(False)), tmp_path) == [
        ("OSError: the disk is full", None),
        ("OtherRankError: ", None),
    ]


def drawn():
    """A number of each generator, and a mask of dropout."""
    return random.random(), np.random.rand(), torch.rand(1).item(), F.dropout(torch.ones(64)).tolist()


def test_processes_without_a_seed_build_the_same(tmp_path):
    def built():
        random.seed(), np.random.seed(), torch.seed()
        seed_run(-1)
        return drawn()

    first, second = on_two_ranks(built, tmp_path)
    assert first == second


def test_seed_of_one_process_is_its_own():
    torch.manual_seed(5)
    seed_run(-1)
    states = [torch.get_rng_state()]
    draw_apart(None, resumed=True)
    states += [torch.manual_seed(5).get_state()]
    assert torch.equal(*states) and states_of_ranks() is None


def test_ranks_draw_dropout_apart_and_go_on_where_they_were(tmp_path, caplog):
    def stepped():
        seed_run(1)
        draw_apart(None, resumed=False)
        steps, saved = [drawn()], states_of_ranks()
        steps += [drawn()]
        seed_run(1)
        drawn()  # the generators of Python and NumPy are restored by the checkpoint's other states
        draw_apart(saved, resumed=True)
        return [*steps, drawn()]

    first, second = on_two_ranks(stepped, tmp_path)
    seed_run(1)
    assert first[0] == drawn()  # the first rank draws as one process does
    for step in range(3):
        assert first[step][:2] == second[step][:2] and first[step][2] != second[step][2]
        assert first[step][3] != second[step][3]
    assert first[2] == first[1] and second[2] == second[1]


@pytest.mark.parametrize("ranks, here", [(None, 2), (3, 2), (2, 1)])
def test_another_number_of_processes_is_said_and_draws_anew(tmp_path, caplog, ranks, here):
    saved = ranks and {"torch": torch.get_rng_state().repeat(ranks, 1)}

    def resumed():
        with caplog.at_level(logging.WARNING):
            draw_apart(saved, resumed=True)
        return caplog.text, torch.rand(1).item()

    found = on_two_ranks(resumed, tmp_path) if here == 2 else [resumed()]
    processes = ["1 process", "2 processes", "3 processes"]
    said = f"has the random states of {processes[(ranks or 1) - 1]}, and this run has {processes[here - 1]}:"
    assert said in found[0][0]
    assert len({number for _, number in found}) == here and not any(text for text, _ in found[1:])
