"""What a file under ``conf`` says, read without composing anything: for those who hold a run against it."""

from __future__ import annotations

from typing import Any

from omegaconf import OmegaConf

from hype_bench.config import CONF, Config, ModelConfig, RecipeConfig, TaskConfig, fill_training

FILES = ("train_file", "validation_file")  # of a task: a user's own


def read_choice(group: str, name: str) -> dict[str, Any]:
    """A choice as its file has it, interpolations as they stand, with those of its defaults that are files beside it;
    empty if there is none."""
    path = CONF / group / f"{name}.yaml"
    if not path.is_file():
        return {}
    content: Any = OmegaConf.to_container(OmegaConf.load(path))
    parts = [read_choice(group, base) for base in content.pop("defaults", []) if base != "_self_"]
    merged: Any = OmegaConf.to_container(OmegaConf.merge(*parts, content))
    return dict(merged)


def usual_training(model: ModelConfig, task: str, recipe: str) -> dict[str, Any]:
    """The training settings of a run of this model and task that asks for nothing else.

    Raises:
        UserError: a recipe of the user's own, which leaves open what the command line said.
    """
    content = {"training": {}, "families": {}, **read_choice("recipe", recipe)}
    settings = RecipeConfig(recipe, content["training"], content["families"])
    return dict(vars(fill_training(Config(model=model, task=TaskConfig(name=task), recipe=settings))))
