"""Schemes of storing a model in fewer bits, one file a scheme, all behind `protocol.Scheme`."""
