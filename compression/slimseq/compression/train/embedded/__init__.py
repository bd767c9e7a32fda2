"""Training methods that only the recipes of the embedded models use (`recipes/embedded-*.yaml`).

A small T5 summarizer with random weights must first learn to copy. This room has a copying curriculum (`copying`), the
alignment of targets to sources that guides an attention head (`copy_alignment`), heads that attend to the previous
token from the start (`previous_token_heads`), targets and excerpts made of documents (`extractive`), and the
substitution of rare tokens (`substitution`). The options are in `training.options`, `training.data.mixture` and
`training.scratch`; all are off by default.
"""
