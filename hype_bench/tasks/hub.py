"""Whether the hub is reachable: without a network its clients retry for a minute before they give up."""

from __future__ import annotations

import os
import socket
import sys
from functools import cache
from urllib.parse import urlsplit

_SECONDS = 3.0


@cache
def go_offline_if_unreachable() -> None:
    """Makes the hub's clients use only their caches if the hub does not answer within three seconds.

    The user's own ``HF_HUB_OFFLINE`` is respected; behind a proxy the clients find out themselves.
    """
    if "HF_HUB_OFFLINE" in os.environ or any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy")):
        return
    hub = urlsplit(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))
    try:
        socket.create_connection((hub.hostname or "", hub.port or 443), timeout=_SECONDS).close()
    except OSError:
        os.environ["HF_HUB_OFFLINE"] = "1"
        constants = sys.modules.get("huggingface_hub.constants")
        if constants is not None:  # imported before
            constants.HF_HUB_OFFLINE = True  # type: ignore[attr-defined]
        if (config := sys.modules.get("datasets.config")) is not None:
            config.HF_HUB_OFFLINE = config.HF_DATASETS_OFFLINE = True  # type: ignore[attr-defined]
