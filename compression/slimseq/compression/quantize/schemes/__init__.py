"""The quantization schemes, a module each: `quantize` names them, and imports one when it is used."""
