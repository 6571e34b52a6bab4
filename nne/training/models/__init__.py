"""Networks that gradients can train, and the graph that evolution shares with them."""
