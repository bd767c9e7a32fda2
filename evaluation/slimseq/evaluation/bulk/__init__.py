"""Files of texts, and the files of their outputs: what `slimseq generate` does on one machine."""
