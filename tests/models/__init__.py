"""Networks as users write them, learned by the engine and by plain PyTorch."""
