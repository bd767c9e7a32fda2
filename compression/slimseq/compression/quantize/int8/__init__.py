"""The schemes `int8-dynamic`, `int8-static` and `int8-published`, and the rewriting of matmuls that they need."""
