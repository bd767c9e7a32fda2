"""The runtimes, one file each. `registry` lists them; `slimseq.inference.runtime` has the protocol."""
