"""What a broker's refusal means, in words: who asked for what at which server, and the remedy.

Every function here is pure but `speaks_tls`, which opens a connection to find out.
"""

import contextlib
import re
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from kafka import errors

from streammeta.config.secret import MASK, masked
from streammeta.errors import BrokerRefused, BrokerUnavailable, ConfigError, LoginRefused, StreammetaError


class Asker(Protocol):
    """Who asks which servers: the part of the settings that messages name."""

    @property
    def bootstrap_servers(self) -> str:
        """Comma-separated `host:port`."""

    @property
    def client(self) -> Mapping[str, Any]:
        """The `[kafka.client]` table."""

    @property
    def connect_timeout_seconds(self) -> float:
        """How long was tried."""


def principal(asker: Asker) -> str:
    """The user as Kafka's tools write it; with a client certificate the broker alone knows the name."""
    return f"User:{asker.client.get('sasl_plain_username') or 'NAME'}"


def _user(asker: Asker) -> str:
    name = asker.client.get("sasl_plain_username")
    return f"user {name!r}" if name else "this client"


def acl(asker: Asker, operation: str, resource: str) -> str:
    """The command that grants a right, e.g. `acl(settings, "Read", "--topic tasks")`."""
    return (
        f"kafka-acls --bootstrap-server {asker.bootstrap_servers} --add "
        f"--allow-principal {principal(asker)} --operation {operation} {resource}"
    )


def missing_right(asker: Asker, operation: str, kind: str, name: str) -> BrokerRefused:
    """The right `operation` (Read, Write, …) on the `kind` (topic, group) `name` is missing."""
    return BrokerRefused(
        f"{asker.bootstrap_servers} refuses {_user(asker)} the right to {operation.lower()} {kind} {name!r}. "
        f"Grant it: {acl(asker, operation, f'--{kind} {name}')}"
    )


def words(error: BaseException) -> str:
    """The message of one of kafka-python's errors without the class names before it; the name if it has none.

    >>> words(errors.TopicAuthorizationFailedError("tasks")), words(errors.RequestTimedOutError(None))
    ('tasks', 'RequestTimedOutError')
    """
    text = re.sub(r"^(\[Error \d+\] )?((\w+Error)(: |$))*", "", str(error))
    return type(error).__name__ if text in ("", "None") else text


def without_secrets(asker: Asker, text: str) -> str:
    """`text`, as kafka-python wrote it about the settings, with the secrets of `[kafka.client]` hidden."""
    client = dict(asker.client)
    for secret in sorted(_secrets(client, masked(("kafka", "client"), client)), key=len, reverse=True):
        text = text.replace(secret, MASK)  # the longest first: one may hold another
    return text


def _secrets(shown: Any, hidden: Any) -> list[str]:
    """The texts that `hidden` hides of `shown`, also as Python quotes them."""
    if hidden == MASK:
        return [text for text in (shown, repr(shown)[1:-1]) if text] if isinstance(shown, str) else []
    if isinstance(shown, Mapping):
        return [text for key in shown for text in _secrets(shown[key], hidden[key])]
    return []


def named(error: BaseException, asker: Asker) -> StreammetaError | None:
    """Our error for one of kafka-python's that no waiting can mend; None for all others."""
    return (
        _login(error, asker) or _certificate(error, asker) or _right(error, asker) or _setting(error, asker)
    )


def _login(error: BaseException, asker: Asker) -> LoginRefused | None:
    servers, mechanism = asker.bootstrap_servers, asker.client.get("sasl_mechanism")
    if isinstance(error, errors.SaslAuthenticationFailedError):
        return LoginRefused(
            f"{servers} refused the login of {_user(asker)} with {mechanism}: {words(error)}. "
            "Check sasl_plain_username, sasl_plain_password and sasl_mechanism in [kafka.client]."
        )
    if isinstance(error, errors.UnsupportedSaslMechanismError):
        return LoginRefused(
            f"{servers} does not offer the login mechanism {mechanism!r}. "
            "Set sasl_mechanism in [kafka.client] to one that the broker enables."
        )
    if isinstance(error, errors.IllegalSaslStateError):
        protocol = asker.client.get("security_protocol")
        return LoginRefused(
            f"{servers} takes no login on this port, but security_protocol = {protocol!r}. "
            "Use the broker's SASL port, or PLAINTEXT or SSL in [kafka.client]."
        )
    return None


_EXPIRED = 10
"""OpenSSL's X509_V_ERR_CERT_HAS_EXPIRED."""
_HOST_MISMATCH = (62, 64)
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""


def _certificate(error: BaseException, asker: Asker) -> LoginRefused | None:
    cause = error.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        if cause.verify_code in _HOST_MISMATCH:
            remedy = "Use a host name that the certificate carries"
        elif cause.verify_code == _EXPIRED:
            remedy = "Let its owner renew it, and see that this machine's clock is right"
        else:
            file = asker.client.get("ssl_cafile")
            remedy = f"Set ssl_cafile in [kafka.client] (now {file!r}) to its authority"
        return LoginRefused(
            f"the certificate of {asker.bootstrap_servers} is not trusted: {cause.verify_message}. {remedy}."
        )
    if "ALERT" in str(error) and "SSL" in str(error):
        mine = asker.client.get("ssl_certfile")
        refused = f"refused the client certificate {mine!r}" if mine else "asks for a client certificate"
        return LoginRefused(
            f"{asker.bootstrap_servers} {refused} ({words(error)}). "
            "Set ssl_certfile and ssl_keyfile in [kafka.client] to a pair that the broker trusts."
        )
    if isinstance(cause, ssl.SSLError) and "WRONG_VERSION_NUMBER" in str(cause):
        return _no_tls(asker)
    return None


