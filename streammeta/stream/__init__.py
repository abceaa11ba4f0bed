"""Where records come from and where refused ones go."""
