"""What only the embedded models' recipes use (`recipes/embedded-*.yaml`): teaching small models to copy from few texts.

A small T5 summarizer that is trained from nothing must learn to copy before all else. Here are its copying curriculum
(`copying`), the alignment of targets to sources that guides a head (`copy_alignment`), heads that look at the previous
token from the start (`previous_token_heads`), targets and excerpts made of documents (`extractive`), and rare tokens
that are replaced on both sides (`substitution`). Any recipe may switch them on by the options of `training.options`,
`training.mixture` and `training.scratch`; all are off by default.
"""
