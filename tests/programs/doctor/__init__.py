"""Tests of the checks that `streammeta doctor` makes."""
