"""What evolves, as the trainer knows it: networks, networks that are finetuned afterwards, and linear targets."""
