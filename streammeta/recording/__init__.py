"""Recordings: a directory of Parquet parts and a manifest, one row per Kafka record, in the order consumed.

    DIR/manifest.json          what belongs to it: `manifest`
    DIR/part-000000.parquet …  the rows: `table`; each written whole, then renamed
    DIR/spool                  rows that are no part yet: `spool`
    DIR/lock                   the writer's process id, under an exclusive flock

`writer` appends, `reader` reads; `flight` is the daemon's own recorder, `source` feeds a learner.
"""
