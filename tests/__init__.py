"""Tests mirror the package; `contracts/` holds one suite per protocol."""
