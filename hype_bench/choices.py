"""What the files under ``conf`` say, ours and those of plug-ins, read without composing anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from hype_bench import plugins
from hype_bench.config import CONF, Config, ModelConfig, RecipeConfig, TaskConfig, fill_training
from hype_bench.options import UserError

FILES = ("train_file", "validation_file")  # of a task: a user's own


def conf_folders() -> list[Path]:
    """Where choices are looked for, in order: what an earlier folder has, a later one cannot replace."""
    return [CONF, *plugins.conf_folders()]


def groups() -> list[str]:
    """What can be chosen, by name: ``model``, ``task``, ..."""
    return sorted({path.name for folder in conf_folders() for path in folder.iterdir() if path.is_dir()} - {"hydra"})


def choices(group: str) -> list[str]:
    return sorted({path.stem for folder in conf_folders() for path in (folder / group).glob("*.yaml")})


def choice_file(group: str, name: str) -> Path | None:
    paths = [folder / group / f"{name}.yaml" for folder in conf_folders()]
    return next((path for path in paths if path.is_file()), None)


def read_choice(group: str, name: str) -> dict[str, Any]:
    """A choice as its file has it, interpolations as they stand, with those of its defaults that are files beside it;
    empty if there is none."""
    path = choice_file(group, name)
    if path is None:
        return {}
    content: Any = OmegaConf.to_container(OmegaConf.load(path))
    parts = [read_choice(group, base) for base in content.pop("defaults", []) if base != "_self_"]
    merged: Any = OmegaConf.to_container(OmegaConf.merge(*parts, content))
    return dict(merged)


def named_task(name: str) -> TaskConfig:
    """The task that a file of the group describes.

    Raises:
        UserError: there is no such task, or it is the one that takes the user's own files.
    """
    content = read_choice("task", name)
    if not _has_data(content):
        with_data = [choice for choice in choices("task") if _has_data(read_choice("task", choice))]
        raise UserError(f"there is no task {name!r} with data of its own; there are {', '.join(with_data)}")
    task: Any = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(TaskConfig), content))
    return task  # type: ignore[no-any-return]


def _has_data(task: dict[str, Any]) -> bool:
    return bool(task) and "train_file" not in task


def usual_training(model: ModelConfig, task: str, recipe: str) -> dict[str, Any]:
    """The training settings of a run of this model and task that asks for nothing else.

    Raises:
        UserError: a recipe of the user's own that leaves a setting to the command line.
    """
    content = {"training": {}, "families": {}, **read_choice("recipe", recipe)}
    settings = RecipeConfig(recipe, content["training"], content["families"])
    return dict(vars(fill_training(Config(model=model, task=TaskConfig(name=task), recipe=settings))))
