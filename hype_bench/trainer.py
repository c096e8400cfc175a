"""Techniques in ``transformers.Trainer``.

    from hype_bench.methods import HyPe, RDrop
    from hype_bench.trainer import MethodTrainer

    MethodTrainer(model=model, args=arguments, train_dataset=data, methods=[HyPe(), RDrop(alpha=1.0)]).train()

The Trainer keeps its own loop, optimizer, schedule, clipping and precision; techniques act when they act in this
project's loop, and with the same batches the losses are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback
from transformers.trainer_utils import SaveStrategy

from hype_bench.contract.compose import Composed, compose
from hype_bench.contract.context import Context
from hype_bench.contract.method import Method
from hype_bench.contract.objective import Batch, forward_of
from hype_bench.options import UserError
from hype_bench.training.device import use_tf32


class MethodTrainer(Trainer):
    """A Trainer whose fine-tuning is regularised by techniques, the first named outermost.

    When ``train`` ends, the model is a plain one again. The objective is that of :func:`task_loss`: mean cross-entropy,
    or mean squared error where the model has one output.

    Args:
        methods: techniques, each of another class.
        args, kwargs: as for ``transformers.Trainer``. The optimizer must be left to the Trainer.

    Raises:
        UserError: techniques that cannot be combined; one that makes several passes over an update together with
            gradient accumulation, which the Trainer does not hand out as a whole; an argument that asks for another
            objective; checkpoints on the way that would not load, or a resumption from one, which lacks the
            techniques' state.
    """

    model: Any
    train_dataset: Any
    loss_is_scaled_for_ga = False  # the objective is a mean over the batch

    def __init__(self, *args: Any, methods: Iterable[Method], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.optimizer is not None:
            raise UserError("MethodTrainer makes the optimizer itself: techniques have a say in its parameter groups")
        chosen = list(methods)
        self.methods = {type(method).__name__: method for method in chosen}
        if len(self.methods) < len(chosen):
            raise UserError("MethodTrainer takes each technique once")
        self._check_objective()
        self.hooks = Composed()
        self.context = Context(seed=self.args.seed, precision=self._precision())
        if self.args.activation_checkpointing:
            self.args.activation_checkpointing_kwargs = {"use_reentrant": False, "context_fn": self._checkpointed}
        self.add_callback(_AroundTheStep(self))

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """As in ``transformers``; afterwards the techniques have left the model."""
        if self.methods and resume_from_checkpoint:
            raise UserError(f"{' and '.join(self.methods)} cannot be resumed: a checkpoint lacks its state; train anew")
        self.optimizer = None
        if self.args.tf32 is not None:  # transformers sets it once in a process, whatever came since
            use_tf32(self.args.tf32)
        try:
            result = super().train(resume_from_checkpoint, *args, **kwargs)
        except BaseException:
            self.context.cleanup.close()
            raise
        self.hooks.finish()
        self.context.log_warnings()
        return result

    def create_optimizer(self, model: Any = None) -> Any:
        """Prepares the techniques, and lets them have their say in the parameter groups."""
        if self.optimizer is not None:
            return self.optimizer
        self._prepare_methods()
        with_decay = set(self.get_decay_parameter_names(self.model))
        trained = [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]
        groups = [
            {
                "params": [p for name, p in trained if (name in with_decay) == decays],
                "lr": self.args.learning_rate,
                "weight_decay": self.args.weight_decay if decays else 0.0,
            }
            for decays in (True, False)
        ]
        optimizer_class, options = self.get_optimizer_cls_and_kwargs(self.args, self.model)
        filled = [group for group in self.hooks.parameter_groups(groups) if group["params"]]
        self.optimizer = optimizer_class(filled, **options)
        return self.optimizer

    def compute_loss(
        self, model: Any, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The techniques' loss in training; the model's own in evaluation."""
        if not model.training:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        loss, output = self.hooks.loss(self._as_floats(inputs), forward_of(model))
        return (loss, output) if return_outputs else loss

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """As in ``transformers``, but its loader takes nothing from the generators of a training that goes on."""
        with self.context.rng_preserved(self.model):
            return super().evaluation_loop(*args, **kwargs)

    def training_step(self, model: Any, inputs: Batch, num_items_in_batch: Any = None) -> Tensor:
        """Forward and backward of one batch, as often as the techniques want."""
        step = super().training_step
        return self.hooks.backward([inputs], lambda batches: step(model, dict(batches[0]), num_items_in_batch))

    def _check_objective(self) -> None:
        """Raises UserError where the Trainer's own loss would be another one than techniques stand around."""
        kind = getattr(self.model.config, "problem_type", None)
        others = {
            "label_smoothing_factor": bool(self.args.label_smoothing_factor),
            "compute_loss_func": self.compute_loss_func is not None,
            f"problem_type={kind}": kind == "multi_label_classification",
        }
        for asked, is_other in others.items():
            if is_other:
                raise UserError(f"MethodTrainer has cross-entropy or mean squared error as its objective, not {asked}")

    def _prepare_methods(self) -> None:
        tensors = self.model.state_dict().keys()
        steps = self.state.max_steps
        self.context = Context(
            seed=self.args.seed,
            precision=self._precision(),
            scaler=self.accelerator.scaler,
            updates=steps,
            warmup=self.args.get_warmup_steps(steps),
            examples=len(self.train_dataset),
            batches=self._one_pass,
        )
        self.hooks = compose(self.methods, self.model, self.context)
        if self.args.gradient_accumulation_steps > 1 and self.hooks.has_backward:
            self.context.cleanup.close()
            names = " and ".join(self.methods)
            raise UserError(f"gradient accumulation in the Trainer cannot work with {names}: use a larger batch")
        if self.args.save_strategy != SaveStrategy.NO and self.model.state_dict().keys() != tensors:
            self.context.cleanup.close()
            names = " and ".join(self.methods)
            raise UserError(
                f"with {names} a checkpoint on the way would not load as a plain model: set save_strategy='no' and "
                "save the model after train()"
            )

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
            yield self._as_floats(self._prepare_inputs(inputs))

    def _as_floats(self, inputs: Batch) -> Batch:
        """One label an example, a regression's as floats, by which the objective knows it.

        Raises:
            UserError: several labels an example, of which a model's configuration may say nothing.
        """
        labels = inputs["labels"]
        labels = labels.squeeze(-1) if labels.dim() == 2 else labels  # (batch, 1), as the models themselves take it
        if labels.dim() > 1:
            raise UserError(
                "MethodTrainer has cross-entropy or mean squared error of one label an example, not several"
            )
        return {**inputs, "labels": labels.float() if self.model.config.num_labels == 1 else labels}

    def _precision(self) -> str:
        if self.args.bf16 or self.args.fp16:
            return "bf16" if self.args.bf16 else "fp16"
        return "tf32" if torch.backends.cuda.matmul.fp32_precision == "tf32" else "fp32"

    def _checkpointed(self) -> Any:
        return self.context.checkpointed()


class _AroundTheStep(TrainerCallback):
    """Calls the techniques between clipping and the optimizer's step, and after it."""

    def __init__(self, trainer: MethodTrainer) -> None:
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
