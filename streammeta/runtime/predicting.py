"""The predictor of a learner: on the CPU, with a module of its own, so that it may run beside the learner."""

from dataclasses import replace

import torch

from streammeta.algorithms.registry import build_learner
from streammeta.config import Config
from streammeta.models.constants import constants_of, take_constants
from streammeta.models.loading import load_loss
from streammeta.models.network import Network
from streammeta.models.placement import moved
from streammeta.serving.eager import Eager
from streammeta.serving.predictor import Predictor


def predictor_for(config: Config, network: Network, *, aside: bool = False) -> Predictor:
    """A predictor for the network that learns, or that a state was learned with.

    The module is built once more: a call puts parameters into it, which two threads must not do at once. An
    index that a model does not know would end the device's context; on the CPU it is an error.

    `aside`: functions are traced in a thread of their own, and whoever asks does not wait for it.
    """

    def eager() -> Eager:
        own = _on_cpu(config, network)
        return Eager(own, build_learner(config.algorithm, config.outer, own))

    return Predictor(
        *eager(),
        support=config.events.support,
        max_examples=config.events.max_examples,
        spare=eager if aside else None,
    )


def _on_cpu(config: Config, network: Network) -> Network:
    if network.fresh is None:
        raise AssertionError("the network of a configuration can be built again")
    cpu = torch.device("cpu")
    module = moved(network.fresh(), network.dtype, cpu)
    take_constants(module, constants_of(network.module).values)
    loss = load_loss(config.model.loss, network.dtype, cpu)
    return replace(network, module=module, loss_of=loss.of, initial=network.initial.cpu(), device=cpu)
