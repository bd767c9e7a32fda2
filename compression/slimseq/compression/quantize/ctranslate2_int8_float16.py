"""`ctranslate2-int8-float16`: as `ctranslate2-int8`, and positions, norms and biases in half the bytes.

In a small model, what is no matrix is no small part: a twentieth of the file, for a width of 256. A CPU computes with
it in float32.
"""

from slimseq.compression.quantize.ctranslate2_int8 import CTranslate2Int8

SCHEME = CTranslate2Int8("int8_float16", "Quantized to int8 for CTranslate2, what is no matrix stored in fp16.")
