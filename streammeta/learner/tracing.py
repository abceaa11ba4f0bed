"""The learner's step as a traced graph, one per shape of episode.

A trace runs the ATen operations of the eager step, writes in place replaced by operations that give new
tensors: about three times faster. Shapes beyond `MAX_TRACES` run those operations eagerly: slower, same bits.
"""

import math
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.func import functionalize
from torch.fx import GraphModule

from streammeta.algorithms.base import Info, MetaLearner, State, per_task
from streammeta.events import Array, Batch, Episode
from streammeta.learner import growth
from streammeta.learner.flat import Signature, in_words, outputs_of, read_state, signature_of, state_tensors
from streammeta.learner.graphs import FlatStep, trace
from streammeta.learner.mapping import Maps, alone
from streammeta.learner.prepared import Kept, Prepared, Stepped
from streammeta.learner.shapes import Verdicts, check_classes, remember
from streammeta.learner.verification import verify
from streammeta.models.network import Network

MAX_TRACES: Final = 64
"""Traces kept; each costs about half a second once."""

MAX_EAGER: Final = 4096
"""Shapes without a trace that are remembered."""


class Steps:
    """Steps of one learner by the shapes of the episode; refuses what the model cannot take."""

    def __init__(
        self,
        learner: MetaLearner,
        network: Network,
        *,
        predicts: bool = False,
        memory_norm_limit: float = math.inf,
        kept: Kept | None = None,
    ) -> None:
        """`predicts`: every step also gives predictions of the query sets; of classifiers it always does.

        `memory_norm_limit`: a step that takes a task's own parameters beyond this norm counts as not finite.
        `kept`: where traces are kept between processes; None where they are not.
        """
        self._kept = kept
        self._learner = learner
        self._norm_limit = memory_norm_limit
        self._predicts = predicts or network.takes_classes
        self._network = network
        self._prepared: dict[Signature, Prepared] = {}
        self._verdicts = Verdicts(network)
        self._maps = Maps()
        self._eager: dict[Signature, bool] = {}
        self.making: Callable[[str], None] = _untold
        """Told of a step that is about to be traced, in words: it may take long."""

    @property
    def task_params(self) -> Callable[[State, Tensor], Tensor] | None:
        """The learner's."""
        return self._learner.task_params

    @property
    def scheduled(self) -> bool:
        """Whether the rate of the meta-update changes by itself."""
        return self._learner.meta_rate is not None

    def meta_rate(self, state: State) -> float:
        """The rate of the next meta-update, after its schedule."""
        rate_of = self._learner.meta_rate
        return (rate_of(state) if rate_of else state.meta_lr).item()

    def own_params(self, state: State, memory: Tensor, support: Batch[Tensor]) -> Tensor:
        """The task's own parameters (d,): its memory's; where it keeps none, adapted to `support`."""
        with torch.no_grad():
            if self._learner.task_params is None:
                return self._learner.adapt(state, support)
            return self._learner.task_params(state, memory)

    def step(self, state: State, memory: Tensor, seen: Tensor, episode: Episode[Tensor]) -> Stepped:
        """`learner.update`, and what is known beside it.

        `episode` and `memory` carry a leading task axis.

        Raises:
            BadEvent: the model cannot take examples of these shapes, or has no such class.
            CodeFault: the model's or the loss's code fails on any data.
            ConfigError: the model does something that cannot be traced or replayed, or its trace gives
                other numbers.
            IndexError, ValueError, RuntimeError: the model or the loss refuses these values.
        """
        inputs = [*state_tensors(state), memory, seen, *episode.support, *episode.query]
        finite, predictions, *outputs = self.update(state, inputs)
        after, rest = read_state(state, outputs)
        known = predictions if self._predicts else None
        return Stepped(after, rest[0], Info(*rest[1:]), bool(finite), known)

    def update(self, like: State, inputs: list[Tensor]) -> list[Tensor]:
        """The same over a flat list of tensors, as `executors.chunk.Update`.

        Raises:
            BadEvent, CodeFault, ConfigError, IndexError, ValueError, RuntimeError: as `step`.
        """
        episode = Episode(Batch(*inputs[-4:-2]), Batch(*inputs[-2:]))
        with torch.no_grad():
            prepared = self._prepare(like, episode, inputs)
            if prepared.classes:
                for batch in episode:
                    check_classes(*batch.y.aminmax(), prepared.classes)
            return self._run(prepared, like, inputs)

    def plain(self, like: State) -> FlatStep:
        """What every other step is compared with: eager, its tasks computed one by one."""
        return alone(self._flat_step(like))

    def reference(self, like: State, inputs: list[Tensor]) -> FlatStep:
        """A step that gives the plain step's numbers for inputs of these shapes: the trace, once compared."""
        prepared = self._prepared.get(_signature(inputs))
        return prepared.run if prepared is not None and prepared.trusted else self.plain(like)

    def check(self, state: State, examples: Batch[Array], counts: Sequence[int]) -> None:
        """Refuse examples, in the model's numbers, of which sets of `counts` could not be learned from.

        Raises:
            BadEvent: the model cannot take examples of these shapes, or has no such class.
            ConfigError: the model's code fails on any data.
        """
        kinds = [(array.shape[1:], _dtype(array)) for array in examples]
        signature = tuple(((1, count, *shape), dtype) for count in counts for shape, dtype in kinds)
        with torch.no_grad():
            classes = self._verdicts.classes(signature, state.params)
        if classes:
            check_classes(examples.y.min(), examples.y.max(), classes)

    def traced(self, state: State, episode: Episode[Tensor]) -> tuple[GraphModule, list[Tensor]] | None:
        """The step for these shapes as a graph, with inputs of these shapes; None beyond `MAX_TRACES`.

        Raises:
            BadEvent, ConfigError: as `step`.
        """
        tasks = len(episode.query.x)
        memory = state.params.new_zeros(tasks, self._learner.memory_size)
        arrays = (*episode.support, *episode.query)
        inputs = [*state_tensors(state), memory, state.params.new_zeros(tasks), *arrays]
        with torch.no_grad():
            run = self._prepare(state, episode, inputs).run
        return (run, inputs) if isinstance(run, GraphModule) else None

    def classes(self, state: State, episode: Episode[Tensor]) -> int:
        """How many classes the model tells apart in these shapes, 0 for none.

        Raises:
            BadEvent, ConfigError: as `step`.
        """
        with torch.no_grad():
            return self._verdicts.classes(signature_of(episode), state.params)

    @property
    def shapes(self) -> tuple[int, int]:
        """How many shapes are traced, and how many run eagerly."""
        return len(self._prepared), len(self._eager)

    @property
    def predicts(self) -> bool:
        """Whether a step gives predictions."""
        return self._predicts

    def _prepare(self, state: State, episode: Episode[Tensor], inputs: list[Tensor]) -> Prepared:
        """The step for these shapes, made at their first visit."""
        signature = signature_of(episode)
        prepared = self._prepared.get(signature)
        if prepared is None:
            classes = self._verdicts.classes(signature, state.params)
            kept = self._kept.get(signature) if self._kept and len(self._prepared) < MAX_TRACES else None
            if kept is not None:
                self._prepared[signature] = Prepared(kept, classes, trusted=True)
                return self._prepared[signature]
            self.making(f"tracing the step of {in_words(signature)}")
            # Zeros for data, as in the trial: what fails now is the model's fault, not the event's.
            blank = [*inputs[:-4], *(torch.zeros_like(array) for array in inputs[-4:])]
            step = self._flat_step(state)
            if not self._maps.at_once(signature, step, blank):
                step = alone(step)
            if len(self._prepared) >= MAX_TRACES:
                remember(self._eager, signature, True, MAX_EAGER)
                return Prepared(functionalize(step), classes, trusted=True)
            prepared = Prepared(trace(step, blank), classes, trusted=False)
            self._prepared[signature] = prepared
        return prepared

    def _run(self, prepared: Prepared, state: State, inputs: list[Tensor]) -> list[Tensor]:
        """The step; compared with the plain one, task by task, on the first data that give finite numbers."""
        if prepared.trusted:
            return prepared.run(*inputs)
        outputs = verify(self.plain(state), prepared.run, inputs, outputs_of(state))
        if outputs[0]:
            prepared.trusted = True
            self._keep(inputs, prepared)
        return outputs

    def proven(self, inputs: list[Tensor]) -> None:
        """What was made of the trace for these inputs gave the plain step's numbers: so does the trace."""
        prepared = self._prepared.get(_signature(inputs))
        if prepared is not None and not prepared.trusted:
            self._keep(inputs, prepared)

    def _keep(self, inputs: list[Tensor], prepared: Prepared) -> None:
        if self._kept is not None and isinstance(prepared.run, GraphModule):
            self._kept.put(_signature(inputs), prepared.run)

    def _flat_step(self, like: State) -> FlatStep:
        """The update over a flat list of tensors; before its outputs: is all to keep finite? predictions."""

        def step(*flat: Tensor) -> list[Tensor]:
            state, (memory, seen, *arrays) = read_state(like, list(flat))
            episode = Episode(Batch(*arrays[:2]), Batch(*arrays[2:]))
            after, moved, info = self._learner.update(state, memory, seen, episode)
            finite = growth.finite(after, moved, info)
            if self._norm_limit < math.inf:
                finite = finite & (growth.norms(self._learner, after, moved) <= self._norm_limit).all()
            predictions = (
                self._predictions(state, memory, seen, episode) if self._predicts else seen.new_zeros(0)
            )
            return [finite, predictions, *state_tensors(after), moved, *info]

        return step

    def outgrown(self, like: State, inputs: list[Tensor]) -> float:
        """The norm beyond the limit that was all that spoke against this step of one task; 0 for none."""
        if self._norm_limit == math.inf:
            return 0.0
        with torch.no_grad():
            _, _, *outputs = self.plain(like)(*inputs)
            after, (moved, *info) = read_state(like, outputs)
            finite = bool(growth.finite(after, moved, Info(*info)))
            norm = growth.norms(self._learner, after, moved).item()
        return norm if finite and self._norm_limit < norm < math.inf else 0.0

    def _predictions(self, state: State, memory: Tensor, seen: Tensor, episode: Episode[Tensor]) -> Tensor:
        """What `Stepped.predictions` says; shares its forward passes with the update's graph."""
        learner, predict = self._learner, self._network.predict

        def of_task(memory: Tensor, seen: Tensor, episode: Episode[Tensor]) -> Tensor:
            x = episode.query.x
            at_meta = predict(state.params, x)
            adapted = predict(learner.adapt(state, episode.support), x)
            unknown = torch.full_like(at_meta, torch.nan)
            if learner.task_params is None:
                return torch.stack((at_meta, adapted, unknown))
            at_memory = predict(learner.task_params(state, memory), x)
            return torch.stack((at_meta, adapted, torch.where(seen > 0, at_memory, unknown)))

        predictions: Tensor = per_task(of_task)(memory, seen, episode)
        return predictions


def _signature(inputs: list[Tensor]) -> Signature:
    """Of the episode at the end of a flat step's inputs."""
    return signature_of(Episode(Batch(*inputs[-4:-2]), Batch(*inputs[-2:])))


def _untold(_words: str) -> None:
    """Nobody is told."""


def _dtype(array: Array) -> torch.dtype:
    """The dtype of the tensor that the array becomes."""
    return torch.from_numpy(np.empty(0, array.dtype)).dtype
