"""`python -m slimseq`: the same as the command `slimseq`."""

from slimseq.cli.main import main

if __name__ == "__main__":
    main()
