"""What happens between a request and its answer: choosing a variant, opening it, batching, assembling text."""
