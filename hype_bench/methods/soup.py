"""Soups: the weights of several finished runs, averaged (Wortsman et al., ICML 2022).

A soup is no technique of one run and has no hooks: ``hype-bench soup`` makes it of the runs of a results folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from torch import Tensor

from hype_bench.contract.card import Card

State = dict[str, Tensor]  # a state dict

_CITATION = """
    Wortsman, Ilharco, Gadre, Roelofs, Gontijo-Lopes, Morcos, Namkoong, Farhadi, Carmon, Kornblith and Schmidt 2022,
    *Model soups: averaging weights of multiple fine-tuned models improves accuracy without increasing inference time*,
    ICML 2022, https://arxiv.org/abs/2203.05482; code: mlfoundations/model-soups, commit d5398f1
    """
CARDS = {
    "soup_uniform": Card(
        title="Uniform soup",
        summary="the mean of the weights of several finished runs (hype-bench soup uniform)",
        equation=r"\bar\theta = \frac{1}{k} \sum_{i=1}^{k} \theta_i",
        citation=_CITATION,
        differences="""
            The paper's members share the head they start from. Here runs of several seeds have heads of their own,
            unless the members differ in their settings alone. Integer buffers are not averaged.
            """,
        cost="no training of its own; needs runs made with `training.save=last`",
        helps="The paper reports it for image models; for text on GLUE its gains are small.",
    ),
    "soup_greedy": Card(
        title="Greedy soup",
        summary="members join the mean of the weights one by one if a held-out score rises (hype-bench soup greedy)",
        equation=r"""
            \bar\theta \leftarrow \frac{k \bar\theta + \theta_i}{k + 1} \text{ if } s(\cdot) \text{ rises},
            \quad \theta_1, \theta_2, \dots \text{ by falling } s
            """,
        citation=_CITATION,
        differences="""
            As released: of two members of equal score the later comes first, and a member joins only if the score of
            the mean strictly rises. The score is taken on training examples that were set aside
            (`data.selection_examples`) and never on the split that is reported.
            """,
        cost="no training of its own; one scoring of the held-out examples for each member and for each mean tried",
        helps="The paper reports it at or above the best single member.",
    ),
}


def stirred(mean: State, count: int, state: State) -> State:
    """The mean of ``count`` states with one more in it: ``(count * mean + state) / (count + 1)``.

    Integer buffers are those of the mean.
    """
    return {
        key: (value * count + state[key]) / (count + 1) if value.is_floating_point() else value
        for key, value in mean.items()
    }


def uniform_soup(states: Iterable[State]) -> State:
    """The mean of all states, one in memory at a time beside the mean.

    Reference: Wortsman et al. 2022, "Model soups", arXiv:2203.05482

    Raises:
        ValueError: there is none.
    """
    mean: State | None = None
    for count, state in enumerate(states):
        mean = state if mean is None else stirred(mean, count, state)
    if mean is None:
        raise ValueError("a soup of nothing")
    return mean


def greedy_soup(
    names: Sequence[str], load: Callable[[str], State], score: Callable[[State], float]
) -> tuple[State, list[str], float]:
    """Goes through the members by falling score and keeps those with which the score of the mean strictly rises.

    Args:
        names: of the members; ``load`` gives the state of one.
        score: on held-out examples, higher is better.

    Returns:
        The soup, the members in it in the order in which they joined, and its score.

    Reference: Wortsman et al. 2022, "Model soups", Recipe 1; ties as in the released code.
    """
    scores = {name: score(load(name)) for name in names}
    order = sorted(scores, key=scores.__getitem__)[::-1]  # of equals the later comes first
    soup, members, best = load(order[0]), order[:1], scores[order[0]]
    for name in order[1:]:
        tried = stirred(soup, len(members), load(name))
        if (found := score(tried)) > best:
            soup, best = tried, found
            members.append(name)
    return soup, members, best
