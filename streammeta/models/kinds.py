"""Kinds of modules and layers that cannot be learned event by event: refused, with the remedy."""

from torch import nn
from torch.jit import ScriptModule
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.spectral_norm import SpectralNorm

from streammeta.errors import ConfigError


def refuse_kinds(module: nn.Module) -> None:
    """Refuse what an event could change beside the state, and what has no real parameters, or none yet.

    Raises:
        ConfigError: names the layer, and what to do instead.
    """
    for name, layer in module.named_modules():
        reason = _layer_reason(layer)
        if reason:
            raise ConfigError(f"model.factory: layer {name or 'model'} ({type(layer).__name__}) {reason}")
    for name, parameter in module.named_parameters():
        if parameter.is_complex():
            raise ConfigError(
                f"model.factory: parameter {name} is complex, and what is learned is real; keep its real and "
                "imaginary part in a real parameter (…, 2), and use torch.view_as_complex in forward"
            )


def _layer_reason(layer: nn.Module) -> str:
    if isinstance(layer, ScriptModule):
        return "is scripted or traced, and cannot be differentiated as a function; give the module itself"
    if isinstance(layer, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return "spreads each call over devices, and the state lies on one; give the module itself"
    if type(layer).__name__ == "OptimizedModule" or layer._compiled_call_impl is not None:
        return "is wrapped by torch.compile; give the module itself"
    if any(is_lazy(value) for value in (*layer.parameters(False), *layer.buffers(False))):
        return (
            "has no shape until it sees data, and the state needs it before; name its input size, or call "
            "the model once on an example in the factory"
        )
    if getattr(layer, "track_running_stats", False):
        return (
            "keeps running statistics, which no task owns and no checkpoint could replay; "
            "build it with track_running_stats=False, or use GroupNorm or LayerNorm"
        )
    if isinstance(layer, _DropoutNd) and layer.p > 0:
        return "draws random numbers, so a recovered run would differ; build it with p=0"
    if isinstance(layer, _SpectralNorm) or any(
        isinstance(hook, SpectralNorm) for hook in layer._forward_pre_hooks.values()
    ):
        return (
            "is a spectral_norm, whose power iteration changes its buffers at each call, and no "
            "checkpoint could replay that; leave spectral_norm out, or make its weight plain: "
            'torch.nn.utils.parametrize.remove_parametrizations(layer, "weight") '
            "(remove_spectral_norm(layer) where torch.nn.utils.spectral_norm made it)"
        )
    return ""
