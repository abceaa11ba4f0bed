"""LocalMOML as a Flower app: a server that averages, clients that keep their data and their memory.

Flower is imported by the functions of this room that need it, and nowhere else.
"""

from streammeta.federated.client import client_app
from streammeta.federated.server import server_app
from streammeta.federated.settings import Client, Federation

__all__ = ["Client", "Federation", "client_app", "server_app"]
