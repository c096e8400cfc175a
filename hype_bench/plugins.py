"""Installed packages that add to this one: those with an entry point in the group ``hype_bench``.

The entry point names a package. Its techniques are in its ``methods`` (a module, or a folder of modules), its analyses
in the files of its folder ``analysis``, and its choices of Hydra's groups in its folder ``conf``. Nothing is imported
here: a plug-in that cannot be imported does not stop a command that does not use it.
"""

from __future__ import annotations

import importlib.util
import pkgutil
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from hype_bench.options import UserError

GROUP = "hype_bench"


@dataclass(frozen=True)
class Plugin:
    """A package that an entry point names.

    Attributes:
        module: its name in Python.
        package: its name for pip.
        version: of the package.
    """

    module: str
    package: str
    version: str

    @property
    def title(self) -> str:
        return f"{self.package} {self.version}"

    @property
    def folder(self) -> Path | None:
        return package_folder(self.module)

    def methods(self) -> list[str]:
        """The names of the modules that hold its techniques: of a module in place of a package, its own."""
        if self.folder is None:
            return [self.module]
        place, name = self.folder / "methods", f"{self.module}.methods"
        if place.is_dir():
            return [name, *(f"{name}.{module.name}" for module in pkgutil.iter_modules([str(place)]))]
        return [name] if place.with_suffix(".py").is_file() else []


@cache
def installed() -> tuple[Plugin, ...]:
    """Every plug-in of this environment, sorted by name."""
    plugins = {
        Plugin(point.module, point.dist.name, point.dist.version) for point in entry_points(group=GROUP) if point.dist
    }
    return tuple(sorted(plugins, key=lambda plugin: (plugin.package, plugin.module)))


def plugin_of(module: str) -> Plugin | None:
    """The plug-in to which a module belongs."""
    return next((plugin for plugin in installed() if f"{module}.".startswith(f"{plugin.module}.")), None)


def conf_folders() -> list[Path]:
    """The plug-ins' folders of choices."""
    folders = [plugin.folder / "conf" for plugin in installed() if plugin.folder is not None]
    return [folder for folder in folders if folder.is_dir()]


def package_folder(package: str) -> Path | None:
    """Where an installed package lies; None if it is a module, or not there."""
    try:
        spec = importlib.util.find_spec(package)
    except Exception:  # of a package within one that cannot be imported
        return None
    locations = spec.submodule_search_locations if spec is not None else None
    return Path(next(iter(locations))) if locations else None


def data_folder(package: str) -> str:
    """``${package:NAME}`` in a YAML: the folder of a package, which holds the files of its tasks.

    Raises:
        UserError: there is no such package.
    """
    folder = package_folder(package)
    if folder is None:
        raise UserError(f"there is no package {package!r}")
    return str(folder)
