"""Training methods that only the recipes of the embedded models use (`recipes/embedded-*.yaml`).

A small summarizer must first learn to copy. This room has the alignment of targets to sources that guides an attention
head (`copy_alignment`), targets and excerpts made of documents (`extractive`), and the substitution of rare tokens
(`substitution`). All are off by default.
"""
