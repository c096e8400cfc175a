"""Whether W&B's runs of this process go to a server: asked once, as one that is not there costs minutes."""

from __future__ import annotations

import os
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

from hype_bench.tracking.calls import Calls

_PATIENCE = 5.0  # seconds for a server to answer


class Mode:
    """``name``: of W&B's modes, None before it is known; ``warning``: why it is not what was asked for."""

    def __init__(self) -> None:
        self.name: Any = None
        self.warning = ""

    def settle(self) -> Any:
        """What ``WANDB_MODE`` says; else online if there are a key and a server. Without a key W&B would ask."""
        if self.name is None:
            asked = os.environ.get("WANDB_MODE")
            why_not = _why_not_online() if asked in (None, "", "online") else ""
            self.name = asked or ("offline" if why_not else "online")
            if asked == "online" and why_not:
                self.go_offline(why_not)
        return self.name

    def go_offline(self, why: str) -> None:
        self.name = "offline"
        self.warning = f"W&B is offline ({why}); wandb sync sends its runs later"


def _why_not_online() -> str:
    """Empty if there are a key and a server."""
    import wandb

    if not wandb.login(prompt=False, verify=False):
        return "there is no key"
    url = wandb.setup().settings.base_url
    return "" if _answers(url) else f"no server answers at {url}"


def _answers(url: str) -> bool:
    """Whether a server answers, be it with an error."""
    answered = []

    def ask() -> None:
        try:
            urlopen(url, timeout=_PATIENCE).close()
            answered.append(True)
        except HTTPError:
            answered.append(True)
        except (OSError, ValueError):
            pass

    calls = Calls()  # looking a name up has no limit of its own
    calls.make(ask)
    calls.wait(_PATIENCE)
    return bool(answered)
