"""Whether W&B's runs of this process go to a server, asked once: an absent server costs minutes."""

from __future__ import annotations

import os
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

from hype_bench.tracking.calls import Calls

_PATIENCE = 5.0  # seconds for a server to answer


class Mode:
    """``name``: one of W&B's modes, None before it is known; ``warning``: why it is not the requested one."""

    def __init__(self) -> None:
        self.name: Any = None
        self.warning = ""

    def resolve(self) -> Any:
        """``WANDB_MODE`` if set; else online if there are a key and a server. Without a key W&B would prompt."""
        if self.name is None:
            requested = os.environ.get("WANDB_MODE")
            reason = _reason_to_be_offline() if requested in (None, "", "online") else ""
            self.name = requested or ("offline" if reason else "online")
            if requested == "online" and reason:
                self.go_offline(reason)
        return self.name

    def go_offline(self, reason: str) -> None:
        self.name = "offline"
        self.warning = f"W&B is offline ({reason}); wandb sync sends its runs later"


def _reason_to_be_offline() -> str:
    """Empty if there are a key and a server."""
    import wandb

    if not wandb.login(prompt=False, verify=False):
        return "there is no key"
    url = wandb.setup().settings.base_url
    return "" if _answers(url) else f"no server answers at {url}"


def _answers(url: str) -> bool:
    """Whether a server answers, even with an error."""
    answered = []

    def ask() -> None:
        try:
            urlopen(url, timeout=_PATIENCE).close()
            answered.append(True)
        except HTTPError:
            answered.append(True)
        except (OSError, ValueError):
            pass

    calls = Calls()  # resolving a name has no timeout
    calls.submit(ask)
    calls.wait(_PATIENCE)
    return bool(answered)
