"""Learners against closed forms, finite differences and other libraries."""
