"""Predict-then-learn means, a task's earlier query sets judged again, scores on unseen tasks."""
