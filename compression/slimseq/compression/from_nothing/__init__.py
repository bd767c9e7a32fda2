"""Making a model that did not exist: its architecture, its tokenizer, and weights to begin with.

The embedded models were made so. Compressing a model of yours needs nothing of this folder.
"""
