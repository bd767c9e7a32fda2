"""Training data: pairs of texts, their mixture, their token ids and their batches."""
