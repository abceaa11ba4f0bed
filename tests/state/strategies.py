"""Hypothesis strategies for what stores keep."""

from hypothesis import strategies as st

from streammeta.evaluation.adwin import PER_ROW, Adwin
from streammeta.evaluation.drift import BEGUN, Series
from streammeta.evaluation.page_hinkley import PageHinkley
from streammeta.state.store import Meta, TaskRow, TaskStats, Waiting

U64 = st.integers(0, 2**64 - 1)

task_ids = st.text(
    alphabet=st.one_of(st.sampled_from("ab"), st.characters(codec="utf-8")), min_size=1, max_size=64
)
"""Any Unicode, NUL and astral characters too; short alphabets make ids meet again."""

windows = st.lists(st.tuples(st.floats(), st.integers(1, 2**64 - 1)), max_size=2).map(tuple)
buckets = st.lists(st.tuples(st.floats(), st.floats()), max_size=PER_ROW).map(tuple)
detectors = (
    st.none()
    | st.builds(PageHinkley, U64, *[st.floats()] * 6)
    | st.builds(Adwin, U64, U64, st.floats(), st.floats(), st.lists(buckets, max_size=4).map(tuple))
)
series = st.just(BEGUN) | st.builds(
    Series, detectors, *[st.floats()] * 4, detections=U64, last_event=U64, loss_before=st.floats()
)
stats = st.builds(
    TaskStats,
    events=U64,
    last_event=U64,
    last_seen_ms=st.integers(-(2**63), 2**63 - 1),
    loss_meta=st.floats(),
    loss_adapted=st.floats(),
    loss_memory=st.floats(),
    memory_norm=st.floats(),
    accuracy_meta=st.floats(),
    accuracy_adapted=st.floats(),
    accuracy_memory=st.floats(),
    loss_earlier=st.floats(),
    forgetting=st.floats(),
    windows=st.tuples(windows, windows, windows),
    reset_after=U64,
    drift=series,
)
waitings = st.none() | st.builds(Waiting, task=U64, half=U64)
rows = st.builds(
    TaskRow,
    stats=stats,
    memory=st.binary(max_size=5000),
    buffer=st.binary(max_size=500),
    waiting=waitings,
)
metas = st.builds(
    Meta,
    tensors=st.binary(max_size=3000),
    document=st.binary(max_size=200),
    history=st.binary(max_size=3000),
)
commits = st.tuples(metas, st.dictionaries(task_ids, st.none() | rows, max_size=6))
