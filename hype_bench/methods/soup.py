"""Soups (Wortsman et al., ICML 2022): averages of the weights of several finished runs.

They are not techniques of a run and have no hooks: ``hype-bench soup`` makes them from the runs of a results folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from torch import Tensor

State = dict[str, Tensor]  # a state dict


def stirred(mean: State, count: int, state: State) -> State:
    """The mean of ``count`` states with one more in it: ``(count * mean + state) / (count + 1)``.

    Integer buffers are those of the mean.
    """
    return {
        key: (value * count + state[key]) / (count + 1) if value.is_floating_point() else value
        for key, value in mean.items()
    }


def uniform_soup(states: Iterable[State]) -> State:
    r"""Uniform soup: the mean of the weights of several finished runs (hype-bench soup uniform).

    Only one state is in memory at a time beside the mean.

    Raises:
        ValueError: there is no state.

    Equation:
        \bar\theta = \frac{1}{k} \sum_{i=1}^{k} \theta_i

    Reference:
        Wortsman, Ilharco, Gadre, Roelofs, Gontijo-Lopes, Morcos, Namkoong, Farhadi, Carmon, Kornblith and Schmidt 2022,
        *Model soups: averaging weights of multiple fine-tuned models improves accuracy without increasing inference
        time*, ICML 2022, https://arxiv.org/abs/2203.05482; code: mlfoundations/model-soups, commit d5398f1

    Differences:
        The paper's members share the head they start from. Here the heads of runs with different seeds start apart;
        members that differ only in their settings share it. Integer buffers are not averaged.

    Cost:
        No training of its own; it needs runs made with `training.save=last`.

    When it helps:
        The paper reports gains for image models; for text, on GLUE, they are small.
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
    r"""Greedy soup: runs join the mean of the weights if its score on held-out examples rises (hype-bench soup greedy).

    The members are tried from the best to the worst.

    Args:
        names: of the members; ``load`` gives the state of one.
        score: on held-out examples, higher is better.

    Returns:
        The soup, the members in it in the order in which they joined, and its score.

    Equation:
        \bar\theta \leftarrow \frac{k \bar\theta + \theta_i}{k + 1} \text{ if } s(\cdot) \text{ rises},
        \quad \theta_1, \theta_2, \dots \text{ by falling } s

    Reference:
        Wortsman, Ilharco, Gadre, Roelofs, Gontijo-Lopes, Morcos, Namkoong, Farhadi, Carmon, Kornblith and Schmidt 2022,
        *Model soups: averaging weights of multiple fine-tuned models improves accuracy without increasing inference
        time*, ICML 2022, https://arxiv.org/abs/2203.05482; code: mlfoundations/model-soups, commit d5398f1

    Differences:
        As released (Recipe 1 of the paper): of two members with equal scores the later comes first, and a member joins
        only if the score of the mean strictly rises. The score is taken on training examples that were set aside
        (`data.selection_examples`), never on the split that is reported.

    Cost:
        No training of its own; one scoring of the held-out examples for each member and for each mean tried.

    When it helps:
        The paper reports it at or above the best single member.
    """
    scores = {name: score(load(name)) for name in names}
    order = sorted(scores, key=scores.__getitem__)[::-1]  # of equals the later comes first
    soup, members, best = load(order[0]), order[:1], scores[order[0]]
    for name in order[1:]:
        tried = stirred(soup, len(members), load(name))
        if (of_tried := score(tried)) > best:
            soup, best = tried, of_tried
            members.append(name)
    return soup, members, best


SOUPS = {"soup_uniform": uniform_soup, "soup_greedy": greedy_soup}
