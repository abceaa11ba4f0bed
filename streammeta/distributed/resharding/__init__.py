"""A state of some ranks made one of other ranks: read whole, written beside, compared, then renamed.

sources    what is to be moved: every rank's last commit, under its lock
unison     one meta-state of all ranks: the end of a round
counters   numbers of events and records, which every rank counts for itself
plan       which task goes where, and what of each counter
parts      what a new rank begins with
moving     the writing, the comparison, the renaming
"""
