"""What LoRA and its variants share: their options, and peft's configuration of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel

from hype_bench.contract.adapters import Adapter
from hype_bench.contract.context import Context
from hype_bench.options import choice, number


@dataclass(frozen=True)
class LowRank(Adapter):
    """Base of techniques that train a product B A beside frozen linear maps."""

    rank: int = number(8, least=1)
    alpha: float = number(8.0, above=0)
    dropout: float = number(0.0, least=0, below=1)
    target: str = choice("query_value", "query_value", "all")

    def config(self, model: PreTrainedModel, context: Context) -> Any:
        from peft import LoraConfig

        return LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,  # type: ignore[arg-type]
            lora_dropout=self.dropout,
            target_modules=self.maps(model),
            **self.variant,
        )

    @property
    def variant(self) -> dict[str, Any]:
        """The arguments of peft's configuration that make a variant of LoRA."""
        return {}
