"""What Hydra and OmegaConf raise becomes a line for the user, and an interrupt stays one."""

from __future__ import annotations

import pytest
from hydra.errors import ConfigCompositionException

from hype_bench.launch.errors import composition_errors
from hype_bench.options import UserError


def raise_during(interrupt: type[BaseException], last: Exception) -> None:
    """As where flags of a configuration cannot be put back."""
    try:
        raise interrupt
    finally:
        try:
            raise AttributeError("in a finally")
        except AttributeError as error:
            raise last from error


@pytest.mark.parametrize(
    "last", [ConfigCompositionException(), AttributeError("x")], ids=lambda error: type(error).__name__
)
def test_an_interrupt_that_became_an_error_is_an_interrupt(last: Exception) -> None:
    with pytest.raises(KeyboardInterrupt), composition_errors():
        raise_during(KeyboardInterrupt, last)


def test_another_is_the_users_error() -> None:
    with pytest.raises(UserError, match="a value"), composition_errors():
        raise_during(RuntimeError, ConfigCompositionException("a value"))
