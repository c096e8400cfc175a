"""Techniques in ``transformers.Trainer``.

    from hype_bench.methods import HyPe, RDrop
    from hype_bench.trainer import MethodTrainer

    MethodTrainer(model=model, args=arguments, train_dataset=data, methods=[HyPe(), RDrop(alpha=1.0)]).train()

The Trainer keeps its own loop, optimizer, schedule, clipping and precision; techniques act when they act in this
project's loop, and with the same batches the losses are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, SaveStrategy, has_length

from hype_bench.contract.compose import Composed, compose, phases_of
from hype_bench.contract.context import Context
from hype_bench.contract.method import Method
from hype_bench.contract.objective import Batch, Forward
from hype_bench.contract.parts import Part
from hype_bench.contract.plain import check_plain
from hype_bench.contract.rows import Rows, as_input, check_labels, for_techniques, forward_in_rows
from hype_bench.options import UserError
from hype_bench.training.device import use_tf32

_STATE = "techniques.pt"  # in a checkpoint

if TYPE_CHECKING:
    _AnyTrainer = Trainer
else:
    _AnyTrainer = object


class WithMethods(_AnyTrainer):
    """A mixin that lets techniques regularise the fine-tuning of any subclass of ``transformers.Trainer``, the first
    named outermost: ``class MySFTTrainer(WithMethods, SFTTrainer)``.

    The objective stays the Trainer's own: label smoothing, ``compute_loss_func``, several labels an example, tokens,
    question answering, multiple choice and language models. After ``train`` the model is plain, but see ``unmerged``.

    Args:
        methods: techniques, each of another class. Without any, it is the Trainer bit for bit.
        args, kwargs: as for the Trainer. Its ``optimizers`` must be left to it; ``optimizer_cls_and_kwargs`` is free.

    Raises:
        UserError: techniques that cannot be combined, or that do not fit the task; one that makes several passes over
            an update together with gradient accumulation, which the Trainer does not hand out as a whole; checkpoints
            on the way that would not load; a resumption from one that lacks these techniques' state.
    """

    model: Any
    train_dataset: Any

    def __init__(self, *args: Any, methods: Iterable[Method], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        chosen = list(methods)
        self.methods = {type(method).__name__: method for method in chosen}
        if len(self.methods) < len(chosen):
            raise UserError("MethodTrainer takes each technique once")
        if chosen and self.optimizer is not None:
            raise UserError(
                "MethodTrainer makes the optimizer itself, as techniques have a say in its parameter groups: give "
                "optimizer_cls_and_kwargs"
            )
        if "NEFTune" in self.methods and self.args.neftune_noise_alpha is not None:
            raise UserError("neftune_noise_alpha and NEFTune are the same noise twice: leave one of them out")
        self.hooks = Composed()
        self.initial: dict[str, Tensor] | None = None  # weights before techniques were prepared, if one reads them
        self.resumed: tuple[str, dict[str, Any]] | None = None  # the checkpoint's folder, and the techniques' part
        self.context = Context(seed=self.args.seed, precision=self._precision())
        if chosen and self.args.activation_checkpointing:
            self.args.activation_checkpointing_kwargs = {"use_reentrant": False, "context_fn": self._checkpointed}
        self.add_callback(_AroundTheStep(self))

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """As in ``transformers``; afterwards the techniques have left the model."""
        if self.args.tf32 is not None:  # transformers sets it once in a process, whatever came since
            use_tf32(self.args.tf32)
        if not self.methods:
            return super().train(resume_from_checkpoint, *args, **kwargs)
        self.optimizer = None
        if self.args.torch_compile:
            torch.compiler.reset()  # what was compiled before does not know of hooks
        try:
            result = super().train(resume_from_checkpoint, *args, **kwargs)
        except BaseException:
            self.context.cleanup.close()
            raise
        if self.args.load_best_model_at_end and self.state.best_model_checkpoint:
            self.context.cleanup.close()  # what was saved was what is scored
        else:
            self.hooks.finish()
        self.hooks, self.resumed = Composed(), None
        return result

    def create_optimizer(self, model: Any = None) -> Any:
        """Prepares the techniques, and lets them have their say in the parameter groups."""
        if self.optimizer is not None or not self.methods:
            return super().create_optimizer(model)
        self._prepare_methods()
        optimizer = super().create_optimizer(model)
        groups = self.hooks.parameter_groups([group for group in optimizer.param_groups if group["params"]])
        optimizer.param_groups.clear()
        for group in groups:
            if group["params"]:
                optimizer.add_param_group(group)
        if self.resumed is not None:
            self._go_on_from(*self.resumed)
        return optimizer

    def compute_loss(
        self, model: Any, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The techniques' loss around the Trainer's own in training; the latter alone in evaluation."""
        if not (model.training and self.hooks.has_loss):
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        items, share = num_items_in_batch, None
        if items is not None and self.current_gradient_accumulation_steps > 1:
            items = self._get_num_items_in_batch([inputs], self.args.device)
            share = items / num_items_in_batch  # techniques see means over a batch
        batch, forward = for_techniques(inputs, self.model), forward_in_rows(model, self.model)
        check_labels(self.methods, batch)
        loss, output = self.hooks.loss(batch, forward, partial(self._own_loss, model, items))
        loss = loss if share is None else loss * share
        return (loss, output.output) if return_outputs else loss

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """As in ``transformers``, but its loader takes nothing from the generators of a training that goes on."""
        if not self.methods:
            return super().evaluation_loop(*args, **kwargs)
        with self.context.rng_preserved(self.model), self.hooks.scored_weights(self.model):
            return super().evaluation_loop(*args, **kwargs)

    def training_step(self, model: Any, inputs: Batch, num_items_in_batch: Any = None) -> Tensor:
        """Forward and backward of one batch, as often as the techniques want."""
        step = super().training_step
        return self.hooks.backward([inputs], lambda batches: step(model, dict(batches[0]), num_items_in_batch))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Saves the weights that are scored, and beside them what it takes to go on from here."""
        others = self.hooks.changes_scored_weights or self.hooks.adds_weights
        weights = self._copied_weights() if others else None
        with self.hooks.scored_weights(self.model):
            super()._save_checkpoint(model, trial)
        if self.methods and self.args.should_save and not self.args.save_only_model:
            folder = Path(self._get_output_dir(trial)) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
            state = {
                "methods": self._names(),
                "initial": self.initial,
                "weights": weights,
                "forwards": self.context.forwards(),
                "facts": self.context.facts,
                "warnings": self.context.warnings,
                "hooks": self.hooks.state(self.model),
            }
            torch.save(state, folder / _STATE)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """A plain model, also while a technique has parameters in it."""
        if state_dict is None and self.hooks.adds_weights:
            state_dict = self.hooks.plain_weights(self.model.state_dict())
        super()._save(output_dir, state_dict)

    def _load_best_model(self) -> None:
        """Into the model as it was saved: without the techniques."""
        self.context.cleanup.close()
        super()._load_best_model()

    def _load_from_checkpoint(self, folder: str, model: Any = None) -> None:
        """Brings back the weights that the techniques are prepared on; those of the checkpoint come afterwards."""
        if not self.methods:
            super()._load_from_checkpoint(folder, model)
            return
        for name, method in self.methods.items():
            if not method.resumable:
                raise UserError(f"{name} cannot be resumed, as a checkpoint cannot hold all that it keeps; train anew")
        if not (path := Path(folder, _STATE)).is_file():
            raise UserError(f"{self._names()} cannot be resumed from {folder}: it lacks {_STATE}; train anew")
        self.resumed = folder, torch.load(path, map_location="cpu", weights_only=True)
        if (before := self.resumed[1]["methods"]) != self._names():
            raise UserError(f"{folder} is of a run with {before}, which cannot go on with {self._names()}")
        if initial := self.resumed[1]["initial"]:
            self.model.load_state_dict(initial)

    def _go_on_from(self, folder: str, state: Mapping[str, Any]) -> None:
        """Weights and state of a checkpoint, once the techniques are prepared."""
        if state["weights"]:
            self.model.load_state_dict(state["weights"])
        else:
            super()._load_from_checkpoint(folder)
        self.hooks.restore(state["hooks"], self.model)
        self.context.set_forwards(state["forwards"])
        self.context.facts.update(state["facts"])
        self.context.warnings[:] = state["warnings"]

    def _copied_weights(self) -> dict[str, Tensor]:
        return {name: weight.to("cpu", copy=True) for name, weight in self.model.state_dict().items()}

    def _names(self) -> str:
        return " and ".join(map(repr, self.methods.values()))

    def _own_loss(self, model: Any, items: Any, batch: Batch, forward: Forward) -> tuple[Tensor, Any]:
        """The Trainer's, of one pass; ``items`` of its batch, if it is divided by them."""
        loss, output = super().compute_loss(model, as_input(batch), True, items)
        return loss, Rows(output, batch, self.model)

    def _prepare_methods(self) -> None:
        if self.args.save_strategy != SaveStrategy.NO:
            check_plain(self.methods, "set save_strategy='no'")
        tensors = self.model.state_dict().keys()
        steps = self.state.max_steps
        self.context = Context(
            announces=True,
            seed=self.args.seed,
            precision=self._precision(),
            scaler=self.accelerator.scaler,
            updates=steps,
            warmup=self.args.get_warmup_steps(steps),
            examples=len(self.train_dataset) if has_length(self.train_dataset) else None,
            batches=self._one_pass if has_length(self.train_dataset) else None,
            objective=partial(self._own_loss, self.model, None),
        )
        saves = self.args.save_strategy != SaveStrategy.NO and not self.args.save_only_model
        reads = any(Part.INITIAL_WEIGHTS in method.acts_on for method in self.methods.values())
        self.initial = self._copied_weights() if saves and reads else None
        self.hooks = compose(self.methods, self.model, self.context)
        saved = self.hooks.plain_weights(self.model.state_dict())
        if reason := self._refusal(changed=saved.keys() != tensors):
            self.context.cleanup.close()
            raise UserError(reason.format(" and ".join(self.methods)))

    def _refusal(self, changed: bool) -> str | None:
        """Why the techniques, ``{}``, do not go with the arguments; ``changed``: whether weights would be saved under
        other names than the plain model's."""
        if self.args.gradient_accumulation_steps > 1 and self.hooks.has_backward:
            return "gradient accumulation in the Trainer cannot work with {}: use a larger batch"
        if phases_of(self.methods) > 1:
            return "{} asks for a second phase, which the Trainer does not have: use hype-bench run, or next_phase()"
        criterion = self.hooks.criterion or self.hooks.regression_criterion
        if criterion and (self.label_smoother or self.compute_loss_func):
            return "{} replaces the loss: leave out label_smoothing_factor and compute_loss_func"
        if self.args.save_strategy != SaveStrategy.NO and changed:
            sentence = "with {} a checkpoint on the way would not load as a plain model: "
            return sentence + "set save_strategy='no' and save the model after train()"
        return None

    def _one_pass(self, size: int | None) -> Iterator[Batch]:
        """The training data once, shuffled, in batches as the Trainer makes them."""
        loader: DataLoader[Any] = DataLoader(
            self.train_dataset,
            batch_size=size or self.args.per_device_train_batch_size,
            shuffle=True,
            generator=torch.Generator().manual_seed(self.args.seed),
            collate_fn=self._get_collator_with_removed_columns(self.data_collator, "training"),
        )
        for inputs in loader:
            yield for_techniques(self._prepare_inputs(inputs), self.model)

    def _precision(self) -> str:
        if self.args.bf16 or self.args.fp16:
            return "bf16" if self.args.bf16 else "fp16"
        return "tf32" if torch.backends.cuda.matmul.fp32_precision == "tf32" else "fp32"

    def _checkpointed(self) -> Any:
        return self.context.checkpointed()


class MethodTrainer(WithMethods, Trainer):
    """``transformers.Trainer`` whose fine-tuning is regularised by techniques, see :class:`WithMethods`."""


class _AroundTheStep(TrainerCallback):
    """Calls the techniques between clipping and the optimizer's step, and after it."""

    def __init__(self, trainer: WithMethods) -> None:
        self.trainer = trainer
        self.is_step = True

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.is_step = self.trainer.context.will_step(self.trainer.model)
        if self.is_step:
            self.trainer.hooks.before_step(self._optimizer)

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.is_step:
            self.trainer.hooks.after_step(self._optimizer)

    @property
    def _optimizer(self) -> Any:
        """Without what accelerate puts around it."""
        return getattr(self.trainer.optimizer, "optimizer", self.trainer.optimizer)
