"""Files of texts on many machines: `slimseq generate --on ray`, with Ray Data.

`parts` cuts the data into parts, and gives each row an id. `pipeline` is what Ray Data runs: read a part, generate,
write a file. `job_folder` knows the files of a job. `generate_folder` puts them together. Scheduling, retries and
checkpoints are Ray Data's. Only `pipeline` and `generate_folder` import Ray.
"""
