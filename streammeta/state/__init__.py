"""Task memories, meta state and offsets, in one atomic commit; and how a state outlives its version.

Three numbers say how a state is written: `environment.LAYOUT` of the LMDB environment, `checkpoint.FORMAT` of
the document, `order_log.VERSION` of the order log. A number that this version does not know is refused in
words (`StateError`, exit 65): nothing is guessed of a state of a later version.

A value that may be absent needs no new number: absent is empty (event ids, quarantine, `reset_after`), so a
state of before is opened as it is. A number is raised where a former version would take what is written for
something else, or would lose with its next commit what must not be lost. The same change then brings:

1. readers that read the number before as it is, and write nothing;
2. the first writer's rewriting, in one transaction, so that a crash leaves one of the two (`rewriting`);
3. a copy of the state as it was, beside it and durable before that transaction (`environment.copy_whole`):
   whoever must go back to the former version puts it in its place;
4. one more folder in `tests/state/kept`, which all later versions must open and go on from.

Where a migration cannot be written, the refusal says the way on: the version that reads it, an export, a
replay of the recording.
"""
