"""The port of `[http]`, as every process that learns opens it."""

from contextlib import ExitStack

from streammeta.config.schema import HttpSection
from streammeta.config.token import read_token
from streammeta.serving.desk import Desk
from streammeta.web.app import make_app
from streammeta.web.guard import is_loopback
from streammeta.web.server import HttpServer
from streammeta.web.shown import Shown


def open_port(stack: ExitStack, shown: Shown, http: HttpSection, desk: Desk | None = None) -> str:
    """Serve what is shown, and predictions where there is a desk, until the stack is closed; the address.

    Raises:
        ConfigError: the address cannot be had, or the token file cannot be used.
    """
    app = make_app(
        shown,
        token=read_token(http.token_file),
        local=is_loopback(http.host),
        desk=desk,
        guarded={"/metrics"} if http.metrics_token else (),
    )
    server = HttpServer(app, http.host, http.port)
    server.start()
    stack.callback(server.stop)
    return server.address
