"""The learner in a program of the user's."""
