"""Traced steps on disk, between runs: a trace costs two seconds, most of them for importing what traces.

    DIRECTORY/trace-NAME    SHA-256 of the rest, then the graph as safetensors

NAME says all that the trace follows from. Only traces that were compared with the plain step are kept. What
cannot be read, or is another user's, is traced anew.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import safetensors
import safetensors.torch
import torch
from torch.fx import GraphModule

import streammeta
from streammeta.learner.executors.cache import Cache, own_bytes
from streammeta.learner.executors.identity import processor
from streammeta.learner.flat import Signature, in_words
from streammeta.learner.graph_text import GraphText, graph_of, text_of

MAX_TRACES: Final = 512
"""Traces kept; each is 30 to 500 kB. The ones used longest ago go."""
_SOURCES: Final = ("algorithms", "learner", "models")
"""The rooms that decide what a step computes."""
_DIGEST_BYTES: Final = 32
_NODES: Final = "nodes"


class Traces:
    """The traces of one learner."""

    def __init__(self, cache: Cache, learner: str) -> None:
        """`learner`: in words, all that its steps follow from but code, torch, processor and shapes.

        The code is looked at now, as this process has it: files may change while it runs.
        """
        self._directory = cache.directory
        self._learner = (learner, *_code())

    def get(self, signature: Signature) -> GraphModule | None:
        """The step of these shapes; None where there is none that is sound."""
        path = self._path(signature)
        content = own_bytes(path)
        if content is None or hashlib.sha256(content[_DIGEST_BYTES:]).digest() != content[:_DIGEST_BYTES]:
            return None
        try:
            graph = graph_of(_unpacked(content[_DIGEST_BYTES:]))
            os.utime(path)
        except (ValueError, KeyError, OSError, safetensors.SafetensorError):
            return None
        return graph

    def put(self, signature: Signature, graph: GraphModule) -> None:
        """Keep a step, if it can be kept: a disk that is full, or read-only, costs a trace at each start."""
        text, path = text_of(graph), self._path(signature)
        if text is None:
            return
        payload = _packed(text)
        new = self._directory / f".{secrets.token_hex(8)}"
        try:
            new.touch(mode=0o600)
            new.write_bytes(hashlib.sha256(payload).digest() + payload)
            new.replace(path)
            self._shrink()
        except OSError:
            new.unlink(missing_ok=True)

    def _path(self, signature: Signature) -> Path:
        parts = (*self._learner, in_words(signature), *_conditions())
        return self._directory / f"trace-{hashlib.sha256(repr(parts).encode()).hexdigest()[:32]}"

    def _shrink(self) -> None:
        kept = sorted(self._directory.glob("trace-*"), key=lambda path: path.stat().st_mtime)
        for path in kept[: max(0, len(kept) - MAX_TRACES)]:
            path.unlink(missing_ok=True)


def _packed(text: GraphText) -> bytes:
    constants = {name: constant.detach().cpu().contiguous() for name, constant in text.constants.items()}
    return safetensors.torch.save(constants, {_NODES: json.dumps(text.nodes)})


def _unpacked(payload: bytes) -> GraphText:
    size = int.from_bytes(payload[:8], "little")
    nodes = json.loads(payload[8 : 8 + size])["__metadata__"][_NODES]
    return GraphText(json.loads(nodes), safetensors.torch.load(payload))


def _conditions() -> tuple[str, ...]:
    """What torch may choose its operations by."""
    return (torch.__version__, processor(), str(torch.get_num_threads()), str(torch.get_default_dtype()))


def _code() -> Iterator[str]:
    """The code of the rooms that decide what a step computes, as digests."""
    root = Path(streammeta.__file__).parent
    for path in sorted(path for room in _SOURCES for path in (root / room).rglob("*.py")):
        yield f"{path.relative_to(root)} {hashlib.sha256(path.read_bytes()).hexdigest()}"
