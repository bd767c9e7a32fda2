"""Training a sequence-to-sequence model: data, batches, losses, schedule, checkpoints and the loop itself."""
