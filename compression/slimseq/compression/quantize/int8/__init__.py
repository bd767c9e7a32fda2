"""The schemes `int8-dynamic`, `int8-published` and `int4-blocks`, and the rewriting of matmuls that they need."""
