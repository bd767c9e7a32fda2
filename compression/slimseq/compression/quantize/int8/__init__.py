"""The schemes `int8-dynamic` and `int8-static`, and the rewriting of matmuls that they need."""
