"""Attention within a packed row and noise drawn on the device, against float64 and against what they promise."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from hype_bench.contract.noise import NoiseSource
from hype_bench.models.attention import Packing, attend_each
from hype_bench.models.padded_attention import attend_batch, attend_padded

if not torch.cuda.is_available():
    pytest.skip("there is no GPU here", allow_module_level=True)

LENGTHS = [1, 128, 5, 64, 63, 65, 2, 97, 17, 1, 33]
ERROR = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1e-2}  # relative, of norms


def heads(width: int, queries: int, device: torch.device) -> list[Tensor]:
    generator = torch.Generator().manual_seed(width + queries)
    counts = (len(LENGTHS) * queries if queries else sum(LENGTHS), sum(LENGTHS), sum(LENGTHS))
    return [torch.randn(4, n, width, generator=generator, dtype=torch.float64).to(device) for n in counts]


def packing(queries: int, device: torch.device) -> Packing:
    row = Packing.of(LENGTHS)
    return Packing(row.cu_seqlens.to(device), LENGTHS, row.longest, queries=queries)


def attended(attend: Any, inputs: list[Tensor], row: Packing) -> list[Tensor]:
    """The output and the gradients of a fixed projection of it."""
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    output = attend(*leaves, row, 0.0, leaves[0].shape[-1] ** -0.5)
    ramp = torch.linspace(-1, 1, output.numel(), dtype=torch.float64).view(output.shape)
    return [output.detach(), *torch.autograd.grad(output, leaves, ramp.to(output))]


def relative_error(values: Tensor, exact: Tensor) -> float:
    return float((values.double().cpu() - exact.cpu()).norm() / exact.norm())


@pytest.mark.parametrize("dtype", ERROR)
@pytest.mark.parametrize("queries", [0, 1])
@pytest.mark.parametrize("width", [16, 32, 64])
def test_attention_is_that_of_float64(width: int, queries: int, dtype: torch.dtype, cuda: torch.device) -> None:
    inputs = heads(width, queries, cuda)
    rounded = [x.to(dtype) for x in inputs]
    exact = attended(attend_each, [x.double().cpu() for x in rounded], packing(queries, torch.device("cpu")))
    for values, expected in zip(attended(attend_padded, rounded, packing(queries, cuda)), exact, strict=True):
        assert values.isfinite().all()
        assert relative_error(values, expected) < ERROR[dtype], relative_error(values, expected)


def test_attention_is_the_same_twice_bit_for_bit(cuda: torch.device) -> None:
    inputs = [x.float() for x in heads(64, 0, cuda)]
    first, second = (attended(attend_padded, inputs, packing(0, cuda)) for _ in range(2))
    assert all(map(torch.equal, first, second))


@pytest.mark.parametrize("dtype", ERROR)
def test_attention_of_a_padded_batch(dtype: torch.dtype, cuda: torch.device) -> None:
    """Heads in groups, keys enough to be split, and a number of them that no kernel takes as it is."""
    generator = torch.Generator().manual_seed(1)
    inputs = [torch.randn(2, heads, tokens, 32, generator=generator) for heads, tokens in ((8, 37), (2, 501), (2, 501))]
    mask = torch.arange(501) < torch.tensor([501, 200]).view(2, 1, 1, 1)

    def computed(values: list[Tensor], device: torch.device) -> list[Tensor]:
        leaves = [x.to(device).requires_grad_() for x in values]
        output = attend_batch(leaves[0], leaves[1], leaves[2], mask.to(device), 0.0)
        ramp = torch.linspace(-1, 1, output.numel(), dtype=torch.float64).view(output.shape)
        return [output.detach(), *torch.autograd.grad(output, leaves, ramp.to(output))]

    rounded = [x.to(dtype) for x in inputs]
    first, second = (computed(rounded, cuda) for _ in range(2))
    assert all(map(torch.equal, first, second))
    for values, exact in zip(first, computed([x.double() for x in rounded], torch.device("cpu")), strict=True):
        assert relative_error(values, exact) < ERROR[dtype]


def kept(row: Packing, p: float) -> list[Tensor]:
    """Which probabilities dropout keeps, of every sequence, (heads, tokens, tokens): from attention that looks at all
    tokens alike, to values that name their token."""
    alike = torch.zeros(4, sum(row.lengths), 64, device=row.cu_seqlens.device)
    names = torch.cat([torch.eye(64, device=alike.device)[:length] for length in row.lengths]).expand_as(alike)
    output = attend_padded(alike, alike, names.contiguous(), row, p, 1.0)
    return [part[..., : part.shape[1]] > 0 for part in output.split(row.lengths, 1)]


def test_every_head_sequence_and_call_has_a_dropout_mask_of_its_own(cuda: torch.device) -> None:
    row = Packing.of([64] * 5).to(cuda)
    masks = torch.stack([mask.flatten(1) for _ in range(3) for mask in kept(row, 0.25)]).flatten(0, 1).float()
    assert float(masks.mean()) == pytest.approx(0.75, abs=0.005)
    correlation = torch.corrcoef(masks) - torch.eye(len(masks), device=cuda)
    assert float(correlation.abs().max()) < 0.1  # 64 x 64 entries: standard deviation 0.016


def test_the_backward_pass_has_the_dropout_mask_of_the_forward_pass(cuda: torch.device) -> None:
    row = Packing.of([64, 33, 5]).to(cuda)
    q, k, v, up = (torch.randn(4, 102, 64, device=cuda, dtype=torch.float64) for _ in range(4))
    torch.manual_seed(7)
    masks = kept(row, 0.25)
    torch.manual_seed(7)
    leaves = [x.float().requires_grad_() for x in (q, k, v)]
    output = attend_padded(leaves[0], leaves[1], leaves[2], row, 0.25, 0.125)
    values = [output, *torch.autograd.grad(output, leaves, up.float())]
    exact = [x.requires_grad_() for x in (q, k, v)]
    parts = zip(*(x.split(row.lengths, 1) for x in exact), masks, strict=True)
    expected = torch.cat([((a @ b.mT * 0.125).softmax(-1) * mask / 0.75) @ c for a, b, c, mask in parts], 1)
    for value, wanted in zip(values, [expected, *torch.autograd.grad(expected, exact, up)], strict=True):
        assert relative_error(value.detach(), wanted.detach()) < 1e-5


def source(cuda: torch.device, seed: int = 1) -> tuple[NoiseSource, Tensor]:
    return NoiseSource(seed, "noise"), torch.empty(1 << 20, device=cuda)


def test_noise_has_its_moments(cuda: torch.device) -> None:
    noise, like = source(cuda)
    normal, uniform, keep = noise.normal(like, "a"), noise.uniform(like, "b"), noise.keep(like, 0.3, "c")
    assert keep is not None
    n = like.numel() ** 0.5
    assert float(normal.mean()) == pytest.approx(0, abs=5 / n)
    assert float(normal.std()) == pytest.approx(1, abs=5 / n)
    assert float((normal**4).mean()) == pytest.approx(3, abs=50 / n)
    assert float(uniform.mean()) == pytest.approx(0.5, abs=2 / n)
    assert float(uniform.var()) == pytest.approx(1 / 12, abs=1 / n)
    assert float(uniform.min()) >= 0
    assert float(uniform.max()) < 1
    assert float((keep > 0).float().mean()) == pytest.approx(0.3, abs=3 / n)
    assert keep.unique().tolist() == pytest.approx([0.0, 1 / 0.3])


def test_noise_is_a_function_of_seed_pass_and_site(cuda: torch.device) -> None:
    noise, like = source(cuda)
    first = noise.normal(like, "a")
    assert torch.equal(first, noise.normal(like, "a"))
    assert abs(float((first * noise.normal(like, "b")).mean())) < 5e-3
    noise.next_forward()
    second = noise.normal(like, "a")
    assert abs(float((first * second).mean())) < 5e-3
    assert abs(float((first[1:] * first[:-1]).mean())) < 5e-3
    noise.set_forward(0)
    assert torch.equal(first, noise.normal(like, "a"))
    other, _ = source(cuda, seed=2)
    assert abs(float((first * other.normal(like, "a")).mean())) < 5e-3
    late = NoiseSource(1, "noise")
    late.next_forward()  # before anything was drawn on the device
    assert torch.equal(second, late.normal(like, "a"))
    assert torch.equal(first[:1000], NoiseSource(1, "noise").normal(like[:1000], "a"))


def test_a_graph_draws_afresh_at_every_replay(cuda: torch.device) -> None:
    noise, like = source(cuda)
    expected = []
    for _ in range(4):
        noise.next_forward()
        expected.append(noise.normal(like, "a"))
    noise.set_forward(1)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        noise.next_forward()
        drawn = noise.normal(like, "a")
    for draw in expected[1:]:
        graph.replay()
        assert torch.equal(drawn, draw)
