"""Built-in networks and losses, and a user's model as one function of a flat vector.

States and configurations name the networks as `streammeta.models:mlp`.
"""

from streammeta.models.networks import conv4, linear, mlp

__all__ = ["conv4", "linear", "mlp"]