def _no_tls(asker: Asker) -> LoginRefused:
    return LoginRefused(
        f"{asker.bootstrap_servers} does not speak TLS on this port, but security_protocol = "
        f"{asker.client.get('security_protocol')!r}. Use the broker's TLS port, or a protocol without it."
    )


def _right(error: BaseException, asker: Asker) -> BrokerRefused | None:
    if isinstance(error, errors.AuthorizationError):
        return BrokerRefused(
            f"{asker.bootstrap_servers} refuses {_user(asker)} a right: {words(error)}. "
            f"Grant it, e.g.: {acl(asker, 'Read', '--topic TOPIC')}"
        )
    return None


def _setting(error: BaseException, asker: Asker) -> ConfigError | None:
    """Exceptions of the language, not of the network, come from a value that kafka-python cannot use."""
    if isinstance(error, FileNotFoundError | PermissionError):
        files = {k: v for k, v in asker.client.items() if k.startswith("ssl_") and k.endswith("file")}
        return ConfigError(f"[kafka.client] {files}: {error}. Name files that exist and can be read.")
    if isinstance(error, ValueError) and "invalid literal for int" in str(error):
        return ConfigError(
            f"kafka.bootstrap_servers = {asker.bootstrap_servers!r}: a port is not a number. "
            "Write host:port, several separated by commas."
        )
    if isinstance(error, TypeError | ValueError | KeyError | AssertionError):
        protocol, mechanism = asker.client.get("security_protocol"), asker.client.get("sasl_mechanism")
        text = without_secrets(asker, str(error))
        return ConfigError(
            f"[kafka.client] does not fit together (security_protocol = {protocol!r}, sasl_mechanism = "
            f"{mechanism!r}): {text}. A login needs sasl_plain_username and sasl_plain_password."
        )
    return None


class Trouble:
    """Judges a connection that does not come about, from what was heard so far."""

    def __init__(self, asker: Asker, suspicion_seconds: float) -> None:
        self._asker = asker
        self._suspicious_at = time.monotonic() + suspicion_seconds
        self._probed = False

    def judge(self, heard: Sequence[BaseException], *, answered: bool) -> StreammetaError | None:
        """The error that ends the attempt now, or None: go on trying."""
        for error in heard:
            if (known := named(error, self._asker)) is not None:
                return known
        if self._probed or time.monotonic() < self._suspicious_at or not hung_up(heard):
            return None
        self._probed = True
        return self._hung_up(answered=answered)

    def _hung_up(self, *, answered: bool) -> LoginRefused | None:
        servers, protocol = self._asker.bootstrap_servers, self._protocol()
        if protocol in ("SSL", "SASL_SSL"):
            return None if any(speaks_tls(*a) for a in addresses(servers)) else _no_tls(self._asker)
        if any(speaks_tls(*address) for address in addresses(servers)):
            return LoginRefused(
                f"{servers} speaks TLS on this port, but security_protocol = {protocol!r}. "
                "Set security_protocol in [kafka.client] to SSL or SASL_SSL, and ssl_cafile."
            )
        return self._closed_at_login(servers, protocol) if answered else None

    def _closed_at_login(self, servers: str, protocol: str) -> LoginRefused:
        if protocol == "PLAINTEXT":
            return LoginRefused(
                f"{servers} closes the connection of a client without login. Set security_protocol "
                "(SASL_PLAINTEXT, SASL_SSL), sasl_mechanism and the user in [kafka.client]."
            )
        return LoginRefused(
            f"{servers} closed the connection during the login of {_user(self._asker)} with "
            f"{self._asker.client.get('sasl_mechanism')}. Check that the broker enables this mechanism, and "
            "sasl_plain_username and sasl_plain_password in [kafka.client]."
        )

    def _protocol(self) -> str:
        return str(self._asker.client.get("security_protocol", "PLAINTEXT"))


def hung_up(heard: Sequence[BaseException]) -> bool:
    """Whether every attempt reached a server, which closed the connection."""
    closed = [e for e in heard if re.search(r"socket disconnected|EOF occurred", str(e))]
    away = [e for e in heard if re.search(r"ECONN|DNS|timed out|unreachable", str(e), re.IGNORECASE)]
    return len(closed) >= 3 and not away


def addresses(servers: str) -> list[tuple[str, int]]:
    """Host and port of each bootstrap server.

    >>> addresses("a:1, [::1]:2,b")
    [('a', 1), ('::1', 2), ('b', 9092)]
    """
    found = []
    for server in servers.split(","):
        host, _, port = server.strip().rpartition(":")
        found.append((host.strip("[]"), int(port)) if host and port.isdigit() else (server.strip(), 9092))
    return found


def speaks_tls(host: str, port: int) -> bool:
    """Whether a TLS handshake gets an answer there; trust is not looked at, nothing is sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        contextlib.suppress(OSError),
        socket.create_connection((host, port), timeout=1.0) as plain,
        context.wrap_socket(plain, server_hostname=host),
    ):
        return True
    return False


def unanswered(asker: Asker, heard: Sequence[BaseException]) -> BrokerUnavailable:
    """No broker within the deadline; `heard` tells why."""
    texts = [words(e) for e in heard if "Unable to bootstrap" not in str(e)]
    last = texts[-1] if texts else "no answer"
    if "DNS" in last:
        last = "the host name is unknown"
    elif "ECONNREFUSED" in last:
        last = "connection refused: nobody listens there"
    return BrokerUnavailable(
        f"no broker answered at {asker.bootstrap_servers} within {asker.connect_timeout_seconds:g} s "
        f"({last}). Start it, or set kafka.bootstrap_servers."
    )
