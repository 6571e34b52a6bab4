"""What is written and read back: run folders, checkpoints, exports, results, the cache."""
