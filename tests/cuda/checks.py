"""What the stand-in itself promises; run by test_device.py in a process of its own."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import pytest

from tests.cuda.guard import library

ctypes.CDLL(str(library()))  # before torch
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from hype_bench.models.padded_attention import attend_batch  # noqa: E402
from tests.cuda.counts import Counts  # noqa: E402
from tests.cuda.device import COUNTS, Cuda, CudaTensor  # noqa: E402

aten = torch.ops.aten


@pytest.fixture(autouse=True)
def counts() -> Iterator[Counts]:
    COUNTS.reset()
    COUNTS.on = True
    with Cuda():
        yield COUNTS
    COUNTS.on = False


def values(tensor: Tensor) -> Tensor:
    assert isinstance(tensor, CudaTensor)
    return tensor.of_host


def test_a_module_trains_on_it_as_on_the_cpu() -> None:
    def trained(device: str) -> list[Tensor]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 2)).to(device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)
        x = torch.linspace(0, 1, 12).view(3, 4).to(device)
        for _ in range(3):
            F.cross_entropy(model(x), torch.tensor([0, 1, 1], device=device)).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        return [parameter.detach().cpu() for parameter in model.parameters()]

    for weight, expected in zip(trained("cuda"), trained("cpu"), strict=True):
        assert torch.equal(weight, expected)


def test_a_view_in_place_changes_the_shape() -> None:
    x = torch.arange(3.0).to("cuda").clone()
    assert x.unsqueeze_(0).shape == values(x).shape == (1, 3)
    assert (x + torch.zeros(1, 3, device="cuda")).shape == (1, 3)


def test_operands_of_two_devices_are_refused() -> None:
    with pytest.raises(RuntimeError, match="same device"):
        torch.ones(2, device="cuda") + torch.ones(2)
    assert values(torch.ones(2, device="cuda") + torch.tensor(1.0)).tolist() == [2, 2]  # a number goes by value


def test_each_way_to_wait_is_counted(counts: Counts) -> None:
    x = torch.ones(3, device="cuda")
    ways = {
        "item": lambda: x.sum().item(),
        "float": lambda: float(x[0]),
        "if": lambda: bool((x > 0).all()),
        "nonzero": lambda: x.nonzero(),
        "mask": lambda: x[x > 0],
        "sizes": lambda: x.repeat_interleave(torch.ones(3, dtype=torch.int64, device="cuda")),
        "to the host": lambda: x.cpu(),
        "from the host": lambda: torch.ones(3).to("cuda"),
        "new": lambda: torch.tensor([1.0], device="cuda"),
        "synchronize": torch.cuda.synchronize,
    }
    for name, way in ways.items():
        before = counts.synchronisations.total()
        way()
        assert counts.synchronisations.total() > before, name


def test_what_need_not_wait_is_not_counted(counts: Counts) -> None:
    x, ones = torch.ones(3, device="cuda"), torch.ones(3, dtype=torch.int64, device="cuda")
    torch.ones(3).pin_memory().to("cuda", non_blocking=True)
    x.repeat_interleave(ones, output_size=3)
    x[ones > 0] = 0.0
    torch.where(x > 0, x, 0)
    assert not counts.synchronisations
    assert list(counts.copies) == ["from pinned memory of the host @ elsewhere"]


def test_launches_are_kernels_and_not_views(counts: Counts) -> None:
    x = torch.zeros(4, 6, device="cuda")
    assert (counts.launches, counts.bytes) == (1, 96)
    x.view(6, 4).T[1:].detach()
    assert counts.launches == 1
    torch._foreach_add_([x, x.clone()], 1.0)
    assert (counts.launches, counts.bytes) == (3, 96 + 192 + 192)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_and_its_backward_pass(dtype: torch.dtype) -> None:
    q, k, v, up = (torch.randn(2, 3, 5, 8, dtype=dtype) for _ in range(4))
    bias = torch.zeros(2, 1, 1, 5, dtype=dtype)
    bias[1, ..., 3:] = -torch.inf
    bias = bias.expand(2, 3, 5, 5)
    on_gpu = [x.to("cuda") for x in (q, k, v, bias)]
    out, log_sum, seed, offset = aten._scaled_dot_product_efficient_attention(*on_gpu, True, 0.0, scale=0.5)
    swapped = [x.transpose(1, 2) for x in (up.to("cuda"), *on_gpu[:3])]
    gradients = aten._efficient_attention_backward(
        *swapped, on_gpu[3], out.transpose(1, 2), None, None, 5, 5, log_sum, 0.0, seed, offset, 0, False, scale=0.5
    )
    exact = [x.float().requires_grad_() for x in (q, k, v)]
    expected = F.scaled_dot_product_attention(exact[0], exact[1], exact[2], bias.float(), scale=0.5)
    expected.backward(up.float())
    atol, rtol = (1e-6, 1e-5) if dtype == torch.float32 else (0.05, 0.02)
    torch.testing.assert_close(values(out).float(), expected, atol=atol, rtol=rtol)
    for gradient, x in zip(gradients[:3], exact, strict=True):
        torch.testing.assert_close(values(gradient.transpose(1, 2)).float(), x.grad, atol=atol, rtol=rtol)


def test_attention_of_a_padded_batch_is_that_of_torch() -> None:
    """Heads in groups, and a number of keys that the kernel does not take as it is."""
    inputs = [torch.randn(2, heads, tokens, 8) for heads, tokens in ((4, 3), (2, 13), (2, 13))]
    mask = torch.arange(13) < torch.tensor([13, 5]).view(2, 1, 1, 1)
    results = []
    for device in ("cuda", "cpu"):
        leaves = [x.to(device).requires_grad_() for x in inputs]
        output = attend_batch(leaves[0], leaves[1], leaves[2], mask.to(device), 0.0)
        results.append([output, *torch.autograd.grad(output.square().sum(), leaves)])
    for value, expected in zip(*results, strict=True):
        torch.testing.assert_close(values(value.detach()), expected.detach())


def test_attention_drops_in_the_backward_pass_what_it_dropped_before() -> None:
    """The output is linear in the values: their gradient along them is the output itself."""
    q, k, v = (torch.randn(1, 2, 6, 4).to("cuda").requires_grad_() for _ in range(3))
    out = F.scaled_dot_product_attention(q, k, v, torch.ones(1, 1, 1, 6, dtype=torch.bool, device="cuda"), 0.5)
    out.square().sum().backward()
    assert v.grad is not None
    torch.testing.assert_close(values((v.grad * v).sum()), 2 * values(out.square().sum()))


def test_the_backward_kernel_drops_what_attention_dropped() -> None:
    q, k, v = (torch.randn(2, 2, 6, 4).to("cuda").requires_grad_() for _ in range(3))
    bias = torch.zeros(2, 2, 6, 6).masked_fill_(torch.arange(6) > 3, -torch.inf).to("cuda")
    out, *kept = aten._scaled_dot_product_efficient_attention(q, k, v, bias, True, 0.5)
    out.sum().backward()
    rows = [x.detach().transpose(1, 2) for x in (torch.ones_like(out), q, k, v)]
    log_sums, seed, offset = kept
    gradients = aten._efficient_attention_backward(
        *rows, bias, out.transpose(1, 2), None, None, 6, 6, log_sums, 0.5, seed, offset, 0, False
    )
    for gradient, x in zip(gradients[:3], (q, k, v), strict=True):
        assert x.grad is not None
        torch.testing.assert_close(values(gradient.transpose(1, 2)), values(x.grad))
