"""What evolved: the architecture of networks, the direction of a step, pictures."""
