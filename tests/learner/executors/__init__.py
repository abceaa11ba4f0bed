"""Tests of compiled steps."""
