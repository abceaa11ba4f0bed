"""What runs and shows streammeta: dashboards, rules, containers."""
